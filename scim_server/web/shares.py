"""How many requests each tenant has under way in this process: none may take the places of all others, be it with slow
bodies, with long waits for events or by asking too much at once."""

from collections import Counter

from scim_server import metrics
from scim_server.protocol.errors import TooManyRequests

MAX_OF_A_TENANT = 400


class Shares:
    """The requests under way, by tenant."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()

    def enter(self, tenant_id: str) -> None:
        """Count a request in; `leave` counts it out. Raises TooManyRequests, and then counts nothing."""
        if self._running[tenant_id] >= MAX_OF_A_TENANT:
            metrics.refused_requests.labels("share").inc()
            raise TooManyRequests(
                f"This tenant has {MAX_OF_A_TENANT} requests under way; repeat this one when some are answered.",
                {"Retry-After": "1"},
            )
        self._running[tenant_id] += 1

    def leave(self, tenant_id: str) -> None:
        """Count out a request that was counted in."""
        self._running[tenant_id] -= 1
        if not self._running[tenant_id]:
            del self._running[tenant_id]
