"""Writes every gate again to a store that lost something, and ends what sessions came back with the loss.

Everything denied is denied again; who was let in again lately gets the gate that keeps older sessions dead. Stores
obey epochs, so nothing newer is undone.
"""

import asyncio
import logging

from scim_server import metrics
from scim_server.dispatch.terminator import Line
from scim_server.sessions.port import Done, Gate, Outcome, Retry
from scim_server.storage.access import TenantRow
from scim_server.storage.database import Database
from scim_server.storage.subjects import standings

PAGE = 5_000  # where sessions must be looked for, each page costs a walk through all keys
PAGE_S = 120.0
DAY_MS = 86_400_000
_log = logging.getLogger(__name__)


async def reassert(database: Database, line: Line, tenants: list[TenantRow], *, now: int, pause_s: float) -> None:
    """Return when all is written; while the store does not take it, try again every `pause_s`. Raises Unavailable."""
    name = line.store.name
    gates = sessions = 0
    metrics.mending.labels(name).set(1)
    try:
        for tenant in tenants:
            after = ""
            while page := await standings(
                database, tenant.id, name, after=after, since=now - line.session_days * DAY_MS, limit=PAGE
            ):
                due = [(one.subject, Gate(one.epoch, one.denied, one.not_before)) for one in page]
                sessions += await _until_done(line, tenant.name, due, pause_s)
                gates += len(due)
                metrics.gates_asserted.labels(name).inc(len(due))
                after = page[-1].subject
    finally:
        metrics.mending.labels(name).set(0)
    metrics.sessions_ended.labels(name, line.tally.kind).inc(sessions)
    _log.warning("session store %s: %d gates written again, %d sessions ended", name, gates, sessions)


async def _until_done(line: Line, tenant: str, due: list[tuple[str, Gate]], pause_s: float) -> int:
    said = ""
    while True:
        outcome = await _once(line, tenant, due)
        if isinstance(outcome, Done):
            return outcome.sessions
        if outcome.why != said:
            said = outcome.why
            _log.warning("session store %s does not take its gates: %s", line.store.name, said)
        await asyncio.sleep(pause_s)


async def _once(line: Line, tenant: str, due: list[tuple[str, Gate]]) -> Outcome:
    try:
        async with asyncio.timeout(PAGE_S):
            return await line.store.assert_gates(tenant, due)
    except TimeoutError:
        return Retry(f"no answer within {PAGE_S:.0f} s")
