"""What is looked at now and then rather than on a request: tokens about to expire, the backlog, old outbox rows.

Findings go to metrics and the log. One task a process; it only reads, except for retention.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping

from scim_server import metrics
from scim_server.dispatch.terminator import Line
from scim_server.protocol.errors import ScimError
from scim_server.storage import deactivations, exchanges
from scim_server.storage.access import tenants, tokens
from scim_server.storage.database import Database
from scim_server.storage.outbox import backlog, forget, silences
from scim_server.tasks import stop
from scim_server.usecases.access import days_left
from scim_server.usecases.options import TenantOptions

EVERY_S = 10.0
DAY_MS = 86_400_000
WARN_DAYS = (30, 7, 1)
RETENTION_MS = 7 * DAY_MS
LATE_KILL_MS = 30_000
_log = logging.getLogger(__name__)


class Watch:
    """The periodic look."""

    def __init__(self, database: Database, lines: Mapping[str, Line], now: Callable[[], int]) -> None:
        self._database = database
        self._lines = lines
        self._now = now
        self._warned: dict[str, int] = {}
        self._shown: set[tuple[str, str]] = set()  # tenants and ids of tokens in the metrics
        self._seen: set[str] = set()  # stores that something waited for
        self._late: set[str] = set()
        self._silent: set[tuple[str, str]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with a look at once."""
        self._task = asyncio.create_task(self._run(), name="watch")

    async def aclose(self) -> None:
        """Stop."""
        if self._task:
            await stop([self._task])

    async def look(self) -> None:
        """One look at everything. Raises Unavailable."""
        for name, line in self._lines.items():
            metrics.store_up.labels(name).set(not line.breaker.is_open)
        await self._look_at_backlog()
        await self._look_at_silent()
        await self._look_at_tokens()
        await forget(self._database, self._now() - RETENTION_MS)
        for tenant in await tenants(self._database):
            days = TenantOptions.read(tenant.options).request_log_days
            await exchanges.forget(self._database, tenant.id, self._now() - days * DAY_MS)
        await deactivations.forget(self._database, self._now() - RETENTION_MS)

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except ScimError as problem:
                _log.warning("watch: %s", problem.detail)
            except Exception:  # noqa: BLE001 (one bad row must not end the warnings about all else)
                _log.exception("watch")
            await asyncio.sleep(EVERY_S)

    async def _look_at_backlog(self) -> None:
        found = {entry.store: entry for entry in await backlog(self._database)}
        self._seen |= found.keys()
        for name in {*self._lines, *self._seen}:
            entry = found.get(name)
            age = (self._now() - entry.oldest) / 1000 if entry and entry.oldest else 0.0
            metrics.outbox_waiting.labels(name).set(entry.waiting if entry else 0)
            metrics.outbox_oldest.labels(name).set(age)
            self._look_at_oldest_kill(name, entry.oldest_kill if entry else None)
            if entry and name not in self._lines:
                _log.error(
                    "%d messages wait for the session store %s, which is no longer configured", entry.waiting, name
                )

    def _look_at_oldest_kill(self, store: str, created: int | None) -> None:
        """An error once, until all kills of the store are through."""
        waits_ms = self._now() - created if created is not None else 0
        if waits_ms <= LATE_KILL_MS:
            self._late.discard(store)
        elif store not in self._late:
            self._late.add(store)
            _log.error(
                "a kill waits for session store %s since %.0f seconds: somebody who lost access may still be signed "
                "in; scim-server outbox list says why",
                store,
                waits_ms / 1000,
            )

    async def _look_at_silent(self) -> None:
        """An error once, until somebody replays."""
        silent = {(one.store, one.tenant) for one in await silences(self._database)}
        for store, tenant in sorted(silent):
            metrics.store_up.labels(store).set(0)
            if (store, tenant) not in self._silent:
                _log.error(
                    "the receiver of session store %s wants no more messages of tenant %s (410 Gone): remove the "
                    "store, or mend the receiver and run scim-server outbox replay --store %s",
                    store,
                    tenant,
                    store,
                )
        self._silent = silent

    async def _look_at_tokens(self) -> None:
        names = {tenant.id: tenant.name for tenant in await tenants(self._database)}
        expiring = [token for token in await tokens(self._database) if days_left(token, self._now()) is not None]
        shown = {(names.get(token.tenant_id, "?"), token.id) for token in expiring}
        for gone in self._shown - shown:
            metrics.token_days_left.labels(*gone).set(math.inf)  # revoked: it needs no successor
        self._shown = shown
        for token in expiring:
            days = days_left(token, self._now()) or 0
            tenant = names.get(token.tenant_id, "?")
            metrics.token_days_left.labels(tenant, token.id).set(days)
            threshold = min((limit for limit in WARN_DAYS if days < limit), default=None)
            if threshold is not None and self._warned.get(token.id) != threshold:
                self._warned[token.id] = threshold
                _log.warning(
                    "token %s (%s) of tenant %s expires in %d days: issue a new one, change it over, revoke this one",
                    token.id,
                    token.name,
                    tenant,
                    max(days, 0),
                )
