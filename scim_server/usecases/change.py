"""From (before, after) to a Change, and from a Change to a receipt: the one place through which every write goes,
whether it came by HTTP, Bulk or the command line.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import orjson

from scim_server import metrics
from scim_server.events.derive import Move, Moves, derive, moves
from scim_server.events.model import KINDS, Credential, Event, Snapshot, UserReactivated
from scim_server.protocol.errors import ScimError
from scim_server.sessions.port import Done
from scim_server.storage import subjects
from scim_server.storage.change import FEED, Change, Committed, Companion, Entitlement, Loss, Message, Queued
from scim_server.storage.database import Stale
from scim_server.storage.subjects import Owner
from scim_server.usecases.access import Caller
from scim_server.usecases.deployment import Delivered, Deployment, Subscriber

_log = logging.getLogger(__name__)
_STILL = Moves()
READMISSIONS = 5  # tries


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the sessions, as the `Session-Termination` header says it. `state` is done, pending, held,
    unresolved or none; `stores` names those that are not done; `milliseconds` is commit to confirmed; `others` counts
    credentials that are no sessions, by kind."""

    state: str
    sessions: int = 0
    milliseconds: float = 0.0
    stores: tuple[str, ...] = ()
    others: Mapping[Credential, int] = field(default_factory=dict)

    def header(self) -> str:
        """The header's value."""
        if self.state == "done":
            others = "".join(f" {kind}s={self.others[kind]};" for kind in KINDS if kind in self.others)
            return f"done; sessions={self.sessions};{others} dur={self.milliseconds:.1f}"
        if self.stores:
            return f'{self.state}; stores="{",".join(self.stores)}"'
        return self.state


@dataclass(frozen=True, slots=True)
class Said:
    """What a write means for people and stores, on top of the resource itself: it goes into the same Change.

    `ends`: somebody loses access, so the answer owes a receipt; `unresolved` names the stores whose subject template
    had nothing to fill in.
    """

    messages: tuple[Message, ...] = ()
    ends: bool = False
    unresolved: tuple[str, ...] = ()
    losses: tuple[Loss, ...] = ()
    entitlements: tuple[Entitlement, ...] = ()


def say(deployment: Deployment, caller: Caller, kind: str, before: Snapshot | None, after: Snapshot | None) -> Said:
    """What the stores of the caller's tenant must hear of a change from `before` to `after`."""
    tenant = caller.tenant
    events = derive(kind, before, after, caller.options.event_values)
    if not events:
        return Said()
    ends = any(event.type in ("user.deactivated", "user.deleted") for event in events)
    if kind == "User" and before is not None and not before.active:
        ends = False  # there is nobody left to lose access
    standings = {
        subscriber.name: moves(subscriber.template, tenant, before, after, certain=subscriber.events)
        if kind == "User"
        else Moves()
        for subscriber in deployment.subscribers_of(tenant)
    }
    said = compose(deployment, tenant, events, standings, ends=ends)
    who = after or before
    assert who is not None
    losses = (Loss(who.id, "deactivated" if after else "deleted"),) if ends and before is not None else ()
    return replace(said, losses=losses)


def compose(
    deployment: Deployment,
    tenant: str,
    events: Sequence[Event],
    standings: Mapping[str, Moves],
    *,
    ends: bool,
    kinds: Sequence[Credential] = KINDS,
) -> Said:
    """Messages for every store that ends one of these kinds of credentials: first what moves a standing, then the
    other events for stores that want them."""
    messages: list[Message] = []
    for subscriber in deployment.subscribers_of(tenant):
        ending = subscriber.ending(kinds)
        if not ending:
            continue
        standing = standings.get(subscriber.name, _STILL)
        data = {event.type: event.data() for event in events}
        fallback = events[-1].data()
        for move in standing.moves:
            about = data.get(move.type, fallback)
            messages.append(
                Message(
                    id=deployment.new_id(),
                    store=subscriber.name,
                    subject=move.subject,
                    action="lift" if move.action == "lift" else "terminate",
                    type=move.type,
                    data=about if move.action == "lift" else {**about, "kinds": list(ending)},
                    denied=move.action == "terminate",
                    if_denied=move.if_denied,
                    delay_ms=subscriber.grace_ms,
                )
            )
        if subscriber.events:
            told = {move.type for move in standing.moves if not move.if_denied}
            messages += [_notice(deployment, subscriber, tenant, event) for event in events if event.type not in told]
    messages += [
        Message(deployment.new_id(), FEED, event.resource.id, "notify", event.type, event.data()) for event in events
    ]
    unresolved = tuple(name for name, standing in standings.items() if standing.unresolved)
    return Said(tuple(messages), ends, unresolved)


def _notice(deployment: Deployment, subscriber: Subscriber, tenant: str, event: Event) -> Message:
    values: dict[str, Any] = {**event.resource.document, "id": event.resource.id, "tenant": tenant}
    return Message(
        id=deployment.new_id(),
        store=subscriber.name,
        # Events of one resource stay in order; a resource without the store's key queues under its id.
        subject=subscriber.template.render(values) or event.resource.id,
        action="notify",
        type=event.type,
        data=event.data(),
    )


