"""The server dies after the commit while the session store keeps it waiting; the next start ends the sessions."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from chaos.machine import migrated_url
from services.redis import RedisServer
from sqlalchemy import func, select
from storage.opened import open_database, rows
from termination.crm import RedisCrm
from termination.process import ServerProcess
from termination.receiver import silence
from termination.scene import USER, until

from scim_server.storage.tables import outbox

pytestmark = pytest.mark.chaos


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of each kind."""
    yield from migrated_url(request, tmp_path)


async def test_the_sessions_end_when_the_server_is_started_again(
    database_url: str, tmp_path: Path, own_redis: RedisServer
) -> None:
    own_redis.flush()
    crm = RedisCrm(own_redis.url, budget_ms=3_000)
    crm.log_in("leaver")
    server = ServerProcess(tmp_path, database_url, [crm.entry])
    own_redis.stop()
    try:
        async with silence(int(own_redis.url.rsplit(":", 1)[1].partition("/")[0])):
            await asyncio.to_thread(server.start)
            async with server.client() as idp:
                body = {"schemas": [USER], "userName": "leaver", "externalId": "leaver"}
                user = (await idp.post("/Users", json=body)).json()
                change = {"Operations": [{"op": "replace", "path": "active", "value": False}]}
                request = asyncio.create_task(idp.patch(f"/Users/{user['id']}", json=change))
                await until(lambda: _kills(database_url), 5)
                server.kill9()  # the store has not answered, and never will
                with pytest.raises(httpx.TransportError):
                    await request
    finally:
        server.kill9()
        own_redis.start()
    assert crm.alive("leaver") == 3
    try:
        await asyncio.to_thread(server.start)
        await until(lambda: crm.alive("leaver") == 0, 20)  # a lease that the dead process held ends within 15 s
        gate = crm.gate("leaver")
        assert gate is not None
        assert gate[1]
    finally:
        server.kill9()
        crm.close()


async def _kills(database_url: str) -> bool:
    database = await open_database(database_url)
    try:
        query = select(func.count().label("n")).where(outbox.c.action == "terminate")
        return bool((await rows(database, query))[0]["n"])
    finally:
        await database.aclose()
