"""What a person decides after the fact: release or drop what the mass brake holds, undo deactivations.

Everything goes through the one write path, so gates, events and audit follow as they do for an identity provider.
"""

from collections import defaultdict
from dataclasses import dataclass

import orjson

from scim_server.protocol import patch as patching
from scim_server.protocol.attributes import INTEROP, ResourceType
from scim_server.storage import deactivations, resources
from scim_server.storage.change import Audit, Change, Message
from scim_server.storage.database import Stale, Taken
from scim_server.storage.deactivations import Held, Loss
from scim_server.usecases import provisioning
from scim_server.usecases.access import Caller
from scim_server.usecases.change import INLINE_GRACE_MS, Receipt, Said, commit_and_deliver
from scim_server.usecases.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did, or would do, for one user: restored, recreated, active already, or why it cannot."""

    resource_id: str
    user_name: str
    result: str


async def held(deployment: Deployment, caller: Caller) -> dict[str, list[Held]]:
    """What is held, by user id, oldest first."""
    found: dict[str, list[Held]] = defaultdict(list)
    for one in await deactivations.held(deployment.database, caller.tenant_id):
        found[one.resource_id].append(one)
    return dict(found)


async def approve(deployment: Deployment, caller: Caller, user_id: str) -> Receipt | None:
    """End the sessions of one held user now; None when nothing is held for them any more."""
    for _ in range(provisioning.TRIES):
        waiting = (await held(deployment, caller)).get(user_id)
        if not waiting:
            return None
        user = await resources.load(deployment.database, caller.tenant_id, "User", user_id, groups=False)
        if user is not None and user.active and user.entitled:
            return None  # came back; their return has cancelled what was held, or is about to
        inline = {subscriber.name: subscriber.inline for subscriber in deployment.subscribers}
        said = Said(
            messages=tuple(
                Message(
                    id=deployment.new_id(),
                    store=one.store,
                    subject=one.subject,
                    action="terminate",
                    type=one.type,
                    data=one.data,
                    denied=True,
                    delay_ms=INLINE_GRACE_MS if inline.get(one.store) else 0,
                )
                for one in waiting
            ),
            ends=True,
            cancel_held=True,
        )
        change = Change(
            id=deployment.new_id(),
            at=deployment.now(),
            tenant_id=caller.tenant_id,
            type="User",
            resource_id=user_id,
            write="none",
            expected_version=None if user is None else user.version,
            audit=Audit(caller.actor, "brake.approve", caller.request_id),
        )
        try:
            _, receipt = await commit_and_deliver(deployment, caller.tenant, change, said)
        except Stale:
            continue
        return receipt
    return None


async def reject(deployment: Deployment, caller: Caller, user_id: str) -> bool:
    """Give a held user their access back; their sessions never noticed. False when they are gone."""
    if await resources.load(deployment.database, caller.tenant_id, "User", user_id, groups=False) is None:
        return False
    await _activate(deployment, caller, user_id)
    return True


async def undo(deployment: Deployment, caller: Caller, since: int, *, dry_run: bool) -> list[Undone]:
    """Give back access to everybody who lost it since then (unix ms) by a deactivation or deletion and has not got it
    back: users first, then the memberships of those that were deleted. The newest loss of each user counts."""
    newest: dict[str, Loss] = {}
    for loss in await deactivations.listing(deployment.database, caller.tenant_id, since):
        newest.setdefault(loss.resource_id, loss)
    done: list[Undone] = []
    for loss in sorted(newest.values(), key=lambda loss: loss.at):
        if loss.undone is None:
            done.append(await _undo_one(deployment, caller, loss, dry_run))
    return done


async def _undo_one(deployment: Deployment, caller: Caller, loss: Loss, dry_run: bool) -> Undone:
    user = await resources.load(deployment.database, caller.tenant_id, "User", loss.resource_id, groups=False)
    if user is not None:
        name = str(orjson.loads(user.doc).get("userName", ""))
        if user.active:
            waits = not user.entitled
            return Undone(user.id, name, "waits for an access group" if waits else "active already")
        if not dry_run:
            await _activate(deployment, caller, user.id)
            await _mark(deployment, caller, loss)
        return Undone(user.id, name, "would be restored" if dry_run else "restored")
    if loss.remains is None:
        return Undone(loss.resource_id, "", "cannot: nothing of the user was kept")
    name = str(loss.remains["document"].get("userName", ""))
    if dry_run:
        return Undone(loss.resource_id, name, "would be recreated")
    try:
        await provisioning.recreate(
            deployment, caller, _user_type(deployment), loss.resource_id, loss.remains["document"]
        )
    except Taken:
        return Undone(loss.resource_id, name, "cannot: another user has the userName now")
    for group_id in loss.remains["groups"]:
        await _rejoin(deployment, caller, group_id, loss.resource_id)
    await _mark(deployment, caller, loss)
    return Undone(loss.resource_id, name, "recreated")


async def _rejoin(deployment: Deployment, caller: Caller, group_id: str, user_id: str) -> None:
    """Membership as before, unless the group is gone too."""
    rt = next(rt for rt in deployment.resource_types if rt.name == "Group")
    if await resources.load(deployment.database, caller.tenant_id, "Group", group_id, groups=False) is None:
        return
    body = {"Operations": [{"op": "add", "path": "members", "value": [{"value": user_id}]}]}
    await provisioning.patch(deployment, caller, rt, group_id, patching.parse(body, rt, INTEROP), None)


async def _activate(deployment: Deployment, caller: Caller, user_id: str) -> None:
    rt = _user_type(deployment)
    body = {"Operations": [{"op": "replace", "path": "active", "value": True}]}
    await provisioning.patch(deployment, caller, rt, user_id, patching.parse(body, rt, INTEROP), None)


async def _mark(deployment: Deployment, caller: Caller, loss: Loss) -> None:
    await deactivations.mark_undone(
        deployment.database, caller.tenant_id, loss.resource_id, loss.change_id, deployment.now()
    )


def _user_type(deployment: Deployment) -> ResourceType:
    return next(rt for rt in deployment.resource_types if rt.name == "User")
