"""What a person decides after the fact: release or drop what the mass brake holds, undo deactivations.

Everything goes through the one write path, so gates, events and audit follow as they do for an identity provider.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from scim_server.protocol import patch as patching
from scim_server.protocol.attributes import INTEROP
from scim_server.protocol.fold import fold
from scim_server.storage import deactivations, resources
from scim_server.storage.change import Audit, Change, Message
from scim_server.storage.database import Stale, Taken
from scim_server.storage.deactivations import Held, Loss
from scim_server.storage.resources import Stored
from scim_server.usecases import provisioning
from scim_server.usecases.access import Caller
from scim_server.usecases.change import Receipt, Said, commit_and_deliver
from scim_server.usecases.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did, or would do, for one user: restored, recreated, active already, or why it could not."""

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
        # The user first: who comes back later has another version, who came back before has replaced what was held.
        user = await _user(deployment, caller, user_id)
        waiting = await deactivations.held(deployment.database, caller.tenant_id, user_id)
        if not waiting:
            return None
        grace_ms = {subscriber.name: subscriber.grace_ms for subscriber in deployment.subscribers}
        messages = tuple(
            Message(
                id=deployment.new_id(),
                store=one.store,
                subject=one.subject,
                action="terminate",
                type=one.type,
                data=one.data,
                denied=True,
                delay_ms=grace_ms.get(one.store, 0),
            )
            for one in waiting
        )
        change = Change(
            id=deployment.new_id(),
            at=deployment.now(),
            tenant_id=caller.tenant_id,
            type="User",
            resource_id=user_id,
            # The version moves, so that whoever waits to let the user in again reads what this denies.
            write="none" if user is None else "bump",
            expected_version=None if user is None else user.version,
            audit=Audit(caller.actor, "brake.approve", caller.request_id),
        )
        try:
            _, receipt = await commit_and_deliver(deployment, caller.tenant, change, Said(messages, ends=True))
        except Stale:
            continue
        return receipt
    raise provisioning.unsettled()


async def reject(deployment: Deployment, caller: Caller, user_id: str) -> Undone | None:
    """Undo the latest loss of one held user, whose sessions never noticed; None when there is none."""
    losses = await deactivations.listing(deployment.database, caller.tenant_id, 0, user_id)
    return await _undo_one(deployment, caller, losses[0], dry_run=False) if losses else None


async def undo(
    deployment: Deployment, caller: Caller, since: int, *, dry_run: bool, actor: str | None = None
) -> list[Undone]:
    """Give back access to everybody who lost it since then (unix ms), by this actor if one is named, and has not got it
    back. The newest loss of each user counts."""
    newest: dict[str, Loss] = {}
    for loss in await deactivations.listing(deployment.database, caller.tenant_id, since):
        newest.setdefault(loss.resource_id, loss)
    chosen = [loss for loss in newest.values() if loss.undone is None and actor in (None, loss.actor)]
    return [
        await _undo_one(deployment, caller, loss, dry_run=dry_run) for loss in sorted(chosen, key=lambda loss: loss.at)
    ]


async def _undo_one(deployment: Deployment, caller: Caller, loss: Loss, *, dry_run: bool) -> Undone:
    user = await _user(deployment, caller, loss.resource_id)
    if user is None:
        return await _recreate(deployment, caller, loss, dry_run=dry_run)
    name = _name(orjson.loads(user.doc))
    if user.active and user.entitled:
        return Undone(user.id, name, "active already")
    if dry_run:
        return Undone(user.id, name, "would be restored")
    if loss.how == "deactivated":
        await _activate(deployment, caller, user.id)
    for group_id in _groups(loss):
        await _rejoin(deployment, caller, group_id, user.id)
    user = await _user(deployment, caller, user.id)
    if user is None or not user.active:
        return Undone(loss.resource_id, name, "cannot: inactive since")
    if not user.entitled:
        return Undone(user.id, name, "waits for an access group")
    await _mark(deployment, caller, loss)
    return Undone(user.id, name, "restored")


async def _recreate(deployment: Deployment, caller: Caller, loss: Loss, *, dry_run: bool) -> Undone:
    """A deleted user under the old id, with the memberships of then."""
    document: dict[str, Any] | None = (loss.remains or {}).get("document")
    if document is None:
        return Undone(loss.resource_id, "", "cannot: deleted since, nothing of the user was kept")
    rt, name = deployment.type_of(caller.options, "User"), _name(document)
    taken = Undone(loss.resource_id, name, "cannot: another user has the userName now")
    if await resources.holder_of(deployment.database, caller.tenant_id, "User", fold(name)):
        return taken
    if dry_run:
        return Undone(loss.resource_id, name, "would be recreated")
    try:
        # Who was deleted after a deactivation had been active before that.
        await provisioning.recreate(deployment, caller, rt, loss.resource_id, {**document, "active": True})
    except Taken:
        return taken
    for group_id in _groups(loss):
        await _rejoin(deployment, caller, group_id, loss.resource_id)
    await _mark(deployment, caller, loss)
    return Undone(loss.resource_id, name, "recreated")


async def _rejoin(deployment: Deployment, caller: Caller, group_id: str, user_id: str) -> None:
    """Membership as before, unless the group is gone too."""
    if await resources.load(deployment.database, caller.tenant_id, "Group", group_id, groups=False) is not None:
        value = [{"value": user_id}]
        await _patch(deployment, caller, "Group", group_id, {"op": "add", "path": "members", "value": value})


async def _activate(deployment: Deployment, caller: Caller, user_id: str) -> None:
    await _patch(deployment, caller, "User", user_id, {"op": "replace", "path": "active", "value": True})


async def _patch(
    deployment: Deployment, caller: Caller, kind: str, resource_id: str, operation: dict[str, Any]
) -> None:
    rt = deployment.type_of(caller.options, kind)
    operations = patching.parse({"Operations": [operation]}, rt, INTEROP)
    await provisioning.patch(deployment, caller, rt, resource_id, operations, None)


async def _mark(deployment: Deployment, caller: Caller, loss: Loss) -> None:
    await deactivations.mark_undone(
        deployment.database, caller.tenant_id, loss.resource_id, loss.change_id, deployment.now()
    )


async def _user(deployment: Deployment, caller: Caller, user_id: str) -> Stored | None:
    return await resources.load(deployment.database, caller.tenant_id, "User", user_id, groups=False)


def _groups(loss: Loss) -> Sequence[str]:
    groups: Sequence[str] = (loss.remains or {}).get("groups", ())
    return groups


def _name(document: Mapping[str, Any]) -> str:
    return str(document.get("userName", ""))