async def commit_and_deliver(
    deployment: Deployment, tenant: str, change: Change, said: Said
) -> tuple[Committed, Receipt | None]:
    """Commit the change with all that was `said`, then bring the stores in line before anybody is answered. The receipt
    is None when nobody lost access.

    Raises Stale and Taken of the commit; delivery never raises.
    """
    change = replace(
        change,
        messages=said.messages,
        losses=said.losses,
        entitlements=said.entitlements,
    )
    if said.unresolved:  # no message tells of a kill that had nothing to look for, so the audit must
        change = replace(change, audit=change.audit.noting(unresolved=said.unresolved))
    change = replace(change, companions=_companions(deployment, tenant, said.messages))
    committed = await deployment.database.commit(change)
    queued = committed.queued
    delivered = Delivered({}, 0.0)
    if queued:
        delivered = await deployment.terminator.deliver_now(tenant, queued)
        await _readmit(deployment, tenant, change, queued)
    if not said.ends:
        return committed, None
    for store in said.unresolved:
        metrics.unresolved.labels(store).inc()
        _log.warning(
            "user %s of tenant %s lost access, but has no value for the subject of session store %s: no session was "
            "looked for; scim-server sessions check says which attribute is missing",
            change.resource_id,
            tenant,
            store,
        )
    kills = [message for message in queued if message.action == "terminate"]
    return committed, _receipt(deployment, tenant, kills, delivered, said.unresolved)


async def _readmit(deployment: Deployment, tenant: str, change: Change, queued: Sequence[Queued]) -> None:
    """Let in again whoever else has a subject that the change denied: externalIds need not be unique (RFC 7643 §3.1),
    and two people may swap theirs. After the commit and guarded by the owner's version, so that two who share one and
    leave at the same moment do not keep the door open for each other. Never raises."""
    lost: dict[str, list[tuple[str, str]]] = {}
    leavers: set[str | None] = set()  # who is back already, was let in by what brought them back
    for kill in queued:
        if kill.action == "terminate" and kill.denied and not kill.held:
            external_id = _external_id(deployment, tenant, kill)
            if external_id is not None:
                lost.setdefault(external_id, []).append((kill.store, kill.subject))
                leavers.add(kill.data.get("id"))
    for _ in range(READMISSIONS if lost else 0):
        try:
            for owner in await subjects.owners(deployment.database, change.tenant_id, list(lost)):
                if owner.id not in leavers:
                    await _let_in(deployment, tenant, change, owner, lost[owner.external_id])
            return
        except Stale:  # the owner moved meanwhile, or left
            continue
        except ScimError as problem:
            _log.warning("could not look who else has what user %s left behind: %s", change.resource_id, problem.detail)
            break
    if lost:
        _log.warning("who shares an externalId with user %s may be locked out: sessions revoke", change.resource_id)


def _external_id(deployment: Deployment, tenant: str, kill: Queued) -> str | None:
    """What may be two people's in a subject; ids and user names are unique."""
    for subscriber in deployment.subscribers_of(tenant):
        if subscriber.name == kill.store:
            return subscriber.template.value_in(kill.subject, "externalId", {"tenant": tenant})
    return None


async def _let_in(
    deployment: Deployment, tenant: str, change: Change, owner: Owner, lost: Sequence[tuple[str, str]]
) -> None:
    event = UserReactivated(Snapshot(owner.id, orjson.loads(owner.doc), active=True))
    standings = {store: Moves((Move(subject, "lift", event.type, if_denied=True),)) for store, subject in lost}
    again = Change(
        id=deployment.new_id(),
        at=deployment.now(),
        tenant_id=change.tenant_id,
        type="User",
        resource_id=owner.id,
        write="bump",
        expected_version=owner.version,
        audit=replace(change.audit, action="user.readmit", detail={"shared_with": change.resource_id}),
    )
    await commit_and_deliver(deployment, tenant, again, compose(deployment, tenant, [event], standings, ends=False))


def _companions(deployment: Deployment, tenant: str, messages: Sequence[Message]) -> Mapping[str, Companion]:
    """The stores that take part in the commit: none, mostly, and then it stays one statement."""
    told = {message.store for message in messages if message.action != "notify" and not message.held}
    return {
        subscriber.name: Companion(partial(subscriber.joined, tenant), subscriber.budget_ms)
        for subscriber in deployment.subscribers_of(tenant)
        if subscriber.joined is not None and subscriber.name in told
    }


def _receipt(
    deployment: Deployment,
    tenant: str,
    kills: Sequence[Queued],
    delivered: Delivered,
    unresolved: tuple[str, ...],
) -> Receipt:
    outcomes = delivered.outcomes
    subscribers = {s.name: s for s in deployment.subscribers_of(tenant)}
    inline = [kill for kill in kills if kill.store in subscribers and subscribers[kill.store].inline]
    # With stores that deliver inline the header speaks for those; a lone webhook is announced as pending.
    spoken = inline or list(kills)
    open_ = tuple(sorted({kill.store for kill in spoken if not isinstance(outcomes.get(kill.id), Done)}))
    if unresolved:
        return Receipt("unresolved", stores=unresolved)
    if not spoken:
        return Receipt("none")
    if any(kill.held for kill in spoken):
        return Receipt("held")
    if open_:
        return Receipt("pending", stores=open_)
    ended: Counter[Credential] = Counter()
    for kill in spoken:
        outcome = outcomes[kill.id]
        ended[subscribers[kill.store].ends or "session"] += outcome.sessions if isinstance(outcome, Done) else 0
    return Receipt("done", ended.pop("session", 0), delivered.milliseconds, others=dict(ended))
