"""The outbox: messages to session stores from commit to confirmation.

A row is `due` at some time of the database's clock. Claiming it moves `due` into the future, which is the lease: a
worker that dies gives it back by doing nothing. A row is settled once, by whoever delivers it first; a second
delivery does no harm because stores obey epochs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Integer,
    Text,
    and_,
    case,
    delete,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    tuple_,
    update,
)

from scim_server.storage.change import FEED, Action
from scim_server.storage.database import Database, Row
from scim_server.storage.dialects import Dialect
from scim_server.storage.statements import Statement, bound
from scim_server.storage.tables import Id, Key, outbox, tenant

LEASE_MS = 15_000


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message this process may deliver until its lease ends; `tenant` is the tenant's name, times are unix ms.
    `tried_ms`: for how long it has been tried, since it was made or replayed."""

    id: str
    tenant: str
    store: str
    subject: str
    action: Action
    type: str
    epoch: int | None
    denied: bool | None
    not_before: int | None
    data: dict[str, Any]
    created: int
    attempts: int
    tried_ms: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of one attempt: `outcome` done, refused or gone (the receiver wants nothing any more, see
    `silences`) settles the row; None makes it due again in `delay_ms`.
    A kill that is done is repeated after `echo_ms`, if given (echoes.py)."""

    id: str
    outcome: str | None
    sessions: int | None = None
    guard_seen: bool | None = None
    error: str | None = None
    delay_ms: int = 0
    echo_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """Of one store: messages on their way, the creation time of the oldest (unix ms), those a brake holds, and the
    creation time of the oldest kill that nobody holds."""

    store: str
    waiting: int
    oldest: int | None
    held: int
    oldest_kill: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A message as a person sees it; `state` is waiting, held or refused, `created` in unix ms."""

    id: str
    tenant: str
    store: str
    type: str
    state: str
    created: int
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Silence:
    """A receiver that wants no more messages, for one tenant (its name); `since` in unix ms."""

    store: str
    tenant: str
    since: int


async def claim(database: Database, store: str, limit: int, lease_ms: int = LEASE_MS) -> list[Claimed]:
    """Take up to `limit` due messages of a store, at most the oldest one of each subject (first in, first out)."""
    given = {"store": store, "limit": limit, "lease": lease_ms}
    (rows,) = await database.write((_CLAIM, given))
    return sorted((claimed_from(row) for row in rows), key=lambda message: message.id)


async def settle(database: Database, settlements: Sequence[Settlement]) -> None:
    """Record attempts, all in one statement."""
    if settlements:
        rows = orjson.dumps([asdict(settlement) for settlement in settlements]).decode()
        await database.write((_SETTLE, {"settlements": rows}))


async def hasten(database: Database, store: str) -> None:
    """A store is back: everything that waits for it is due now. Rows under a fresh lease come too, harmlessly."""
    await database.write((_HASTEN, {"store": store}))


async def retry(database: Database, *, store: str | None = None, ids: Sequence[str] = ()) -> int:
    """Make waiting messages due now: those of a store, those of these ids (none given: all); how many."""
    (rows,) = await database.write((_RETRY, _chosen(database, store, ids)))
    return len(rows)


async def replay(database: Database, *, store: str | None = None, ids: Sequence[str] = (), since: int = 0) -> int:
    """Queue again what was refused or given up, of what was created `since` (unix ms), and switch on the receivers of
    what was chosen; how many."""
    chosen = _chosen(database, store, ids)
    rows, _ = await database.write((_REPLAY, {**chosen, "since": since}), (_SWITCH_ON, chosen))
    return len(rows)


async def silences(database: Database) -> list[Silence]:
    """Receivers that answered 410 Gone: they are asked again after a replay, or once the last such message is
    forgotten."""
    return [Silence(row["store"], row["tenant"], row["since"]) for row in await database.read(_SILENCES, {})]


async def next_due(database: Database, store: str) -> int | None:
    """In how many ms something that now waits for a lease or a retry comes due; None when nothing does."""
    (row,) = await database.read(_NEXT_DUE, {"store": store})
    return None if row["ms"] is None else int(row["ms"])


async def backlog(database: Database) -> list[Backlog]:
    """What is on its way, by store, including stores that are no longer configured."""
    rows = await database.read(_BACKLOG, {})
    return [
        Backlog(row["store"], int(row["waiting"]), row["oldest"], int(row["held"]), row["oldest_kill"]) for row in rows
    ]


async def listing(database: Database, limit: int = 1000) -> list[Entry]:
    """What is on its way or was refused, oldest first."""
    return [
        Entry(
            row["id"],
            row["tenant"],
            row["store"],
            row["type"],
            row["state"],
            row["created"],
            row["attempts"],
            row["error"],
        )
        for row in await database.read(_LISTING, {"limit": limit})
    ]


