"""Migrations: a fresh database gets exactly the tables of tables.py, once, whoever asks and however often."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect

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


async def test_a_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    for url in ("postgresql://nobody@127.0.0.1:1/none", f"sqlite:///{tmp_path}/no/such/folder/scim.db"):
        with pytest.raises(Unavailable):
            await schema.pending(url)
