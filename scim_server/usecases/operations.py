"""What people do rather than identity providers: find a person, cut them off, end their sessions, look at stores."""

import json
from collections.abc import Sequence

import orjson

from scim_server.events.derive import revocation
from scim_server.events.model import KINDS, Credential, SessionsRevoked, Snapshot
from scim_server.protocol import filter as filters
from scim_server.protocol import patch as patching
from scim_server.protocol.attributes import INTEROP
from scim_server.protocol.path import parse_names
from scim_server.protocol.schemas import USER
from scim_server.sessions.port import Finding
from scim_server.storage import listing, resources
from scim_server.storage.change import Audit, Change
from scim_server.storage.database import Stale
from scim_server.storage.listing import Sort
from scim_server.storage.resources import Stored
from scim_server.usecases import amends, provisioning, queries
from scim_server.usecases.access import Caller
from scim_server.usecases.change import Receipt, Said, commit_and_deliver, compose
from scim_server.usecases.deployment import Deployment, Subscriber
from scim_server.usecases.membership import is_id

SAMPLE = 1_000


async def find_user(deployment: Deployment, caller: Caller, name: str) -> Stored | None:
    """A user by id, else userName, else externalId; None when there is none or the externalId is not unique."""
    for attribute in ("id", "userName", "externalId"):
        found = await find_user_by(deployment, caller, attribute, name)
        if found is not None:
            return found
    return None


async def find_user_by(deployment: Deployment, caller: Caller, attribute: str, value: str) -> Stored | None:
    """A user by `id`, `userName` or `externalId`; None when there is none or more than one."""
    if attribute == "id":
        if not is_id(value):
            return None
        return await resources.load(deployment.database, caller.tenant_id, "User", value.lower(), groups=False)
    query = filters.parse(f"{attribute} eq {json.dumps(value)}", USER, INTEROP)
    page = await listing.search(
        deployment.database, caller.tenant_id, USER, query, sort=Sort(), offset=0, limit=2, groups=False
    )
    return page.resources[0] if len(page.resources) == 1 else None


async def set_active(deployment: Deployment, caller: Caller, user: Stored, active: bool) -> provisioning.Written:
    """Deactivate or reactivate through the one write path."""
    rt = deployment.type_of(caller.options, "User")
    body = {"Operations": [{"op": "replace", "path": "active", "value": active}]}
    operations = patching.parse(body, rt, INTEROP)
    return await provisioning.patch(deployment, caller, rt, user.id, operations, None)


async def cut_off(deployment: Deployment, caller: Caller, user: Stored) -> Receipt | None:
    """Deactivate somebody by a person's decision, which no brake holds up; None when they were cut off already."""
    receipt = (await set_active(deployment, caller, user, False)).receipt
    if receipt is None or receipt.state == "held":
        return await amends.approve(deployment, caller, user.id) or receipt
    return receipt


async def revoke(deployment: Deployment, caller: Caller, user: Stored, kinds: Sequence[Credential] = KINDS) -> Receipt:
    """End every session so far, or what else of these kinds lets somebody in, and keep the account as it is; the
    receipt says what came of it."""
    for _ in range(provisioning.TRIES):
        try:
            return await _revoke(deployment, caller, user, kinds)
        except Stale:  # whoever lost access meanwhile must not be let in by this
            user = await queries.get(deployment, caller, USER, user.id, groups=False)
    raise provisioning.unsettled()


async def _revoke(deployment: Deployment, caller: Caller, user: Stored, kinds: Sequence[Credential]) -> Receipt:
    person = Snapshot(user.id, orjson.loads(user.doc), user.active and user.entitled)
    event = SessionsRevoked(person, tuple(kinds))
    standings = {
        subscriber.name: revocation(subscriber.template, caller.tenant, person, event.type)
        for subscriber in deployment.subscribers_of(caller.tenant)
        if subscriber.ending(kinds)
    }
    said: Said = compose(deployment, caller.tenant, [event], standings, ends=True, kinds=kinds)
    change = Change(
        id=deployment.new_id(),
        at=deployment.now(),
        tenant_id=caller.tenant_id,
        type="User",
        resource_id=user.id,
        write="bump",  # whoever waits to change the user's standing must read this one
        expected_version=user.version,
        audit=Audit(caller.actor, "user.revoke", caller.request_id, {"kinds": list(kinds)}),
    )
    _, receipt = await commit_and_deliver(deployment, caller.tenant, change, said)
    assert receipt is not None
    return receipt


def subjects_of(deployment: Deployment, caller: Caller, user: Stored) -> list[tuple[Subscriber, str | None]]:
    """The key under which each store files this person; None when the person lacks what the template needs."""
    values = {**orjson.loads(user.doc), "id": user.id, "tenant": caller.tenant}
    return [(s, s.template.render(values)) for s in deployment.subscribers_of(caller.tenant)]


async def check_subjects(deployment: Deployment, tenant_id: str, tenant: str, subscriber: Subscriber) -> list[Finding]:
    """Whether the tenant's active users have what a store's subject template needs, by the newest thousand of them."""
    lacking, looked_at = await _lacking(deployment, tenant_id, tenant, subscriber)
    text = subscriber.template.text
    for name in subscriber.template.names():
        # An extension may be the tenant's own, and its attribute not declared here.
        if name != "tenant" and ":" not in name and not parse_names([name], USER):
            return [Finding(False, f"subject {text}: users have no attribute {name}", "correct the store's subject")]
    if not looked_at:
        return [Finding(True, f"subject {text}: no active users yet")]
    if not lacking:
        return [Finding(True, f"subject {text}: all of {looked_at} active users have it")]
    hint = "map the attribute in the identity provider, or change the store's subject; kills of these find nothing"
    return [Finding(False, f"subject {text}: {lacking} of {looked_at} active users have no value for it", hint)]


async def unresolved_stores(deployment: Deployment, tenant_id: str, tenant: str) -> dict[str, int]:
    """Stores whose subject template some active users cannot fill in, with how many of the newest thousand."""
    found: dict[str, int] = {}
    for subscriber in deployment.subscribers_of(tenant):
        lacking, _ = await _lacking(deployment, tenant_id, tenant, subscriber)
        if lacking:
            found[subscriber.name] = lacking
    return found


async def _lacking(deployment: Deployment, tenant_id: str, tenant: str, subscriber: Subscriber) -> tuple[int, int]:
    query = filters.parse("active eq true", USER, INTEROP)
    page = await listing.search(
        deployment.database, tenant_id, USER, query, sort=Sort(descending=True), offset=0, limit=SAMPLE, groups=False
    )
    people = [{**orjson.loads(user.doc), "id": user.id, "tenant": tenant} for user in page.resources]
    return sum(subscriber.template.render(person) is None for person in people), len(people)
