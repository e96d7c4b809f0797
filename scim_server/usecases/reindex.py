"""What resources are found by, brought in line with schemas that changed: which tenants need it, and doing it.

Until it is done a filter may miss who was stored under the old schemas. Not done at start: while servers with the old
configuration run beside, they would go on writing by the old rules (docs/decisions/0013-reindex-is-a-command.md).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import orjson

from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.errors import Unavailable
from scim_server.storage import access, indexing
from scim_server.storage.access import TenantRow
from scim_server.storage.database import Taken
from scim_server.storage.indexing import Held, Indexed, Wanted
from scim_server.storage.keys import row_of, rules, values_of
from scim_server.usecases.deployment import Deployment
from scim_server.usecases.options import TenantOptions

BATCH = 100  # SQLite looks through a batch for each of its rows
TRIES = 5


@dataclass(frozen=True, slots=True)
class Outdated:
    """Resources of a tenant whose rows were made by other rules than those that hold now."""

    tenant: TenantRow
    rt: ResourceType
    rules: str
    state: Indexed


@dataclass(frozen=True, slots=True)
class Progress:
    """After a batch: resources looked at, those that were written, and ids of those that share a value that is unique
    now with another one."""

    seen: int = 0
    written: int = 0
    clashes: tuple[str, ...] = ()


async def outdated(deployment: Deployment, *, everything: bool = False) -> list[Outdated]:
    """Whose rows need to be made anew; `everything`: of all tenants whose schemas can be used. What has no resources
    yet is taken note of. Raises Unavailable."""
    known, filled = await indexing.recorded(deployment.database), await indexing.filled(deployment.database)
    found: list[Outdated] = []
    fresh: dict[tuple[str, str], Indexed] = {}
    for tenant in await access.tenants(deployment.database):
        options = TenantOptions.read(tenant.options)
        try:
            types = deployment.types_of(options)
        except Unavailable:  # which is said elsewhere
            continue
        for rt in types:
            current = rules(rt, unique_display_name=options.unique_group_names)
            state = known.get((tenant.id, rt.name), Indexed(None))
            if (tenant.id, rt.name) not in filled:
                if state.rules != current:
                    fresh[tenant.id, rt.name] = Indexed(current)
            elif everything or state.rules != current:
                found.append(Outdated(tenant, rt, current, state))
    await indexing.record(deployment.database, fresh)
    return found


async def reindex(deployment: Deployment, work: Outdated) -> AsyncIterator[Progress]:
    """Make the rows of a tenant and type anew, going on where an attempt for the same schemas ended; the progress after
    each batch. Complete, and taken note of, unless there are clashes. Raises Unavailable."""
    database, tenant_id, kind = deployment.database, work.tenant.id, work.rt.name
    resumed = work.state.target == work.rules
    state = Indexed(work.state.rules, work.rules, work.state.after_id if resumed else None)
    progress = Progress()
    while held := await indexing.page(database, tenant_id, kind, state.after_id, BATCH):
        changed, clashing = await _batch(deployment, work, held)
        progress = Progress(progress.seen + len(held), progress.written + changed, (*progress.clashes, *clashing))
        state = state._replace(after_id=held[-1].id)
        if not progress.clashes:  # else the next attempt begins with them
            await indexing.record(database, {(tenant_id, kind): state})
        yield progress
    if not progress.clashes:
        await indexing.record(database, {(tenant_id, kind): Indexed(work.rules)})


async def _batch(deployment: Deployment, work: Outdated, held: list[Held]) -> tuple[int, list[str]]:
    database, tenant_id, kind = deployment.database, work.tenant.id, work.rt.name
    written = 0
    clashes: list[str] = []
    for _ in range(TRIES):
        wanted = [made for each in held if (made := _made(work, each)) is not None]
        if not wanted:
            break
        try:
            done = await indexing.rewrite(database, tenant_id, kind, wanted)
        except Taken:
            done, clashing = await _one_by_one(deployment, work, wanted)
            clashes += clashing
        written += len(done)
        left = [each.id for each in wanted if each.id not in done and each.id not in clashes]
        held = await indexing.some(database, tenant_id, kind, left) if left else []
    else:
        raise Unavailable("Others keep changing these resources; run it again.")
    return written, clashes


async def _one_by_one(deployment: Deployment, work: Outdated, wanted: Sequence[Wanted]) -> tuple[set[str], list[str]]:
    """Of those that share what is unique now the first one has it; the others are found by all else."""
    database, tenant_id, kind = deployment.database, work.tenant.id, work.rt.name
    done: set[str] = set()
    clashes: list[str] = []
    for each in wanted:
        try:
            done |= await indexing.rewrite(database, tenant_id, kind, [each])
        except Taken:
            values = [replace(value, exclusive=False) for value in each.values]
            shared = replace(each, row=replace(each.row, unique_key=None), values=values)
            done |= await indexing.rewrite(database, tenant_id, kind, [shared])
            clashes.append(each.id)
    return done, clashes


def _made(work: Outdated, held: Held) -> Wanted | None:
    """What the resource is to be found by; None when it is already."""
    unique = TenantOptions.read(work.tenant.options).unique_group_names
    row = row_of(held.document, work.rt, active=held.active, unique_display_name=unique)
    values = values_of(held.document, work.rt)
    keys = tuple(getattr(row, key) for key in indexing.KEYS)
    if keys == held.keys and values == held.values and orjson.loads(row.search) == held.search:
        return None
    return Wanted(held.id, held.version, row, sorted(values, key=lambda value: (value.attr, value.value_key)))
