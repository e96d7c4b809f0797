"""Reads of single resources, of members and of indexed values. Lists: listing.py. Writes are Changes (commit.py)."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import BigInteger, ColumnElement, Integer, Text, and_, case, func, literal_column, select
from sqlalchemy.sql import Select

from scim_server.storage.change import ValueRow
from scim_server.storage.database import Database, Row
from scim_server.storage.dialects import Dialect
from scim_server.storage.statements import Statement, bound
from scim_server.storage.tables import Id, Key, credential, member, resource, resource_value

FEW = 100
Members = Sequence[tuple[str, str, str | None]]  # id, type, display


class Stored(NamedTuple):
    """A resource as stored: `doc` is JSON text without id, meta, members and groups; times in unix ms. `groups` is
    JSON text, a list of [group id, display] pairs, or None when it was not asked for. `entitled` False: no access
    group of the tenant has this user. `members`: of a group loaded for an edit, in id order, when they are FEW."""

    id: str
    version: int
    created: int
    modified: int
    active: bool
    doc: str
    groups: str | None = None
    entitled: bool = True
    members: Members | None = None


async def load(database: Database, tenant_id: str, kind: str, resource_id: str, *, groups: bool) -> Stored | None:
    """One resource by key, with the groups it is a direct member of in the same statement; None if there is none."""
    given = {"tenant_id": tenant_id, "type": kind, "id": resource_id}
    rows = await database.read(_LOAD_WITH_GROUPS if groups else _LOAD, given)
    return stored_from(rows[0]) if rows else None


async def load_for_edit(database: Database, tenant_id: str, kind: str, resource_id: str) -> Stored | None:
    """As `load`: a user with its groups, a group with its members when they are at most FEW."""
    if kind != "Group":
        return await load(database, tenant_id, kind, resource_id, groups=kind == "User")
    rows = await database.read(_LOAD_WITH_MEMBERS, {"tenant_id": tenant_id, "type": kind, "id": resource_id})
    if not rows:
        return None
    few = rows[0]["members"]
    members = None if few is None else [(member_id, kind, display) for member_id, kind, display in orjson.loads(few)]
    return stored_from(rows[0])._replace(members=members)


async def find(database: Database, tenant_id: str, kind: str, unique_key: str, *, groups: bool) -> Stored | None:
    """The resource that has this unique key, as `load` loads one."""
    given = {"tenant_id": tenant_id, "type": kind, "unique_key": unique_key}
    rows = await database.read(_FIND_WITH_GROUPS if groups else _FIND, given)
    return stored_from(rows[0]) if rows else None


async def load_many(database: Database, tenant_id: str, kind: str, ids: list[str]) -> list[Stored]:
    """Those of `ids` that exist, with the groups they are in."""
    if not ids:
        return []
    given = {"tenant_id": tenant_id, "type": kind, "keys": database.dialect.pack_list(ids)}
    assert _LOAD_WITH_GROUPS.many is not None
    return [stored_from(row) for row in await database.read(_LOAD_WITH_GROUPS.many, given)]


async def members_of(database: Database, tenant_id: str, group_id: str, limit: int | None = None) -> list[list[Any]]:
    """[id, type, display] of a group's members in id order, at most `limit`."""
    given = {"tenant_id": tenant_id, "group_id": group_id, "limit": -1 if limit is None else limit}
    rows = await database.read(_MEMBERS if limit is None else _MEMBERS_LIMITED, given)
    return [[row["member_id"], row["type"], row["display"]] for row in rows]


async def members_of_many(
    database: Database, tenant_id: str, group_ids: list[str], limit: int
) -> list[tuple[str, str, str, str | None]]:
    """(group id, member id, type, display) of several groups, at most `limit` in all."""
    given = {"tenant_id": tenant_id, "groups": database.dialect.pack_list(group_ids), "limit": limit}
    rows = await database.read(_MEMBERS_OF_MANY, given)
    return [(row["group_id"], row["member_id"], row["type"], row["display"]) for row in rows]


class Standing(NamedTuple):
    """What a User or Group is to a group: its own type, and the display of its membership if it is a member."""

    type: str
    is_member: bool
    display: str | None


