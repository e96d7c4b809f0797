"""Access groups: where a tenant names groups in `access_groups`, membership of one of them is what gives access.

Leaving the last one ends a user's sessions as a deactivation would, joining one lets them in again; `active` itself
stays what the identity provider said. Direct members count. Protected accounts keep their access.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from scim_server.events.model import Snapshot
from scim_server.protocol.fold import fold
from scim_server.storage import listing, resources
from scim_server.storage.change import Audit, Change, Entitlement, Loss
from scim_server.storage.database import Stale
from scim_server.storage.listing import Sort
from scim_server.storage.resources import Stored
from scim_server.usecases import brake
from scim_server.usecases.access import Caller
from scim_server.usecases.change import Said, commit_and_deliver, say
from scim_server.usecases.deployment import Deployment
from scim_server.usecases.membership import MemberPlan
from scim_server.usecases.protection import is_protected

PAGE = 500


@dataclass(frozen=True, slots=True)
class _Turn:
    """Who stops and who begins to be a member of an access group by a change of the group `group_id`."""

    group_id: str
    leaving: frozenset[str]
    joining: frozenset[str]


def entitled_at_creation(caller: Caller, user: Snapshot) -> bool:
    """A new user is in no group yet."""
    return not caller.options.access_groups or is_protected(caller, user)


async def follow(
    deployment: Deployment,
    caller: Caller,
    before: Snapshot | None,
    after: Snapshot | None,
    plan: MemberPlan,
    said: Said,
) -> Said:
    """What a change of a group means for its members: messages, losses and guards added to `said`."""
    group = after or before
    if not caller.options.access_groups or group is None:
        return said
    was, will = _gives_access(caller, before), _gives_access(caller, after)
    if not was and not will:
        return said
    turn = await _turn(deployment, caller, group.id, was, will, plan)
    users = await resources.load_many(
        deployment.database, caller.tenant_id, "User", sorted(turn.leaving | turn.joining)
    )
    return _merged(said, [_of_user(deployment, caller, user, turn) for user in users])


async def _turn(
    deployment: Deployment, caller: Caller, group_id: str, was: bool, will: bool, plan: MemberPlan
) -> _Turn:
    come, go = frozenset(plan.come), plan.go
    if was and will and not plan.replace:
        return _Turn(group_id, go - come, come)
    rows = await resources.members_of(deployment.database, caller.tenant_id, group_id)
    present = frozenset(member_id for member_id, _, _ in rows)
    afterwards = (frozenset() if plan.replace else present - go) | come
    had = present if was else frozenset()
    have = afterwards if will else frozenset()
    return _Turn(group_id, had - have, have - had)


def _of_user(deployment: Deployment, caller: Caller, user: Stored, turn: _Turn) -> Said:
    document = orjson.loads(user.doc)
    elsewhere = any(
        group_id != turn.group_id and _names(caller, group_id, display)
        for group_id, display in orjson.loads(user.groups or "[]")
    )
    person = Snapshot(user.id, document, user.active)
    entitled = user.id in turn.joining or elsewhere or is_protected(caller, person)
    return _entitle(deployment, caller, user, document, entitled, {"groups": [turn.group_id]})


def _entitle(
    deployment: Deployment,
    caller: Caller,
    user: Stored,
    document: dict[str, Any],
    entitled: bool,
    remains: dict[str, Any] | None = None,
) -> Said:
    # The guard goes with every user who leaves or joins, changed or not: of two parallel edits the second reads again.
    guard = (Entitlement(user.id, user.version, entitled),)
    if entitled == user.entitled or not user.active:
        return Said(entitlements=guard)
    before, after = Snapshot(user.id, document, not entitled), Snapshot(user.id, document, entitled)
    said = say(deployment, caller, "User", before, after)
    return replace(
        said,
        messages=tuple(replace(message, resource_id=user.id) for message in said.messages),
        losses=tuple(Loss(user.id, "left-access-groups", remains) for _ in said.losses),
        entitlements=guard,
    )


def _merged(first: Said, others: Iterable[Said]) -> Said:
    parts = [first, *others]
    return Said(
        messages=tuple(message for part in parts for message in part.messages),
        ends=any(part.ends for part in parts),
        unresolved=tuple(sorted({store for part in parts for store in part.unresolved})),
        losses=tuple(loss for part in parts for loss in part.losses),
        entitlements=tuple(entitlement for part in parts for entitlement in part.entitlements),
    )


def _gives_access(caller: Caller, group: Snapshot | None) -> bool:
    return group is not None and _names(caller, group.id, group.text("displayName"))


def _names(caller: Caller, group_id: str, display: str | None) -> bool:
    folded = fold(display or "")
    return any(fold(name) in (group_id, folded) for name in caller.options.access_groups)


async def reconcile(deployment: Deployment, caller: Caller) -> tuple[int, int]:
    """Bring every user in line with the option after it changed; how many lost and how many got access. The brake
    counts these too: an option with a misspelt name would end everybody's access."""
    lost = gained = 0
    rt = deployment.type_of(caller.options, "User")
    after = None
    while True:
        page = await listing.walk(
            deployment.database, caller.tenant_id, rt, None, sort=Sort(), after=after, limit=PAGE, groups=True
        )
        for placed in page:
            change = await _reconcile_one(deployment, caller, placed.resource)
            lost, gained = lost + (change < 0), gained + (change > 0)
        if len(page) < PAGE:
            return lost, gained
        after = page[-1].position


async def _reconcile_one(deployment: Deployment, caller: Caller, user: Stored) -> int:
    """-1 lost access, 1 got it, 0 neither."""
    while True:
        document = orjson.loads(user.doc)
        groups = orjson.loads(user.groups or "[]")
        entitled = (
            not caller.options.access_groups
            or any(_names(caller, group_id, display) for group_id, display in groups)
            or is_protected(caller, Snapshot(user.id, document, user.active))
        )
        if entitled == user.entitled:
            return 0
        said = _entitle(deployment, caller, user, document, entitled)
        if said.losses:
            said = await brake.examine(deployment, caller, said)
        change = Change(
            id=deployment.new_id(),
            at=deployment.now(),
            tenant_id=caller.tenant_id,
            type="User",
            resource_id=user.id,
            write="none",
            audit=Audit(caller.actor, "user.entitle", caller.request_id, {"entitled": entitled}),
        )
        try:
            await commit_and_deliver(deployment, caller.tenant, change, said)
        except Stale:
            found = await resources.load(deployment.database, caller.tenant_id, "User", user.id, groups=True)
            if found is None:
                return 0
            user = found
            continue
        return 1 if entitled else -1