async def forget(database: Database, older_than: int, limit: int = 1000) -> int:
    """Delete settled messages from before a time (unix ms); how many went. Each tenant's last event stays: as long as
    a reader of the feed finds the event it has read last, nothing that followed is forgotten."""
    (rows,) = await database.write((_FORGET, {"before": older_than, "limit": limit}))
    return len(rows)


async def adopt(database: Database) -> int:
    """After a restore into another database: what came along was first of all, in the order of its ids; how many rows.
    Their positions were those of the other database, behind which whatever happens here would never be seen. All are
    moved when one has to be: otherwise what was last there would come before what was earlier."""
    (rows,) = await database.write((_ADOPT, {}))
    return len(rows)


def claimed_columns(d: Dialect) -> tuple[Any, ...]:
    """What `claimed_from` reads: all of the row, the tenant's name, and for how long it has been tried."""
    name = select(tenant.c.name).where(tenant.c.id == outbox.c.tenant_id).scalar_subquery().label("tenant")
    return (*outbox.c, name, (d.now() - func.coalesce(outbox.c.tried, d.now())).label("tried_ms"))


def claimed_from(row: Row) -> Claimed:
    """A row of `claimed_columns`."""
    return Claimed(
        id=row["id"],
        tenant=row["tenant"],
        store=row["store"],
        subject=row["subject"],
        action=row["action"],
        type=row["type"],
        epoch=row["epoch"],
        denied=None if row["denied"] is None else bool(row["denied"]),
        not_before=row["not_before"],
        data=orjson.loads(row["data"]),
        created=row["created"],
        attempts=row["attempts"],
        tried_ms=row["tried_ms"],
    )


def _chosen(database: Database, store: str | None, ids: Sequence[str]) -> dict[str, Any]:
    return {"store": store, "all": not ids, "ids": database.dialect.pack_list(list(ids))}


def _is_chosen(d: Dialect) -> Any:
    return and_(
        or_(bound("store", Key).is_(None), outbox.c.store == bound("store", Key)),
        or_(bound("all", Boolean), d.any_of(outbox.c.id, "ids", Id)),
    )


def _claim(d: Dialect) -> Any:
    candidate, older = outbox.alias("candidate"), outbox.alias("older")
    first = ~exists(
        select(literal_column("1"))
        .select_from(older)
        .where(
            older.c.tenant_id == candidate.c.tenant_id,
            older.c.store == candidate.c.store,
            older.c.subject == candidate.c.subject,
            older.c.settled.is_(None),
            ~older.c.held,
            # Not by id alone: ids made in one millisecond, or by servers whose clocks differ, are in any order.
            tuple_(older.c.position, older.c.id) < tuple_(candidate.c.position, candidate.c.id),
        )
    )
    chosen = (
        select(candidate.c.id)
        .where(
            candidate.c.store == bound("store", Key),
            candidate.c.settled.is_(None),
            ~candidate.c.held,
            candidate.c.due <= d.now(),
            first,
        )
        .order_by(candidate.c.due, candidate.c.position, candidate.c.id)
        .limit(bound("limit", Integer))
        .with_for_update(skip_locked=True)
    )
    return (
        update(outbox)
        .where(outbox.c.id.in_(chosen))
        .values(due=d.now() + bound("lease", BigInteger))
        .returning(*claimed_columns(d))
    )


def _settle(d: Dialect) -> Any:
    said = d.rows(
        "settlements",
        {
            "id": Id,
            "outcome": Key,
            "sessions": Integer(),
            "guard_seen": Boolean(),
            "error": Text(),
            "delay_ms": BigInteger(),
            "echo_ms": BigInteger(),
        },
    )
    return (
        update(outbox)
        .where(outbox.c.id == said.c.id, outbox.c.settled.is_(None))
        .values(
            attempts=outbox.c.attempts + literal_column("1"),
            tried=func.coalesce(outbox.c.tried, d.now()),
            outcome=said.c.outcome,
            sessions=said.c.sessions,
            guard_seen=said.c.guard_seen,
            error=said.c.error,
            settled=case((said.c.outcome.is_not(None), d.now())),
            due=d.now() + said.c.delay_ms,
            # Who is still welcome may have signed in again: a revocation is not repeated.
            echo_due=case(
                (
                    and_(
                        said.c.echo_ms.is_not(None), outbox.c.action == literal_column("'terminate'"), outbox.c.denied
                    ),
                    d.now() + said.c.echo_ms,
                )
            ),
        )
    )


