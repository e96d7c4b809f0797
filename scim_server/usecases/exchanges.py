"""Explaining a request afterwards: what was sent, what it was taken to mean, what it changed, what came of its kills.

Records are masked, bounded, written in batches beside the requests, and forgotten after the tenant's retention. They
are for people who read the identity provider's log; nothing depends on them, so a full queue drops the newest.
"""

import asyncio
import logging
from typing import Any

import orjson

from scim_server.protocol.date_time import from_unix_ms
from scim_server.protocol.errors import ScimError
from scim_server.protocol.masking import masked
from scim_server.storage import exchanges
from scim_server.storage.database import Database
from scim_server.storage.exchanges import Exchange
from scim_server.tasks import stop
from scim_server.usecases import receipts
from scim_server.usecases.access import Caller
from scim_server.usecases.deployment import Deployment

MAX_BODY = 8_192
QUEUE = 1_000
BATCH = 100
PAUSE_S = 0.25
_log = logging.getLogger(__name__)


class Recorder:
    """Takes records without waiting and stores them a moment later."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[Exchange] = []
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to store."""
        self._task = asyncio.create_task(self._run(), name="recorder")

    async def aclose(self) -> None:
        """Store what is left and stop."""
        if self._task:
            await stop([self._task])
        await self.flush()

    def record(
        self,
        caller: Caller,
        *,
        at: int,
        method: str,
        path: str,
        status: int,
        error: str | None,
        sent: Any,
        meant: Any,
        quirks: tuple[str, ...],
        ignored: tuple[str, ...],
    ) -> None:
        """Keep one request of a tenant that wants it."""
        if not caller.options.request_log_days or len(self._waiting) >= QUEUE:
            return
        rewritten = None if meant == sent else _bounded(meant)
        self._waiting.append(
            Exchange(
                caller.tenant_id,
                caller.request_id,
                at,
                method,
                path,
                status,
                error,
                _bounded(sent),
                rewritten,
                quirks,
                ignored,
            )
        )
        self._some.set()

    async def flush(self) -> None:
        """Store everything that waits now."""
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                await exchanges.keep(self._database, batch)
            except ScimError as problem:
                _log.warning("%d requests cannot be explained later: %r", len(batch), problem.__cause__ or problem)
            except asyncio.CancelledError:  # at the end, which stores once more what may be stored already
                self._waiting = batch + self._waiting
                raise
            except Exception:  # noqa: BLE001 (one record that no database takes must not end the records of everybody)
                _log.exception("%d requests cannot be explained later", len(batch))

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(PAUSE_S)  # gathers a batch
            self._some.clear()
            await self.flush()


async def explain(deployment: Deployment, caller: Caller, request_id: str) -> list[dict[str, Any]]:
    """All that is kept of a request; empty when nothing is."""
    writes = await receipts.of_request(deployment, caller, request_id)
    found = await exchanges.of_request(deployment.database, caller.tenant_id, request_id)
    return [
        {
            "requestId": one.request_id,
            "at": from_unix_ms(one.at),
            "request": f"{one.method} {one.path}",
            "status": one.status,
            **({"error": one.error} if one.error else {}),
            "sent": one.sent,
            **({"meant": one.meant} if one.meant is not None else {}),
            "quirks": list(one.quirks),
            "ignored": list(one.ignored),
            "writes": writes,
        }
        for one in found
    ]


def _bounded(body: Any) -> Any:
    shown = masked(body)
    size = len(orjson.dumps(shown))
    return shown if size <= MAX_BODY else {"truncated": True, "size": size}
