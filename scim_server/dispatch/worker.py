"""Finishes what requests did not: claims due messages of each store, delivers them, settles them.

One loop a store, so that a slow one delays nobody else; what takes long delays only its subject. Woken by commits, when
the next message is due, and by a poll each second in case a wake-up was lost. Behind an open breaker it probes with one
message a second; the first success makes everything due.
"""

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping, Sequence, Set

from scim_server.dispatch.breaker import Breaker
from scim_server.dispatch.retry import settlement
from scim_server.dispatch.terminator import Line, attempt, delivery_of, record, silent, switched_off
from scim_server.protocol.errors import ScimError
from scim_server.sessions.port import Outcome, Retry
from scim_server.storage.database import Database
from scim_server.storage.outbox import Claimed, Settlement, claim, hasten, next_due
from scim_server.tasks import stop

POLL_S = 1.0
BATCH = 200  # at most under way to one store
PATIENCE_S = 0.25  # for the slowest of a batch, before the next is claimed
ATTEMPT_S = 5.0
HTTP_ATTEMPT_S = 12.0
_log = logging.getLogger(__name__)


class Worker:
    """Background delivery of one process. `rounds` counts finished rounds, for whoever waits for progress."""

    def __init__(self, database: Database, lines: Mapping[str, Line]) -> None:
        self._database = database
        self._lines = lines
        self._wakers = {name: asyncio.Event() for name in lines}
        self._tasks: list[asyncio.Task[None]] = []
        self._under_way: dict[str, set[str]] = {name: set() for name in lines}  # ids of messages
        self._deliveries: dict[str, set[asyncio.Task[None]]] = {name: set() for name in lines}
        self._progress = asyncio.Condition()
        self.rounds = 0
        database.on_wake(self.wake)

    def start(self) -> None:
        """Begin; what died with an earlier process is found at once."""
        self._tasks = [asyncio.create_task(self._serve(name), name=f"worker {name}") for name in self._lines]

    def wake(self) -> None:
        """Look now instead of at the next poll."""
        for waker in self._wakers.values():
            waker.set()

    async def round_done(self) -> None:
        """Return after the next finished round."""
        async with self._progress:
            await self._progress.wait()

    async def aclose(self) -> None:
        """Stop. What is claimed but not delivered comes back when its lease ends."""
        await stop(self._tasks)
        await stop(delivery for deliveries in self._deliveries.values() for delivery in deliveries)

    async def _serve(self, name: str) -> None:
        line, waker = self._lines[name], self._wakers[name]
        while True:
            waker.clear()
            try:
                pause = await self._round(line)
            except ScimError as problem:
                _log.warning("worker of %s waits for the database: %s", name, problem.detail)
                pause = POLL_S
            except Exception:  # noqa: BLE001 (whatever it was, kills that are waiting must not wait for a restart)
                _log.exception("worker of %s", name)
                pause = POLL_S
            self.rounds += 1
            async with self._progress:
                self._progress.notify_all()
            if line.breaker.is_open:
                await asyncio.sleep(POLL_S)  # wake-ups must not turn probes into a storm
            elif pause:
                try:
                    await asyncio.wait_for(waker.wait(), pause)
                except TimeoutError:
                    pass

    async def _round(self, line: Line) -> float:
        """Claim one batch, and wait a moment for it; how many seconds there may be nothing to do unless woken."""
        name = line.store.name
        under_way, deliveries = self._under_way[name], self._deliveries[name]
        if len(under_way) >= BATCH:
            await asyncio.wait(deliveries, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
            return 0.0
        claimed = await claim(self._database, name, 1 if line.breaker.is_open else BATCH - len(under_way))
        batch = [message for message in claimed if message.id not in under_way]  # `hasten` frees those, too
        if not batch:
            return await self._pause(line)
        off = await silent(self._database, line)
        delivery = asyncio.create_task(self._deliver(line, batch, off), name=f"delivery {name}")
        deliveries.add(delivery)
        delivery.add_done_callback(deliveries.discard)
        await asyncio.wait([delivery], timeout=None if line.breaker.is_open else PATIENCE_S)
        return 0.0

    async def _deliver(self, line: Line, batch: Sequence[Claimed], off: Set[str]) -> None:
        """Try each message once, and settle the quick ones without waiting for the slow. Never raises."""
        succeeded, under_way = line.breaker.successes, self._under_way[line.store.name]
        under_way.update(message.id for message in batch)
        trying = {asyncio.create_task(self._try(line, message, off)): message for message in batch}
        try:
            while trying:
                ended, _ = await asyncio.wait(trying, timeout=PATIENCE_S)
                if ended:
                    tried = [(trying.pop(task), task.result()) for task in ended]
                    under_way.difference_update(message.id for message, _ in tried)
                    await self._conclude(line, tried, succeeded)
        except ScimError as problem:
            _log.warning("worker of %s waits for the database: %s", line.store.name, problem.detail)
        except Exception:  # noqa: BLE001 (what is not settled comes back when its lease ends)
            _log.exception("worker of %s", line.store.name)
        finally:
            await stop(trying)
            under_way.difference_update(message.id for message in batch)

    async def _conclude(self, line: Line, tried: Sequence[tuple[Claimed, Outcome]], succeeded: int) -> None:
        closed = _note(line.breaker, [outcome for _, outcome in tried], succeeded)
        await record(self._database, self._settlements(line, tried))
        if closed:
            _log.warning("session store %s is back", line.store.name)
            await hasten(self._database, line.store.name)
        self._wakers[line.store.name].set()  # for what waited behind these for its subject

    async def _pause(self, line: Line) -> float:
        due_ms = await next_due(self._database, line.store.name)
        if due_ms is None or due_ms <= POLL_S * 1000:  # another process delivers all: nothing is left to probe with
            line.breaker.half_open()
        if due_ms is None:
            return POLL_S
        return min(max(due_ms, 1) / 1000, POLL_S)

    async def _try(self, line: Line, message: Claimed, off: Set[str]) -> Outcome:
        if message.tenant in off:
            return switched_off(message.store)
        limit = HTTP_ATTEMPT_S if line.http else ATTEMPT_S
        try:
            async with asyncio.timeout(limit):
                return await attempt(line, delivery_of(message.tenant, message))
        except TimeoutError:
            return Retry(f"no answer within {limit:.0f} s")

    def _settlements(self, line: Line, tried: Iterable[tuple[Claimed, Outcome]]) -> list[Settlement]:
        return [
            settlement(
                message.id,
                outcome,
                attempts=message.attempts,
                tried_ms=message.tried_ms,
                http=line.http,
                probing=line.breaker.is_open,
                jitter=random.random(),  # noqa: S311 (spreads load, hides nothing)
            )
            for message, outcome in tried
        ]


def _note(breaker: Breaker, outcomes: Sequence[Outcome], succeeded: int) -> bool:
    """Whether it closed. A store that took one message of a batch, or any other since it had `succeeded` that often,
    is there, whatever became of the others."""
    failed = [isinstance(outcome, Retry) for outcome in outcomes]
    if not all(failed):
        return breaker.record(success=True)
    for _ in failed if breaker.successes == succeeded else ():
        breaker.record(success=False)
    return False
