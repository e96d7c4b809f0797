"""Bulk (RFC 7644 §3.7): each operation goes through the use case that a single request goes through.

An operation is done whole or not at all; the request is not: those before a failure stay done.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from scim_server.events.model import Credential
from scim_server.protocol import bulk
from scim_server.protocol import patch as patching
from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.bulk import BulkOperation, BulkRequest, Step
from scim_server.protocol.errors import Conflict, MethodNotAllowed, NotFound, ScimError
from scim_server.protocol.etag import versions
from scim_server.protocol.patch import PATCH_URN
from scim_server.protocol.quirks import straighten_patch, straighten_resource
from scim_server.usecases import provisioning
from scim_server.usecases.access import Caller
from scim_server.usecases.change import Receipt
from scim_server.usecases.deployment import Deployment
from scim_server.usecases.membership import is_id
from scim_server.usecases.provisioning import Written

_STATUS = {"POST": 201, "PUT": 200, "PATCH": 200, "DELETE": 204}
_WORST_FIRST = ("unresolved", "held", "pending", "done", "none")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one operation: the resource it was about, unless it never got that far, and the `problem`."""

    operation: BulkOperation
    status: int
    rt: ResourceType | None = None
    resource_id: str | None = None
    version: int | None = None
    problem: ScimError | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """Outcomes in the order of the request, those after the last permitted failure left out; one receipt for all."""

    outcomes: Sequence[Outcome]
    receipt: Receipt | None


async def run(deployment: Deployment, caller: Caller, types: Sequence[ResourceType], request: BulkRequest) -> Done:
    """Run a bulk request on resources of these types."""
    running = _Run(deployment, caller, {rt.endpoint: rt for rt in types})
    for step in bulk.order(request.operations):
        stopped = request.fail_on_errors is not None and running.failures >= request.fail_on_errors
        if not stopped or step.completes:
            await running.take(request.operations[step.index], step)
    return Done([running.outcomes[index] for index in sorted(running.outcomes)], combined(running.receipts))


def combined(receipts: Sequence[Receipt]) -> Receipt | None:
    """One receipt for several: all sessions, all time, and the worst that has to be said of any."""
    if not receipts:
        return None
    worst = min(receipts, key=lambda receipt: _WORST_FIRST.index(receipt.state))
    others: Counter[Credential] = Counter()
    for receipt in receipts:
        others.update(receipt.others)
    stores = {store for receipt in receipts if receipt.state == worst.state for store in receipt.stores}
    return replace(
        worst,
        sessions=sum(receipt.sessions for receipt in receipts),
        milliseconds=sum(receipt.milliseconds for receipt in receipts),
        stores=tuple(sorted(stores)),
        others=dict(others),
    )


class _Run:
    """A bulk request under way."""

    def __init__(self, deployment: Deployment, caller: Caller, types: dict[str, ResourceType]) -> None:
        self.deployment = deployment
        self.caller = caller
        self.types = types
        self.ids: dict[str, str] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.receipts: list[Receipt] = []
        self.failures = 0

    async def take(self, operation: BulkOperation, step: Step) -> None:
        """Run one step and note what became of it."""
        before = self.outcomes.get(operation.index)
        if step.completes and (before is None or before.problem):
            return
        try:
            outcome = await (self._complete(operation, before) if before else self._begin(operation, step))
        except ScimError as problem:
            self.failures += 1
            self.ids.pop(operation.bulk_id or "", None)
            outcome = Outcome(operation, problem.status, problem=problem)
            if operation.method != "POST" and operation.refused is None:
                outcome = self._located(outcome)
        self.outcomes[operation.index] = outcome

    async def _begin(self, operation: BulkOperation, step: Step) -> Outcome:
        if operation.refused is not None:
            raise operation.refused
        self._demand_made(operation.references - step.without)
        path, data = bulk.substitute(operation.path, self.ids), operation.data
        if step.without:
            data, _ = bulk.parted(data, step.without)
        rt, resource_id = self._target(path)
        written = await self._execute(operation, rt, resource_id, bulk.substitute(data, self.ids))
        made = written.resource
        if operation.bulk_id and operation.method == "POST":
            self.ids[operation.bulk_id] = made.id
        version = None if operation.method == "DELETE" else made.version
        return Outcome(operation, _STATUS[operation.method], rt, made.id, version)

    async def _complete(self, operation: BulkOperation, begun: Outcome) -> Outcome:
        """Add what was left out; when that is impossible, what was begun is undone."""
        assert begun.rt is not None
        assert begun.resource_id is not None
        try:
            self._demand_made(operation.references)
            _, affected = bulk.parted(operation.data, operation.references)
            message = {"op": "add", "value": bulk.substitute(affected, self.ids)}
            written = await self._patch(begun.rt, begun.resource_id, {"Operations": [message]}, None)
        except ScimError:
            self._note(await provisioning.delete(self.deployment, self.caller, begun.rt, begun.resource_id, None))
            raise
        return replace(begun, version=written.resource.version)

    def _demand_made(self, references: frozenset[str]) -> None:
        unmade = references - self.ids.keys()
        if unmade:
            raise Conflict(f"No operation of this request has made a resource with the bulkId {min(unmade)!r}.")

    def _target(self, path: str) -> tuple[ResourceType, str]:
        endpoint, _, resource_id = path.rstrip("/").removeprefix("/").partition("/")
        rt = self.types.get(f"/{endpoint}")
        if rt is None:
            raise NotFound(f"path must begin with one of {', '.join(self.types)}.")
        return rt, resource_id

    async def _execute(self, operation: BulkOperation, rt: ResourceType, resource_id: str, data: Any) -> Written:
        creates = operation.method == "POST"
        if creates == bool(resource_id):
            raise MethodNotAllowed(f"{operation.method} needs a path like {rt.endpoint}{'' if creates else '/<id>'}.")
        if not creates and not is_id(resource_id):
            raise provisioning.unknown(rt.name)
        if_match, resource_id = versions(operation.version), resource_id.lower()
        if operation.method == "PATCH":
            return await self._patch(rt, resource_id, data, if_match)
        body, _ = straighten_resource(data, rt)
        if creates:
            written = await provisioning.create(self.deployment, self.caller, rt, body)
        elif operation.method == "PUT":
            written = await provisioning.replace_resource(self.deployment, self.caller, rt, resource_id, body, if_match)
        else:
            written = await provisioning.delete(self.deployment, self.caller, rt, resource_id, if_match)
        return self._note(written)

    async def _patch(self, rt: ResourceType, resource_id: str, data: Any, if_match: frozenset[int] | None) -> Written:
        body, _ = straighten_patch({"schemas": [PATCH_URN], **data}, rt)
        operations = patching.parse(body, rt, self.caller.options.strictness)
        return self._note(await provisioning.patch(self.deployment, self.caller, rt, resource_id, operations, if_match))

    def _note(self, written: Written) -> Written:
        if written.receipt is not None:
            self.receipts.append(written.receipt)
        return written

    def _located(self, outcome: Outcome) -> Outcome:
        """With the resource that the failed operation names (RFC 7644 §3.7.3)."""
        endpoint, _, resource_id = bulk.substitute(outcome.operation.path, self.ids).strip("/").partition("/")
        return replace(outcome, rt=self.types.get(f"/{endpoint}"), resource_id=resource_id or None)
