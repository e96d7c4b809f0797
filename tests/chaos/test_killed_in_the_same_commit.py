"""The server dies while people leave whose sessions are in its own database: nothing is left to be done for anybody."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from chaos.machine import migrated_url
from sqlalchemy import select, text
from storage.opened import open_database, rows
from termination.crm import PostgresCrm, SqlCrm
from termination.process import ServerProcess
from termination.scene import USER, until

from scim_server.storage.database import Database
from scim_server.storage.tables import outbox

pytestmark = pytest.mark.chaos

PEOPLE = 30
STATES = text(
    "SELECT external_id AS name, active, (SELECT count(*) FROM user_sessions WHERE subject = external_id) AS sessions"
    " FROM resource WHERE type = 'User' AND external_id IS NOT NULL"
)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of each kind."""
    yield from migrated_url(request, tmp_path)


async def test_everybody_is_in_with_sessions_or_out_without(database_url: str, tmp_path: Path) -> None:
    on_sqlite = database_url.startswith("sqlite")
    crm = SqlCrm(Path(database_url.removeprefix("sqlite:///"))) if on_sqlite else PostgresCrm(database_url)
    server = ServerProcess(tmp_path, database_url, [crm.entry])
    database = await open_database(database_url)
    try:
        await asyncio.to_thread(server.start)
        async with server.client() as idp:
            people = [await _hire(idp, f"p{number}") for number in range(PEOPLE)]
            for number in range(PEOPLE):
                crm.log_in(f"p{number}", 2)
            leaving = [asyncio.create_task(_leave(idp, person)) for person in people]
            some = random.randrange(1, PEOPLE - 5)
            await until(lambda: _has_left(database, some), 20)
            server.kill9()
            await asyncio.gather(*leaving)
        states = {(bool(row["active"]), row["sessions"]) for row in await rows(database, STATES)}
        assert states <= {(True, 2), (False, 0)}
        kills = await rows(database, select(outbox).where(outbox.c.action == "terminate"))
        assert len(kills) >= some
        assert {(kill["outcome"], kill["sessions"]) for kill in kills} == {("done", 2)}
    finally:
        server.kill9()
        await database.aclose()
        crm.close()


async def _hire(idp: httpx.AsyncClient, name: str) -> str:
    body = {"schemas": [USER], "userName": name, "externalId": name}
    return str((await idp.post("/Users", json=body)).json()["id"])


async def _leave(idp: httpx.AsyncClient, person: str) -> None:
    body = {"Operations": [{"op": "replace", "path": "active", "value": False}]}
    try:
        await idp.patch(f"/Users/{person}", json=body)
    except httpx.TransportError:
        return  # killed


async def _has_left(database: Database, some: int) -> bool:
    return sum(not row["active"] for row in await rows(database, STATES)) >= some
