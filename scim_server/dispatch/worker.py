"""Finishes what requests did not: claims due messages of each store, delivers them, settles them.

One loop a store, so that a slow one delays nobody else. Woken by commits, when the next message is due, and by a poll
each second in case a wake-up was lost. Behind an open breaker it probes with one message a second; the first success
makes everything due.
"""

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping, Set

from scim_server.dispatch.breaker import Breaker
from scim_server.dispatch.retry import settlement
from scim_server.dispatch.terminator import Line, attempt, delivery_of, record, silent, switched_off
from scim_server.protocol.errors import ScimError
from scim_server.sessions.port import Outcome, Retry
from scim_server.storage.database import Database
from scim_server.storage.outbox import Claimed, Settlement, claim, hasten, next_due
from scim_server.tasks import stop

POLL_S = 1.0
BATCH = 200
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
        """Deliver one batch; how many seconds there may be nothing to do unless woken."""
        name = line.store.name
        batch = await claim(self._database, name, 1 if line.breaker.is_open else BATCH)
        if not batch:
            return await self._pause(line)
        off = await silent(self._database, line)
        outcomes = await asyncio.gather(*(self._try(line, message, off) for message in batch))
        closed = _note(line.breaker, outcomes)
        await record(self._database, self._settlements(line, batch, outcomes))
        if closed:
            _log.warning("session store %s is back", name)
            await hasten(self._database, name)
        return 0.0

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

    def _settlements(self, line: Line, batch: Iterable[Claimed], outcomes: Iterable[Outcome]) -> list[Settlement]:
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
            for message, outcome in zip(batch, outcomes, strict=True)
        ]


def _note(breaker: Breaker, outcomes: Iterable[Outcome]) -> bool:
    """Whether it closed. A store that took one message of a batch is there, whatever became of the others."""
    failed = [isinstance(outcome, Retry) for outcome in outcomes]
    if not all(failed):
        return breaker.record(success=True)
    for _ in failed:
        breaker.record(success=False)
    return False
