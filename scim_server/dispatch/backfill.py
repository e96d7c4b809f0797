"""Tells a store that was not there before who had left by then: denials for every user without access.

First all are denied that the store's template names, then those are spared whose subject somebody with access has
too; gates are written only after both (reassert.py). So a user who comes in between, by any route, is never shut out:
their own commit moves the subject, and no mark of ours is left on it. Interrupted, it goes on where it was.
"""

import asyncio
import logging

import orjson

from scim_server import metrics
from scim_server.events.subject import Template
from scim_server.storage.access import TenantRow
from scim_server.storage.sentinels import Stage, Watched, advance
from scim_server.storage.subjects import Denial, Person, deny, people, spare
from scim_server.usecases.deployment import Deployment, Subscriber

PAGE = 500
_log = logging.getLogger(__name__)


async def backfill(deployment: Deployment, subscriber: Subscriber, tenants: list[TenantRow], watched: Watched) -> None:
    """Do what is left of it. Raises Unavailable, and may then be called again."""
    stage, after = watched.stage, watched.after
    if stage == "deny":
        _log.info("session store %s is new, or its subject template: telling it who has left", watched.store)
        denied = await _walk(deployment, subscriber, tenants, watched, "deny", after)
        _log.info("session store %s: %d subjects of users who had left are denied", watched.store, denied)
        stage, after = ("spare", ("", "")) if _may_be_shared(subscriber.template) else (None, ("", ""))
        await advance(deployment.database, watched, stage, after)
    if stage == "spare":
        spared = await _walk(deployment, subscriber, tenants, watched, "spare", after)
        if spared:
            _log.warning(
                "session store %s: %d subjects belong to users who left and to others who did not, and stay open",
                watched.store,
                spared,
            )
        await advance(deployment.database, watched, None, ("", ""))


async def _walk(
    deployment: Deployment,
    subscriber: Subscriber,
    tenants: list[TenantRow],
    watched: Watched,
    stage: Stage,
    after: tuple[str, str],
) -> int:
    """All users with (spare) or without (deny) access, page by page; how many subjects changed."""
    database, changed = deployment.database, 0
    for tenant in sorted(tenants, key=lambda row: row.id):
        if tenant.id < after[0]:
            continue
        last = after[1] if tenant.id == after[0] else ""
        while page := await people(database, tenant.id, access=stage == "spare", after=last, limit=PAGE):
            denials = _subjects(subscriber.template, tenant.name, page)
            if stage == "deny":
                at = deployment.now()
                count = await deny(database, tenant.id, watched.store, denials, mark=watched.id, at=at)
                metrics.backfilled.labels(watched.store).inc(count)
            else:
                subjects = [denial.subject for denial in denials]
                count = await spare(database, tenant.id, watched.store, subjects, mark=watched.id)
            changed += count
            last = page[-1].id
            await advance(database, watched, stage, (tenant.id, last))
            await asyncio.sleep(0)  # requests go first
    return changed


def _subjects(template: Template, tenant: str, page: list[Person]) -> list[Denial]:
    """The subjects of a page, each once; people who lack what the template needs have none."""
    found: dict[str, str] = {}
    for person in page:
        subject = template.render({**orjson.loads(person.doc), "id": person.id, "tenant": tenant})
        if subject is not None:
            found.setdefault(subject, person.id)
    return [Denial(subject, resource_id) for subject, resource_id in found.items()]


def _may_be_shared(template: Template) -> bool:
    """Ids and user names are unique within a tenant; everything else may be two people's."""
    return {*template.names()} - {"tenant"} not in ({"id"}, {"userName"})
