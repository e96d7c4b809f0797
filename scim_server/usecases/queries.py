"""Reading: one resource, or a page of those that match (RFC 7644 §3.4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scim_server.protocol import filter as filters
from scim_server.protocol.attributes import AttributeRef, ResourceType
from scim_server.protocol.errors import TooMany
from scim_server.protocol.path import parse_names
from scim_server.storage import resources
from scim_server.storage.resources import Found, Sort, Stored
from scim_server.usecases.access import Caller
from scim_server.usecases.deployment import Deployment
from scim_server.usecases.provisioning import is_id, unknown

__all__ = ["Members", "Page", "Stored", "few_members", "get", "members", "search"]

MEMBERS_PER_LIST = 100_000
GROUP_BODY_LIMIT = 100
Members = Sequence[tuple[str, str, str | None]]  # id, type, display


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list. `members` has an entry for each group when members were asked for."""

    found: Found
    members: Mapping[str, Members] | None = None


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
    """The members of a group of at most GROUP_BODY_LIMIT; None when it is larger."""
    limit = GROUP_BODY_LIMIT + 1
    rows = await resources.members_of(deployment.database, caller.tenant_id, group_id, limit)
    return None if len(rows) == limit else [(member_id, kind, display) for member_id, kind, display in rows]


async def search(
    deployment: Deployment,
    caller: Caller,
    rt: ResourceType,
    *,
    text: str | None,
    sort_by: str | None,
    descending: bool,
    start_index: int,
    count: int,
    groups: bool,
    with_members: bool,
) -> Page:
    """The page that starts at `start_index` (from 1), at most `count` long. Raises InvalidFilter, TooMany."""
    query = filters.parse(text, rt, caller.options.strictness) if text is not None else None
    found = await resources.search(
        deployment.database,
        caller.tenant_id,
        rt,
        query,
        sort=_sort(sort_by, descending, rt),
        offset=start_index - 1,
        limit=count,
        groups=groups,
    )
    if not with_members:
        return Page(found)
    return Page(found, await _members_of_page(deployment, caller, found.resources))


async def _members_of_page(
    deployment: Deployment, caller: Caller, groups: Sequence[Stored]
) -> dict[str, list[tuple[str, str, str | None]]]:
    found: dict[str, list[tuple[str, str, str | None]]] = {group.id: [] for group in groups}
    if not found:
        return found
    rows = await resources.members_of_many(deployment.database, caller.tenant_id, list(found), MEMBERS_PER_LIST + 1)
    if len(rows) > MEMBERS_PER_LIST:
        raise TooMany(
            f"These groups have more than {MEMBERS_PER_LIST} members in all; ask with excludedAttributes=members."
        )
    for group_id, member_id, kind, display in rows:
        found[group_id].append((member_id, kind, display))
    return found


_SORTABLE = {
    "id": "id",
    "externalid": "external_id",
    "username": "unique_key",
    "displayname": "display_name_key",
    "name.familyname": "family_name_key",
    "meta.created": "created",
    "meta.lastmodified": "modified",
}


def _sort(sort_by: str | None, descending: bool, rt: ResourceType) -> Sort:
    if not sort_by:
        return Sort("id", False)
    names = parse_names(sort_by, rt)
    name = _notation(names[0]) if len(names) == 1 else None
    return Sort(_SORTABLE.get(name or "", "id"), descending)


def _notation(name: object) -> str | None:
    if not isinstance(name, AttributeRef) or name.extension is not None:
        return None
    text = name.attribute.name if name.sub is None else f"{name.attribute.name}.{name.sub.name}"
    return text.lower()
