"""What the `sql` store asks of a database, whatever the driver. Implementations never let a driver's error out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

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


class Runner(Protocol):
    """Runs statements. Every method raises Unanswered or Rejected."""

    dialect: Dialect

    async def execute(self, statements: Sequence[Statement], values: Values) -> list[int]:
        """Run them in one transaction; the number of rows that each changed."""

    async def fetch(self, statement: Statement, values: Values) -> list[tuple[Any, ...]]:
        """Run a query; its rows."""


class SqlDatabase(Runner, Protocol):
    """One database. Every method raises Unanswered or Rejected, and may be cancelled without harm to the next."""

    def within(self, connection: Any) -> Runner:
        """The same database on a driver's connection that is not ours, inside its transaction: begins and commits
        nothing. On SQLite it waits for nothing either, so that a thread without an event loop can run it."""

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


def same_database(url: str, ours: str, *, as_ours: bool) -> bool:
    """Whether two addresses lead to one Postgres database or SQLite file. `as_ours`: also as the same role and with the
    same options, so that a statement means the same on either connection."""
    if ours.startswith("sqlite:///"):
        return url.startswith("sqlite:///") and _file(unquote(url)) == _file(ours)
    if not url.startswith(("postgresql://", "postgres://")):
        return False
    one, other = _server(url), _server(ours)
    return one == other if as_ours else one[:2] == other[:2]


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///")).expanduser().resolve()


def _server(url: str) -> tuple[str, str, str | None, str]:
    address = urlsplit(url)
    return (
        ",".join(map(_with_port, address.netloc.rpartition("@")[2].lower().split(","))),
        unquote(address.path.strip("/")) or address.username or "",
        address.username,
        address.query,
    )


def _with_port(host: str) -> str:
    return host if host.rpartition("]")[2].rpartition(":")[2].isdecimal() else f"{host.removesuffix(':')}:5432"
