"""What the port says when its database fails: never half a change, never the driver's own error."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from services.postgres import PostgresServer
from sqlalchemy import Integer, bindparam, func, literal_column, select, text
from storage.opened import Tenant, open_database, rows

from scim_server.protocol.errors import TooMany, Unavailable
from scim_server.storage import schema
from scim_server.storage.change import FEED, Change, Committed, Message
from scim_server.storage.database import Database, Stale
from scim_server.storage.feed import entries, has
from scim_server.storage.outbox import adopt
from scim_server.storage.postgres import PATIENCE_S, PostgresDatabase
from scim_server.storage.resources import load
from scim_server.storage.sqlite import SqliteDatabase, connect, sqlite_path
from scim_server.storage.statements import Statement
from scim_server.storage.tables import audit, outbox, resource
from scim_server.usecases.receipts import START

ENDLESS = Statement(
    lambda _: text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT max(i) FROM n"
    )
)


async def test_a_query_over_its_time_is_too_many_and_harms_nobody(database: Database) -> None:
    with pytest.raises(TooMany):
        await database.read(ENDLESS, {}, timeout_ms=50)
    one = Statement(lambda _: select(literal_column("1")))
    assert (await database.read(one, {}, timeout_ms=5_000))[0][0] == 1
    await database.ping()


async def test_a_cancelled_reader_harms_nobody(database: Database, tenant: Tenant) -> None:
    users = [tenant.user() for _ in range(8)]
    tasks = [asyncio.create_task(database.commit(user)) for user in users]
    await asyncio.sleep(0)
    tasks[0].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(not isinstance(outcome, Exception) for outcome in outcomes[1:])
    await database.ping()


async def test_a_statement_that_cannot_be_bound_harms_no_other(database: Database, tenant: Tenant) -> None:
    incomplete = Statement(lambda _: select(literal_column("1")).where(bindparam("missing", type_=Integer) == 1))
    async with asyncio.timeout(40):
        with pytest.raises(KeyError):
            await database.write((incomplete, {}))
        assert (await database.commit(tenant.user())).version == 1


async def test_limits_of_the_database_are_told_like_our_own(migrated_postgres_url: str, tenant: Tenant) -> None:
    """As hosting companies set them."""
    user = tenant.user()
    unlimited = await open_database(migrated_postgres_url)
    await unlimited.commit(user)
    await unlimited.aclose()
    name = migrated_postgres_url.rpartition("/")[2]
    blocker = await asyncpg.connect(migrated_postgres_url)
    for limit in ("statement_timeout = 500", "lock_timeout = 100", "default_transaction_isolation = serializable"):
        await blocker.execute(f'ALTER DATABASE "{name}" SET {limit}')
    limited = await open_database(migrated_postgres_url)
    with pytest.raises(TooMany):
        await limited.read(ENDLESS, {}, timeout_ms=40_000)
    bumps = [tenant.change("bump", "User", user.resource_id) for _ in range(20)]
    outcomes = await asyncio.gather(*map(limited.commit, bumps), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {Committed, Unavailable}
    async with blocker.transaction():
        await blocker.execute("SELECT 1 FROM resource FOR UPDATE")
        with pytest.raises(Unavailable):
            await limited.commit(tenant.change("bump", "User", user.resource_id))
    await limited.aclose()
    await blocker.close()


async def test_the_feed_goes_on_in_another_database_than_the_one_of_the_backup(
    database: Database, database_url: str, tenant: Tenant
) -> None:
    def said(subject: str) -> tuple[Message, ...]:
        return (Message(tenant.new_id(), FEED, subject, "notify", "user.created", {"id": subject}),)

    async def read(place: tuple[int, str] = START) -> list[str]:
        return [entry.data["id"] for entry in await entries(database, tenant.id, place, 10)]

    for subject in ("a", "a", "a", "b"):
        await database.commit(tenant.user(messages=said(subject)))
    if database_url.startswith("sqlite"):
        await database.write((Statement(lambda _: text("DELETE FROM outbox WHERE subject = 'a'")), {}))
        with closing(connect(sqlite_path(database_url))) as keeper:  # what .dump and loading it again does to a table
            keeper.executescript(
                "CREATE TEMP TABLE kept AS SELECT * FROM outbox; DELETE FROM outbox;"
                "INSERT INTO outbox SELECT * FROM kept"
            )
    else:  # the number of transactions there was larger
        larger = "UPDATE outbox SET position = position + 1000000000 WHERE subject = 'b'"
        await database.write((Statement(lambda _: text(larger)), {}))
    (*_, last) = await rows(database, select(outbox).order_by(outbox.c.position))
    assert await adopt(database) == (0 if database_url.startswith("sqlite") else 4)
    await database.commit(tenant.user(messages=said("c")))
    assert await read() in (["b", "c"], ["a", "a", "a", "b", "c"])
    if await has(database, tenant.id, (last["position"], last["id"])):
        assert await read((last["position"], last["id"])) == ["c"]
    assert await adopt(database) == 0


async def test_tables_of_others_with_odd_names_do_not_keep_ours_from_being_analyzed(
    migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scim_server.storage.postgres.STATISTICS_S", 0.05)
    looking = "SELECT count(*) FROM pg_stat_user_tables WHERE relname = 'Session; odd' AND last_analyze IS NOT NULL"
    connection = await asyncpg.connect(migrated_postgres_url)
    await connection.execute('CREATE TABLE "Session; odd" AS SELECT generate_series(1, 1000) AS id')
    database = await PostgresDatabase.open(migrated_postgres_url, listen_url=None)
    async with asyncio.timeout(40):
        while not await connection.fetchval(looking):
            pass
    await database.aclose()
    await connection.close()


@pytest.fixture
async def own(own_postgres: PostgresServer, patience_as_shipped: None) -> AsyncIterator[PostgresDatabase]:
    """A database in a Postgres that may be stopped."""
    url = own_postgres.create_database()
    await schema.migrate(url)
    opened = await PostgresDatabase.open(url, listen_url=url, pool_size=4)
    yield opened
    await opened.aclose()


async def test_reads_wait_for_a_restart_and_writes_say_come_back(
    own: PostgresDatabase, own_postgres: PostgresServer, tenant: Tenant
) -> None:
    user = tenant.user("ada")
    await asyncio.gather(own.commit(user), *(own.ping() for _ in range(8)))
    await asyncio.to_thread(own_postgres.restart)
    assert await load(own, tenant.id, "User", user.resource_id, groups=False) is not None
    await asyncio.to_thread(own_postgres.restart, "immediate")
    await _until_it_works(own, tenant)


async def test_a_postgres_that_is_away_is_unavailable_in_time(
    own: PostgresDatabase, own_postgres: PostgresServer, tenant: Tenant
) -> None:
    await own.ping()
    await asyncio.to_thread(own_postgres.stop)
    try:
        attempts = (own.ping(), own.commit(tenant.user()), load(own, tenant.id, "User", tenant.id, groups=True))
        async with asyncio.timeout(PATIENCE_S * 4):
            refusals = await asyncio.gather(*attempts, return_exceptions=True)
        for refusal in refusals:
            assert isinstance(refusal, Unavailable)
            assert refusal.headers["Retry-After"] == "1"
        await own.wake()
    finally:
        await asyncio.to_thread(own_postgres.start)
    await _until_it_works(own, tenant)


async def test_a_frozen_postgres_is_unavailable_in_time(
    own: PostgresDatabase, own_postgres: PostgresServer, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scim_server.storage.postgres.ANSWER_S", 1.0)
    await asyncio.gather(*(own.ping() for _ in range(4)))
    own_postgres.pause()
    try:
        attempts = [
            own.ping(),
            own.commit(tenant.user()),
            load(own, tenant.id, "User", tenant.id, groups=True),
            own.read(ENDLESS, {}, timeout_ms=300),
        ]
        async with asyncio.timeout(40):
            refusals = await asyncio.gather(*attempts, return_exceptions=True)
        assert [type(refusal) for refusal in refusals] == [Unavailable] * len(attempts)
    finally:
        own_postgres.resume()
    await _until_it_works(own, tenant)


async def test_a_connection_killed_in_the_middle_leaves_a_change_whole_or_undone(
    own: PostgresDatabase, tenant: Tenant
) -> None:
    group = tenant.group()
    await own.commit(group)
    killer = Statement(
        lambda _: (
            select(func.count(func.pg_terminate_backend(literal_column("pid"))))
            .select_from(text("pg_stat_activity"))
            .where(text("pid <> pg_backend_pid() AND state = 'active'"))
        )
    )
    changes = [tenant.user(f"user{n}") for n in range(200)]

    async def attempt(change: Change) -> bool:
        try:
            await own.commit(change)
        except Unavailable:
            return False
        return True

    async def kill() -> None:
        for _ in range(20):
            try:
                await own.read(killer, {})
            except Unavailable:
                pass

    *confirmed, _ = await asyncio.gather(*map(attempt, changes), kill())
    stored = {row["id"] for row in await rows(own, select(resource.c.id).where(resource.c.type == "User"))}
    traced = {
        row["resource_id"]
        for row in await rows(own, select(audit.c.resource_id).where(audit.c.action == "user.insert"))
    }
    assert stored == traced
    assert stored >= {change.resource_id for change, done in zip(changes, confirmed, strict=True) if done}


async def test_a_wake_up_reaches_listeners_and_their_connection_comes_back(
    own: PostgresDatabase, own_postgres: PostgresServer
) -> None:
    heard = asyncio.Event()
    own.on_wake(heard.set)
    for _ in range(2):
        await asyncio.wait_for(_wake_until(own, heard), timeout=40)
        heard.clear()
        await asyncio.to_thread(own_postgres.restart)


async def test_a_locked_file_is_unavailable_and_then_works(tmp_path: Path, tenant: Tenant, monkeypatch: Any) -> None:
    monkeypatch.setattr("scim_server.storage.sqlite.BUSY_TIMEOUT_S", 0.1)
    url = f"sqlite:///{tmp_path}/scim.db"
    await schema.migrate(url)
    database = SqliteDatabase(tmp_path / "scim.db")
    other = connect(tmp_path / "scim.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await database.commit(tenant.user())
    assert await load(database, tenant.id, "User", tenant.id, groups=True) is None
    other.execute("COMMIT")
    other.close()
    assert (await database.commit(tenant.user())).version == 1
    await database.aclose()


async def test_what_is_confirmed_outlives_the_process(tmp_path: Path, tenant: Tenant) -> None:
    url = f"sqlite:///{tmp_path}/scim.db"
    await schema.migrate(url)
    database = await open_database(url)
    await asyncio.gather(*(database.commit(tenant.user()) for _ in range(100)))
    copy = tmp_path / "copy.db"
    for suffix in ("", "-wal"):
        (tmp_path / f"copy.db{suffix}").write_bytes((tmp_path / f"scim.db{suffix}").read_bytes())
    with sqlite3.connect(copy) as survivor:
        assert survivor.execute("SELECT count(*) FROM resource").fetchone() == (100,)
    survivor.close()
    await database.aclose()


async def _until_it_works(database: Database, tenant: Tenant) -> None:
    async with asyncio.timeout(40):
        while True:
            try:
                with pytest.raises(Stale):
                    await database.commit(tenant.change("bump", "User", tenant.id))
                return
            except Unavailable:
                continue


async def _wake_until(database: Database, heard: asyncio.Event) -> None:
    while not heard.is_set():
        await database.wake()
        try:
            await asyncio.wait_for(heard.wait(), timeout=0.2)
        except TimeoutError:
            continue
