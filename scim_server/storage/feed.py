"""The event feed: the outbox read in the order of commits, and receipts: what became of one write's kills."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import BigInteger, Integer, Text, bindparam, literal_column, or_, select

from scim_server.storage.change import FEED
from scim_server.storage.database import Database
from scim_server.storage.dialects import Dialect
from scim_server.storage.statements import Statement
from scim_server.storage.tables import Id, audit, outbox


@dataclass(frozen=True, slots=True)
class Entry:
    """One event; `position` and `id` together say where it stands in the feed; `at` in unix ms."""

    position: int
    id: str
    type: str
    at: int
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """One store's part of a receipt. `state` is done, pending, held, refused or cancelled; times in unix ms."""

    store: str
    type: str
    state: str
    committed: int
    confirmed: int | None
    sessions: int | None
    guard_seen: bool | None
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """One write in the audit, and what its kills came to."""

    change_id: str
    at: int
    actor: str
    action: str
    resource_type: str | None
    resource_id: str | None
    request_id: str
    detail: Mapping[str, Any]
    confirmations: tuple[Confirmation, ...]


async def entries(database: Database, tenant_id: str, after: tuple[int, str], limit: int) -> list[Entry]:
    """Events after a place in the feed, oldest first, at most `limit`; none can still appear before the last one."""
    given = {"tenant_id": tenant_id, "position": after[0], "id": after[1], "limit": limit}
    rows = await database.read(_ENTRIES, given)
    return [Entry(row["position"], row["id"], row["type"], row["created"], orjson.loads(row["data"])) for row in rows]


async def records(
    database: Database, tenant_id: str, *, request_id: str = "", resource_id: str | None = None, limit: int = 20
) -> list[WriteRecord]:
    """Writes by the id of their request (or change), or the latest of one resource, newest first."""
    given = {"tenant_id": tenant_id, "request_id": request_id, "resource_id": resource_id, "limit": limit}
    writes = await database.read(_BY_REQUEST if resource_id is None else _BY_RESOURCE, given)
    found: list[WriteRecord] = []
    for row in writes:
        sent = await database.read(_CONFIRMATIONS, {"change_id": row["id"]})
        found.append(
            WriteRecord(
                row["id"],
                row["at"],
                row["actor"],
                row["action"],
                row["resource_type"],
                row["resource_id"],
                row["request_id"],
                orjson.loads(row["detail"]),
                tuple(_confirmation(one) for one in sent),
            )
        )
    return found


def _confirmation(row: Any) -> Confirmation:
    state = row["outcome"] or ("held" if row["held"] else "pending")
    seen = row["guard_seen"]
    return Confirmation(
        row["store"],
        row["type"],
        state,
        row["created"],
        row["settled"] if state == "done" else None,
        row["sessions"],
        None if seen is None else bool(seen),
        row["attempts"],
        row["error"],
    )


def _p(name: str, kind: Any) -> Any:
    return bindparam(name, type_=kind)


def _entries(d: Dialect) -> Any:
    place = (outbox.c.position == _p("position", BigInteger)) & (outbox.c.id > _p("id", Id))
    return (
        select(outbox.c.position, outbox.c.id, outbox.c.type, outbox.c.created, outbox.c.data)
        .where(
            outbox.c.tenant_id == _p("tenant_id", Id),
            outbox.c.store == literal_column(f"'{FEED}'", Text),
            or_(outbox.c.position > _p("position", BigInteger), place),
            outbox.c.position < d.settled_position(),
        )
        .order_by(outbox.c.position, outbox.c.id)
        .limit(_p("limit", Integer))
    )


_ENTRIES = Statement(_entries)
_BY_REQUEST = Statement(
    lambda d: (
        select(audit)
        .where(audit.c.tenant_id == _p("tenant_id", Id), audit.c.request_id == _p("request_id", Text))
        .order_by(audit.c.id.desc())
        .limit(_p("limit", Integer))
    )
)
_BY_RESOURCE = Statement(
    lambda d: (
        select(audit)
        .where(audit.c.tenant_id == _p("tenant_id", Id), audit.c.resource_id == _p("resource_id", Id))
        .order_by(audit.c.id.desc())
        .limit(_p("limit", Integer))
    )
)
_CONFIRMATIONS = Statement(
    lambda d: (
        select(outbox)
        .where(
            outbox.c.change_id == _p("change_id", Id),
            outbox.c.action != literal_column("'notify'", Text),
        )
        .order_by(outbox.c.store, outbox.c.id)
    )
)
