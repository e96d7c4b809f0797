"""The Redis adapter under budgets that run out at any moment: every answer belongs to its
question, and no connection is lost."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from services.redis import RedisServer
from termination.crm import RedisCrm

from scim_server.sessions.port import Delivery, Done, Gate, Outcome
from scim_server.sessions.registry import open_store, read_stores


@pytest.fixture
def crm(redis_url: str) -> Iterator[RedisCrm]:
    made = RedisCrm(redis_url)
    yield made
    made.close()


def kill(subject: str, epoch: int = 10) -> Delivery:
    return Delivery(f"{subject}-{epoch}", "default", subject, "terminate", Gate(epoch, True, epoch), "user.deleted", 0)


async def test_every_answer_belongs_to_its_question(crm: RedisCrm) -> None:
    (settings,) = read_stores([crm.entry])
    store, chance, told = open_store(settings), random.Random(1), Counter[str]()
    expected = {f"p{n}": n % 5 for n in range(600)}
    for subject, sessions in expected.items():
        crm.log_in(subject, sessions)

    async def one(subject: str) -> None:
        limit = chance.choice([chance.uniform(0, 0.02), 5])
        try:
            async with asyncio.timeout(limit):
                outcome: Outcome | None = await store.deliver(kill(subject))
        except TimeoutError:
            outcome = None
        told["cut off" if outcome is None else "answered"] += 1
        assert outcome in (None, Done(expected[subject]))

    for first in range(0, 600, 60):
        await asyncio.gather(*(one(f"p{n}") for n in range(first, first + 60)))
    assert told["cut off"] > 20
    assert told["answered"] > 200
    # What was cut off is delivered again and all connections still serve, sixteen at a time.
    again = await asyncio.gather(*(store.deliver(kill(subject)) for subject in expected))
    assert all(isinstance(outcome, Done) for outcome in again)
    assert crm.alive(*expected) == 0
    await store.aclose()


async def test_a_pool_that_was_cut_off_while_the_server_hung_serves_again(own_redis: RedisServer) -> None:
    own_redis.flush()
    crm = RedisCrm(own_redis.url)
    (settings,) = read_stores([crm.entry])
    store = open_store(settings)
    crm.log_in("ann")
    own_redis.pause()
    try:
        for _ in range(3):
            cut = [asyncio.create_task(store.deliver(kill(f"p{n}"))) for n in range(40)]
            await asyncio.sleep(0.03)  # in the middle of it, for some waiting for a connection and some for an answer
            for task in cut:
                task.cancel()
            await asyncio.gather(*cut, return_exceptions=True)
    finally:
        own_redis.resume()
    everybody = await asyncio.gather(*(store.deliver(kill(f"q{n}")) for n in range(40)), store.deliver(kill("ann")))
    assert everybody == [Done(0)] * 40 + [Done(3)]
    await store.aclose()
    crm.close()
