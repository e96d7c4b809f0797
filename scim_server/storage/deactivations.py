"""Who lost access: what the mass brake counts, holds and releases, and what an undo restores from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Text,
    and_,
    delete,
    func,
    literal_column,
    outerjoin,
    select,
    update,
)

from scim_server.storage.database import Database
from scim_server.storage.dialects import Dialect
from scim_server.storage.statements import Statement, bound
from scim_server.storage.tables import Id, counter, deactivation, outbox, resource


@dataclass(frozen=True, slots=True)
class Loss:
    """Somebody lost access at `at` (unix ms) by `actor`; `remains` brings a deleted user back. `user_name` is the one
    of now, of a deleted user the last."""

    resource_id: str
    user_name: str
    change_id: str
    at: int
    how: str
    actor: str
    remains: Mapping[str, Any] | None
    undone: int | None


@dataclass(frozen=True, slots=True)
class Held:
    """A termination that waits for a person."""

    id: str
    resource_id: str
    store: str
    subject: str
    type: str
    data: Mapping[str, Any]
    created: int


async def count_since(database: Database, tenant_id: str, since: int, limit: int) -> int:
    """How many lost access since then and did not get it back by an undo, counted up to `limit`."""
    rows = await database.read(_COUNT_SINCE, {"tenant_id": tenant_id, "since": since, "limit": limit})
    return int(rows[0][0])


async def count_active(database: Database, tenant_id: str) -> int:
    """Users who have access now: all, less those that are inactive or that no access group has."""
    rows = await database.read(_COUNT_ACTIVE, {"tenant_id": tenant_id})
    return int(rows[0][0] or 0)


async def listing(database: Database, tenant_id: str, since: int, resource_id: str | None = None) -> list[Loss]:
    """Who lost access since then, or when one user did, latest first."""
    given = {"tenant_id": tenant_id, "since": since, "resource_id": resource_id}
    rows = await database.read(_LISTING if resource_id is None else _LISTING_OF_ONE, given)
    return [
        Loss(
            row["resource_id"],
            row["user_name"] or "",
            row["change_id"],
            row["at"],
            row["how"],
            row["actor"],
            row["remains"] and orjson.loads(row["remains"]),
            row["undone"],
        )
        for row in rows
    ]


async def mark_undone(database: Database, tenant_id: str, resource_id: str, change_id: str, at: int) -> None:
    """Remember that a loss was undone."""
    given = {"tenant_id": tenant_id, "resource_id": resource_id, "change_id": change_id, "at": at}
    await database.write((_MARK_UNDONE, given))


async def held(database: Database, tenant_id: str, resource_id: str | None = None) -> list[Held]:
    """What the brake of a tenant holds, of everybody or of one user, oldest first."""
    given = {"tenant_id": tenant_id, "resource_id": resource_id}
    rows = await database.read(_HELD if resource_id is None else _HELD_OF_ONE, given)
    return [
        Held(
            row["id"],
            row["resource_id"],
            row["store"],
            row["subject"],
            row["type"],
            orjson.loads(row["data"]),
            row["created"],
        )
        for row in rows
    ]


async def forget(database: Database, before: int) -> None:
    """Delete losses from before then, and with them what remained of deleted users."""
    await database.write((_FORGET, {"before": before}))


def _mine(table: Any) -> Any:
    return table.c.tenant_id == bound("tenant_id", Id)


def _count_since(d: Dialect) -> Any:
    recent = (
        select(literal_column("1"))
        .where(_mine(deactivation), deactivation.c.at > bound("since", BigInteger), deactivation.c.undone.is_(None))
        .limit(bound("limit", Integer))
        .subquery("recent")
    )
    return select(func.count()).select_from(recent)


def _count_active(d: Dialect) -> Any:
    users: ColumnElement[str] = literal_column("'User'", Text)
    everyone = select(func.sum(counter.c.n)).where(_mine(counter), counter.c.type == users).scalar_subquery()
    mine = select(func.count()).select_from(resource).where(_mine(resource), resource.c.type == users)
    inactive = mine.where(~resource.c.active).scalar_subquery()
    in_no_group = mine.where(~resource.c.entitled, resource.c.active).scalar_subquery()
    return select(func.coalesce(everyone, 0) - inactive - in_no_group)


def _listing(d: Dialect) -> Any:
    name = func.coalesce(
        d.json_string(resource.c.doc, "userName"), d.json_string(deactivation.c.remains, "document", "userName")
    )
    user = and_(
        resource.c.tenant_id == deactivation.c.tenant_id,
        resource.c.type == literal_column("'User'", Text),
        resource.c.id == deactivation.c.resource_id,
    )
    return (
        select(deactivation, name.label("user_name"))
        .select_from(outerjoin(deactivation, resource, user))
        .where(_mine(deactivation), deactivation.c.at > bound("since", BigInteger))
        .order_by(deactivation.c.at.desc(), deactivation.c.resource_id, deactivation.c.change_id.desc())
    )


def _held(d: Dialect) -> Any:
    return select(outbox).where(_mine(outbox), outbox.c.held, outbox.c.settled.is_(None)).order_by(outbox.c.id)


_COUNT_SINCE = Statement(_count_since)
_COUNT_ACTIVE = Statement(_count_active)
_LISTING = Statement(_listing)
_LISTING_OF_ONE = Statement(lambda d: _listing(d).where(deactivation.c.resource_id == bound("resource_id", Id)))
_HELD = Statement(_held)
_HELD_OF_ONE = Statement(lambda d: _held(d).where(outbox.c.resource_id == bound("resource_id", Id)))
_MARK_UNDONE = Statement(
    lambda d: (
        update(deactivation)
        .where(
            _mine(deactivation),
            deactivation.c.resource_id == bound("resource_id", Id),
            deactivation.c.change_id == bound("change_id", Id),
        )
        .values(undone=bound("at", BigInteger))
    )
)
_FORGET = Statement(lambda d: delete(deactivation).where(deactivation.c.at < bound("before", BigInteger)))
