"""Logins and requests that race a deactivation, at each integration level, through a real server: sessions in a real
Redis, at L4 in the server's own Postgres.

A race is one person with a live session, a request under way that writes this session back when it ends, a login that
began before the deactivation, and the deactivation, each at its own moment. Then the CRM is asked what still works.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import asyncpg
import pytest
from chaos.machine import ROUNDS, migrated_url
from redis.asyncio import Redis
from termination.crm import PATIENT, SUBJECT
from termination.scene import Person, Scene, playing, until

from scim_server.clock import now_ms
from scim_server.guard import AsyncGuard, RedisGates
from scim_server.sessions.sql import gate_tables

pytestmark = pytest.mark.chaos

RACES = 21 * ROUNDS
AT_ONCE = 12
PREFIX = "race"


Pause = Callable[[], "asyncio.Future[None]"]


class Crm(Protocol):
    """What a race needs of a CRM."""

    async def log_in(self, person: Person, pause: Pause) -> tuple[str, int] | None:
        """A session, as (sid, epoch or time it was issued); None when the guard's second look refused it."""

    async def request(self, sid: str, pause: Pause) -> None:
        """Reads the session, works for a while, and writes it back as many frameworks do: unasked."""

    async def works(self, person: Person, session: tuple[str, int]) -> bool:
        """What a later request with this session meets."""


class RedisCrm:
    """Sessions are records that name their epoch; how it integrates is its level."""

    def __init__(self, redis: Redis, level: str) -> None:
        self._redis = redis
        self._indexes, self._guards = level != "L0", level in ("L2", "L3")
        self._stateless = level == "L3"
        gates = RedisGates(redis, tenant="default", gate_key=f"{PREFIX}:g:{{tenant}}:{{subject}}")
        self._guard = AsyncGuard(gates.read)

    async def log_in(self, person: Person, pause: Pause) -> tuple[str, int] | None:
        subject, sid = person.subject, f"{person.subject}.{random.randrange(1 << 62)}"
        if self._stateless:
            issued = now_ms()
            await pause()
            return sid, issued
        epoch = await self._guard.begin(subject) if self._guards else 0
        await pause()
        await self._redis.set(f"{PREFIX}:s:{sid}", f'{{"user": "{subject}"}}')
        if self._indexes:
            await self._redis.sadd(f"{PREFIX}:i:default:{subject}", sid)
        if not self._guards or await self._guard.confirm(subject, epoch):
            return sid, epoch
        await self._redis.delete(f"{PREFIX}:s:{sid}")
        return None

    async def request(self, sid: str, pause: Pause) -> None:
        record = await self._redis.get(f"{PREFIX}:s:{sid}")
        await pause()
        if record is not None:
            await self._redis.set(f"{PREFIX}:s:{sid}", record)

    async def works(self, person: Person, session: tuple[str, int]) -> bool:
        sid, begun = session
        if self._stateless:
            return await self._guard.check(person.subject, started_ms=begun)
        there = bool(await self._redis.exists(f"{PREFIX}:s:{sid}"))
        return there and (not self._guards or await self._guard.check(person.subject, begun))


