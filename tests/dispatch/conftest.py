"""Both databases with a tenant in them, and what every dispatcher needs."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from dispatch.deliveries import Mailbox
from dispatch.wards import FlushableRedis, FlushableSql, Site, Ward
from services.postgres import PostgresServer

from scim_server.clock import new_id, now_ms
from scim_server.storage import schema
from scim_server.usecases.access import create_tenant


@pytest.fixture(params=["sqlite", "postgres"])
async def mailbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mailbox]:
    """On each kind of database."""
    postgres: PostgresServer | None = None
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/scim.db"
        await schema.migrate(url)
    else:
        postgres = request.getfixturevalue("postgres")
        url = postgres.create_database()
        await schema.migrate(url)
    made = await Mailbox.open(url)
    await create_tenant(made.database, "acme", actor="test", new_id=made.tenant_id, change_id=new_id(), now=now_ms())
    yield made
    await made.aclose()
    if postgres:
        postgres.drop_database(url)


@pytest.fixture(params=["sqlite", "postgres"])
async def site_database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a migrated database of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/scim.db"
        await schema.migrate(url)
        yield url
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    url = postgres.create_database()
    await schema.migrate(url)
    yield url
    postgres.drop_database(url)


@pytest.fixture(params=["redis", "sql"])
def crm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FlushableRedis | FlushableSql]:
    """A CRM of each kind."""
    made: FlushableRedis | FlushableSql
    if request.param == "redis":
        made = FlushableRedis(request.getfixturevalue("redis_url"))
    else:
        made = FlushableSql(tmp_path / "crm.db")
    yield made
    made.close()


@pytest.fixture
def site(site_database: str, crm: FlushableRedis | FlushableSql) -> Site:
    """Each kind of database with each kind of CRM."""
    return Site(site_database, crm)


@pytest.fixture
async def ward(site: Site) -> AsyncIterator[Ward]:
    """One process there."""
    async with site.process() as opened:
        yield opened
