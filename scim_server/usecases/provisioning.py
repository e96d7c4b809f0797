"""The one write path: create, replace, patch and delete a resource (RFC 7644 §3.3, §3.5, §3.6).

Each reads what is there, lets the protocol decide what it becomes, derives what that means, and commits all of it as
one Change. Races are decided by the version guard: whoever comes second reads again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

import orjson

from scim_server.events.model import MembershipChanged, Snapshot
from scim_server.protocol import patch as patching
from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.errors import NotFound, PreconditionFailed, Unavailable
from scim_server.protocol.membership import MemberEdits
from scim_server.protocol.patch import Operation
from scim_server.protocol.resource import Checked, check
from scim_server.storage import resources
from scim_server.storage.change import Audit, Change, Loss, ResourceRow
from scim_server.storage.database import Stale, Taken
from scim_server.storage.keys import row_of, values_of
from scim_server.storage.resources import Stored
from scim_server.usecases import access_groups, brake
from scim_server.usecases.access import Caller
from scim_server.usecases.change import Receipt, Said, commit_and_deliver, compose, say
from scim_server.usecases.deployment import Deployment
from scim_server.usecases.membership import MemberPlan, first_members, members_after, plan_members
from scim_server.usecases.passwords import credential_of
from scim_server.usecases.protection import refuse_to_harm
from scim_server.usecases.uniqueness import taken

TRIES = 5
_turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # of resources that several want to write now
IfMatch = frozenset[int] | None


@dataclass(frozen=True, slots=True)
class Written:
    """What a write left behind. `changed` False: the request changed nothing, so nothing was written."""

    resource: Stored
    changed: bool
    receipt: Receipt | None = None
    ignored: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()


def unknown(kind: str) -> NotFound:
    """The one answer for ids that are malformed, foreign or unknown."""
    return NotFound(f"No {kind} has this id; look it up by filter, it may have been deleted.")


def unsettled() -> Unavailable:
    """Whoever tried TRIES times came too late each time."""
    return Unavailable("Others keep changing this resource; repeat the request as it is.", {"Retry-After": "1"})


async def create(deployment: Deployment, caller: Caller, rt: ResourceType, body: Any) -> Written:
    """POST: a new resource with an id of ours. Raises Uniqueness when its unique attribute is taken."""
    checked = check(body, rt, caller.options.strictness, active=True)
    try:
        return await _insert_new(deployment, caller, rt, deployment.new_id(), checked, "create")
    except Taken:
        return await _restore_or_refuse(deployment, caller, rt, checked, body)


async def recreate(
    deployment: Deployment, caller: Caller, rt: ResourceType, resource_id: str, document: dict[str, Any]
) -> Written:
    """A deleted resource under its old id. Raises Taken."""
    checked = Checked(document, None, None, (), ())
    return await _insert_new(deployment, caller, rt, resource_id, checked, "recreate")


async def _insert_new(
    deployment: Deployment, caller: Caller, rt: ResourceType, resource_id: str, checked: Checked, verb: str
) -> Written:
    for _ in range(TRIES):
        try:
            return await _insert(deployment, caller, rt, resource_id, checked, verb)
        except Stale:  # a member vanished or moved since we looked
            continue
    raise unsettled()


async def _insert(
    deployment: Deployment, caller: Caller, rt: ResourceType, resource_id: str, checked: Checked, verb: str
) -> Written:
    plan = await first_members(deployment, caller, checked.members or [])
    now = deployment.now()
    active = _state(rt, checked.document, True)
    after = Snapshot(resource_id, checked.document, active)
    entitled = rt.name != "User" or access_groups.entitled_at_creation(caller, after)
    after = Snapshot(resource_id, checked.document, active and entitled)
    row = _row(rt, checked.document, active, caller)
    credential = await credential_of(deployment.passwords, caller.options, checked.password, None)
    said = await _consequences(deployment, caller, rt, None, after, plan)
    change = Change(
        id=deployment.new_id(),
        at=now,
        tenant_id=caller.tenant_id,
        type=rt.name,
        resource_id=resource_id,
        write="insert",
        row=row,
        members_in=tuple(plan.come.values()),
        values_in=tuple(values_of(checked.document, rt)),
        entitled=entitled,
        credential=credential,
        audit=_audit(caller, rt, verb, checked.document),
    )
    committed, receipt = await commit_and_deliver(deployment, caller.tenant, change, said)
    stored = Stored(resource_id, committed.version, now, committed.modified, active, row.doc, entitled=entitled)
    return Written(stored, True, receipt, checked.ignored + plan.ignored, checked.quirks)


async def _restore_or_refuse(
    deployment: Deployment, caller: Caller, rt: ResourceType, checked: Checked, body: Any
) -> Written:
    unique_key = _row(rt, checked.document, True, caller).unique_key
    database, tenant_id = deployment.database, caller.tenant_id
    holder = None
    if unique_key and rt.name == "User" and caller.options.restore_on_post:
        holder = await resources.holder_of(database, tenant_id, rt.name, unique_key)
    if holder:
        twin = await resources.load(database, tenant_id, rt.name, holder, groups=False)
        if twin is not None and not twin.active and checked.document.get("active") is not False:
            return await replace_resource(deployment, caller, rt, holder, {**body, "active": True}, None)
    raise await taken(deployment, caller, rt, None, checked.document, unique_key)


async def replace_resource(
    deployment: Deployment, caller: Caller, rt: ResourceType, resource_id: str, body: Any, if_match: IfMatch
) -> Written:
    """PUT: the resource becomes the body; `active` stays as it was unless the body says otherwise."""

    async def attempt(stored: Stored) -> Written:
        document = orjson.loads(stored.doc)
        checked = check(body, rt, caller.options.strictness, active=document.get("active"), current=document)
        edits = MemberEdits()
        if checked.members is not None:  # a body that does not speak of members must not empty the group
            edits = MemberEdits(replace=True, add={m.value: m for m in checked.members})
        step = _Step(
            stored,
            document,
            checked.document,
            checked.document.get("active"),
            checked.ignored,
            checked.quirks,
            checked.password,
        )
        return await _write(deployment, caller, rt, step, edits, if_match)

    return await _retrying(deployment, caller, rt, resource_id, if_match, attempt)


async def patch(
    deployment: Deployment,
    caller: Caller,
    rt: ResourceType,
    resource_id: str,
    operations: Sequence[Operation],
    if_match: IfMatch,
) -> Written:
    """PATCH: all operations in order or none."""

    async def attempt(stored: Stored) -> Written:
        before = orjson.loads(stored.doc)
        patched = patching.apply(before, operations, rt, caller.options.strictness, resource_id=resource_id)
        step = _Step(
            stored, before, patched.document, patched.active, patched.ignored, patched.quirks, patched.password
        )
        return await _write(deployment, caller, rt, step, patched.members, if_match)

    return await _retrying(deployment, caller, rt, resource_id, if_match, attempt)


async def delete(
    deployment: Deployment, caller: Caller, rt: ResourceType, resource_id: str, if_match: IfMatch
) -> Written:
    """DELETE: the resource and its memberships go; what stores know of its subjects stays."""

    async def attempt(stored: Stored) -> Written:
        document = orjson.loads(stored.doc)
        before = Snapshot(stored.id, document, stored.active and stored.entitled)
        said = await _consequences(deployment, caller, rt, before, None, MemberPlan())
        remains = {"document": document, "groups": [group for group, _ in orjson.loads(stored.groups or "[]")]}
        said = replace(said, losses=tuple(_with_remains(loss, stored.id, remains) for loss in said.losses))
        change = Change(
            id=deployment.new_id(),
            at=deployment.now(),
            tenant_id=caller.tenant_id,
            type=rt.name,
            resource_id=stored.id,
            write="delete",
            expected_version=stored.version,
            remains=remains if rt.name == "User" and not said.losses else None,
            audit=_audit(caller, rt, "delete", {}),
        )
        _, receipt = await commit_and_deliver(deployment, caller.tenant, change, said)
        return Written(stored, True, receipt)

    return await _retrying(deployment, caller, rt, resource_id, if_match, attempt)


@dataclass(frozen=True, slots=True)
class _Step:
    """What a request makes of the stored resource; `active` None leaves the state as it is."""

    stored: Stored
    before: dict[str, Any]
    after: dict[str, Any]
    active: bool | None
    ignored: tuple[str, ...]
    quirks: tuple[str, ...]
    password: str | None


async def _retrying(
    deployment: Deployment,
    caller: Caller,
    rt: ResourceType,
    resource_id: str,
    if_match: IfMatch,
    attempt: Callable[[Stored], Awaitable[Written]],
) -> Written:
    """Read and attempt until nobody else's write comes in between. Whoever came too late once takes turns with the
    others of this process, so that a crowd on one resource is served and not sent away."""

    async def read_and_attempt() -> Written:
        stored = await resources.load_for_edit(deployment.database, caller.tenant_id, rt.name, resource_id)
        if stored is None:
            raise unknown(rt.name)
        if if_match is not None and stored.version not in if_match:
            raise PreconditionFailed(
                f'If-Match does not name the current version W/"{stored.version}"; read the resource again.'
            )
        return await attempt(stored)

    turn = _turns.get(resource_id)
    if turn is None:
        try:
            return await read_and_attempt()
        except Stale:
            turn = _turns.setdefault(resource_id, asyncio.Lock())
    async with turn:
        for _ in range(TRIES):
            try:
                return await read_and_attempt()
            except Stale:
                continue
    raise unsettled()


async def _write(
    deployment: Deployment, caller: Caller, rt: ResourceType, step: _Step, edits: MemberEdits, if_match: IfMatch
) -> Written:
    stored = step.stored
    active = _state(rt, step.after, stored.active) if step.active is None else step.active
    before = Snapshot(stored.id, step.before, stored.active and stored.entitled)
    after = Snapshot(stored.id, step.after, active and stored.entitled)
    plan = await plan_members(deployment, caller, stored, edits)
    same = step.after is step.before or (step.after == step.before and active == stored.active)
    credential = await _credential(deployment, caller, stored.id, step.password)
    if same and not plan and credential is None:
        return Written(stored, False, ignored=step.ignored + plan.ignored, quirks=step.quirks)
    row = _row(rt, step.after, active, caller)
    said = await _consequences(deployment, caller, rt, before, after, plan)
    names = () if same else _changed(step.before, step.after)
    values_before, values_after = (values_of(_part(each, names), rt) for each in (step.before, step.after))
    # Edits of members alone commute: they need no guard, and many clients may make them at once. Where groups give
    # access, though, a replacement must know whom it puts out.
    bump = same and if_match is None and not (plan.replace and caller.options.access_groups)
    change = Change(
        id=deployment.new_id(),
        at=deployment.now(),
        tenant_id=caller.tenant_id,
        type=rt.name,
        resource_id=stored.id,
        write="bump" if same else "update",
        row=row,
        expected_version=None if bump else stored.version,
        members_in=tuple(plan.come.values()),
        members_out=tuple(plan.go),
        replace_members=plan.replace,
        values_in=tuple(values_after - values_before),
        values_out=tuple(values_before - values_after),
        credential=credential,
        audit=_audit(caller, rt, "update", names, plan),
    )
    try:
        committed, receipt = await commit_and_deliver(deployment, caller.tenant, change, said)
    except Taken:
        raise await taken(deployment, caller, rt, stored.id, step.after, row.unique_key) from None
    now_stored = stored._replace(
        version=committed.version,
        modified=committed.modified,
        active=active,
        doc=stored.doc if same else row.doc,
        members=members_after(stored, plan, committed.version),
    )
    return Written(now_stored, True, receipt, step.ignored + plan.ignored, step.quirks)


async def _credential(deployment: Deployment, caller: Caller, user_id: str, password: str | None) -> str | None:
    if password is None or caller.options.passwords != "hash":
        return None
    known = await resources.password_hash_of(deployment.database, caller.tenant_id, user_id)
    return await credential_of(deployment.passwords, caller.options, password, known)


async def _consequences(
    deployment: Deployment,
    caller: Caller,
    rt: ResourceType,
    before: Snapshot | None,
    after: Snapshot | None,
    plan: MemberPlan,
) -> Said:
    """What a change means beyond the resource: events and standings, access that hangs on groups, the brake."""
    if rt.name == "User":
        refuse_to_harm(caller, before, after)
    said = say(deployment, caller, rt.name, before, after)
    if rt.name == "Group":
        if plan and after is not None:
            event = MembershipChanged(after, tuple(plan.come), tuple(plan.go), replaced=plan.replace)
            told = compose(deployment, caller.tenant, [event], {}, ends=False)
            said = replace(said, messages=(*said.messages, *told.messages))
        said = await access_groups.follow(deployment, caller, before, after, plan, said)
    return await brake.examine(deployment, caller, said) if said.losses else said


def _with_remains(loss: Loss, resource_id: str, remains: Mapping[str, Any]) -> Loss:
    return replace(loss, remains=remains) if loss.resource_id == resource_id else loss


def _state(rt: ResourceType, document: Mapping[str, Any], otherwise: bool) -> bool:
    """The state column: what the document says, or what it was where the attribute is hidden."""
    said = document.get("active") if rt.name == "User" else None
    return said if isinstance(said, bool) else otherwise


def _row(rt: ResourceType, document: dict[str, Any], active: bool, caller: Caller) -> ResourceRow:
    return row_of(document, rt, active=active, unique_display_name=caller.options.unique_group_names)


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]


def _part(document: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: document[name] for name in names if name in document}


def _audit(
    caller: Caller,
    rt: ResourceType,
    verb: str,
    names: Iterable[str],
    members: MemberPlan | None = None,
) -> Audit:
    """`names` of the attributes that the write sets or changes."""
    detail: dict[str, Any] = {"attributes": sorted(names)}
    if caller.override:
        detail["override"] = True
    if members:
        detail["members"] = {"added": len(members.come), "removed": len(members.go), "replaced": members.replace}
    return Audit(caller.actor, f"{rt.name.lower()}.{verb}", caller.request_id, detail)
