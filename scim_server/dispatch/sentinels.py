"""Notices that a session store forgot what it had confirmed, and makes it good: a flush, an old dump, a failover.

Each second one process raises one of two values in each store, the sentinels, in turn, and looks for the other one,
which our database knows too. A store whose value is missing or too low has lost data, and so may one whose fingerprint
changed: its gates are written again. A value too high says that it is our database that went back. A store seen for
the first time gets a backfill, and every minute a canary proves that a session can be ended.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from scim_server import metrics
from scim_server.dispatch.backfill import backfill
from scim_server.dispatch.reassert import reassert
from scim_server.dispatch.terminator import Line
from scim_server.protocol.errors import ScimError
from scim_server.sessions.port import StoreUnreachable
from scim_server.storage.access import TenantRow, tenants
from scim_server.storage.sentinels import Watched, beat, introduce, look, made_good, note, release
from scim_server.tasks import stop
from scim_server.usecases.deployment import Deployment

EVERY_S = 1.0
LEASE_MS = 4_000
CANARY_S = 60.0
_log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Store and tenant; "" for all tenants."""


class Sentinels:
    """The sentinels that this process beats, of those stores that no other process holds."""

    def __init__(
        self,
        deployment: Deployment,
        lines: Mapping[str, Line],
        *,
        every_s: float = EVERY_S,
        lease_ms: int = LEASE_MS,
        canary_s: float = CANARY_S,
    ) -> None:
        self._deployment = deployment
        self._database = deployment.database
        self._lines = {name: line for name, line in lines.items() if not line.http}
        self._subscribers = {subscriber.name: subscriber for subscriber in deployment.subscribers}
        self._every_s = every_s
        self._lease_ms = lease_ms
        self._canary_s = canary_s
        self._me = deployment.new_id()
        self._known: set[Key] = set()
        self._held: dict[Key, int] = {}  # the value that each store is known to have
        self._owed = {name: asyncio.Event() for name in self._lines}
        self._said: dict[tuple[str, str], str] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin, with a look at once."""
        for name in self._lines:
            loops = (self._beat(name), self._mend_when_owed(name), self._try_canaries(name))
            self._tasks += [asyncio.create_task(loop, name=f"sentinel {name}") for loop in loops]

    async def aclose(self) -> None:
        """Stop, and let another process go on at once."""
        await stop(self._tasks)
        for (store, tenant), confirmed in self._held.items():
            try:
                await release(self._database, store, tenant, owner=self._me, confirmed=confirmed)
            except ScimError:
                return

    async def look(self, name: str) -> None:
        """Beat once, and note what the store forgot. Raises Unavailable."""
        found: list[tuple[Watched, int | None]] = []
        store, trouble = self._lines[name].store, ""
        for tenant in await self._scopes(name):
            watched = await self._claim((name, tenant))
            if watched is None:
                continue
            try:
                raised, other = (f"scim-sentinel-{watched.id}-{(watched.planned + one) % 2}" for one in (0, 1))
                found.append((watched, await store.beat(tenant, raised, watched.planned, other)))
            except StoreUnreachable as problem:
                trouble = str(problem)
        fingerprint = None
        try:
            fingerprint = await store.fingerprint() if found else None
        except StoreUnreachable as problem:
            trouble = str(problem)
        self._say_once(name, "beat", trouble)
        for watched, value in found:
            await self._judge(watched, value, fingerprint)

    async def mend(self, name: str) -> None:
        """Do what this process's stores are owed: the backfill, then the gates. Raises Unavailable."""
        for store, tenant in [key for key in self._held if key[0] == name]:
            watched = await look(self._database, store, tenant)
            if watched is not None and watched.stage is not None:
                served = await self._tenants(tenant)
                await backfill(self._deployment, self._subscribers[name], served, watched)
                watched = await look(self._database, store, tenant)
            if watched is not None and watched.lost is not None:
                served, now = await self._tenants(tenant), self._deployment.now()
                await reassert(self._database, self._lines[name], served, now=now, pause_s=self._every_s)
                await made_good(self._database, watched)

    async def try_canary(self, name: str) -> None:
        """End a session that nobody misses, in each part of a store that this process holds."""
        line = self._lines[name]
        for tenant in [held for store, held in self._held if store == name]:
            trial = None if line.breaker.is_open else await line.store.canary(tenant)
            if trial is None:
                continue
            if trial.fault is None:
                metrics.canary_seconds.labels(name).observe(trial.seconds)
            else:
                metrics.canary_failures.labels(name).inc()
            self._say_once(name, "canary", trial.fault and f"a canary session was not ended: {trial.fault}")

    async def _beat(self, name: str) -> None:
        while True:
            await self._guarded(name, self.look)
            await asyncio.sleep(self._every_s)

    async def _mend_when_owed(self, name: str) -> None:
        while True:
            await self._owed[name].wait()
            self._owed[name].clear()
            if not await self._guarded(name, self.mend):
                await asyncio.sleep(self._every_s)

    async def _try_canaries(self, name: str) -> None:
        while True:
            await asyncio.sleep(self._canary_s)
            await self._guarded(name, self.try_canary)

    async def _guarded(self, name: str, work: Callable[[str], Awaitable[None]]) -> bool:
        try:
            await work(name)
        except ScimError as problem:
            self._say_once(name, "database", problem.detail)
            return False
        except Exception:  # noqa: BLE001 (a fault in one adapter must not end the watch over its store)
            _log.exception("sentinel of %s", name)
            return False
        return True

    async def _scopes(self, name: str) -> list[str]:
        only = self._subscribers[name].tenant
        if only is not None:
            return [only]
        if not self._lines[name].store.per_tenant:
            return [""]
        return [tenant.name for tenant in await tenants(self._database)]

    async def _tenants(self, scope: str) -> list[TenantRow]:
        return [tenant for tenant in await tenants(self._database) if scope in ("", tenant.name)]

    async def _claim(self, key: Key) -> Watched | None:
        store, tenant = key
        if key not in self._known:
            template, new_id = self._subscribers[store].template.text, self._deployment.new_id()
            await introduce(self._database, store, tenant, template=template, new_id=new_id)
            self._known.add(key)
        confirmed, lease_ms = self._held.get(key, 0), self._lease_ms
        watched = await beat(self._database, store, tenant, owner=self._me, confirmed=confirmed, lease_ms=lease_ms)
        if watched is None:
            self._held.pop(key, None)
            return None
        self._held.setdefault(key, 0)
        if watched.stage is not None or watched.lost is not None:
            self._owed[store].set()
        return watched

    async def _judge(self, watched: Watched, value: int | None, fingerprint: str | None) -> None:
        key, name = (watched.store, watched.tenant), watched.store
        fingerprint = fingerprint or watched.fingerprint
        if value is not None and value > watched.previous and await self._is_ahead(watched, value):
            await note(self._database, watched, fingerprint=fingerprint, seen=value)
            return
        why = _loss(watched, value, fingerprint)
        if why:
            metrics.store_losses.labels(name, why).inc()
            _log.error("session store %s may have lost gates and deletions (%s): writing them again", name, why)
            await note(self._database, watched, fingerprint=fingerprint, lost=True)
            # What this beat raised is there: the next one looks for it, and so misses another loss.
            self._held[key] = 0 if value is None else watched.planned
            self._owed[name].set()
            return
        if fingerprint != watched.fingerprint:
            await note(self._database, watched, fingerprint=fingerprint)
        if value is not None:
            self._held[key] = watched.planned

    async def _is_ahead(self, watched: Watched, value: int) -> bool:
        """Whether our database never knew the value; it may be another process's, which took over while this slept."""
        current = await look(self._database, watched.store, watched.tenant)
        if current is None or current.planned != watched.planned:
            return False
        metrics.database_behind.labels(watched.store).inc()
        _log.error(
            "our database is older than session store %s, by %.0f seconds: was it restored from a copy? Gates of the "
            "time between hold, and new epochs are higher, as they are times; but who was deactivated then is active "
            "here: have the identity provider send everybody again%s",
            watched.store,
            (value - watched.previous) / 1000,
            "" if value <= self._deployment.now() else ". The clock is behind as well: set it before anything else",
        )
        return True

    def _say_once(self, name: str, subject: str, text: str | None) -> None:
        """Log a trouble when it begins or changes, not each second."""
        before = self._said.get((name, subject), "")
        self._said[name, subject] = text or ""
        if text and text != before:
            _log.error("session store %s: %s", name, text)


def _loss(watched: Watched, value: int | None, fingerprint: str | None) -> str:
    """Why the store must be taken to have lost something; "" if it need not."""
    if value is not None and value < watched.confirmed:
        return "sentinel"
    # Servers may join (a cluster that grows, a tenant's own); one that is gone took what it knew along.
    gone = {*(watched.fingerprint or "").split()} - {*(fingerprint or "").split()}
    return "fingerprint" if gone else ""
