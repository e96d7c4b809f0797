"""Both databases, migrated, under one name: what is asked of the port is asked of each."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest
from services.postgres import PostgresServer
from storage.opened import Tenant, open_database

from scim_server.storage import schema
from scim_server.storage.database import Database


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """A Postgres database with the newest schema, to be copied."""
    url = postgres.create_database()
    anyio.run(schema.migrate, url)
    return url


@pytest.fixture
def migrated_postgres_url(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The URL of a Postgres database with the newest schema and nothing in it."""
    url = postgres.create_database(migrated_template)
    yield url
    postgres.drop_database(url)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated database of each kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("migrated_postgres_url"))
    url = f"sqlite:///{tmp_path}/scim.db"
    anyio.run(schema.migrate, url)
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Each kind of database, opened."""
    opened = await open_database(database_url)
    yield opened
    await opened.aclose()


@pytest.fixture
def tenant() -> Tenant:
    """A tenant of its own for each test."""
    return Tenant()
