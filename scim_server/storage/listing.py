"""Lists of resources: those that match a filter, in an order, from an offset or after a position.

Keys are selected first and documents joined last, so that a deep page walks an index and not the documents. A
position (sort key and id of a resource) costs the same however deep it is, and neither skips nor repeats anything
when resources come and go (RFC 9865 §2).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import _lru_cache_wrapper, lru_cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Integer, bindparam, cast, func, literal_column, select, tuple_
from sqlalchemy.sql import Select

from scim_server.protocol.attributes import AttributeRef, ResourceType
from scim_server.protocol.filter import Filter
from scim_server.storage.database import Database, Row
from scim_server.storage.dialects import Dialect
from scim_server.storage.filter_sql import arguments, condition, is_pointed, unique_key
from scim_server.storage.resources import Stored, columns, find, stored_from
from scim_server.storage.sort_sql import SortKey, sort_key
from scim_server.storage.statements import Statement
from scim_server.storage.tables import Id, Key, counter, resource

SEARCH_TIMEOUT_MS = 5_000
CACHED_SHAPE = 1_000  # characters of a filter without its values
SortValue = str | int | float | None
Rows = Literal["with", "without"]


@dataclass(frozen=True, slots=True)
class Sort:
    """An order by one attribute (None: by id, which is the order of creation); ties by id. Those without a value come
    last, and descending is the exact reverse (RFC 7644 §3.4.2.3)."""

    by: AttributeRef | None = None
    descending: bool = False

    @property
    def reversed(self) -> "Sort":
        """The same list from its other end."""
        return replace(self, descending=not self.descending)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a resource stands in a sorted list."""

    value: SortValue
    id: str


class Placed(NamedTuple):
    """A resource and where it stands in the list it was found in."""

    resource: Stored
    value: SortValue

    @property
    def position(self) -> Position:
        """To go on from here."""
        return Position(self.value, self.resource.id)


@dataclass(frozen=True, slots=True)
class Found:
    """One page and the number of all matches."""

    total: int
    placed: Sequence[Placed]

    @property
    def resources(self) -> list[Stored]:
        """The resources alone."""
        return [each.resource for each in self.placed]


async def search(
    database: Database,
    tenant_id: str,
    resource_type: ResourceType,
    query: Filter | None,
    *,
    sort: Sort,
    offset: int,
    limit: int,
    groups: bool,
) -> Found:
    """A page of matches (`limit` 0: only the total). Raises TooMany when the filter costs too much."""
    found: list[Placed] = []
    key = None if query is None else unique_key(query, resource_type)
    if key is not None and limit and sort.by is None:
        only = await find(database, tenant_id, resource_type.name, key, groups=groups)
        found = [] if only is None else [Placed(only, None)]
        return Found(len(found), found[offset:])
    if limit:
        given = {"offset": offset, "limit": limit}
        rows = await _read(database, tenant_id, resource_type, query, _Page(sort, groups), given)
        found = _placed(rows, sort)
        if len(found) < limit and (found or offset == 0):
            return Found(offset + len(found), found)
        if found and query is None:
            return Found(rows[0]["total"], found)
    return Found(await count(database, tenant_id, resource_type, query), found)


async def walk(
    database: Database,
    tenant_id: str,
    resource_type: ResourceType,
    query: Filter | None,
    *,
    sort: Sort,
    after: Position | None,
    limit: int,
    groups: bool,
) -> list[Placed]:
    """At most `limit` matches after a position (None: from the start). Raises TooMany."""
    found: list[Placed] = []
    key = sort_key(sort.by, resource_type, database.dialect)
    for part in _parts(sort, key, after):
        given: dict[str, Any] = {"offset": 0, "limit": limit - len(found)}
        if after is not None and part.after:
            given["after_id"] = after.id
            given["sort_key"] = repr(after.value) if key and key.numeric else after.value
        found += _placed(await _read(database, tenant_id, resource_type, query, _Page(sort, groups, part), given), sort)
        if len(found) >= limit:
            break
    return found


async def count(database: Database, tenant_id: str, resource_type: ResourceType, query: Filter | None) -> int:
    """How many match: exactly, but for an unfiltered list without counting."""
    given = {"tenant_id": tenant_id, "type": resource_type.name}
    if query is None:
        rows = await database.read(_TOTAL, given)
    else:
        given |= arguments(query, resource_type, database.dialect)
        statement = _made(_count_statement, _Query(resource_type, query))
        rows = await database.read(statement, given, timeout_ms=SEARCH_TIMEOUT_MS)
    return int(rows[0][0] or 0)


# --- parts of an order -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of a list that one index range covers: those with a value or those without; `after`: its rest, behind
    the position."""

    rows: Rows
    after: bool


@dataclass(frozen=True, slots=True)
class _Page:
    """The shape of a page's statement. `part` None: all of the list, by offset."""

    sort: Sort
    groups: bool
    part: _Part | None = None


def _parts(sort: Sort, key: SortKey | None, after: Position | None) -> list[_Part]:
    """The stretches of the list in their order, from the one that the position is in. Resources sorted by nothing but
    their id are all "without"."""
    order: list[Rows] = ["without", "with"] if sort.descending else ["with", "without"]
    here: Rows | None = None
    if after is not None:
        here = "without" if after.value is None else "with"
        order = order[order.index(here) :]
    there_are = {"with": key is not None, "without": key is None or key.optional}
    return [_Part(rows, rows == here) for rows in order if there_are[rows]]


