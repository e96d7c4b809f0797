"""Postgres through asyncpg: the pool, one-statement commits, LISTEN/NOTIFY as a hint, and the mapping of every way a
connection can fail to `Unavailable`.

Reads run outside transactions and are repeated when the connection breaks. A commit is repeated only after a
deadlock, or what a stricter isolation of the role's makes of one: after a lost connection nobody knows whether it
happened, so the client is told to come back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import asyncpg

from scim_server.protocol.errors import TooMany, Unavailable
from scim_server.storage.change import Change, Committed, Queued
from scim_server.storage.commit import ENTITLE, parameters, plan, queued, shape_of
from scim_server.storage.companions import join_on_postgres
from scim_server.storage.database import Row, Stale, Taken
from scim_server.storage.dialects import POSTGRES, Dialect
from scim_server.storage.gathering import Gathering
from scim_server.storage.postgres_pool import Connection, Pool
from scim_server.storage.statements import Parameters, Statement
from scim_server.tasks import stop

CHANNEL = "scim_outbox"
PATIENCE_S = 2.0  # how long a request waits for a connection while Postgres restarts or the pool is empty
PAUSE_S = 0.05
# How long a statement may take before Postgres counts as gone: a machine that froze never says so.
ANSWER_S = 10.0
UPKEEP_S = 60.0
RECONNECT_S = 1.0
STATISTICS_S = 1.0
_GROWN = """
SELECT quote_ident(table_.relname) AS name
FROM pg_stat_user_tables statistics JOIN pg_class table_ ON table_.oid = statistics.relid
WHERE statistics.schemaname = current_schema()
AND statistics.n_mod_since_analyze > greatest(200, table_.reltuples / 2) AND table_.reltuples < 200000
"""
DEADLOCK_TRIES = 10
_GONE = (
    OSError,  # refused, reset, broken pipe
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the farewell of a server that stops came in the middle of an exchange
    asyncpg.OperatorInterventionError,  # restart, terminated backend
    asyncpg.TooManyConnectionsError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory
    asyncpg.LockNotAvailableError,  # a lock_timeout of the role's
    asyncpg.ReadOnlySQLTransactionError,  # a failover left us on the old primary
    asyncpg.InvalidAuthorizationSpecificationError,  # the password is being changed
    asyncpg.InvalidCatalogNameError,  # the database is being restored
)
_TRY_AGAIN = "The database cannot be reached at the moment; repeat the request as it is."

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


class PostgresDatabase:
    """The `Database` port on Postgres."""

    dialect: Dialect = POSTGRES

    def __init__(self, pool: Pool, listen_url: str | None) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._gathering = Gathering(self._read, POSTGRES.pack_list)
        self._listeners: list[Callable[[], None]] = []
        self._tasks = [asyncio.create_task(self._keep_statistics())]
        if listen_url:
            self._tasks.append(asyncio.create_task(self._listen(listen_url)))

    @classmethod
    async def open(cls, url: str, *, listen_url: str | None, pool_size: int = 10) -> "PostgresDatabase":
        """Connects on first use, so a server starts while Postgres is still away. Without `listen_url` wake-ups
        between processes come from polling alone."""

        async def connect() -> Connection:
            connection: Connection = await asyncpg.connect(
                plain_url(url),
                timeout=PATIENCE_S,
                statement_cache_size=500,
                # An acknowledged write is on disk: never inherit a laxer setting from the role or the database.
                server_settings={"application_name": "scim-server", "synchronous_commit": "on"},
            )
            # Ids are text everywhere above; as text they also need no conversion in answers.
            await connection.set_type_codec("uuid", encoder=str, decoder=str, schema="pg_catalog", format="text")
            return connection

        pool = Pool(connect, pool_size)
        return cls(pool, listen_url and plain_url(listen_url))

    async def read(
        self, statement: Statement, parameters: Parameters, *, timeout_ms: int | None = None
    ) -> Sequence[Row]:
        if statement.many is not None:
            return await self._gathering.read(statement, statement.many, parameters)
        return await self._read(statement, parameters, timeout_ms)

    async def _read(self, statement: Statement, parameters: Parameters, timeout_ms: int | None = None) -> Sequence[Row]:
        compiled = statement.compiled(POSTGRES)
        arguments = compiled.arguments(parameters)
        limit = timeout_ms / 1000 if timeout_ms else None

        async def fetch(connection: Connection) -> Sequence[Row]:
            try:
                rows: list[asyncpg.Record] = await connection.fetch(compiled.sql, *arguments, timeout=limit)
            except asyncpg.QueryCanceledError:  # a statement_timeout of the role's
                raise TimeoutError from None
            return rows

        try:
            return await self._run(fetch, repeat=True)
        except TimeoutError:
            await self.ping()  # raises Unavailable where it is the database, not the query
            raise TooMany(
                "The query took too long; narrow it down with an indexed attribute such as userName or externalId."
            ) from None

    async def commit(self, change: Change) -> Committed:
        chain = plan(shape_of(change), POSTGRES).chain
        assert chain is not None
        given = parameters(change, POSTGRES)
        arguments = chain.arguments(given)

        async def run_alone(connection: Connection) -> tuple[list[asyncpg.Record], tuple[Queued, ...]]:
            rows: list[asyncpg.Record] = await connection.fetch(chain.sql, *arguments)
            return rows, queued(rows) if change.messages else ()

        async def run_with_more(connection: Connection) -> tuple[list[asyncpg.Record], tuple[Queued, ...]]:
            entitle = ENTITLE.compiled(POSTGRES)
            async with connection.transaction():
                rows, told = await run_alone(connection)
                if rows and change.entitlements:
                    users = await connection.fetch(entitle.sql, *entitle.arguments(given))
                    if len(users) < len(change.entitlements):
                        raise Stale
                return rows, await join_on_postgres(connection, change, told)

        rows, told = await self._run(run_with_more if change.entitlements or change.companions else run_alone)
        if not rows:
            raise Stale
        return Committed(rows[0]["version"], rows[0]["modified"], told)

    async def write(self, *steps: tuple[Statement, Parameters]) -> list[Sequence[Row]]:
        compiled = [(statement.compiled(POSTGRES), given) for statement, given in steps]

        async def run(connection: Connection) -> list[Sequence[Row]]:
            if len(compiled) == 1:
                one, given = compiled[0]
                return [await connection.fetch(one.sql, *one.arguments(given))]
            async with connection.transaction():
                return [await connection.fetch(one.sql, *one.arguments(given)) for one, given in compiled]

        return await self._run(run, limit_s=UPKEEP_S)

    async def wake(self) -> None:
        async def notify(connection: Connection) -> None:
            await connection.execute("SELECT pg_notify($1, '')", CHANNEL)

        try:
            await self._run(notify, limit_s=PATIENCE_S)
        except Unavailable:
            _log.debug("wake-up lost; the next poll finds the work")

    def on_wake(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    async def ping(self) -> None:
        async def select_one(connection: Connection) -> None:
            await connection.execute("SELECT 1")

        await self._run(select_one, limit_s=PATIENCE_S)

    async def aclose(self) -> None:
        await stop(self._tasks)
        await self._pool.aclose()

    async def _run(
        self, work: Callable[[Connection], Awaitable[Result]], *, repeat: bool = False, limit_s: float | None = None
    ) -> Result:
        limit_s = limit_s or ANSWER_S
        deadline = self._loop.time() + PATIENCE_S
        deadlocks = 0
        while True:
            try:
                return await self._once(work, deadline, limit_s)
            except TimeoutError:
                raise
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                deadlocks += 1
                if deadlocks >= DEADLOCK_TRIES:
                    raise Unavailable(_TRY_AGAIN, {"Retry-After": "1"}) from None
            except asyncpg.ForeignKeyViolationError:
                raise Stale from None
            except asyncpg.UniqueViolationError as problem:
                raise Taken(problem.constraint_name or "") from None
            except _GONE as problem:
                if not repeat or self._loop.time() > deadline:
                    raise Unavailable(_TRY_AGAIN, {"Retry-After": "1"}) from problem
                await asyncio.sleep(PAUSE_S)

    async def _once(self, work: Callable[[Connection], Awaitable[Result]], deadline: float, limit_s: float) -> Result:
        connection = await self._acquire(deadline)
        clean = False
        patience = asyncio.timeout(limit_s)
        try:
            async with patience:
                result = await work(connection)
            clean = True
            return result
        except TimeoutError as problem:
            if not patience.expired():  # the work had a limit of its own
                raise
            raise Unavailable(_TRY_AGAIN, {"Retry-After": "1"}) from problem
        except _GONE:
            raise
        except asyncpg.PostgresError:  # a refusal of this one statement
            clean = True
            raise
        finally:
            self._pool.release(connection, clean=clean)

    async def _acquire(self, deadline: float) -> Connection:
        while True:
            try:
                return await self._pool.acquire(deadline)
            except _GONE as problem:
                if self._loop.time() > deadline - PAUSE_S:
                    raise Unavailable(_TRY_AGAIN, {"Retry-After": "1"}) from problem
            await asyncio.sleep(PAUSE_S)

    async def _keep_statistics(self) -> None:
        """A first import fills empty tables faster than autovacuum looks at them, and a planner that believes them
        empty scans them for each request: have the grown ones analyzed at once."""

        async def analyze(connection: Connection) -> None:
            for row in await connection.fetch(_GROWN):
                await connection.execute(f"ANALYZE {row['name']}")  # from the catalogue, quoted where need be

        while True:
            await asyncio.sleep(STATISTICS_S)
            try:
                await self._run(analyze, limit_s=UPKEEP_S)
            except (Unavailable, asyncpg.PostgresError) as problem:
                _log.debug("statistics not refreshed: %s", type(problem).__name__)

    async def _listen(self, url: str) -> None:
        """Keep one connection on the channel; after any loss reconnect and wake everybody once."""
        while True:
            lost = asyncio.Event()
            try:
                connection = await asyncpg.connect(url, timeout=PATIENCE_S)
                try:
                    connection.add_termination_listener(lambda _, lost=lost: lost.set())
                    await connection.add_listener(CHANNEL, lambda *_: self._wake_listeners())
                    self._wake_listeners()
                    await lost.wait()
                finally:
                    connection.terminate()
            except _GONE as problem:
                _log.debug("listener lost: %s", type(problem).__name__)
            await asyncio.sleep(RECONNECT_S)

    def _wake_listeners(self) -> None:
        for listener in self._listeners:
            listener()


def plain_url(url: str) -> str:
    """The URL as libpq writes it: a SQLAlchemy driver suffix such as `+asyncpg` is taken off."""
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"
