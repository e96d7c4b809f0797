"""kill -9 of server, Redis and Postgres at random moments under load; what the clients were told is the oracle.

Lost: somebody inactive whose sessions live on. Resurrected: sessions from before a deactivation that live after a
return. Wrongly ended: sessions of somebody who was never deactivated, or that began after the last return.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from chaos.machine import ROUNDS, migrated_url
from redis.exceptions import ConnectionError as StoreGone
from services.redis import RedisServer
from sqlalchemy import select
from storage.opened import open_database, rows
from termination.crm import AS_SHIPPED, RedisCrm
from termination.process import ServerProcess
from termination.scene import USER, until

from scim_server.storage import tables

pytestmark = pytest.mark.chaos

FLAPPERS = 12
STAYERS = 8


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of each kind."""
    yield from migrated_url(request, tmp_path, "own_postgres")


class Victim(Protocol):
    """What can be killed and started again."""

    def kill9(self) -> None: ...

    def start(self) -> None: ...


@dataclass
class Employee:
    """What the client knows: `told` is the state in the last answer, `asked` that of a request that broke off, `out`
    whether they ever were inactive, `sessions` how many must live by now."""

    id: str
    subject: str
    told: bool = True
    asked: bool | None = None
    out: bool = False
    sessions: int = 0
    log: list[tuple[bool, int | None, str | None]] = field(default_factory=list)

    def learn(self, active: bool) -> None:
        """The server says so."""
        self.told, self.asked = active, None
        if not active:
            self.out, self.sessions = True, 0


async def hire(idp: httpx.AsyncClient, subject: str) -> Employee:
    answer = await idp.post("/Users", json={"schemas": [USER], "userName": subject, "externalId": subject})
    assert answer.status_code == 201, answer.text
    return Employee(answer.json()["id"], subject)


async def flap(server: ServerProcess, mine: list[Employee], crm: RedisCrm, stop: asyncio.Event) -> None:
    """Change one after the other until the server dies; an answer "done" is checked on the spot."""
    async with server.client() as idp:
        while not stop.is_set():
            for person in mine:
                wanted = not person.told if person.asked is None else person.asked
                person.asked = wanted
                change = {"Operations": [{"op": "replace", "path": "active", "value": wanted}]}
                try:
                    answer = await idp.patch(f"/Users/{person.id}", json=change)
                except httpx.TransportError:
                    person.log.append((wanted, None, None))
                    return
                receipt = answer.headers.get("session-termination")
                person.log.append((wanted, answer.status_code, receipt))
                assert answer.status_code in (200, 503), answer.text
                if answer.status_code == 200:
                    person.learn(wanted)
                    if receipt and receipt.startswith("done"):
                        try:
                            assert crm.alive(person.subject) == 0, person.log
                        except StoreGone:
                            pass  # killed since it confirmed


async def test_nothing_is_lost_resurrected_or_wrongly_ended(
    request: pytest.FixtureRequest,
    database_url: str,
    tmp_path: Path,
    own_redis: RedisServer,
    record_property: Callable[[str, str], None],
) -> None:
    own_redis.flush()
    chance, crm, tally = random.Random(), RedisCrm(own_redis.url, **AS_SHIPPED), Counter[str]()
    server = ServerProcess(tmp_path, database_url, [crm.entry])
    victims: dict[str, Victim] = {"server": server, "redis": own_redis}
    if database_url.startswith("postgres"):
        victims["postgres"] = request.getfixturevalue("own_postgres")
    await asyncio.to_thread(server.start)
    try:
        async with server.client() as idp:
            stayers = [await hire(idp, f"stayer{n}") for n in range(STAYERS)]
            flappers = [await hire(idp, f"flapper{n}") for n in range(FLAPPERS)]
        for person in stayers:
            crm.log_in(person.subject)
        for _ in range(max(ROUNDS // 2, 1)):  # half of the rounds on each database
            for person in flappers:
                if person.told:
                    crm.log_in(person.subject)
                    person.sessions = 3
            stop = asyncio.Event()
            load = [asyncio.create_task(flap(server, flappers[n::4], crm, stop)) for n in range(4)]
            await asyncio.sleep(chance.uniform(0.01, 0.4))  # the moment of the kill is the test's only freedom
            name = chance.choice(list(victims))
            await asyncio.to_thread(victims[name].kill9)
            await asyncio.sleep(chance.uniform(0, 0.2))  # the others work on without it
            stop.set()
            await asyncio.to_thread(victims[name].start)
            await asyncio.gather(*load)
            await settled(server, flappers, tally)
            epochs = await last_epochs(database_url)
            for person in flappers:
                await until(lambda person=person, epochs=epochs: stands(crm, person, epochs), 20, Standing(crm, person))
            assert crm.alive(*(person.subject for person in stayers)) == 3 * STAYERS
            tally[f"kills of {name}"] += 1
        for person in flappers:
            tally["changes"] += sum(status == 200 for _, status, _ in person.log)
            tally["broken off"] += sum(status is None for _, status, _ in person.log)
    finally:
        server.kill9()
        crm.close()
    record_property("killed at any moment", f"{dict(tally)}")


async def settled(server: ServerProcess, flappers: list[Employee], tally: Counter[str]) -> None:
    """Learn what became of the requests that broke off: each happened or did not, and what was told holds."""
    async with server.client() as idp:
        for person in flappers:
            shown: Any = (await idp.get(f"/Users/{person.id}")).json()["active"]
            if person.asked is None:
                assert shown is person.told, person.log
            else:
                assert shown in (person.told, person.asked)
                tally["unanswered and done"] += shown is person.asked and person.asked is not person.told
            person.log.append((shown, 0, "seen"))
            person.learn(shown)


async def last_epochs(database_url: str) -> dict[str, int]:
    """Of each subject that ever moved. A gate may stand open between two kills, but at an older epoch."""
    database = await open_database(database_url)
    try:
        found = await rows(database, select(tables.subject.c.subject, tables.subject.c.epoch))
    finally:
        await database.aclose()
    return {row["subject"]: row["epoch"] for row in found}


@dataclass
class Standing:
    """A person and what the store has of them, for the message of a failure."""

    crm: RedisCrm
    person: Employee

    def __str__(self) -> str:
        return (
            f"gate {self.crm.gate(self.person.subject)}, {self.crm.alive(self.person.subject)} sessions, {self.person}"
        )


def stands(crm: RedisCrm, person: Employee, epochs: dict[str, int]) -> bool:
    """Whether gate and sessions are what the state demands; nobody has logged in since the load began."""
    gate, alive = crm.gate(person.subject), crm.alive(person.subject)
    epoch, denied = gate[:2] if gate else (None, False)
    if epoch != epochs.get(person.subject) or (epoch is not None) is not person.out:
        return False
    return denied is not person.told and alive == person.sessions
