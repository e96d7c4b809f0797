"""Postgres for the `sql` store, over asyncpg: a small pool, arguments converted to the columns' types."""

import asyncio
import datetime
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import asyncpg
import orjson

from scim_server.sessions.sql_database import (
    CONFLICT_UPDATE,
    GATE_INSERT,
    POOL_SIZE,
    Dialect,
    Rejected,
    Runner,
    Unanswered,
    Unconvertible,
    Values,
)
from scim_server.sessions.sql_statement import Statement
from scim_server.tasks import stop

_NEVER: Final = {
    "42501": "the role lacks a right: `sessions check` prints the GRANT lines",
    "42P01": "a table does not exist: correct the statement or the search_path",
    "42703": "a column does not exist: correct the statement",
}
"""SQLSTATEs that no repetition heals. Class 42 (syntax, types) and 22 (data) are refused as a whole."""

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_CONVERSIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("int2", "int4", "int8"), int),
    **dict.fromkeys(("float4", "float8"), float),
    "numeric": Decimal,
    "bool": lambda value: {"true": True, "false": False}[value] if isinstance(value, str) else bool(value),
    "uuid": uuid.UUID,
    "bytea": lambda value: str(value).encode(),
    **dict.fromkeys(("json", "jsonb"), lambda value: orjson.dumps(value).decode()),
    "timestamptz": lambda ms: _EPOCH + datetime.timedelta(milliseconds=int(ms)),
    "timestamp": lambda ms: (_EPOCH + datetime.timedelta(milliseconds=int(ms))).replace(tzinfo=None),
}
_ROWS_CHANGED: Final = re.compile(r"(?:DELETE|UPDATE|MERGE|INSERT \d+) (\d+)")
_SEQ_SCAN: Final = re.compile(r"Seq Scan on (\S+)")
_TABLES: Final = re.compile(
    r"\b(DELETE\s+FROM|(?<!DO\s)UPDATE|INSERT\s+INTO|FROM|JOIN)\s+((?:\"[^\"]+\"|\w+)(?:\.(?:\"[^\"]+\"|\w+))?)",
    re.IGNORECASE,
)
_UPSERT: Final = re.compile(r"\bDO\s+UPDATE\b", re.IGNORECASE)


class PostgresDatabase:
    """`postgresql://…`, any URL that libpq takes."""

    dialect = Dialect(gate=Statement.parse(GATE_INSERT + CONFLICT_UPDATE))

    def __init__(self, url: str, timeout_ms: int) -> None:
        self._url = url
        self._timeout_s = timeout_ms / 1000
        self._pool: asyncpg.Pool | None = None
        self._types: dict[str, list[str]] = {}
        self._left_behind: set[asyncio.Task[None]] = set()

    async def execute(self, statements: Sequence[Statement], values: Values) -> list[int]:
        """A single statement needs no explicit transaction, and saves two round trips."""
        async with self._connected() as connection:
            if len(statements) == 1:
                return [await self.changed(connection, statements[0], values)]
            async with connection.transaction():
                return [await self.changed(connection, statement, values) for statement in statements]

    async def fetch(self, statement: Statement, values: Values) -> list[tuple[Any, ...]]:
        """Rows as tuples."""
        async with self._connected() as connection:
            arguments = await self.arguments(connection, statement, values)
            return [tuple(row) for row in await connection.fetch(statement.numbered(), *arguments)]

    def within(self, connection: Any) -> Runner:
        """On the server's own connection to this database."""
        return _Within(self, connection)

    async def unindexed(self, statement: Statement, values: Values) -> str | None:
        """From EXPLAIN with sequential scans priced out: what is still scanned has no index that fits."""
        async with self._connected() as connection, connection.transaction():
            await connection.execute("SET LOCAL enable_seqscan = off")
            arguments = await self.arguments(connection, statement, values)
            plan = await connection.fetch(self.dialect.explain + statement.numbered(), *arguments)
        for row in plan:
            if found := _SEQ_SCAN.search(row[0]):
                return found[1]
        return None

    async def rights(self, statements: Sequence[Statement]) -> str:
        """Read off the statements' text: a proposal to check, not a proof."""
        async with self._connected() as connection:
            role = await connection.fetchval("SELECT quote_ident(current_user)")
        granted: dict[str, dict[str, None]] = {}
        for statement in statements:
            for verb, table in _TABLES.findall(statement.text):
                rights = granted.setdefault(table, {"SELECT": None})
                rights.update(dict.fromkeys(_granted(verb.upper(), statement)))
        return " ".join(f"GRANT {', '.join(rights)} ON {table} TO {role};" for table, rights in granted.items())

    async def fingerprint(self) -> str | None:
        """System identifier and start time, or None when the role may not read them."""
        try:
            async with self._connected() as connection:
                row = await connection.fetchrow(
                    "SELECT system_identifier, pg_postmaster_start_time() FROM pg_control_system()"
                )
        except Rejected:
            return None
        return f"{row[0]}/{row[1].timestamp()}" if row else None

    async def aclose(self) -> None:
        """At once: nothing runs that is still wanted."""
        await stop(self._left_behind)
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def changed(self, connection: Any, statement: Statement, values: Values) -> int:
        """How many rows a statement changed."""
        arguments = await self.arguments(connection, statement, values)
        status = await connection.execute(statement.numbered(), *arguments)
        found = _ROWS_CHANGED.fullmatch(status)
        return int(found[1]) if found else 0

    async def arguments(self, connection: Any, statement: Statement, values: Values) -> list[Any]:
        """The values that a statement names, in the types that the database wants."""
        names = statement.names()
        types = self._types.get(statement.text)
        if types is None:
            prepared = await connection.prepare(statement.numbered())
            types = self._types[statement.text] = [kind.name for kind in prepared.get_parameters()]
        return [_converted(name, values[name], kind) for name, kind in zip(names, types, strict=True)]

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        with self.failures():
            pool = await self._open()
            connection = await self._acquired(pool)
            try:
                yield connection
            except BaseException as problem:
                if not isinstance(problem, asyncpg.PostgresError | Rejected):
                    connection.terminate()  # a polite cancel waits for a server that may be hung
                raise
            finally:
                await pool.release(connection)

    @contextmanager
    def failures(self) -> Iterator[None]:
        """What the driver raises becomes Unanswered or Rejected."""
        try:
            yield
        except TimeoutError:
            raise Unanswered(f"Postgres does not answer within {self._timeout_s * 1000:.0f} ms") from None
        except asyncpg.PostgresError as problem:
            self._types.clear()  # the table may have been altered
            raise _told(problem) from None
        except asyncpg.DataError as problem:
            raise Rejected(f"a value does not fit its column: {problem.args[0]}") from None
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            raise Unanswered("Postgres cannot be reached, or the connection broke") from None

    async def _acquired(self, pool: asyncpg.Pool) -> Any:
        """Who is cancelled while it connects leaves the connection to the next: it may take longer than a budget."""
        acquiring = asyncio.ensure_future(pool.acquire(timeout=self._timeout_s))
        try:
            return await asyncio.shield(acquiring)
        except asyncio.CancelledError:
            giving_back = asyncio.create_task(_give_back(pool, acquiring))
            self._left_behind.add(giving_back)
            giving_back.add_done_callback(self._left_behind.discard)
            raise

    async def _open(self) -> asyncpg.Pool:
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=POOL_SIZE,
                timeout=self._timeout_s,
                command_timeout=self._timeout_s,
                reset=_as_it_is,
                server_settings={"application_name": "scim-server"},
            )
        return await self._pool


