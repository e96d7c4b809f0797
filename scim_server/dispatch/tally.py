"""What the kills of one store add up to: metrics, and the warning that it may be looking for the wrong subjects."""

import logging
from dataclasses import dataclass

from scim_server import metrics
from scim_server.sessions.port import Done, Outcome

EMPTY_IN_A_ROW = 20
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Tally:
    """Of one store in this process, which ends credentials of this `kind`. `empty`: kills in a row that found none."""

    kind: str = "session"
    empty: int = 0

    def count(self, store: str, outcome: Outcome, *, waited_ms: int, finds_sessions: bool) -> None:
        """Note an attempt to end somebody's sessions, `waited_ms` after its commit. A webhook finds none by itself."""
        metrics.terminations.labels(store, type(outcome).__name__.lower()).inc()
        if not isinstance(outcome, Done):
            return
        metrics.time_to_kill.labels(store).observe(max(waited_ms, 0) / 1000)
        metrics.sessions_ended.labels(store, self.kind).inc(outcome.sessions)
        if finds_sessions:
            self._count_empty(store, outcome)

    def _count_empty(self, store: str, outcome: Done) -> None:
        if outcome.sessions:
            self.empty = 0
            return
        metrics.terminations_empty.labels(store).inc()
        self.empty += 1
        if self.empty % EMPTY_IN_A_ROW == 0:
            _log.warning(
                "the last %d kills of session store %s found no session at all: its subject template may name another "
                "attribute than the CRM uses; run scim-server sessions check",
                self.empty,
                store,
            )