class SharedCrm:
    """Sessions are rows beside the server's own tables, with the guard."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._guard = AsyncGuard(self._gate)

    async def log_in(self, person: Person, pause: Pause) -> tuple[str, int] | None:
        sid = f"{person.subject}.{random.randrange(1 << 62)}"
        epoch = await self._guard.begin(person.subject)
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("INSERT INTO user_sessions VALUES ($1, $2)", sid, person.subject)
            await pause()
        if await self._guard.confirm(person.subject, epoch):
            return sid, epoch
        await self._pool.execute("DELETE FROM user_sessions WHERE sid = $1", sid)
        return None

    async def request(self, sid: str, pause: Pause) -> None:
        row = await self._pool.fetchrow("SELECT * FROM user_sessions WHERE sid = $1", sid)
        await pause()
        if row is not None:
            await self._pool.execute("INSERT INTO user_sessions VALUES ($1, $2) ON CONFLICT DO NOTHING", *row)

    async def works(self, person: Person, session: tuple[str, int]) -> bool:
        sid, epoch = session
        there = await self._pool.fetchval("SELECT true FROM user_sessions WHERE sid = $1", sid)
        return bool(there) and await self._guard.check(person.subject, epoch)

    async def _gate(self, subject: str) -> str | None:
        query = "SELECT epoch, denied, not_before FROM scim_gate WHERE subject = $1"
        row = await self._pool.fetchrow(query, subject)
        return ":".join(map(str, row)) if row else None


@asynccontextmanager
async def crm_at(level: str, database_url: str, redis_url: str) -> AsyncIterator[tuple[Crm, dict[str, object]]]:
    """A CRM, and its `[[session_stores]]` entry."""
    if level == "L4":
        async with asyncpg.create_pool(database_url, min_size=1, max_size=AT_ONCE) as pool:
            await pool.execute(gate_tables() + "CREATE TABLE user_sessions (sid TEXT PRIMARY KEY, subject TEXT)")
            statement = "DELETE FROM user_sessions WHERE subject = :subject"
            more = {"kind": "sql", "statements": [statement], "gate_statement": "default"}
            yield (
                SharedCrm(pool),
                {"name": "crm", "url": database_url, "subject": SUBJECT, "budget_ms": PATIENT["budget_ms"], **more},
            )
        return
    async with Redis.from_url(redis_url) as redis:
        yield RedisCrm(redis, level), entry(redis_url, level)
        async for key in redis.scan_iter(f"{PREFIX}:*"):
            await redis.delete(key)


def entry(url: str, level: str) -> dict[str, object]:
    """The session store as the CRM's operator would configure it at this level."""
    more: dict[str, object] = {"session_key": f"{PREFIX}:s:{{sid}}"}
    if level == "L0":
        more["value_contains"] = '{{"user": {json}'
    else:
        more["index_key"] = f"{PREFIX}:i:{{tenant}}:{{subject}}"
    if level in ("L2", "L3"):
        more["gate_key"] = f"{PREFIX}:g:{{tenant}}:{{subject}}"
    return {"name": "crm", "kind": "redis", "url": url, "subject": SUBJECT, **PATIENT, **more}


@pytest.fixture(params=["postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The server's own."""
    yield from migrated_url(request, tmp_path, "postgres")


@pytest.mark.parametrize("level", ["L0", "L1", "L2", "L3", "L4"])
async def test_what_a_race_leaves_behind(
    level: str, database_url: str, redis_url: str, record_property: Callable[[str, object], None]
) -> None:
    """With the guard nothing works from the answer on; without it the echoes end what came back."""
    chance = random.Random(7)
    async with crm_at(level, database_url, redis_url) as (crm, store), playing(database_url, [store]) as scene:
        await scene.store_is_known()
        gate = asyncio.Semaphore(AT_ONCE)

        async def one() -> list[tuple[Person, tuple[str, int]]]:
            async with gate:
                return await race(scene, crm, chance)

        races = await asyncio.gather(*(one() for _ in range(RACES)))
        await scene.all_delivered(30)  # of an answer that says pending nothing is promised yet
        sessions = [session for each in races for session in each]
        working = [(person, session) for person, session in sessions if await crm.works(person, session)]
        record_property(
            f"login races at {level}", f"{len(working)} of {len(sessions)} sessions of {RACES} leavers work"
        )
        assert len(sessions) > RACES  # most logins got through; the guard's second look refused the others
        if level in ("L2", "L3", "L4"):
            assert working == []

        async def all_ended() -> bool:
            return not any([await crm.works(person, session) for person, session in working])

        await until(all_ended, 30)  # the first echo comes after 2 s


async def race(scene: Scene, crm: Crm, chance: random.Random) -> list[tuple[Person, tuple[str, int]]]:
    """The person and the sessions that they had or got."""

    def pause() -> "asyncio.Future[None]":
        return asyncio.ensure_future(asyncio.sleep(chance.random() * 0.02))

    async def begin(leaving: asyncio.Event) -> tuple[str, int] | None:
        await pause()
        return None if leaving.is_set() else await crm.log_in(person, pause)  # a leaver cannot sign in any more

    async def leave(leaving: asyncio.Event) -> None:
        await pause()
        leaving.set()
        await scene.set_active(person, False)

    person = await scene.hire(f"racer-{now_ms()}-{chance.randrange(1 << 62)}")
    first = await crm.log_in(person, pause)
    assert first is not None
    leaving = asyncio.Event()
    _, late, _ = await asyncio.gather(crm.request(first[0], pause), begin(leaving), leave(leaving))
    return [(person, session) for session in (first, late) if session is not None]
