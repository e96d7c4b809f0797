"""Sessions that a function of the CRM's own ends, in this process: whatever Python reaches.

A coroutine function runs on the event loop, a plain one in a thread. It is somebody else's code: whatever it raises
or returns, however long it takes, costs a later attempt and nothing more.
"""

import asyncio
import threading
from collections.abc import Sequence
from contextvars import copy_context
from inspect import iscoroutinefunction
from time import perf_counter
from typing import Any, Final

from scim_server.clock import new_id, now_ms
from scim_server.log import mask
from scim_server.sessions.config import PythonSettings
from scim_server.sessions.port import (
    CANARIES,
    Delivery,
    Done,
    Finding,
    Gate,
    Outcome,
    Refused,
    Retry,
    Trial,
    unfit,
)

_THREADS: Final = 8
_LONGEST: Final = 300


class PythonStore:
    """A `python` store. What gates and sessions there are, only the function knows."""

    kind = "python"
    events = False
    per_tenant = False

    def __init__(self, settings: PythonSettings) -> None:
        self.name = settings.name
        self.inline = settings.inline
        self._function = settings.function
        self._timeout_ms = settings.timeout_ms
        self._awaits = any(iscoroutinefunction(one) for one in (self._function, type(self._function).__call__))
        self._slots = asyncio.Semaphore(_THREADS)
        self._running: set[asyncio.Task[Outcome]] = set()

    async def deliver(self, delivery: Delivery) -> Outcome:
        """One call of the function."""
        if delivery.action == "notify":
            return Done()
        if why := unfit(delivery.subject):
            return Refused(why)
        return await self._call(delivery)

    async def assert_gates(self, tenant: str, gates: Sequence[tuple[str, Gate]]) -> Outcome:
        """One after the other, as deliveries of type `scim.assert`; the first that fails ends it."""
        ended = 0
        for subject, gate in gates:
            outcome = await self.deliver(_made(tenant, subject, gate, "scim.assert"))
            if isinstance(outcome, Retry):
                return outcome
            ended += outcome.sessions if isinstance(outcome, Done) else 0
        return Done(ended)

    async def beat(self, tenant: str, raised: str, value: int, other: str) -> int | None:
        """None: its gates cannot be read."""
        return None

    async def canary(self, tenant: str) -> Trial | None:
        """None: nobody knows what a call costs."""
        return None

    async def check(self, tenant: str) -> list[Finding]:
        """Ends the sessions of a subject that nobody has."""
        why = ""
        for canary in CANARIES:
            started = perf_counter()
            outcome = await self.deliver(_made(tenant, canary, Gate(1, True, 0), "scim.check"))
            if isinstance(outcome, Done):
                took = f"{(perf_counter() - started) * 1000:.1f} ms"
                return [Finding(True, f"{self.name}: the function took a subject that nobody has in {took}")]
            why = outcome.why
        hint = "a subject without sessions is done with none, and no error"
        return [Finding(False, f"{self.name}: the function failed: {why}", hint)]

    async def show(self, tenant: str, subject: str) -> None:
        """None: functions end sessions, they do not name them."""

    async def fingerprint(self) -> str | None:
        """None: only the CRM knows."""
        return None

    async def aclose(self) -> None:
        """Break off what still runs; a thread cannot be, and does not keep the process from ending."""
        for call in self._running:
            call.cancel()

    async def _call(self, delivery: Delivery) -> Outcome:
        call = asyncio.create_task(self._awaited(delivery) if self._awaits else self._in_thread(delivery))
        self._running.add(call)
        call.add_done_callback(self._running.discard)
        try:
            # Not awaited itself: a function may swallow its cancellation, or end in one that is not ours.
            await asyncio.wait({call}, timeout=self._timeout_ms / 1000)
        finally:
            done = call.done()
            call.cancel()
        if not done:
            return Retry(f"the function did not return within {self._timeout_ms} ms")
        return Retry("the function was cancelled from inside") if call.cancelled() else call.result()

    async def _awaited(self, delivery: Delivery) -> Outcome:
        try:
            return _outcome(await self._function(delivery))
        except asyncio.CancelledError:
            raise
        except BaseException as problem:  # noqa: BLE001 (a sys.exit in somebody else's code must not end the server)
            return _failure(problem)

    async def _in_thread(self, delivery: Delivery) -> Outcome:
        """A thread of its own that dies with the process: a pool would wait for one that hangs. It keeps its slot
        until it returns, so those that hang are eight at most."""
        loop, function = asyncio.get_running_loop(), self._function
        await self._slots.acquire()
        returned: asyncio.Future[Outcome] = loop.create_future()

        def finish(outcome: Outcome) -> None:
            self._slots.release()
            if not returned.done():
                returned.set_result(outcome)

        def work() -> None:
            try:
                outcome = _outcome(function(delivery))
            except BaseException as problem:  # noqa: BLE001 (a thread that dies keeps its slot for ever)
                outcome = _failure(problem)
            try:
                loop.call_soon_threadsafe(finish, outcome)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

        threading.Thread(target=copy_context().run, args=(work,), daemon=True, name=self.name).start()
        return await returned


def _made(tenant: str, subject: str, gate: Gate, kind: str) -> Delivery:
    return Delivery(new_id(), tenant, subject, "terminate" if gate.denied else "lift", gate, kind, now_ms())


def _outcome(result: Any) -> Outcome:
    if result is None:
        return Done()
    if isinstance(result, bool) or not isinstance(result, int) or not 0 <= result < 2**31:
        return Retry(
            f"the function returned a {type(result).__name__}: return the number of sessions it ended, or None"
        )
    return Done(result)


def _failure(problem: BaseException) -> Retry:
    """Class and text, fit for a log line and a column of text."""
    text = f"{type(problem).__name__}: {problem}"
    return Retry(mask("".join(letter if letter.isprintable() else " " for letter in text))[:_LONGEST])
