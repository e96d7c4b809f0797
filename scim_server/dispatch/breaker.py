"""A circuit breaker per session store: after three failures in a row requests stop paying for a dead store.

Open means that nothing is attempted inline; the worker alone probes, once a second, and its first success closes it.
When nothing waits that it could probe with, because another process delivers it all, the next request may try: one
failure opens it again.
"""

from dataclasses import dataclass

FAILURES = 3


@dataclass(slots=True)
class Breaker:
    """State of one store in this process. `failures` in a row, `successes` in all: an attempt that failed while others
    succeeded says nothing about the store."""

    failures: int = 0
    successes: int = 0

    @property
    def is_open(self) -> bool:
        """Whether requests must leave this store to the worker."""
        return self.failures >= FAILURES

    def record(self, success: bool) -> bool:
        """Note an attempt; True when it closed an open breaker."""
        was_open = self.is_open
        self.successes += success
        self.failures = 0 if success else self.failures + 1
        return was_open and success

    def half_open(self) -> None:
        """Let one attempt through if it is open."""
        self.failures = min(self.failures, FAILURES - 1)
