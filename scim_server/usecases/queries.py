"""Reading: one resource, or a page of those that match (RFC 7644 §3.4, RFC 9865).

A list may be of several resource types at once: each is asked for itself, the answers are merged into one order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from scim_server.protocol import filter as filters
from scim_server.protocol.attributes import AttributeRef, ResourceType, beside
from scim_server.protocol.cursor import Cursor, seal, unseal
from scim_server.protocol.errors import InvalidCount, ScimError, TooMany
from scim_server.protocol.paging import DEFAULT_COUNT, CursorPage, Page
from scim_server.protocol.sorting import sort_attribute
from scim_server.storage import listing, resources
from scim_server.storage.listing import Placed, Position, Sort
from scim_server.storage.resources import Members, Stored
from scim_server.usecases.access import Caller
from scim_server.usecases.deployment import Deployment
from scim_server.usecases.membership import is_id
from scim_server.usecases.provisioning import unknown

__all__ = ["Listed", "Listing", "Members", "Stored", "few_members", "get", "members", "search"]

MEMBERS_PER_LIST = 100_000
MERGED = 10_000  # resources of each type that a list of several types looks at; further pages need a cursor


@dataclass(frozen=True, slots=True)
class Listing:
    """What a client asks of a list; `filter` and `sort_by` as sent."""

    filter: str | None = None
    sort_by: str | None = None
    descending: bool = False
    page: Page | CursorPage = field(default_factory=Page)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page. `members` has an entry for each group when members were asked for; the cursors are None where there is no
    such page, or no cursor was asked for."""

    total: int
    resources: Sequence[tuple[ResourceType, Stored]]
    members: Mapping[str, Members] = field(default_factory=dict)
    previous: str | None = None
    following: str | None = None


async def get(deployment: Deployment, caller: Caller, rt: ResourceType, resource_id: str, *, groups: bool) -> Stored:
    """One resource; NotFound for malformed, foreign and unknown ids alike."""
    if not is_id(resource_id):
        raise unknown(rt.name)
    stored = await resources.load(deployment.database, caller.tenant_id, rt.name, resource_id.lower(), groups=groups)
    if stored is None:
        raise unknown(rt.name)
    return stored


async def members(deployment: Deployment, caller: Caller, group_id: str) -> Members:
    """All members of a group in id order."""
    rows = await resources.members_of(deployment.database, caller.tenant_id, group_id)
    return [(member_id, kind, display) for member_id, kind, display in rows]


async def few_members(deployment: Deployment, caller: Caller, group_id: str) -> Members | None:
    """The members of a group when they are FEW; None when it is larger, or gone."""
    found = await resources.load_for_edit(deployment.database, caller.tenant_id, "Group", group_id)
    return found and found.members


async def search(
    deployment: Deployment,
    caller: Caller,
    types: Sequence[ResourceType],
    asked: Listing,
    *,
    groups: bool,
    with_members: bool,
) -> Listed:
    """The page that was asked for. An attribute that one of several types lacks has no match there; one that all lack
    is an error. Raises InvalidFilter, InvalidValue, TooMany, InvalidCursor, ExpiredCursor, InvalidCount."""
    query = _Query(deployment, caller, _sources(caller, types, asked), groups)
    if isinstance(asked.page, CursorPage):
        listed = await _by_cursor(query, asked, asked.page)
    else:
        listed = await _by_index(query, asked, asked.page)
    shown = [stored for rt, stored in listed.resources if rt.name == "Group"]
    if not with_members or not shown:
        return listed
    return replace(listed, members=await _members_of_page(deployment, caller, shown))


async def _members_of_page(
    deployment: Deployment, caller: Caller, groups: Sequence[Stored]
) -> dict[str, list[tuple[str, str, str | None]]]:
    found: dict[str, list[tuple[str, str, str | None]]] = {group.id: [] for group in groups}
    rows = await resources.members_of_many(deployment.database, caller.tenant_id, list(found), MEMBERS_PER_LIST + 1)
    if len(rows) > MEMBERS_PER_LIST:
        raise TooMany(
            f"These groups have more than {MEMBERS_PER_LIST} members in all; ask with excludedAttributes=members."
        )
    for group_id, member_id, kind, display in rows:
        found[group_id].append((member_id, kind, display))
    return found


# --- what each type is asked -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    """One resource type with its filter and its order."""

    rt: ResourceType
    filter: filters.Filter | None
    sort: Sort


@dataclass(frozen=True, slots=True)
class _Query:
    """All types of a list."""

    deployment: Deployment
    caller: Caller
    sources: Sequence[_Source]
    groups: bool


