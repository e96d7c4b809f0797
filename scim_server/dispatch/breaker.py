"""A circuit breaker per session store: after three failures in a row requests stop paying for a dead store.

Open means that nothing is attempted inline; the worker alone probes, once a second, and its first success closes it.
"""

from dataclasses import dataclass

FAILURES = 3


@dataclass(slots=True)
class Breaker:
    """State of one store in this process."""

    failures: int = 0

    @property
    def is_open(self) -> bool:
        """Whether requests must leave this store to the worker."""
        return self.failures >= FAILURES

    def record(self, success: bool) -> bool:
        """Note an attempt; True when it closed an open breaker."""
        was_open = self.is_open
        self.failures = 0 if success else self.failures + 1
        return was_open and success
