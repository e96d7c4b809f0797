"""From edits of a group's members to what really changes, without reading more members than the edits name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scim_server.protocol.errors import InvalidValue, TooMany
from scim_server.protocol.filter import size
from scim_server.protocol.match import element_matches
from scim_server.protocol.membership import Member, MemberEdits
from scim_server.storage import resources
from scim_server.storage.change import MemberRow
from scim_server.storage.resources import FEW, Members, Standing, Stored
from scim_server.usecases.access import Caller
from scim_server.usecases.deployment import Deployment

NAMED = 10  # of the members that are left out
MAX_COMPARISONS = 500_000  # a second
_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """Real changes of a group's members only: who comes, who goes, or that all others go. `ignored` names those that do
    not exist, where the tenant wants that overlooked."""

    come: Mapping[str, MemberRow] = field(default_factory=dict)
    go: frozenset[str] = frozenset()
    replace: bool = False
    ignored: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.come or self.go or self.replace)


async def plan_members(deployment: Deployment, caller: Caller, group: Stored, edits: MemberEdits) -> MemberPlan:
    """Reduce edits to what really changes, without reading more members than the edits name."""
    if not edits:
        return MemberPlan()
    if edits.replace:
        return await _plan_replacement(deployment, caller, group, edits)
    go = {m.lower() for m in edits.remove}
    if edits.remove_where:
        everyone: Sequence[Sequence[Any]] | None = group.members
        if everyone is None:
            everyone = await resources.members_of(deployment.database, caller.tenant_id, group.id)
        if len(everyone) * sum(size(where.term) for where in edits.remove_where) > MAX_COMPARISONS:
            raise TooMany("The filters on members compare too many of them; list the ids to remove instead.")
        elements = {m: {"value": m, "type": kind, "display": display} for m, kind, display in everyone}
        for where in edits.remove_where:
            go |= {m for m, element in elements.items() if element_matches(where.term, where.values, element)}
        go -= {m.lower() for m in edits.add}
    known = await _standing_in(deployment, caller, group, _ids(list(edits.add)), _ids(list(go)))
    present = {member_id: found.display for member_id, found in known.items() if found.is_member}
    adds = list(edits.add.values())
    rows, ignored = _rows(caller, adds, {member_id: found.type for member_id, found in known.items()})
    come = {r.member_id: r for r in rows.values() if not _is_same(present, r)}
    return MemberPlan(come, frozenset(go & present.keys()), ignored=ignored)


def members_after(group: Stored, plan: MemberPlan, version: int) -> Members | None:
    """The members that the group has at this version, where that follows from what was loaded: nobody else's edit came
    in between, and they are FEW still."""
    if group.members is None or version != group.version + 1:
        return None
    before = {member_id: (member_id, kind, display) for member_id, kind, display in group.members}
    after = {} if plan.replace else {member_id: row for member_id, row in before.items() if member_id not in plan.go}
    for row in plan.come.values():
        known = before.get(row.member_id)
        display = row.display if row.display is not None or known is None else known[2]
        after[row.member_id] = (row.member_id, row.type, display)
    return sorted(after.values(), key=lambda row: row[0]) if len(after) <= FEW else None


async def first_members(deployment: Deployment, caller: Caller, members: Sequence[Member]) -> MemberPlan:
    """The members of a group that is being made. InvalidValue names the first that does not exist."""
    if not members:
        return MemberPlan()
    ids = _ids([member.value for member in members])
    rows, ignored = _rows(caller, members, await resources.types_of(deployment.database, caller.tenant_id, ids))
    return MemberPlan(rows, ignored=ignored)


async def _standing_in(
    deployment: Deployment, caller: Caller, group: Stored, come: list[str], go: list[str]
) -> Mapping[str, Standing]:
    """Of those who come or go, and of others perhaps, what they are to the group; without those who do not exist."""
    if group.members is None:
        return await resources.standing_in(deployment.database, caller.tenant_id, group.id, sorted({*come, *go}))
    known = {member_id: Standing(kind, True, display) for member_id, kind, display in group.members}
    strangers = [member_id for member_id in come if member_id not in known]
    if strangers:
        types = await resources.types_of(deployment.database, caller.tenant_id, strangers)
        known |= {member_id: Standing(kind, False, None) for member_id, kind in types.items()}
    return known


async def _plan_replacement(deployment: Deployment, caller: Caller, group: Stored, edits: MemberEdits) -> MemberPlan:
    now: Sequence[Sequence[Any]] | None = group.members
    if now is None:
        # One more than asked for is enough to know that somebody has to go.
        limit = len(edits.add) + 1
        now = await resources.members_of(deployment.database, caller.tenant_id, group.id, limit)
    present = {member_id: display for member_id, _, display in now}
    wanted = await first_members(deployment, caller, list(edits.add.values()))
    if present.keys() == wanted.come.keys() and all(_is_same(present, row) for row in wanted.come.values()):
        return MemberPlan(ignored=wanted.ignored)
    return replace(wanted, replace=True)


def _is_same(present: Mapping[str, str | None], row: MemberRow) -> bool:
    return row.member_id in present and row.display in (None, present[row.member_id])


def _rows(
    caller: Caller, members: Sequence[Member], known: Mapping[str, str]
) -> tuple[dict[str, MemberRow], tuple[str, ...]]:
    """Rows for members that exist in the tenant, and the names of those that do not."""
    rows: dict[str, MemberRow] = {}
    unknown: list[str] = []
    for member in members:
        member_id = member.value.lower()
        if member_id in known:
            rows[member_id] = MemberRow(member_id, known[member_id], member.display)
        elif caller.options.unknown_members == "ignore":
            unknown.append(member.value)
        else:
            raise InvalidValue(f"members: no User or Group of this tenant has the id {member.value!r}.")
    named = [f'members[value eq "{value[:80]}"]' for value in unknown[:NAMED]]
    return rows, (*named, f"members: {len(unknown) - NAMED} more") if unknown[NAMED:] else tuple(named)


def _ids(values: Sequence[str]) -> list[str]:
    return sorted({value.lower() for value in values if is_id(value)})


def is_id(text: str) -> bool:
    """Whether a text has the form of our ids; others are never sent to the database."""
    return _ID.fullmatch(text) is not None
