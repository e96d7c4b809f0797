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
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)

from scim_server.storage.change import Action
from scim_server.storage.database import Database, Row
from scim_server.storage.dialects import Dialect
from scim_server.storage.statements import Statement
from scim_server.storage.tables import Id, Key, outbox, subject, tenant

LEASE_MS = 15_000


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message this process may deliver until its lease ends; `tenant` is the tenant's name, times are unix ms."""

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


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of one attempt: `outcome` done or refused settles the row; None makes it due again in `delay_ms`."""

    id: str
    outcome: str | None
    sessions: int | None = None
    guard_seen: bool | None = None
    error: str | None = None
    delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """Of one store: messages on their way, the creation time of the oldest (unix ms), and those a brake holds."""

    store: str
    waiting: int
    oldest: int | None
    held: int


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


async def claim(database: Database, store: str, limit: int, lease_ms: int = LEASE_MS) -> list[Claimed]:
    """Take up to `limit` due messages of a store, at most the oldest one of each subject (first in, first out)."""
    given = {"store": store, "limit": limit, "lease": lease_ms}
    (rows,) = await database.write((_CLAIM, given))
    return sorted((_claimed(row) for row in rows), key=lambda message: message.id)


async def settle(database: Database, settlements: Sequence[Settlement]) -> None:
    """Record attempts, all in one statement."""
    if settlements:
        rows = orjson.dumps([asdict(settlement) for settlement in settlements]).decode()
        await database.write((_SETTLE, {"settlements": rows}))


async def hasten(database: Database, store: str) -> None:
    """A store is back: everything that waits for it is due now. Rows under a fresh lease come too, harmlessly."""
    await database.write((_HASTEN, {"store": store}))


async def backlog(database: Database) -> list[Backlog]:
    """What is on its way, by store, including stores that are no longer configured."""
    rows = await database.read(_BACKLOG, {})
    return [Backlog(row["store"], int(row["waiting"]), row["oldest"], int(row["held"])) for row in rows]


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


async def denied_subjects(
    database: Database, store: str, after: tuple[str, str], limit: int
) -> list[tuple[str, str, str, int, int]]:
    """(tenant id, tenant name, subject, epoch, not_before) of denied subjects of a store, in key order from `after`."""
    given = {"store": store, "after_tenant": after[0], "after_subject": after[1], "limit": limit}
    rows = await database.read(_DENIED, given)
    return [(row["tenant_id"], row["name"], row["subject"], row["epoch"], row["not_before"]) for row in rows]


async def forget(database: Database, older_than: int, limit: int = 1000) -> int:
    """Delete settled messages from before a time (unix ms); how many went."""
    (rows,) = await database.write((_FORGET, {"before": older_than, "limit": limit}))
    return len(rows)


def _claimed(row: Row) -> Claimed:
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
    )


def _p(name: str, kind: Any) -> Any:
    return bindparam(name, type_=kind)


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
            older.c.id < candidate.c.id,
        )
    )
    chosen = (
        select(candidate.c.id)
        .where(
            candidate.c.store == _p("store", Key),
            candidate.c.settled.is_(None),
            ~candidate.c.held,
            candidate.c.due <= d.now(),
            first,
        )
        .order_by(candidate.c.due, candidate.c.id)
        .limit(_p("limit", Integer))
        .with_for_update(skip_locked=True)
    )
    name = select(tenant.c.name).where(tenant.c.id == outbox.c.tenant_id).scalar_subquery().label("tenant")
    return (
        update(outbox)
        .where(outbox.c.id.in_(chosen))
        .values(due=d.now() + _p("lease", BigInteger))
        .returning(*outbox.c, name)
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
        },
    )
    return (
        update(outbox)
        .where(outbox.c.id == said.c.id, outbox.c.settled.is_(None))
        .values(
            attempts=outbox.c.attempts + literal_column("1"),
            outcome=said.c.outcome,
            sessions=said.c.sessions,
            guard_seen=said.c.guard_seen,
            error=said.c.error,
            settled=case((said.c.outcome.is_not(None), d.now())),
            due=d.now() + said.c.delay_ms,
        )
    )


_CLAIM = Statement(_claim)
_SETTLE = Statement(_settle)
_HASTEN = Statement(
    lambda d: (
        update(outbox)
        .where(outbox.c.store == _p("store", Key), outbox.c.settled.is_(None), outbox.c.due > d.now())
        .values(due=d.now())
    )
)
_BACKLOG = Statement(
    lambda d: (
        select(
            outbox.c.store,
            func.count().label("waiting"),
            func.min(outbox.c.created).label("oldest"),
            func.sum(case((outbox.c.held, 1), else_=0)).label("held"),
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
        .where(or_(outbox.c.settled.is_(None), outbox.c.outcome == literal_column("'refused'")))
        .order_by(outbox.c.id)
        .limit(_p("limit", Integer))
    )
)
_DENIED = Statement(
    lambda d: (
        select(subject.c.tenant_id, tenant.c.name, subject.c.subject, subject.c.epoch, subject.c.not_before)
        .join(tenant, tenant.c.id == subject.c.tenant_id)
        .where(
            subject.c.store == _p("store", Key),
            subject.c.denied,
            or_(
                subject.c.tenant_id > _p("after_tenant", Id),
                (subject.c.tenant_id == _p("after_tenant", Id)) & (subject.c.subject > _p("after_subject", Key)),
            ),
        )
        .order_by(subject.c.tenant_id, subject.c.subject)
        .limit(_p("limit", Integer))
    )
)
_FORGET = Statement(
    lambda d: (
        delete(outbox)
        .where(
            outbox.c.id.in_(
                select(outbox.c.id).where(outbox.c.settled < _p("before", BigInteger)).limit(_p("limit", Integer))
            )
        )
        .returning(outbox.c.id)
    )
)
