"""What the `sql` store asks of a database, whatever the driver. Implementations never let a driver's error out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from scim_server.sessions.sql_statement import Statement

Values = Mapping[str, Any]
"""By parameter name: `subject` and `tenant` are str, `epoch` and `not_before` int (unix ms), `denied` bool."""

POOL_SIZE: Final = 8


class Unanswered(Exception):
    """The database could not be reached or gave up; the same again may succeed. The text is for the operator."""


class Rejected(Exception):
    """The database will never accept this statement or value; the text says what a person must do."""


class Unconvertible(Rejected):
    """A value cannot be brought into the type of the column it is compared with."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The statements that differ between databases. `gate` only ever moves `scim_gate` forward."""

    gate: Statement
    explain: str = "EXPLAIN "


class SqlDatabase(Protocol):
    """One database. Every method raises Unanswered or Rejected, and may be cancelled without harm to the next."""

    dialect: Dialect

    async def execute(self, statements: Sequence[Statement], values: Values) -> list[int]:
        """Run them in one transaction; the number of rows that each changed."""

    async def fetch(self, statement: Statement, values: Values) -> list[tuple[Any, ...]]:
        """Run a query; its rows."""

    async def unindexed(self, statement: Statement, values: Values) -> str | None:
        """The table that the statement would read in full, as far as the database says so."""

    async def rights(self, statements: Sequence[Statement]) -> str:
        """The least-privilege GRANT lines for these statements; "" where the database has no rights."""

    async def fingerprint(self) -> str | None:
        """Changes when the database was replaced or restarted; None if it does not say."""

    async def aclose(self) -> None:
        """Give back connections."""


GATE_INSERT: Final = (
    "INSERT INTO scim_gate (subject, epoch, denied, not_before) VALUES (:subject, :epoch, :denied, :not_before) "
)
"""The default gate statement; each dialect adds its way to update only forward."""

CONFLICT_UPDATE: Final = (
    "ON CONFLICT (subject) DO UPDATE"
    " SET epoch = excluded.epoch, denied = excluded.denied, not_before = excluded.not_before"
    " WHERE excluded.epoch > scim_gate.epoch"
    " OR (excluded.epoch = scim_gate.epoch AND excluded.denied = 0 AND scim_gate.denied = 1)"
)
"""Postgres and SQLite agree on it."""
