"""The event feed: the outbox read in the order of commits, and receipts: what became of one write's kills."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import BigInteger, Integer, Text, exists, literal_column, select, tuple_, union

from scim_server.storage.change import FEED
from scim_server.storage.database import Database, Row
from scim_server.storage.dialects import Dialect
from scim_server.storage.statements import Statement, bound
from scim_server.storage.tables import Id, audit, deactivation, outbox

WRITES = 1_000  # of one request: more than a Bulk may have


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
    """One store's part of a receipt. `state` is done, pending, held, refused or cancelled (it was held, and there was a
    later word about the subject); times in unix ms; `kinds` of credentials that were to be
    ended; `in_commit`: done by the write itself."""

    store: str
    resource_id: str
    type: str
    state: str
    committed: int
    confirmed: int | None
    sessions: int | None
    guard_seen: bool | None
    attempts: int
    error: str | None
    kinds: tuple[str, ...]
    in_commit: bool


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


async def has(database: Database, tenant_id: str, place: tuple[int, str]) -> bool:
    """Whether the event at this place is still there, and so all that followed it."""
    given = {"tenant_id": tenant_id, "position": place[0], "id": place[1]}
    return bool(await database.read(_AT, given))


async def of_request(database: Database, tenant_id: str, request_id: str) -> list[WriteRecord]:
    """The writes of a request, newest first, at most WRITES."""
    given = {"tenant_id": tenant_id, "request_id": request_id, "limit": WRITES}
    return await _records(database, await database.read(_OF_REQUEST, given), None)


async def of_user(database: Database, tenant_id: str, user_id: str, limit: int) -> list[WriteRecord]:
    """The latest writes by which stores learned about a user or the user lost access, newest first."""
    given = {"tenant_id": tenant_id, "resource_id": user_id, "limit": limit}
    return await _records(database, await database.read(_OF_USER, given), user_id)


async def _records(database: Database, writes: Sequence[Row], user_id: str | None) -> list[WriteRecord]:
    sent: dict[str, list[Confirmation]] = {row["id"]: [] for row in writes}
    for row in await database.read(_CONFIRMATIONS, {"changes": database.dialect.pack_list(list(sent))}):
        if user_id in (None, row["resource_id"]):
            sent[row["change_id"]].append(_confirmation(row))
    return [
        WriteRecord(
            row["id"],
            row["at"],
            row["actor"],
            row["action"],
            row["resource_type"],
            row["resource_id"],
            row["request_id"],
            orjson.loads(row["detail"]),
            tuple(sent[row["id"]]),
        )
        for row in writes
    ]


def _confirmation(row: Any) -> Confirmation:
    state = row["outcome"] or ("held" if row["held"] else "pending")
    state = "refused" if state == "gone" else state
    seen = row["guard_seen"]
    return Confirmation(
        row["store"],
        row["resource_id"],
        row["type"],
        state,
        row["created"],
        row["settled"] if state == "done" else None,
        row["sessions"],
        None if seen is None else bool(seen),
        row["attempts"],
        row["error"],
        tuple(orjson.loads(row["data"]).get("kinds", ())),
        state == "done" and row["attempts"] == 0,
    )


def _entries(d: Dialect) -> Any:
    # As a comparison of rows it is a range of the index, however far the reader has come.
    place = tuple_(outbox.c.position, outbox.c.id) > tuple_(bound("position", BigInteger), bound("id", Id))
    return (
        select(outbox.c.position, outbox.c.id, outbox.c.type, outbox.c.created, outbox.c.data)
        .where(
            outbox.c.tenant_id == bound("tenant_id", Id),
            outbox.c.store == literal_column(f"'{FEED}'", Text),
            place,
            outbox.c.position < d.settled_position(),
        )
        .order_by(outbox.c.position, outbox.c.id)
        .limit(bound("limit", Integer))
    )


def _of_user(d: Dialect) -> Any:
    """A user's access may be lost by a write about a group: of such there is a deactivation row."""
    mine = audit.c.tenant_id == bound("tenant_id", Id)
    told = exists().where(outbox.c.change_id == audit.c.id, outbox.c.action != literal_column("'notify'", Text))
    writes = union(
        select(audit.c.id).where(mine, audit.c.resource_id == bound("resource_id", Id), told),
        select(deactivation.c.change_id).where(
            deactivation.c.tenant_id == bound("tenant_id", Id), deactivation.c.resource_id == bound("resource_id", Id)
        ),
    )
    return _newest(select(audit).where(mine, audit.c.id.in_(writes)))


def _newest(writes: Any) -> Any:
    return writes.order_by(audit.c.id.desc()).limit(bound("limit", Integer))


_ENTRIES = Statement(_entries)
_AT = Statement(
    lambda d: select(outbox.c.id).where(
        outbox.c.id == bound("id", Id),
        outbox.c.tenant_id == bound("tenant_id", Id),
        outbox.c.store == literal_column(f"'{FEED}'", Text),
        outbox.c.position == bound("position", BigInteger),
    )
)
_OF_REQUEST = Statement(
    lambda d: _newest(
        select(audit).where(
            audit.c.tenant_id == bound("tenant_id", Id), audit.c.request_id == bound("request_id", Text)
        )
    )
)
_OF_USER = Statement(_of_user)
_CONFIRMATIONS = Statement(
    lambda d: (
        select(outbox)
        .where(d.any_of(outbox.c.change_id, "changes", Id), outbox.c.action != literal_column("'notify'", Text))
        .order_by(outbox.c.store, outbox.c.id)
    )
)
