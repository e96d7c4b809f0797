"""Search columns and index rows made anew from the documents, in batches, while others write (keys.py says how).

A resource is written only while it still has the version that it was read with, and moves it: a client's write that
has begun before must read again, or it would leave index rows behind that it could not see. Nothing is told to anybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import BigInteger, Boolean, Integer, and_, delete, exists, func, literal_column, select, true, update
from sqlalchemy.sql import Select

from scim_server.storage.change import ResourceRow, ValueRow
from scim_server.storage.database import Database
from scim_server.storage.dialects import Dialect
from scim_server.storage.statements import Statement, bound
from scim_server.storage.tables import Id, Json, Key, counter, indexing, resource, resource_value

KEYS = ("unique_key", "external_id", "display_name_key", "family_name_key")


class Indexed(NamedTuple):
    """By which rules all rows of a tenant and type were made (None: not known), and how far a reindex has come."""

    rules: str | None
    target: str | None = None
    after_id: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A resource and what it is found by at present."""

    id: str
    version: int
    document: dict[str, Any]
    active: bool
    search: Any
    keys: tuple[str | None, ...]
    values: frozenset[ValueRow]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a resource of this version is to be found by."""

    id: str
    version: int
    row: ResourceRow
    values: Sequence[ValueRow]


async def recorded(database: Database) -> dict[tuple[str, str], Indexed]:
    """What is known, by tenant id and type."""
    rows = await database.read(_RECORDED, {})
    return {(row["tenant_id"], row["type"]): Indexed(row["rules"], row["target"], row["after_id"]) for row in rows}


async def filled(database: Database) -> set[tuple[str, str]]:
    """Tenant ids and types with any resources."""
    return {(row["tenant_id"], row["type"]) for row in await database.read(_FILLED, {})}


async def record(database: Database, states: Mapping[tuple[str, str], Indexed]) -> None:
    """Remember how far the resources of these tenants and types have come."""
    rows = [{"tenant_id": tenant, "type": kind, **state._asdict()} for (tenant, kind), state in states.items()]
    if rows:
        await database.write((_RECORD, {"states": orjson.dumps(rows).decode()}))


async def page(database: Database, tenant_id: str, kind: str, after_id: str | None, limit: int) -> list[Held]:
    """The resources that come next, in the order of their ids."""
    given = {"tenant_id": tenant_id, "type": kind, "after": after_id or _FIRST, "limit": limit}
    return await _held(database, given, await database.read(_PAGE, given))


async def some(database: Database, tenant_id: str, kind: str, ids: Sequence[str]) -> list[Held]:
    """Those of these resources that are still there."""
    given = {"tenant_id": tenant_id, "type": kind, "ids": database.dialect.pack_list(list(ids))}
    return await _held(database, given, await database.read(_SOME, given))


async def rewrite(database: Database, tenant_id: str, kind: str, wanted: Sequence[Wanted]) -> set[str]:
    """Write all of these or none; the ids of those that had not changed meanwhile. Raises Taken."""
    rows = [
        {
            "id": each.id,
            "version": each.version,
            "search": orjson.Fragment(each.row.search),
            **{key: getattr(each.row, key) for key in KEYS},
        }
        for each in wanted
    ]
    values = [
        {"id": each.id, "version": each.version, "attr": v.attr, "value_key": v.value_key, "exclusive": v.exclusive}
        for each in wanted
        for v in each.values
    ]
    given = {
        "tenant_id": tenant_id,
        "type": kind,
        "ids": database.dialect.pack_list([each.id for each in wanted]),
        "rows": orjson.dumps(rows).decode(),
        "values": orjson.dumps(values).decode(),
    }
    *_, moved = await database.write((_UPDATE, given), (_FORGET, given), (_INSERT, given), (_MOVE, given))
    return {row["id"] for row in moved}


_FIRST = "00000000-0000-0000-0000-000000000000"


async def _held(database: Database, given: dict[str, Any], rows: Sequence[Any]) -> list[Held]:
    ids = [row["id"] for row in rows]
    values: dict[str, set[ValueRow]] = {each: set() for each in ids}
    if ids:
        for row in await database.read(_VALUES, {**given, "ids": database.dialect.pack_list(ids)}):
            values[row["resource_id"]].add(ValueRow(row["attr"], row["value_key"], bool(row["exclusive"])))
    return [
        Held(
            row["id"],
            row["version"],
            orjson.loads(row["doc"]),
            bool(row["active"]),
            orjson.loads(row["search"]),
            tuple(row[key] for key in KEYS),
            frozenset(values[row["id"]]),
        )
        for row in rows
    ]


_RECORDED = Statement(lambda _: select(*indexing.c))
_FILLED = Statement(
    lambda _: (
        select(counter.c.tenant_id, counter.c.type)
        .group_by(counter.c.tenant_id, counter.c.type)
        .having(func.sum(counter.c.n) > literal_column("0"))
    )
)


def _record(d: Dialect) -> Any:
    kinds: dict[str, Any] = {"tenant_id": Id, "type": Key, "rules": Key, "target": Key, "after_id": Id}
    rows = d.rows("states", kinds)
    insert = d.insert(indexing).from_select(list(kinds), select(*(rows.c[name] for name in kinds)).where(true()))
    changed = {name: insert.excluded[name] for name in ("rules", "target", "after_id")}
    return insert.on_conflict_do_update(index_elements=[indexing.c.tenant_id, indexing.c.type], set_=changed)


_RECORD = Statement(_record)


def _here(table: Any) -> list[Any]:
    return [table.c.tenant_id == bound("tenant_id", Id), table.c.type == bound("type", Key)]


def _read(d: Dialect) -> Select[Any]:
    table = resource.c
    texts = (d.json_text(table.doc).label("doc"), d.json_text(table.search).label("search"))
    return select(table.id, table.version, table.active, *texts, *(table[key] for key in KEYS)).where(*_here(resource))


_PAGE = Statement(
    lambda d: (
        _read(d).where(resource.c.id > bound("after", Id)).order_by(resource.c.id).limit(bound("limit", BigInteger))
    )
)
_SOME = Statement(lambda d: _read(d).where(d.any_of(resource.c.id, "ids", Id)))
_VALUES = Statement(
    lambda d: select(*resource_value.c).where(*_here(resource_value), d.any_of(resource_value.c.resource_id, "ids", Id))
)


def _given(d: Dialect) -> Any:
    kinds: dict[str, Any] = {"id": Id, "version": Integer(), "search": Json, **dict.fromkeys(KEYS, Key)}
    return d.rows("rows", kinds)


def _update(d: Dialect) -> Any:
    rows = _given(d)
    values = {name: rows.c[name] for name in ("search", *KEYS)}
    return update(resource).where(*_listed(d), _same(rows)).values(values)


def _listed(d: Dialect) -> list[Any]:
    """By key: SQLite would look through all resources of the tenant for each row that is given."""
    return [*_here(resource), d.any_of(resource.c.id, "ids", Id)]


def _unchanged(rows: Any, resource_id: Any) -> Any:
    """The resource still has the version that was read: then the update before has locked it."""
    found: Any = select(literal_column("1")).select_from(resource).where(*_here(resource), _same(rows))
    return exists(found.where(resource.c.id == resource_id))


def _same(rows: Any) -> Any:
    return and_(resource.c.id == rows.c.id, resource.c.version == rows.c.version)


def _forget(d: Dialect) -> Any:
    rows = _given(d)
    ids = select(rows.c.id).where(_unchanged(rows, rows.c.id))
    return delete(resource_value).where(*_here(resource_value), resource_value.c.resource_id.in_(ids))


def _insert(d: Dialect) -> Any:
    kinds: dict[str, Any] = {"id": Id, "version": Integer(), "attr": Key, "value_key": Key, "exclusive": Boolean()}
    rows = d.rows("values", kinds)
    columns = {
        "tenant_id": bound("tenant_id", Id),
        "type": bound("type", Key),
        "attr": rows.c.attr,
        "value_key": rows.c.value_key,
        "resource_id": rows.c.id,
        "exclusive": rows.c.exclusive,
    }
    found = select(*columns.values()).where(_unchanged(rows, rows.c.id))
    return d.insert(resource_value).from_select(list(columns), found)


def _move(d: Dialect) -> Any:
    changed = update(resource).where(*_listed(d), _same(_given(d)))
    return changed.values(version=resource.c.version + literal_column("1")).returning(resource.c.id)


_UPDATE, _FORGET, _INSERT, _MOVE = Statement(_update), Statement(_forget), Statement(_insert), Statement(_move)