def _forget(d: Dialect) -> Any:
    later = outbox.alias("later")
    followed = exists(
        select(literal_column("1"))
        .select_from(later)
        .where(
            later.c.tenant_id == outbox.c.tenant_id,
            later.c.store == literal_column(f"'{FEED}'", Text),
            tuple_(later.c.position, later.c.id) > tuple_(outbox.c.position, outbox.c.id),
        )
    )
    old = (
        select(outbox.c.id)
        .where(outbox.c.settled < bound("before", BigInteger), followed)
        .limit(bound("limit", Integer))
    )
    return delete(outbox).where(outbox.c.id.in_(old)).returning(outbox.c.id)


def _switch_on(d: Dialect) -> Any:
    chosen = outbox.alias("chosen")
    receivers = select(chosen.c.store, chosen.c.tenant_id).where(d.any_of(chosen.c.id, "ids", Id))
    return (
        update(outbox)
        .where(
            or_(bound("store", Key).is_(None), outbox.c.store == bound("store", Key)),
            or_(bound("all", Boolean), tuple_(outbox.c.store, outbox.c.tenant_id).in_(receivers)),
            outbox.c.outcome == literal_column("'gone'"),
        )
        .values(outcome=literal_column("'refused'"))
    )


_GIVEN_UP: tuple[Any, ...] = (literal_column("'refused'"), literal_column("'gone'"))

_CLAIM = Statement(_claim)
_SETTLE = Statement(_settle)
_HASTEN = Statement(
    lambda d: (
        update(outbox)
        .where(outbox.c.store == bound("store", Key), outbox.c.settled.is_(None), outbox.c.due > d.now())
        .values(due=d.now())
    )
)
_RETRY = Statement(
    lambda d: (
        update(outbox)
        .where(_is_chosen(d), outbox.c.settled.is_(None), ~outbox.c.held)
        .values(due=d.now())
        .returning(outbox.c.id)
    )
)
_REPLAY = Statement(
    lambda d: (
        update(outbox)
        .where(
            _is_chosen(d),
            outbox.c.outcome.in_(_GIVEN_UP),
            outbox.c.created >= bound("since", BigInteger),
        )
        .values(settled=null(), outcome=null(), attempts=literal_column("0"), tried=null(), due=d.now())
        .returning(outbox.c.id)
    )
)
_SWITCH_ON = Statement(_switch_on)
_SILENCES = Statement(
    lambda d: (
        select(outbox.c.store, tenant.c.name.label("tenant"), func.min(outbox.c.settled).label("since"))
        .join(tenant, tenant.c.id == outbox.c.tenant_id)
        .where(outbox.c.outcome == literal_column("'gone'"))
        .group_by(outbox.c.store, tenant.c.name)
    )
)
_NEXT_DUE = Statement(
    lambda d: select((func.min(outbox.c.due) - d.now()).label("ms")).where(
        outbox.c.store == bound("store", Key), outbox.c.settled.is_(None), ~outbox.c.held, outbox.c.due > d.now()
    )
)
_BACKLOG = Statement(
    lambda d: (
        select(
            outbox.c.store,
            func.count().label("waiting"),
            func.min(outbox.c.created).label("oldest"),
            func.sum(case((outbox.c.held, 1), else_=0)).label("held"),
            func.min(
                case((and_(~outbox.c.held, outbox.c.action == literal_column("'terminate'")), outbox.c.created))
            ).label("oldest_kill"),
        )
        .where(outbox.c.settled.is_(None))
        .group_by(outbox.c.store)
    )
)
_LISTING = Statement(
    lambda d: (
        select(
            outbox.c.id,
            tenant.c.name.label("tenant"),
            outbox.c.store,
            outbox.c.type,
            case((outbox.c.settled.is_not(None), "refused"), (outbox.c.held, "held"), else_="waiting").label("state"),
            outbox.c.created,
            outbox.c.attempts,
            outbox.c.error,
        )
        .join(tenant, tenant.c.id == outbox.c.tenant_id)
        .where(or_(outbox.c.settled.is_(None), outbox.c.outcome.in_(_GIVEN_UP)))
        .order_by(outbox.c.id)
        .limit(bound("limit", Integer))
    )
)
_FORGET = Statement(_forget)
_ADOPT = Statement(
    lambda d: (
        update(outbox)
        .where(
            select(func.max(outbox.alias("any").c.position)).scalar_subquery() >= d.foreign_position(),
            outbox.c.position > literal_column("1"),  # asked again of each row that another process has moved meanwhile
        )
        .values(position=literal_column("1"))
        .returning(outbox.c.id)
    )
)