async def standing_in(database: Database, tenant_id: str, group_id: str, ids: list[str]) -> dict[str, Standing]:
    """Those of `ids` that exist in the tenant, and what they are to the group now."""
    given = {"tenant_id": tenant_id, "group_id": group_id, "ids": database.dialect.pack_list(ids)}
    rows = await database.read(_STANDING_IN, given)
    return {row["id"]: Standing(row["type"], row["member_id"] is not None, row["display"]) for row in rows}


async def types_of(database: Database, tenant_id: str, ids: list[str]) -> dict[str, str]:
    """id -> resource type of those that exist in the tenant."""
    rows = await database.read(_TYPES, {"tenant_id": tenant_id, "ids": database.dialect.pack_list(ids)})
    return {row["id"]: row["type"] for row in rows}


async def holder_of(database: Database, tenant_id: str, kind: str, unique_key: str) -> str | None:
    """The id of the resource that has this unique key."""
    rows = await database.read(_HOLDER, {"tenant_id": tenant_id, "type": kind, "unique_key": unique_key})
    return rows[0]["id"] if rows else None


async def held_by_others(
    database: Database, tenant_id: str, kind: str, resource_id: str, values: Iterable[ValueRow]
) -> set[tuple[str, str]]:
    """(attr, value_key) of the exclusive ones of `values` that another resource has."""
    wanted = [value for value in values if value.exclusive]
    given = {"tenant_id": tenant_id, "type": kind, "id": resource_id, "wanted": orjson.dumps(wanted).decode()}
    rows = await database.read(_HELD_BY_OTHERS, given) if wanted else []
    return {(row["attr"], row["value_key"]) for row in rows}


async def password_hash_of(database: Database, tenant_id: str, resource_id: str) -> str | None:
    """The stored password hash of a user."""
    rows = await database.read(_HASH, {"tenant_id": tenant_id, "id": resource_id})
    return rows[0]["hash"] if rows else None


async def values_of(database: Database, tenant_id: str, kind: str, resource_id: str) -> set[tuple[str, str, bool]]:
    """(attr, value_key, exclusive) rows of a resource."""
    rows = await database.read(_VALUES, {"tenant_id": tenant_id, "type": kind, "id": resource_id})
    return {(row["attr"], row["value_key"], bool(row["exclusive"])) for row in rows}


def stored_from(row: Row) -> Stored:
    """From a row that begins with `columns`."""
    resource_id, version, created, modified, active, entitled, doc, in_groups = row[:8]
    return Stored(resource_id, version, created, modified, bool(active), doc, in_groups, bool(entitled))


def columns(d: Dialect, groups: bool) -> list[ColumnElement[Any]]:
    """What a SELECT on `resource` returns for `stored_from`."""
    table = resource.c
    return [
        table.id,
        table.version,
        table.created,
        table.modified,
        table.active,
        table.entitled,
        d.json_text(table.doc).label("doc"),
        (_groups(d) if groups else literal_column("NULL")).label("groups"),
    ]


def _groups(d: Dialect) -> Any:
    # The name by a subselect, not a join: by its whole key, whatever the planner believes of the tables' sizes.
    group = resource.alias("in_group")
    display = (
        select(d.json_string(group.c.doc, "displayName"))
        .where(
            group.c.tenant_id == member.c.tenant_id,
            group.c.type == literal_column("'Group'"),
            group.c.id == member.c.group_id,
        )
        .scalar_subquery()
    )
    pairs = (
        select(member.c.group_id.label("id"), display.label("display"))
        .where(member.c.tenant_id == resource.c.tenant_id, member.c.member_id == resource.c.id)
        .order_by(member.c.group_id)
        .correlate(resource)
        .subquery("memberships")
    )
    return select(d.json_lists(pairs.c.id, pairs.c.display)).select_from(pairs).scalar_subquery()


def _here() -> list[ColumnElement[bool]]:
    return [resource.c.tenant_id == bound("tenant_id", Id), resource.c.type == bound("type", Key)]


def _few_members(d: Dialect) -> Any:
    its = (member.c.tenant_id == resource.c.tenant_id, member.c.group_id == resource.c.id)
    found = select(member.c.member_id, member.c.type, member.c.display).where(*its).order_by(member.c.member_id)
    few = found.limit(literal_column(str(FEW + 1))).correlate(resource).subquery("few")
    shown = select(d.json_lists(few.c.member_id, few.c.type, few.c.display)).select_from(few).scalar_subquery()
    size = select(func.count()).select_from(few).scalar_subquery()
    return case((size <= literal_column(str(FEW)), func.coalesce(shown, literal_column("'[]'"))))


