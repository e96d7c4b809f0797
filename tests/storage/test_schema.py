"""Migrations: a fresh database gets exactly the tables of tables.py, once, whoever asks and however often."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect

from scim_server.clock import new_id
from scim_server.protocol.errors import Unavailable
from scim_server.storage import schema
from scim_server.storage.tables import metadata


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/scim.db"


async def test_an_empty_database_misses_every_version(empty_url: str) -> None:
    assert await schema.is_empty(empty_url)
    missing = await schema.pending(empty_url)
    assert missing[0] == "0001_pre_first"
    assert await schema.migrate(empty_url) == missing[-1]
    assert await schema.pending(empty_url) == []
    assert not await schema.is_empty(empty_url)


async def test_a_migrated_database_is_what_the_tables_say(empty_url: str) -> None:
    await schema.migrate(empty_url)
    differences: list[Any] = []

    def compare(connection: Connection) -> None:
        options = {"version_table": "schema_version", "compare_server_default": False}
        differences.extend(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    await schema._with_connection(empty_url, compare)
    assert differences == []


async def test_migrating_again_and_at_once_is_fine(empty_url: str) -> None:
    await asyncio.gather(*(schema.migrate(empty_url) for _ in range(3)))
    await schema.migrate(empty_url)
    assert await schema.pending(empty_url) == []


async def test_processes_may_migrate_at_once(empty_url: str) -> None:
    program = "import asyncio, sys; from scim_server.storage import schema; asyncio.run(schema.migrate(sys.argv[1]))"
    begun = [await asyncio.create_subprocess_exec(sys.executable, "-c", program, empty_url) for _ in range(3)]
    assert [await process.wait() for process in begun] == [0, 0, 0]
    assert await schema.pending(empty_url) == []


async def test_a_migration_that_fails_leaves_nothing_behind(empty_url: str) -> None:
    def obstruct(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE tenant (it_was_here INTEGER)")

    def look(connection: Connection) -> None:
        found.update(inspect(connection).get_table_names())

    found: set[str] = set()
    await schema._with_connection(empty_url, obstruct)
    with pytest.raises(Exception, match="tenant"):
        await schema.migrate(empty_url)
    await schema._with_connection(empty_url, look)
    assert found == {"tenant"}


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
async def test_a_migration_waits_for_another_one_however_long(limit: str, postgres_url: str) -> None:
    other = await asyncpg.connect(postgres_url)
    await other.execute(f"ALTER DATABASE \"{postgres_url.rpartition('/')[2]}\" SET {limit} = '500ms'")
    await other.fetchval("SELECT pg_advisory_lock($1)", schema._LOCK)
    migrating = asyncio.create_task(schema.migrate(postgres_url))
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with asyncio.timeout(40):
        while not await other.fetchval(waiting):
            assert not migrating.done()
        await asyncio.sleep(0.8)
        assert not migrating.done()
        await other.close()
        await migrating


async def test_what_the_database_refuses_is_one_line_and_no_traceback(postgres_url: str) -> None:
    administrator = await asyncpg.connect(postgres_url)
    name = f"weak_{new_id()[-12:]}"
    await administrator.execute(f"CREATE ROLE {name} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    try:
        host = postgres_url.rpartition("@")[2]
        with pytest.raises(schema.SchemaRefused, match="permission denied for schema public"):
            await schema.migrate(f"postgresql://{name}@{host}")
    finally:
        await administrator.execute(f"DROP ROLE {name}")
        await administrator.close()


async def test_tables_in_use_are_unavailable(postgres_url: str) -> None:
    def lock(connection: Connection) -> None:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
        connection.exec_driver_sql("LOCK TABLE used")

    reader = await asyncpg.connect(postgres_url)
    await reader.execute("CREATE TABLE used (it INTEGER)")
    async with reader.transaction():
        await reader.execute("LOCK TABLE used")
        with pytest.raises(Unavailable):
            await schema._with_connection(postgres_url, lock)
    await reader.close()


async def test_a_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    for url in ("postgresql://nobody@127.0.0.1:1/none", f"sqlite:///{tmp_path}/no/such/folder/scim.db"):
        with pytest.raises(Unavailable):
            await schema.pending(url)
