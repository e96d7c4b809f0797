"""The session store is away for a minute while people leave: five seconds after it is back, everybody is out.

It comes back as it was, or with an old dump: then sessions are there again whose end it had already confirmed.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from chaos.machine import ROUNDS, migrated_url
from redis import Redis
from services.redis import RedisServer
from sqlalchemy import select
from storage.opened import open_database, rows
from termination.crm import AS_SHIPPED, RedisCrm
from termination.process import ServerProcess
from termination.scene import USER, until

from scim_server.storage.tables import sentinel

pytestmark = pytest.mark.chaos

OUTAGE_S = 60.0 if ROUNDS >= 100 else 3.0
PEOPLE = 12  # of each sort


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of each kind."""
    yield from migrated_url(request, tmp_path)


@pytest.fixture(scope="module")
def dumping_redis() -> Iterator[RedisServer]:
    """Keeps nothing but what is dumped."""
    server = RedisServer.launch()
    yield server
    server.discard()


async def hire(idp: httpx.AsyncClient, sort: str) -> dict[str, str]:
    """So many users of a sort: their ids by subject."""
    made: dict[str, str] = {}
    for subject in (f"{sort}{number}" for number in range(PEOPLE)):
        answer = await idp.post("/Users", json={"schemas": [USER], "userName": subject, "externalId": subject})
        assert answer.status_code == 201, answer.text
        made[subject] = answer.json()["id"]
    return made


async def set_active(idp: httpx.AsyncClient, user_id: str, active: bool) -> None:
    change = {"Operations": [{"op": "replace", "path": "active", "value": active}]}
    answer = await idp.patch(f"/Users/{user_id}", json=change)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("outage", ["killed, and back with an old dump", "stopped"])
async def test_all_who_left_meanwhile_are_out_within_five_seconds(
    database_url: str,
    tmp_path: Path,
    dumping_redis: RedisServer,
    outage: str,
    record_property: Callable[[str, str], None],
) -> None:
    dumping_redis.flush()
    crm = RedisCrm(dumping_redis.url, **AS_SHIPPED)
    server = ServerProcess(tmp_path, database_url, [crm.entry])
    await asyncio.to_thread(server.start)
    try:
        async with server.client() as idp:
            earlier, leavers, flappers, stayers = [
                await hire(idp, sort) for sort in ("earlier", "leaver", "back", "stays")
            ]
            crm_has = [*earlier, *leavers, *flappers, *stayers]
            for subject in crm_has:
                crm.log_in(subject)
            with Redis.from_url(dumping_redis.url) as client:
                client.save()
            for user_id in earlier.values():
                await set_active(idp, user_id, False)
            await until(lambda: crm.alive(*earlier) == 0, 10)
            await until(lambda: is_watched(database_url), 10)

            (dumping_redis.pause if outage == "stopped" else dumping_redis.kill9)()
            for leaver, flapper in zip(leavers.values(), flappers.values(), strict=True):
                await set_active(idp, leaver, False)
                await set_active(idp, flapper, False)
                await set_active(idp, flapper, True)
                await asyncio.sleep(OUTAGE_S / PEOPLE)  # the outage goes on

            if outage == "stopped":
                dumping_redis.resume()
            else:
                await asyncio.to_thread(dumping_redis.start)
                assert crm.alive(*earlier) > 0
            out = [*earlier, *leavers]
            took = await until(lambda: crm.alive(*out, *flappers) == 0 and all(is_denied(crm, one) for one in out), 5)
            record_property(f"Redis away for {OUTAGE_S:.0f} s ({outage}), everybody out after", f"{took:.2f} s")
            await until(lambda: all(crm.gate(one) and not is_denied(crm, one) for one in flappers), 5)
            assert crm.alive(*stayers) == 3 * PEOPLE
            assert not any(crm.gate(one) for one in stayers)
    finally:
        server.kill9()
        crm.close()


def is_denied(crm: RedisCrm, subject: str) -> bool:
    gate = crm.gate(subject)
    return gate is not None and gate[1]


async def is_watched(database_url: str) -> bool:
    """Whether the store has confirmed a sentinel, which tells an old copy from the present."""
    database = await open_database(database_url)
    try:
        found = await rows(database, select(sentinel.c.confirmed, sentinel.c.stage))
    finally:
        await database.aclose()
    return any(row["confirmed"] > 0 and row["stage"] is None for row in found)
