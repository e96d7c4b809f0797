"""How soon sessions end: within the request, through the outbox, after an outage; and what a dead store costs."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import orjson
from redis.asyncio import Redis
from services.redis import RedisServer

from benchmarks.load import Answer, Connection, percentile
from benchmarks.ratios import PATCH, user
from benchmarks.servers import Server

SECRET = "whsec_" + "c2VjcmV0IGZvciBiZW5jaG1hcmtzIG9ubHkgMTIzNA=="
_LATE_S = 30.0


@dataclass(frozen=True, slots=True)
class Times:
    """Of many kills, in milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, milliseconds: list[float]) -> "Times":
        """Of these."""
        return cls(percentile(milliseconds, 50), percentile(milliseconds, 99))


def redis_store(url: str) -> str:
    """An indexed Redis store, as TOML."""
    return f"""
[[session_stores]]
name = "redis"
kind = "redis"
url = "{url}"
subject = "{{id}}"
session_key = "sess:{{sid}}"
index_key = "idx:{{tenant}}:{{subject}}"
gate_key = "gate:{{tenant}}:{{subject}}"
"""


def webhook_store(port: int) -> str:
    """A webhook served by the outbox, as TOML."""
    return f"""
[[session_stores]]
name = "hook"
kind = "webhook"
url = "http://127.0.0.1:{port}/"
subject = "{{id}}"
secret = "{SECRET}"
"""


async def new_users(server: Server, count: int) -> list[str]:
    """The ids of so many new users."""
    connection = await Connection.open(server)
    names = [f"{count}-{n}-{time.time_ns()}" for n in range(count)]
    made = [orjson.loads((await connection.ask(("POST", "/Users", user(name)))).body)["id"] for name in names]
    connection.close()
    return made


async def sign_in(redis: Redis, tenant: str, user_id: str, sessions: int) -> list[str]:
    """Sessions of a user as a CRM that keeps an index writes them; their keys."""
    keys = [f"{user_id}-{n}" for n in range(sessions)]
    async with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.set(f"sess:{key}", "x" * 200)
        pipe.sadd(f"idx:{tenant}:{user_id}", *keys)
        await pipe.execute()
    return [f"sess:{key}" for key in keys]


async def inline(server: Server, redis_url: str, *, sessions: int, others: int, kills: int) -> tuple[Times, Times]:
    """Deactivate users who have so many sessions among others; from commit to the store's word, and whole requests.
    Raises RuntimeError when a session outlived its answer."""
    redis = Redis.from_url(redis_url)
    connection = await Connection.open(server)
    await _crowd(redis, others)
    gone: list[float] = []
    asked: list[float] = []
    try:
        for user_id in await new_users(server, kills):
            keys = await sign_in(redis, "default", user_id, sessions)
            begun = time.perf_counter()
            answer = await deactivate(connection, user_id)
            asked.append((time.perf_counter() - begun) * 1000)
            word = answer.headers["session-termination"]
            if not word.startswith(f"done; sessions={sessions};") or await redis.exists(*keys):
                raise RuntimeError(f"not all of {sessions} sessions ended: {word}")
            gone.append(float(word.rpartition("dur=")[2]))
    finally:
        connection.close()
        await redis.aclose()
    return Times.of(gone), Times.of(asked)


async def through_the_outbox(server: Server, hook: "Hook", *, kills: int) -> Times:
    """Deactivate users one after the other; from before the commit to the webhook's arrival."""
    connection = await Connection.open(server)
    took: list[float] = []
    for user_id in await new_users(server, kills):
        hook.expect(user_id)
        await deactivate(connection, user_id)
        took.append(await asyncio.wait_for(hook.arrival(user_id), _LATE_S))
    connection.close()
    return Times.of(took)


async def outage(
    server: Server, redis: RedisServer, database_url: str, *, kills: int
) -> tuple[list[float], Times, float]:
    """Freeze the store, deactivate users, thaw it: how long the answers took while the breaker was closed (ms), the
    others', and how many users a second the worker drained afterwards."""
    users = await new_users(server, kills)
    connections = [await Connection.open(server) for _ in range(8)]
    redis.pause()
    times: list[float] = []

    async def work(connection: Connection, mine: Sequence[str]) -> None:
        for user_id in mine:
            begun = time.perf_counter()
            await deactivate(connection, user_id)
            times.append((time.perf_counter() - begun) * 1000)

    try:
        first = users[:10]
        await work(connections[0], first)
        closed, times = times, []
        await asyncio.gather(*(work(each, users[10 + n :: 8]) for n, each in enumerate(connections)))
    finally:
        redis.resume()
        for connection in connections:
            connection.close()
    return closed, Times.of(times), await _drained_per_second(database_url, users)


async def deactivate(connection: Connection, user_id: str) -> Answer:
    """PATCH active=false. Raises RuntimeError for anything but success."""
    operation = {"op": "replace", "path": "active", "value": False}
    answer = await connection.ask(("PATCH", f"/Users/{user_id}", {"schemas": [PATCH], "Operations": [operation]}))
    if answer.status != 200:
        raise RuntimeError(f"PATCH answered {answer.status}: {answer.body[:500]!r}")
    return answer


async def _crowd(redis: Redis, sessions: int) -> None:
    for start in range(0, sessions, 1000):
        await redis.mset({f"sess:other-{n}": "x" * 200 for n in range(start, start + 1000)})


async def _drained_per_second(database_url: str, users: Sequence[str]) -> float:
    database = await asyncpg.connect(database_url)
    waiting = "SELECT count(*) FROM outbox WHERE store = 'redis' AND settled IS NULL AND resource_id = ANY($1::uuid[])"
    # Rows settled in the same batch share their time, so the first batch begins the clock and does not count.
    pace = """
    SELECT count(*) FILTER (WHERE settled > first), max(settled) - min(first) FROM (
        SELECT settled, min(settled) OVER () AS first FROM outbox
        WHERE store = 'redis' AND action = 'terminate' AND settled > $2 AND resource_id = ANY($1::uuid[])
    ) AS settled
    """
    try:
        thawed = time.time_ns() // 1_000_000
        deadline = time.monotonic() + _LATE_S
        while await database.fetchval(waiting, users):
            if time.monotonic() > deadline:
                raise RuntimeError("the outbox was not drained in time")
            await asyncio.sleep(0.1)
        row = await database.fetchrow(pace, users, thawed)
        assert row is not None
        return float(row[0]) / max(float(row[1]), 1) * 1000
    finally:
        await database.close()


class Hook:
    """A receiver of webhooks that remembers when each user's arrived."""

    def __init__(self) -> None:
        self._arrivals: dict[str, asyncio.Future[float]] = {}

    def expect(self, user_id: str) -> None:
        """Listen for a user."""
        self._arrivals[user_id] = asyncio.get_running_loop().create_future()

    async def arrival(self, user_id: str) -> float:
        """Milliseconds from the time of the change to the arrival."""
        return await self._arrivals[user_id]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer 204 to each webhook of a connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                message = orjson.loads(await reader.readexactly(length))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                expected = self._arrivals.get(message["data"]["id"])
                if message["type"] == "user.deactivated" and expected is not None and not expected.done():
                    expected.set_result(time.time_ns() / 1e6 - message["data"]["not_before"])
        except (asyncio.IncompleteReadError, ConnectionResetError, asyncio.CancelledError):
            writer.close()


@asynccontextmanager
async def hook_on(port: int) -> AsyncIterator[Hook]:
    """A receiver on this port."""
    hook = Hook()
    async with await asyncio.start_server(hook.serve, "127.0.0.1", port):
        yield hook
