"""The two worlds the promise is proved in: Postgres with sessions in Redis, SQLite with sessions in SQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from services.postgres import PostgresServer
from termination.crm import RedisCrm, SqlCrm
from termination.scene import Scene, playing

from scim_server.storage import schema


@dataclass
class World:
    """A migrated database and a CRM; nothing runs yet."""

    database_url: str
    crm: RedisCrm | SqlCrm


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """A Postgres database with the newest schema, to be copied."""
    url = postgres.create_database()
    migrate(url)
    return url


@pytest.fixture
def postgres_database(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The URL of a Postgres database with the newest schema and nothing in it."""
    url = postgres.create_database(migrated_template)
    yield url
    postgres.drop_database(url)


@pytest.fixture
def sqlite_database(tmp_path: Path) -> str:
    """The URL of a migrated SQLite file."""
    url = f"sqlite:///{tmp_path}/scim.db"
    migrate(url)
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Each of the two."""
    fixture: Any = request.getfixturevalue
    if request.param == "postgres":
        made = World(fixture("postgres_database"), RedisCrm(fixture("redis_url")))
    else:
        made = World(fixture("sqlite_database"), SqlCrm(tmp_path / "crm.db"))
    yield made
    made.crm.close()


@pytest.fixture
async def scene(world: World) -> AsyncIterator[Scene]:
    """A server on each of the two."""
    async with playing(world.database_url, [world.crm.entry]) as running:
        await running.store_is_known()
        yield running


@pytest.fixture
def crm(world: World) -> RedisCrm | SqlCrm:
    """The CRM that shares its sessions with the server."""
    return world.crm


def migrate(url: str) -> None:
    """In a thread of its own: the event loop of the tests may be running."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, schema.migrate(url)).result()
