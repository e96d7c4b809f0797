"""Repeats confirmed kills for stores whose CRM has no guard: 2, 15 and 60 s later the same delivery again.

A login that raced the kill, or a request that saves its session at its end, brings a session back; the echo ends it.
It is dropped as soon as anything moved the subject since, so it never ends the session of somebody let in again.
"""

import asyncio
import logging
from collections.abc import Mapping

from scim_server import metrics
from scim_server.dispatch.retry import STORE_CAP_MS, echo_delay_ms
from scim_server.dispatch.terminator import Line, delivery_of
from scim_server.protocol.errors import ScimError
from scim_server.sessions.port import Done
from scim_server.storage.database import Database
from scim_server.storage.echoes import Echo, Echoed, claim_echoes, settle_echoes
from scim_server.tasks import stop

POLL_S = 0.5
BATCH = 200
ATTEMPT_S = 5.0
_log = logging.getLogger(__name__)


class Echoes:
    """The echoes of one process. They are rows, so those of a process that died are found by the next."""

    def __init__(self, database: Database, lines: Mapping[str, Line], *, poll_s: float = POLL_S) -> None:
        self._database = database
        self._lines = {name: line for name, line in lines.items() if not line.http}
        self._poll_s = poll_s
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """One loop a store, so that a slow one delays nobody else."""
        self._tasks = [asyncio.create_task(self._serve(name), name=f"echoes {name}") for name in self._lines]

    async def aclose(self) -> None:
        """Stop."""
        await stop(self._tasks)

    async def sweep(self, name: str) -> int:
        """Repeat what is due for one store, at most a batch; how many sessions were found. Raises Unavailable."""
        line = self._lines[name]
        if line.breaker.is_open:
            return 0
        due = await claim_echoes(self._database, name, BATCH)
        echoed = await asyncio.gather(*(self._repeat(line, echo) for echo in due))
        await settle_echoes(self._database, echoed)
        return sum(one.sessions for one in echoed)

    async def _serve(self, name: str) -> None:
        while True:
            try:
                await self.sweep(name)
            except ScimError as problem:
                _log.warning("echoes of %s wait for the database: %s", name, problem.detail)
            except Exception:  # noqa: BLE001 (a fault in one adapter must not end the echoes of its store)
                _log.exception("echoes of %s", name)
            await asyncio.sleep(self._poll_s)

    async def _repeat(self, line: Line, echo: Echo) -> Echoed:
        kill, name = echo.kill, line.store.name
        if not echo.current:
            metrics.echoes.labels(name, "dropped").inc()
            return Echoed(kill.id, echo.echoes, 0, None)
        try:
            async with asyncio.timeout(ATTEMPT_S):
                outcome = await line.store.deliver(delivery_of(kill.tenant, kill))
        except TimeoutError:
            outcome = None
        if not isinstance(outcome, Done):
            metrics.echoes.labels(name, "retry").inc()
            return Echoed(kill.id, echo.echoes, 0, STORE_CAP_MS)
        metrics.echoes.labels(name, "done").inc()
        if outcome.sessions:
            metrics.echo_sessions.labels(name).inc(outcome.sessions)
            _log.warning(
                "%d sessions of user %s came back after the kill in session store %s and were ended again: a login "
                "raced it; integrate the guard (docs/session-stores.md)",
                outcome.sessions,
                kill.data.get("id"),
                name,
            )
        next_ms = None if outcome.guard_seen else echo_delay_ms(echo.echoes + 1)
        return Echoed(kill.id, echo.echoes + 1, outcome.sessions, next_ms)
