"""The Prometheus metrics of the product: each promise in docs/operations.md has one that shows whether it holds."""

import os
from functools import lru_cache
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST
_MS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.3, 1, 2.5, 5, 15, 60, 300)

requests = Histogram("scim_request_seconds", "Time to answer a request", ["method", "route", "status"], buckets=_MS)
refused_requests = Counter("scim_refused_total", "Requests refused before they were looked at", ["why"])
terminations = Counter(
    "scim_terminations_total", "Deliveries of a kill to a session store, by what came of them", ["store", "outcome"]
)
time_to_kill = Histogram(
    "scim_time_to_kill_seconds", "From commit to a session store's confirmation", ["store"], buckets=_MS
)
sessions_ended = Counter("scim_sessions_ended_total", "Sessions, refresh tokens and API keys ended", ["store", "kind"])
terminations_empty = Counter("scim_terminations_empty_total", "Confirmed kills that found no session", ["store"])
echoes = Counter("scim_echoes_total", "Repetitions of confirmed kills, by what came of them", ["store", "outcome"])
echo_sessions = Counter(
    "scim_echo_sessions_total", "Sessions that came back after a kill and were ended by its echo", ["store"]
)
store_losses = Counter(
    "scim_store_losses_total", "Times a session store was found to have forgotten what it confirmed", ["store", "why"]
)
gates_asserted = Counter(
    "scim_gates_asserted_total", "Gates written again to a store that lost or lacked them", ["store"]
)
mending = Gauge(
    "scim_store_mending", "1 while gates are being written again to a store", ["store"], multiprocess_mode="livemax"
)
database_behind = Counter(
    "scim_database_behind_total", "Times a session store knew later epochs than our database: an old copy", ["store"]
)
backfilled = Counter(
    "scim_backfilled_total", "Subjects denied because their user had left before the store was configured", ["store"]
)
canary_seconds = Histogram(
    "scim_canary_seconds", "Time to end the session of a subject that nobody has", ["store"], buckets=_MS
)
canary_failures = Counter("scim_canary_failures_total", "Canary sessions that were not ended", ["store"])
unresolved = Counter(
    "scim_unresolved_total", "Users who lost access and have no value for the store's subject template", ["store"]
)
brake_alerts = Counter(
    "scim_brake_alerts_total", "Deactivations beyond max(20, 10 %) of a tenant's active users in 10 minutes", ["tenant"]
)
outbox_waiting = Gauge(
    "scim_outbox_waiting", "Messages on their way to a session store", ["store"], multiprocess_mode="mostrecent"
)
outbox_oldest = Gauge(
    "scim_outbox_oldest_seconds", "Age of the oldest message on its way", ["store"], multiprocess_mode="mostrecent"
)
store_up = Gauge(
    "scim_session_store_up", "0 while the breaker of a session store is open", ["store"], multiprocess_mode="livemin"
)
token_days_left = Gauge(
    "scim_token_days_left", "Days until a token expires", ["tenant", "token"], multiprocess_mode="mostrecent"
)


@lru_cache(maxsize=4096)
def request_seconds(method: str, route: str, status: int) -> Histogram:
    """The child of `requests` with these labels: looking one up costs more than counting with it."""
    return requests.labels(method, route, status)


def render() -> bytes:
    """The exposition text, of all worker processes when there are several."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        return generate_latest(REGISTRY)
    _forget_the_dead(Path(folder))
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library leaves it untyped
    return generate_latest(registry)


def _forget_the_dead(folder: Path) -> None:
    """What a worker process that was killed said last of the state of a store says nothing of the others."""
    for file in folder.glob("gauge_live*_*.db"):
        try:
            os.kill(int(file.stem.rpartition("_")[2]), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except PermissionError:
            continue  # alive, and another user's
