"""SQLite for the `sql` store: the stdlib driver on one thread of its own, a connection per use.

A lock held by the CRM is waited for no longer than the time-out; the event loop never waits. Cancelling leaves the
thread to finish that one transaction, which is no harm: it is the delivery, done late.
"""

import asyncio
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote

from scim_server.sessions.sql_database import (
    CONFLICT_UPDATE,
    GATE_INSERT,
    Dialect,
    Rejected,
    Runner,
    Unanswered,
    Values,
)
from scim_server.sessions.sql_statement import Statement, bound

T = TypeVar("T")

_FULL_SCAN: Final = re.compile(r"SCAN (?:TABLE )?(\S+)(?! .*USING)")


class SqliteDatabase:
    """`sqlite:///relative.db` or `sqlite:////absolute.db`; the file must exist, it is the CRM's."""

    dialect = Dialect(gate=Statement.parse(GATE_INSERT + CONFLICT_UPDATE), explain="EXPLAIN QUERY PLAN ")

    def __init__(self, url: str, timeout_ms: int) -> None:
        self._path = unquote(url.removeprefix("sqlite:///"))
        self._timeout_s = timeout_ms / 1000
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="session-store-sqlite")

    async def execute(self, statements: Sequence[Statement], values: Values) -> list[int]:
        """IMMEDIATE, so that the lock is waited for at the start and never half-way."""

        def work(connection: sqlite3.Connection) -> list[int]:
            connection.execute("BEGIN IMMEDIATE")
            changed = _changed(connection, statements, values)
            connection.execute("COMMIT")
            return changed

        return await self._run(work)

    async def fetch(self, statement: Statement, values: Values) -> list[tuple[Any, ...]]:
        """Rows as tuples."""
        return await self._run(lambda c: c.execute(statement.named(), bound(statement, values)).fetchall())

    def within(self, connection: Any) -> Runner:
        """On the server's own connection to this file, in the thread that it belongs to."""
        return _Within(connection)

    async def unindexed(self, statement: Statement, values: Values) -> str | None:
        """From EXPLAIN QUERY PLAN."""
        plan = Statement.parse(self.dialect.explain + statement.text)
        for row in await self.fetch(plan, values):
            if found := _FULL_SCAN.match(row[3]):
                return found[1]
        return None

    async def rights(self, statements: Sequence[Statement]) -> str:
        """SQLite has none but the file's."""
        return ""

    async def fingerprint(self) -> str | None:
        """A file does not say."""
        return None

    async def aclose(self) -> None:
        """Waits for at most the one transaction that runs."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def locked() -> T:
            with self._connected() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, locked)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with _failures():
            connection = sqlite3.connect(
                f"file:{quote(self._path)}?mode=rw", uri=True, timeout=self._timeout_s, isolation_level=None
            )
            try:
                yield connection
            finally:
                connection.close()  # rolls back what was not committed


class _Within:
    """Statements on somebody else's connection, which stays theirs whatever happens."""

    dialect = SqliteDatabase.dialect

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def execute(self, statements: Sequence[Statement], values: Values) -> list[int]:
        with _failures():
            return _changed(self._connection, statements, values)

    async def fetch(self, statement: Statement, values: Values) -> list[tuple[Any, ...]]:
        with _failures():
            rows = self._connection.execute(statement.named(), bound(statement, values)).fetchall()
            return [tuple(row) for row in rows]


def _changed(connection: sqlite3.Connection, statements: Sequence[Statement], values: Values) -> list[int]:
    return [
        max(connection.execute(statement.named(), bound(statement, values)).rowcount, 0) for statement in statements
    ]


@contextmanager
def _failures() -> Iterator[None]:
    """What the driver raises becomes Unanswered or Rejected."""
    try:
        yield
    except sqlite3.OperationalError as problem:
        raise _told(problem) from None
    except (sqlite3.Error, OverflowError) as problem:
        raise Rejected(f"SQLite refuses the statement or a value: {problem}") from None


def _told(problem: sqlite3.OperationalError) -> Unanswered | Rejected:
    text = str(problem)
    if text.startswith(("no such", "near ", "incomplete input", "unrecognized", "table ", "attempt to write")):
        return Rejected(f"SQLite refuses the statement: {text}; correct it or the schema")
    if "unable to open" in text:
        return Unanswered("the SQLite file cannot be opened: check the path and its rights")
    return Unanswered(f"SQLite gave up: {text}")
