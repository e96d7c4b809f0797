"""Delivers committed messages to the session stores at once, within a budget, before the request is answered.

It never raises and never waits longer than the budget: what it cannot confirm is the worker's. An attempt goes on
when the client disconnects. Unlike the worker it does not probe a store whose breaker is open.
"""

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scim_server.dispatch.breaker import Breaker
from scim_server.dispatch.retry import settlement
from scim_server.protocol.errors import ScimError
from scim_server.sessions.port import Delivery, Gate, Outcome, Retry, SessionStore
from scim_server.storage.change import Queued
from scim_server.storage.database import Database
from scim_server.storage.outbox import Claimed, Settlement, settle
from scim_server.usecases.deployment import Delivered

BUDGET_S = 0.150
IN_FLIGHT = 64
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Line:
    """One store with what this process knows of it. `budget_s` bounds an inline attempt, `http` its retries."""

    store: SessionStore
    breaker: Breaker = field(default_factory=Breaker)
    budget_s: float = BUDGET_S
    http: bool = False


class Terminator:
    """Delivers now, or leaves it to the worker."""

    def __init__(self, database: Database, lines: Mapping[str, Line]) -> None:
        self._database = database
        self._lines = lines
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._running: set[asyncio.Task[Delivered]] = set()

    async def deliver_now(self, tenant: str, messages: Sequence[Queued]) -> Delivered:
        """Try each message of an inline store once; shielded from the cancellation of the caller."""
        task = asyncio.create_task(self._deliver(tenant, messages))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait for attempts under way, at shutdown."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _deliver(self, tenant: str, messages: Sequence[Queued]) -> Delivered:
        started = time.perf_counter()
        now = [message for message in messages if self._is_for_now(message)]
        outcomes = dict(
            zip((m.id for m in now), await asyncio.gather(*(self._try(tenant, m) for m in now)), strict=True)
        )
        elapsed = (time.perf_counter() - started) * 1000
        await self._settle(outcomes)
        if len(outcomes) < len([message for message in messages if not message.held]):
            await self._database.wake()
        return Delivered(outcomes, elapsed)

    def _is_for_now(self, message: Queued) -> bool:
        line = self._lines.get(message.store)
        if line is None or not line.store.inline or message.held or message.blocked:
            return False
        return not line.breaker.is_open

    async def _try(self, tenant: str, message: Queued) -> Outcome:
        line = self._lines[message.store]
        try:
            async with asyncio.timeout(line.budget_s), self._slots:
                outcome = await line.store.deliver(delivery_of(tenant, message))
        except TimeoutError:
            outcome = Retry(f"no answer within {line.budget_s * 1000:.0f} ms")
        line.breaker.record(success=not isinstance(outcome, Retry))
        return outcome

    async def _settle(self, outcomes: Mapping[str, Outcome]) -> None:
        settlements = [
            settlement(message_id, outcome, attempts=0, http=False, jitter=random.random())  # noqa: S311 (not a secret)
            for message_id, outcome in outcomes.items()
        ]
        await record(self._database, settlements)


async def record(database: Database, settlements: Sequence[Settlement]) -> None:
    """Settle; when the database is away the rows stay due and are delivered once more, which does no harm."""
    try:
        await settle(database, settlements)
    except ScimError as problem:
        _log.warning("could not settle %d deliveries: %s", len(settlements), problem.detail)


def delivery_of(tenant: str, message: Queued | Claimed) -> Delivery:
    """An outbox row as the store sees it."""
    gate = None
    data = {"tenant": tenant, **message.data}
    if message.epoch is not None:
        gate = Gate(message.epoch, bool(message.denied), message.not_before or 0)
        data |= {"epoch": gate.epoch, "not_before": gate.not_before}
    timestamp = message.created if isinstance(message, Claimed) else message.not_before or 0
    return Delivery(message.id, tenant, message.subject, message.action, gate, message.type, timestamp, data)
