"""SQLite through the standard library: reads on the event loop (they take microseconds), writes in one thread that
gathers what waits into one transaction (group commit), WAL journal, foreign keys on.

For one process: other processes (the command line) may write too, but learn of work by polling only.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from scim_server.protocol.errors import TooMany, Unavailable
from scim_server.storage.change import Change, Committed
from scim_server.storage.commit import ENTITLE, parameters, plan, queued, shape_of
from scim_server.storage.companions import Spoilt, join_on_sqlite
from scim_server.storage.database import Row, Stale, Taken
from scim_server.storage.dialects import SQLITE, Dialect
from scim_server.storage.statements import Compiled, Parameters, Statement

MINIMUM = (3, 35, 0)  # RETURNING and UPDATE … FROM
BUSY_TIMEOUT_S = 5.0
GROUP = 64  # writes that share one transaction at the most
PROGRESS_STEPS = 10_000
REST_S = 1.0  # how long no companion runs after one spoilt a transaction
_UNIQUE = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
_AWAY = "The database file cannot be used at the moment; repeat the request as it is."

Work = Callable[[sqlite3.Connection], Any]
Job = tuple[Work, "asyncio.Future[Any]"]


class SqliteDatabase:
    """The `Database` port on a SQLite file."""

    dialect: Dialect = SQLITE

    def __init__(self, path: Path) -> None:
        if sqlite3.sqlite_version_info < MINIMUM:
            raise Unavailable(f"SQLite {'.'.join(map(str, MINIMUM))} or newer is needed; use Postgres instead.")
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._reader = connect(path)
        self._reader.execute("PRAGMA query_only = on")
        self._listeners: list[Callable[[], None]] = []
        self._companions_from = 0.0
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_in_groups, name="sqlite-writer", daemon=True)
        self._writer.start()

    async def read(
        self, statement: Statement, parameters: Parameters, *, timeout_ms: int | None = None
    ) -> Sequence[Row]:
        compiled = statement.compiled(SQLITE)
        if timeout_ms is not None:
            deadline = time.monotonic() + timeout_ms / 1000
            self._reader.set_progress_handler(lambda: int(time.monotonic() > deadline), PROGRESS_STEPS)
        try:
            # Always fetch all: an open cursor pins its snapshot and lets the write-ahead log grow.
            return _execute(self._reader, compiled, parameters)
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise TooMany(
                    "The query took too long; narrow it down with an indexed attribute such as userName."
                ) from None
            if "parser stack overflow" in str(problem):
                raise TooMany("The filter is nested too deeply for this database; use fewer levels.") from None
            raise Unavailable(_AWAY, {"Retry-After": "1"}) from problem
        finally:
            if timeout_ms is not None:
                self._reader.set_progress_handler(None, 0)

    async def commit(self, change: Change) -> Committed:
        steps = plan(shape_of(change), SQLITE)
        given = parameters(change, SQLITE)

        def run(connection: sqlite3.Connection) -> Committed:
            for part in steps.before:
                _execute(connection, part, given)
            assert steps.written is not None
            written = _execute(connection, steps.written, given)
            if not written:
                raise Stale
            for part in steps.after:
                _execute(connection, part, given)
            if change.entitlements:
                users = _execute(connection, ENTITLE.compiled(SQLITE), given)
                if len(users) < len(change.entitlements):
                    raise Stale
            told = queued(_execute(connection, steps.queued, given) if steps.queued else [])
            if change.companions and time.monotonic() > self._companions_from:
                told = join_on_sqlite(connection, change, told)
            return Committed(written[0]["version"], written[0]["modified"], told)

        committed: Committed = await self._submit(run)
        return committed

    async def write(self, *steps: tuple[Statement, Parameters]) -> list[Sequence[Row]]:
        compiled = [(statement.compiled(SQLITE), given) for statement, given in steps]
        rows: list[Sequence[Row]] = await self._submit(
            lambda connection: [_execute(connection, one, given) for one, given in compiled]
        )
        return rows

    async def wake(self) -> None:
        for listener in self._listeners:
            listener()

    def on_wake(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    async def ping(self) -> None:
        try:
            self._reader.execute("SELECT 1 FROM tenant LIMIT 1").fetchall()
        except sqlite3.Error as problem:
            raise Unavailable(_AWAY) from problem

    async def aclose(self) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)
        self._reader.close()

    async def _submit(self, work: Work) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((work, future))
        return await future

    def _write_in_groups(self) -> None:
        with closing(connect(self._path)) as connection:
            while (first := self._jobs.get()) is not None:
                group = [first]
                stop = False
                while len(group) < GROUP and not self._jobs.empty():
                    job = self._jobs.get()
                    if job is None:
                        stop = True
                        break
                    group.append(job)
                settled = self._run_group(connection, [work for work, _ in group])
                self._loop.call_soon_threadsafe(_settle, [future for _, future in group], settled)
                if stop:
                    return

    def _run_group(self, connection: sqlite3.Connection, group: list[Work]) -> list[Any]:
        for _ in range(2):
            try:
                return _run_group(connection, group)
            except Spoilt:
                self._companions_from = time.monotonic() + REST_S
        return [Unavailable(_AWAY, {"Retry-After": "1"})] * len(group)


def sqlite_path(url: str) -> Path:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`."""
    return Path(url.removeprefix("sqlite:///")).expanduser()


def connect(path: Path) -> sqlite3.Connection:
    """Open with the settings every connection of the product uses. Transactions are begun by hand."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for pragma in ("journal_mode = wal", "synchronous = full", "foreign_keys = on"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def _run_group(connection: sqlite3.Connection, group: list[Work]) -> list[Any]:
    """Run each job in a savepoint of one transaction; a result or the exception for each. Raises Spoilt."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        results = [_run_one(connection, work) for work in group]
        connection.execute("COMMIT")
    except sqlite3.Error as problem:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(problem, sqlite3.IntegrityError):  # what a companion's tables defer to the COMMIT
            raise Spoilt from problem
        away = Unavailable(_AWAY, {"Retry-After": "1"})
        away.__cause__ = problem
        return [away] * len(group)
    return results


def _run_one(connection: sqlite3.Connection, work: Work) -> Any:
    connection.execute("SAVEPOINT job")
    try:
        result = work(connection)
    except (Stale, sqlite3.IntegrityError) as problem:
        connection.execute("ROLLBACK TO job")
        result = _refusal(problem)
    except (sqlite3.Error, Spoilt):
        raise
    except Exception as problem:  # noqa: BLE001 (a fault in one job must not end the thread that does all others)
        connection.execute("ROLLBACK TO job")
        result = problem
    connection.execute("RELEASE job")
    return result


def _refusal(problem: Exception) -> Exception:
    if isinstance(problem, sqlite3.IntegrityError):
        if problem.sqlite_errorcode in _UNIQUE:
            return Taken()
        if problem.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
            return Stale()
    return problem


def _settle(futures: "list[asyncio.Future[Any]]", results: list[Any]) -> None:
    for future, result in zip(futures, results, strict=True):
        if future.cancelled():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


def _execute(connection: sqlite3.Connection, compiled: Compiled, given: Parameters) -> list[Any]:
    return connection.execute(compiled.sql, compiled.arguments(given)).fetchall()