def _by(key: str, kind: Any, *, groups: bool, members: bool = False) -> Statement:
    """Of one resource by a key that no other of its type has."""
    column = resource.c[key]

    def shown(d: Dialect) -> list[ColumnElement[Any]]:
        return [*columns(d, groups), *([_few_members(d).label("members")] if members else [])]

    many = Statement(lambda d: select(*shown(d), column).where(*_here(), d.any_of(column, "keys", kind)))
    return Statement(lambda d: select(*shown(d)).where(*_here(), column == bound(key, kind)), many=many, key=key)


_LOAD = _by("id", Id, groups=False)
_LOAD_WITH_GROUPS = _by("id", Id, groups=True)
_LOAD_WITH_MEMBERS = _by("id", Id, groups=False, members=True)
_FIND = _by("unique_key", Key, groups=False)
_FIND_WITH_GROUPS = _by("unique_key", Key, groups=True)


def _members(d: Dialect) -> Select[Any]:
    return (
        select(member.c.member_id, member.c.type, member.c.display)
        .where(member.c.tenant_id == bound("tenant_id", Id), member.c.group_id == bound("group_id", Id))
        .order_by(member.c.member_id)
    )


_MEMBERS = Statement(_members)
_MEMBERS_LIMITED = Statement(lambda d: _members(d).limit(bound("limit", Integer)))
_MEMBERS_OF_MANY = Statement(
    lambda d: (
        select(member.c.group_id, member.c.member_id, member.c.type, member.c.display)
        .where(member.c.tenant_id == bound("tenant_id", Id), d.any_of(member.c.group_id, "groups", Id))
        .order_by(member.c.group_id, member.c.member_id)
        .limit(bound("limit", BigInteger))
    )
)


def _candidates(d: Dialect) -> list[ColumnElement[bool]]:
    return [
        resource.c.tenant_id == bound("tenant_id", Id),
        resource.c.type.in_([literal_column("'User'", Text), literal_column("'Group'", Text)]),
        d.any_of(resource.c.id, "ids", Id),
    ]


def _standing_in(d: Dialect) -> Select[Any]:
    its = and_(
        member.c.tenant_id == resource.c.tenant_id,
        member.c.group_id == bound("group_id", Id),
        member.c.member_id == resource.c.id,
    )
    found = resource.outerjoin(member, its)
    shown = (resource.c.id, resource.c.type, member.c.member_id, member.c.display)
    return select(*shown).select_from(found).where(*_candidates(d))


_STANDING_IN = Statement(_standing_in)
_TYPES = Statement(lambda d: select(resource.c.id, resource.c.type).where(*_candidates(d)))
_HOLDER = Statement(
    lambda d: select(resource.c.id).where(
        resource.c.tenant_id == bound("tenant_id", Id),
        resource.c.type == bound("type", Key),
        resource.c.unique_key == bound("unique_key", Key),
    )
)
_HASH = Statement(
    lambda d: select(credential.c.hash).where(
        credential.c.tenant_id == bound("tenant_id", Id), credential.c.resource_id == bound("id", Id)
    )
)


def _held_by_others(d: Dialect) -> Select[Any]:
    wanted = d.rows("wanted", {"attr": Key, "value_key": Key})
    table = resource_value.c
    same = and_(table.attr == wanted.c.attr, table.value_key == wanted.c.value_key)
    return (
        select(table.attr, table.value_key)
        .select_from(wanted.join(resource_value, same))
        .where(
            table.tenant_id == bound("tenant_id", Id),
            table.type == bound("type", Key),
            table.resource_id != bound("id", Id),
        )
    )


_HELD_BY_OTHERS = Statement(_held_by_others)
_VALUES = Statement(
    lambda d: select(resource_value.c.attr, resource_value.c.value_key, resource_value.c.exclusive).where(
        resource_value.c.tenant_id == bound("tenant_id", Id),
        resource_value.c.type == bound("type", Key),
        resource_value.c.resource_id == bound("id", Id),
    )
)
