"""The port: what the use cases and the dispatcher ask of a database, whichever it is.

`read` runs one SELECT outside any transaction, `commit` makes one Change atomic, `write` runs a few administrative
statements in one transaction. Failures of the connection become `Unavailable` (503), a query over its time
`TooMany`; what the caller can act on is raised as Stale or Taken.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from scim_server.storage.change import Change, Committed
from scim_server.storage.dialects import Dialect
from scim_server.storage.statements import Parameters, Statement


class Row(Protocol):
    """A result row: by position or by column name."""

    def __getitem__(self, key: Any, /) -> Any: ...


class Stale(Exception):
    """The version guard, or a member that vanished, refused the change: read again and decide anew."""


class Taken(Exception):
    """A unique index refused the change. `constraint` is its name where the driver tells, else ""."""

    def __init__(self, constraint: str = "") -> None:
        super().__init__(constraint)
        self.constraint = constraint


class Database(Protocol):
    """One database, opened. Safe for concurrent use by the tasks of one event loop."""

    dialect: Dialect

    async def read(
        self, statement: Statement, parameters: Parameters, *, timeout_ms: int | None = None
    ) -> Sequence[Row]:
        """All rows of a SELECT. Raises Unavailable, or TooMany after `timeout_ms`."""

    async def commit(self, change: Change) -> Committed:
        """Apply a Change whole or not at all. Raises Stale, Taken, Unavailable."""

    async def write(self, *steps: tuple[Statement, Parameters]) -> list[Sequence[Row]]:
        """Run statements in one transaction; the rows each returned. Raises Taken, Unavailable."""

    async def wake(self) -> None:
        """Tell every dispatcher of this database that something is due. A hint only: losing it costs a second."""

    def on_wake(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever some process said `wake`."""

    async def ping(self) -> None:
        """Raise Unavailable unless the database answers."""

    async def aclose(self) -> None:
        """Finish what was begun and give back connections."""