async def _read(
    database: Database,
    tenant_id: str,
    resource_type: ResourceType,
    query: Filter | None,
    page: _Page,
    given: dict[str, Any],
) -> Sequence[Row]:
    given |= {"tenant_id": tenant_id, "type": resource_type.name}
    if query is not None:
        given |= arguments(query, resource_type, database.dialect)
    statement = _made(_page_statement, _Query(resource_type, query), page)
    return await database.read(statement, given, timeout_ms=SEARCH_TIMEOUT_MS)


def _placed(rows: Sequence[Row], sort: Sort) -> list[Placed]:
    if sort.by is None:
        return [Placed(stored_from(row), None) for row in rows]
    return [Placed(stored_from(row), _plain(row["sort_value"])) for row in rows]


def _plain(value: Any) -> SortValue:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    plain: SortValue = value
    return plain


# --- statements --------------------------------------------------------------------------------------------------


class _Query:
    """A filter as a cache key: two queries are the same if their types and shapes are, whatever their values."""

    __slots__ = ("filter", "key", "resource_type")

    def __init__(self, resource_type: ResourceType, query: Filter | None) -> None:
        self.resource_type = resource_type
        self.filter = query
        self.key = (resource_type, query and query.shape)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Query) and self.key == other.key


def _made(statement: "_lru_cache_wrapper[Statement]", query: _Query, *page: _Page) -> Statement:
    """From the cache, unless the filter is long: such are rare, and a cache full of them would take half a gigabyte."""
    is_long = query.filter is not None and len(query.filter.shape) > CACHED_SHAPE
    return (statement.__wrapped__ if is_long else statement)(query, *page)


@lru_cache(maxsize=2048)
def _page_statement(query: _Query, page: _Page) -> Statement:
    return Statement(lambda d: _page(d, query, page))


@lru_cache(maxsize=1024)
def _count_statement(query: _Query) -> Statement:
    return Statement(lambda d: select(func.count()).select_from(resource).where(*_matching(d, query)))


def _total() -> Select[Any]:
    return select(cast(func.sum(counter.c.n), BigInteger)).where(*_here(counter.c))


_TOTAL = Statement(lambda d: _total())


def _here(table: Any) -> list[ColumnElement[bool]]:
    return [table.tenant_id == bindparam("tenant_id", type_=Id), table.type == bindparam("type", type_=Key)]


def _matching(d: Dialect, query: _Query) -> list[ColumnElement[bool]]:
    if query.filter is None:
        return _here(resource.c)
    return [*_here(resource.c), condition(query.filter, query.resource_type, d)]


def _page(d: Dialect, query: _Query, page: _Page) -> Select[Any]:
    key = sort_key(page.sort.by, query.resource_type, d)
    value = literal_column("NULL") if key is None else key.value
    order = _order(page.sort, key, value, resource.c.id)
    counted = query.filter is None and page.part is None
    total = _total().scalar_subquery() if counted else literal_column("NULL", BigInteger)
    return (
        select(*columns(d, page.groups), value.label("sort_value"), total.label("total"))
        .where(*_here(resource.c), d.among(resource.c.id, _keys(d, query, page, key)))
        .order_by(*order)
    )


def _keys(d: Dialect, query: _Query, page: _Page, key: SortKey | None) -> Select[Any]:
    """The ids of the page. Matches of an indexed equality are found before they are put in order: a planner that has
    no statistics yet would rather walk all resources in order and try each."""
    found = select(resource.c.id).where(*_matching(d, query), *_within(key, page))
    limit, offset = bindparam("limit", type_=Integer), bindparam("offset", type_=BigInteger)
    if query.filter is not None and is_pointed(query.filter):
        value = literal_column("NULL") if key is None else key.value
        fenced = found.add_columns(value.label("sort_value")).offset(literal_column("0")).subquery("matched")
        order = _order(page.sort, key, fenced.c.sort_value, fenced.c.id)
        return select(fenced.c.id).order_by(*order).limit(limit).offset(offset)
    value = literal_column("NULL") if key is None else key.value
    return found.order_by(*_order(page.sort, key, value, resource.c.id)).limit(limit).offset(offset)


def _order(sort: Sort, key: SortKey | None, value: Any, own_id: Any) -> list[Any]:
    directed = [one.desc() if sort.descending else one.asc() for one in ((own_id,) if key is None else (value, own_id))]
    if key is not None and key.optional:
        directed[0] = directed[0].nulls_first() if sort.descending else directed[0].nulls_last()
    return directed


def _within(key: SortKey | None, page: _Page) -> list[ColumnElement[bool]]:
    """Which stretch of the list, and which rest of it."""
    part, mine = page.part, resource.c.id
    if part is None:
        return []
    its: ColumnElement[Any] = bindparam("after_id", type_=Id)
    stretch: list[ColumnElement[bool]] = []
    if key is not None and key.optional:
        stretch = [key.value.is_(None) if part.rows == "without" else key.value.is_not(None)]
    if not part.after:
        return stretch
    if key is None or part.rows == "without":
        return [*stretch, mine < its if page.sort.descending else mine > its]
    here, there = tuple_(key.value, mine), tuple_(key.bound, its)
    return [*stretch, here < there if page.sort.descending else here > there]
