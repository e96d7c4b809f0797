"""Lets a session store whose tables are in our own database take part in our commits."""

import logging
from typing import Any

from scim_server.dispatch.terminator import delivery_of
from scim_server.sessions.port import Done, Joinable, SessionStore
from scim_server.storage.change import Queued
from scim_server.usecases.deployment import Joined

_log = logging.getLogger(__name__)


def joined(store: SessionStore) -> Joined | None:
    """None where the store's kind cannot."""
    if not isinstance(store, Joinable):
        return None
    join = store.deliver_within

    async def run(tenant: str, connection: Any, message: Queued) -> int | None:
        try:
            outcome = await join(connection, delivery_of(tenant, message))
        except Exception:  # noqa: BLE001 (a fault in one adapter must not cost the commit)
            _log.exception("session store %s failed in a way its adapter does not know", store.name)
            return None
        if isinstance(outcome, Done):
            return outcome.sessions
        _log.warning("session store %s is told after the commit, not in it: %s", store.name, outcome.why)
        return None

    return run
