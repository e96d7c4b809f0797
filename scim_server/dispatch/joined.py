"""Lets a session store whose tables are in our own database take part in our commits."""

import logging
import time
from typing import Any

from scim_server.dispatch.breaker import Breaker
from scim_server.dispatch.terminator import delivery_of
from scim_server.sessions.port import Done, Joinable, Outcome, Retry, SessionStore
from scim_server.storage.change import Queued
from scim_server.usecases.deployment import Joined

REST_S = 1.0
_log = logging.getLogger(__name__)


def joined(store: SessionStore) -> Joined | None:
    """None where the store's kind cannot. After three failures in a row one commit in a second tries: a table that the
    CRM has locked would else hold one connection of ours after the other."""
    if not isinstance(store, Joinable):
        return None
    join, breaker = store.deliver_within, Breaker()
    failed = 0.0

    async def run(tenant: str, connection: Any, message: Queued) -> int | None:
        nonlocal failed
        if breaker.is_open and time.monotonic() < failed + REST_S:
            return None
        try:
            outcome: Outcome = await join(connection, delivery_of(tenant, message))
        except Exception:  # noqa: BLE001 (a fault in one adapter must not cost the commit)
            _log.exception("session store %s failed in a way its adapter does not know", store.name)
            outcome = Retry("its adapter failed")
        breaker.record(success=isinstance(outcome, Done))
        if isinstance(outcome, Done):
            return outcome.sessions
        failed = time.monotonic()
        _log.warning("session store %s is told after the commit, not in it: %s", store.name, outcome.why)
        return None

    return run