class _Within:
    """Statements on somebody else's connection, which stays theirs whatever happens."""

    def __init__(self, database: PostgresDatabase, connection: Any) -> None:
        self.dialect = database.dialect
        self._database = database
        self._connection = connection

    async def execute(self, statements: Sequence[Statement], values: Values) -> list[int]:
        with self._database.failures():
            return [await self._database.changed(self._connection, statement, values) for statement in statements]

    async def fetch(self, statement: Statement, values: Values) -> list[tuple[Any, ...]]:
        with self._database.failures():
            arguments = await self._database.arguments(self._connection, statement, values)
            return [tuple(row) for row in await self._connection.fetch(statement.numbered(), *arguments)]


async def _give_back(pool: asyncpg.Pool, acquiring: asyncio.Future[Any]) -> None:
    try:
        await pool.release(await acquiring)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        return  # nothing was acquired, or it broke meanwhile; the next delivery will say why


async def _as_it_is(connection: Any) -> None:
    """No statement here leaves settings behind, so the reset between uses would only cost a round trip."""


def _granted(verb: str, statement: Statement) -> list[str]:
    right = verb.split()[0]
    if right == "INSERT" and _UPSERT.search(statement.text):
        return ["INSERT", "UPDATE"]
    return [right] if right in ("DELETE", "UPDATE", "INSERT") else []


def _converted(name: str, value: Any, kind: str) -> Any:
    convert: Callable[[Any], Any] = _CONVERSIONS.get(kind, _text)
    try:
        return convert(value)
    except (ValueError, InvalidOperation, KeyError, OverflowError):
        raise Unconvertible(
            f":{name} is not a {kind}, which the column wants: correct the store's subject template"
        ) from None


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _told(problem: asyncpg.PostgresError) -> Unanswered | Rejected:
    """The server's first line at most: its DETAIL may hold rows."""
    state = problem.sqlstate or ""
    if state in _NEVER:
        return Rejected(f"{problem.args[0]} ({_NEVER[state]})")
    if state[:2] in ("22", "42"):
        return Rejected(f"Postgres refuses the statement or a value: {problem.args[0]}")
    if state[:2] == "28":
        return Unanswered("Postgres refuses the user or password: correct the store's url")
    return Unanswered(f"Postgres gave up (SQLSTATE {state})")
