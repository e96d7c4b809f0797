"""MySQL and MariaDB for the `sql` store, over aiomysql (an optional package)."""

import asyncio
import re
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import aiomysql  # type: ignore[import-untyped,import-not-found,unused-ignore]
import pymysql  # type: ignore[import-untyped,import-not-found,unused-ignore]

from scim_server.sessions.sql_database import (
    GATE_INSERT,
    POOL_SIZE,
    Dialect,
    Rejected,
    Runner,
    Unanswered,
    Unconvertible,
    Values,
)
from scim_server.sessions.sql_statement import Statement, bound

warnings.simplefilter("ignore", pymysql.err.Warning)  # they quote values on stderr; what matters is in _MISREAD

_FORWARD: Final = "VALUES(epoch) > epoch OR (VALUES(epoch) = epoch AND VALUES(denied) = 0 AND denied = 1)"
_REFUSED: Final = frozenset({1044, 1049, 1054, 1064, 1103, 1142, 1143, 1146, 1264, 1292, 1366, 1406})
"""Unknown database, column or table, syntax, missing rights, values that do not fit: no repetition heals these."""

_MISREAD: Final = frozenset({1292, 1366})
"""Warnings that a text was read as a number: '42abc' equals 42 in an integer column, which is somebody else."""

_ACCESS_DENIED: Final = 1045


class MysqlDatabase:
    """`mysql://user:password@host:3306/database`, or `mariadb://…`."""

    # Assignments run from left to right and see one another: epoch, which the condition reads, comes last.
    dialect = Dialect(
        gate=Statement.parse(
            GATE_INSERT + f"ON DUPLICATE KEY UPDATE not_before = IF({_FORWARD}, VALUES(not_before), not_before),"
            f" denied = IF({_FORWARD}, VALUES(denied), denied), epoch = GREATEST(epoch, VALUES(epoch))"
        ),
    )

    def __init__(self, url: str, timeout_ms: int) -> None:
        address = urlsplit(url)
        self._timeout_s = timeout_ms / 1000
        self._options: dict[str, Any] = {
            "host": address.hostname or "127.0.0.1",
            "port": address.port or 3306,
            "user": unquote(address.username or ""),
            "password": unquote(address.password or ""),
            "db": unquote(address.path.lstrip("/")),
        }
        self._pool: Any = None

    async def execute(self, statements: Sequence[Statement], values: Values) -> list[int]:
        """READ COMMITTED: a repeatable read would not see a session committed a moment ago."""
        async with self._cursor() as cursor:
            await cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            await cursor.execute("START TRANSACTION")
            changed = [await _changed(cursor, statement, values) for statement in statements]
            await cursor.execute("COMMIT")
            return changed

    async def fetch(self, statement: Statement, values: Values) -> list[tuple[Any, ...]]:
        """Rows as tuples."""
        async with self._cursor() as cursor:
            await cursor.execute(statement.formatted(), bound(statement, values))
            return list(await cursor.fetchall())

    def within(self, connection: Any) -> Runner:
        """Never: the server itself has no data in MySQL."""
        raise Rejected("the server's own database is never MySQL")

    async def unindexed(self, statement: Statement, values: Values) -> str | None:
        """From EXPLAIN: access type ALL or index with nothing that could be used."""
        # Nothing runs, so the canary need not be a number that nobody has: an unsigned column uses no index for those.
        asked = {**values, "subject": values["subject"].lstrip("-")}
        async with self._cursor() as cursor:
            await cursor.execute(self.dialect.explain + statement.formatted(), bound(statement, asked))
            columns = [column[0].lower() for column in cursor.description]
            for row in await cursor.fetchall():
                plan = dict(zip(columns, row, strict=True))
                if plan.get("type") in ("ALL", "index") and not plan.get("possible_keys"):
                    return str(plan["table"])
        return None

    async def rights(self, statements: Sequence[Statement]) -> str:
        """Only the account's name is asked of the database; the tables are the operator's to fill in."""
        rows = await self.fetch(Statement.parse("SELECT CURRENT_USER()"), {})
        user = re.sub(r"^(.*)@(.*)$", r"'\1'@'\2'", str(rows[0][0]))
        return f"GRANT SELECT, INSERT, UPDATE, DELETE ON <each table of the statements> TO {user};"

    async def fingerprint(self) -> str | None:
        """A restart shows in nothing that every account may read."""
        return None

    async def aclose(self) -> None:
        """At once: nothing runs that is still wanted."""
        if self._pool is not None:
            self._pool.terminate()
            await self._pool.wait_closed()
            self._pool = None

    @asynccontextmanager
    async def _cursor(self) -> AsyncIterator[Any]:
        try:
            async with asyncio.timeout(self._timeout_s):  # the driver has a limit for the TCP connection alone
                pool = await self._open()
                connection = await pool.acquire()
                try:
                    async with connection.cursor() as cursor:
                        yield cursor
                except BaseException:
                    connection.close()  # its state is unknown, and a transaction may be open
                    raise
                finally:
                    pool.release(connection)
        except TimeoutError:
            raise Unanswered(f"MySQL does not answer within {self._timeout_s * 1000:.0f} ms") from None
        except pymysql.err.MySQLError as problem:
            raise _told(problem) from None
        except (OSError, RuntimeError):
            raise Unanswered("MySQL cannot be reached, or the connection broke") from None

    async def _open(self) -> Any:
        if self._pool is None:
            self._pool = await aiomysql.create_pool(
                minsize=0,
                maxsize=POOL_SIZE,
                connect_timeout=self._timeout_s,
                autocommit=True,
                charset="utf8mb4",
                **self._options,
            )
        return self._pool


async def _changed(cursor: Any, statement: Statement, values: Values) -> int:
    changed: int = await cursor.execute(statement.formatted(), bound(statement, values))
    await cursor.execute("SHOW WARNINGS")
    if any(code in _MISREAD for _, code, _ in await cursor.fetchall()):
        raise Unconvertible(
            "a value is not of its column's type, and MySQL would guess: correct the store's subject template"
        )
    return max(changed, 0)


def _told(problem: pymysql.err.MySQLError) -> Unanswered | Rejected:
    code = problem.args[0] if problem.args else 0
    if code in _REFUSED or isinstance(problem, pymysql.err.ProgrammingError | pymysql.err.DataError):
        return Rejected(f"MySQL refuses the statement or a value (error {code}): correct it, the schema or the rights")
    if code == _ACCESS_DENIED:
        return Unanswered("MySQL refuses the user or password: correct the store's url")
    return Unanswered(f"MySQL cannot be reached or gave up (error {code})")
