"""From edits of a group's members to what really changes, without reading more members than the edits name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scim_server.protocol.errors import InvalidValue, TooMany
from scim_server.protocol.filter import size
from scim_server.protocol.match import element_matches
from scim_server.protocol.membership import Member, MemberEdits
from scim_server.storage import resources
from scim_server.storage.change import MemberRow
from scim_server.usecases.access import Caller
from scim_server.usecases.deployment import Deployment

MAX_COMPARISONS = 500_000  # a second
_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """Real changes of a group's members only: who comes, who goes, or that all others go."""

    come: Mapping[str, MemberRow] = field(default_factory=dict)
    go: frozenset[str] = frozenset()
    replace: bool = False

    def __bool__(self) -> bool:
        return bool(self.come or self.go or self.replace)


async def plan_members(deployment: Deployment, caller: Caller, group_id: str, edits: MemberEdits) -> MemberPlan:
    """Reduce edits to what really changes, without reading more members than the edits name."""
    if not edits:
        return MemberPlan()
    if edits.replace:
        return await _plan_replacement(deployment, caller, group_id, edits)
    go = {m.lower() for m in edits.remove}
    if edits.remove_where:
        everyone = await resources.members_of(deployment.database, caller.tenant_id, group_id)
        if len(everyone) * sum(size(where.term) for where in edits.remove_where) > MAX_COMPARISONS:
            raise TooMany("The filters on members compare too many of them; list the ids to remove instead.")
        elements = {m: {"value": m, "type": kind, "display": display} for m, kind, display in everyone}
        for where in edits.remove_where:
            go |= {m for m, element in elements.items() if element_matches(where.term, where.values, element)}
        go -= {m.lower() for m in edits.add}
    named = _ids([*edits.add, *go])
    known = await resources.standing_in(deployment.database, caller.tenant_id, group_id, named)
    present = {member_id: found.display for member_id, found in known.items() if found.is_member}
    rows = _rows(list(edits.add.values()), {member_id: found.type for member_id, found in known.items()})
    come = {r.member_id: r for r in rows if not _is_same(present, r)}
    return MemberPlan(come, frozenset(go & present.keys()))


async def _plan_replacement(deployment: Deployment, caller: Caller, group_id: str, edits: MemberEdits) -> MemberPlan:
    # One more than asked for is enough to know that somebody has to go.
    limit = len(edits.add) + 1
    now = await resources.members_of(deployment.database, caller.tenant_id, group_id, limit)
    present = {member_id: display for member_id, _, display in now}
    rows = await member_rows(deployment, caller, list(edits.add.values()))
    if present.keys() == {r.member_id for r in rows} and all(_is_same(present, r) for r in rows):
        return MemberPlan()
    return MemberPlan({r.member_id: r for r in rows}, frozenset(), replace=True)


def _is_same(present: Mapping[str, str | None], row: MemberRow) -> bool:
    return row.member_id in present and row.display in (None, present[row.member_id])


async def member_rows(deployment: Deployment, caller: Caller, members: Sequence[Member]) -> list[MemberRow]:
    """Rows for members that exist in the tenant; InvalidValue names the first that does not."""
    if not members:
        return []
    return _rows(
        members, await resources.types_of(deployment.database, caller.tenant_id, _ids([m.value for m in members]))
    )


def _rows(members: Sequence[Member], known: Mapping[str, str]) -> list[MemberRow]:
    rows: dict[str, MemberRow] = {}
    for member in members:
        member_id = member.value.lower()
        if member_id not in known:
            raise InvalidValue(f"members: no User or Group of this tenant has the id {member.value!r}.")
        rows[member_id] = MemberRow(member_id, known[member_id], member.display)
    return list(rows.values())


def _ids(values: Sequence[str]) -> list[str]:
    return sorted({value.lower() for value in values if is_id(value)})


def is_id(text: str) -> bool:
    """Whether a text has the form of our ids; others are never sent to the database."""
    return _ID.fullmatch(text) is not None
