"""One running server for all tests here, on SQLite with sessions in SQL and on Postgres with sessions in Redis."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from services.postgres import PostgresServer
from services.redis import RedisServer
from standing.firm import Firm, House
from termination.crm import RedisCrm, SqlCrm
from web.serving import serving

from scim_server.app import open_deployment
from scim_server.sessions.registry import read_stores
from scim_server.settings import Settings
from scim_server.storage import schema


@pytest.fixture(scope="session")
def own_database(postgres: PostgresServer) -> str:
    """The URL of an empty Postgres database of this folder's."""
    return postgres.create_database()


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
async def house(
    request: pytest.FixtureRequest,
    own_database: str,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[House]:
    """A server that runs, and the command line's way to the same database and sessions."""
    folder: Path = tmp_path_factory.mktemp("standing")
    on_postgres = request.param == "postgres"
    # A database of its own: this deployment lives on while other tests empty the first one.
    crm = (
        RedisCrm(redis_server.url.rpartition("/")[0] + "/1", name="standing")
        if on_postgres
        else SqlCrm(folder / "crm.db")
    )
    url = own_database if on_postgres else f"sqlite:///{folder}/scim.db"
    await schema.migrate(url)
    settings = Settings(database_url=url, session_stores=tuple(read_stores([crm.entry])))
    async with serving(settings) as server, open_deployment(settings) as parts:
        yield House(server, parts, crm, folder)
    crm.close()


@pytest.fixture
def open_firm(house: House) -> Callable[..., Awaitable[Firm]]:
    """Makes a tenant with options."""
    return house.firm


@pytest.fixture
async def firm(house: House) -> Any:
    """A tenant with the default options."""
    return await house.firm()
