"""Echoes: repetitions of a confirmed kill, for stores whose CRM may write a session back after it.

They stand on the settled row and not in the queue, so they hold up nothing that follows. Like a message, an echo is
claimed by moving its due time, and comes back when its process dies.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, Integer, and_, case, func, literal_column, select, update

from scim_server.storage.database import Database
from scim_server.storage.dialects import Dialect
from scim_server.storage.outbox import LEASE_MS, Claimed, claimed_columns, claimed_from
from scim_server.storage.statements import Statement, bound
from scim_server.storage.tables import Id, Key, outbox, subject


@dataclass(frozen=True, slots=True)
class Echo:
    """A kill to repeat, if it is still `current`: nothing moved the subject since. `echoes` are done already."""

    kill: Claimed
    echoes: int
    current: bool


@dataclass(frozen=True, slots=True)
class Echoed:
    """What came of one: `echoes` done by now, sessions it found, and in how many ms the next is due (None: no more).
    `guard_seen` None: as it was."""

    id: str
    echoes: int
    sessions: int
    delay_ms: int | None
    guard_seen: bool | None = None


async def claim_echoes(database: Database, store: str, limit: int, lease_ms: int = LEASE_MS) -> list[Echo]:
    """Take up to `limit` due echoes of a store."""
    (rows,) = await database.write((_CLAIM, {"store": store, "limit": limit, "lease": lease_ms}))
    if not rows:
        return []
    ids = database.dialect.pack_list([row["id"] for row in rows])
    current = {row["id"] for row in await database.read(_CURRENT, {"ids": ids})}
    return [Echo(claimed_from(row), row["echoes"], row["id"] in current) for row in rows]


async def settle_echoes(database: Database, echoed: Sequence[Echoed]) -> None:
    """Record them, all in one statement."""
    if echoed:
        rows = orjson.dumps([asdict(one) for one in echoed]).decode()
        await database.write((_SETTLE, {"echoed": rows}))


def _claim(d: Dialect) -> Any:
    due = outbox.alias("due_echo")
    chosen = (
        select(due.c.id)
        .where(due.c.store == bound("store", Key), due.c.echo_due <= d.now())
        .order_by(due.c.echo_due)
        .limit(bound("limit", Integer))
        .with_for_update(skip_locked=True)
    )
    return (
        update(outbox)
        .where(outbox.c.id.in_(chosen))
        .values(echo_due=d.now() + bound("lease", BigInteger))
        .returning(*claimed_columns(d))
    )


def _settle(d: Dialect) -> Any:
    columns: dict[str, Any] = {
        "id": Id,
        "echoes": Integer(),
        "sessions": Integer(),
        "delay_ms": BigInteger(),
        "guard_seen": Boolean(),
    }
    said = d.rows("echoed", columns)
    return (
        update(outbox)
        .where(outbox.c.id == said.c.id)
        .values(
            echoes=said.c.echoes,
            guard_seen=func.coalesce(said.c.guard_seen, outbox.c.guard_seen),
            sessions=func.coalesce(outbox.c.sessions, literal_column("0")) + said.c.sessions,
            echo_due=case((said.c.delay_ms.is_not(None), d.now() + said.c.delay_ms)),
        )
    )


_CLAIM = Statement(_claim)
_CURRENT = Statement(
    lambda d: (
        select(outbox.c.id)
        .join(
            subject,
            and_(
                subject.c.tenant_id == outbox.c.tenant_id,
                subject.c.store == outbox.c.store,
                subject.c.subject == outbox.c.subject,
                subject.c.epoch == outbox.c.epoch,
                subject.c.denied,
            ),
        )
        .where(d.any_of(outbox.c.id, "ids", Id))
    )
)
_SETTLE = Statement(_settle)