def _sources(caller: Caller, types: Sequence[ResourceType], asked: Listing) -> list[_Source]:
    checked: list[tuple[ResourceType, filters.Filter | None]] = []
    orders: list[AttributeRef | None] = []
    problems: list[ScimError] = []
    for rt in types:
        known = beside(rt, tuple(types)) if len(types) > 1 else rt
        try:
            query = None if asked.filter is None else filters.parse(asked.filter, known, caller.options.strictness)
        except ScimError as problem:
            problems.append(problem)
        else:
            checked.append((rt, query))
    if not checked:
        raise problems[0]
    problems.clear()
    for rt, _ in checked:
        try:
            orders.append(sort_attribute(asked.sort_by, rt) if asked.sort_by else None)
        except ScimError as problem:
            problems.append(problem)
            orders.append(None)
    if len(problems) == len(checked):
        raise problems[0]
    kinds = [by.leaf.type for by in orders if by is not None]
    # Values of another type than the first one's cannot be compared with them: to those, the attribute is missing.
    alike = [by if by is not None and by.leaf.type == kinds[0] else None for by in orders]
    return [_Source(rt, query, Sort(by, asked.descending)) for (rt, query), by in zip(checked, alike, strict=True)]


# --- pages -------------------------------------------------------------------------------------------------------

_Row = tuple[ResourceType, Placed]


async def _by_index(query: _Query, asked: Listing, page: Page) -> Listed:
    several = len(query.sources) > 1
    if several and page.offset + page.count > MERGED:
        raise TooMany(f"A list of several resource types ends after {MERGED}; go on with a cursor, or ask each type.")
    total, rows = 0, list[_Row]()
    for source in query.sources:
        found = await listing.search(
            query.deployment.database,
            query.caller.tenant_id,
            source.rt,
            source.filter,
            sort=source.sort,
            offset=0 if several else page.offset,
            limit=page.offset + page.count if several and page.count else page.count,
            groups=query.groups and source.rt.name == "User",
        )
        total += found.total
        rows += [(source.rt, each) for each in found.placed]
    if several:
        rows = _merged(rows, asked.descending)[page.offset : page.offset + page.count]
    return Listed(total, [(rt, each.resource) for rt, each in rows])


async def _by_cursor(query: _Query, asked: Listing, page: CursorPage) -> Listed:
    deployment = query.deployment
    key = await deployment.cursor_key.get(deployment.database)
    names = ",".join(source.rt.name for source in query.sources)
    context = (query.caller.tenant_id, names, asked.filter, asked.sort_by, asked.descending)
    came = unseal(page.cursor, key, context, deployment.now()) if page.cursor else None
    if came is not None and page.count not in (None, came.count):
        raise InvalidCount(f"The cursor was made for a count of {came.count}; repeat it, or leave count out.")
    count = came.count if came else DEFAULT_COUNT if page.count is None else page.count
    total = came.total if came else await _total(query)
    if count == 0:
        return Listed(total, [])
    backwards = came is not None and came.backwards
    rows = await _walk(query, asked.descending, came, count + 1)
    more, rows = len(rows) > count, rows[:count]
    if backwards:
        rows.reverse()

    def to(row: _Row, backwards: bool) -> str:
        at = row[1].position
        made = deployment.now()
        return seal(Cursor(at.value, at.id, backwards, count, total, made), key, context)

    return Listed(
        total,
        [(rt, each.resource) for rt, each in rows],
        previous=to(rows[0], True) if rows and (more if backwards else came is not None) else None,
        following=to(rows[-1], False) if rows and (more or backwards) else None,
    )


async def _walk(query: _Query, descending: bool, came: Cursor | None, limit: int) -> list[_Row]:
    """The next rows of all types from where the cursor points, in the direction it points."""
    backwards = came is not None and came.backwards
    after = None if came is None else Position(came.value, came.id)
    rows: list[_Row] = []
    for source in query.sources:
        found = await listing.walk(
            query.deployment.database,
            query.caller.tenant_id,
            source.rt,
            source.filter,
            sort=source.sort.reversed if backwards else source.sort,
            after=after,
            limit=limit,
            groups=query.groups and source.rt.name == "User",
        )
        rows += [(source.rt, each) for each in found]
    return _merged(rows, descending != backwards)[:limit]


def _merged(rows: list[_Row], descending: bool) -> list[_Row]:
    """In the order of storage.listing, whose text is compared by code points, too."""

    def key(row: _Row) -> tuple[bool, str | int | float, str]:
        at = row[1].position
        return (at.value is None, "" if at.value is None else at.value, at.id)

    return sorted(rows, key=key, reverse=descending)


async def _total(query: _Query) -> int:
    database, tenant_id = query.deployment.database, query.caller.tenant_id
    return sum([await listing.count(database, tenant_id, source.rt, source.filter) for source in query.sources])
