"""Connections handed from task to task: never more than allowed, never lost, never a broken one."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from services.postgres import PostgresServer

from scim_server.storage.postgres_pool import Connection, Pool


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


@pytest.fixture
async def pool(postgres: PostgresServer) -> AsyncIterator[Pool]:
    """Two connections at the most."""

    async def connect() -> Connection:
        return await asyncpg.connect(postgres.url())

    pool = Pool(connect, 2)
    yield pool
    await pool.aclose()


async def test_the_last_one_given_back_is_the_next_one_taken(pool: Pool) -> None:
    first, second = await pool.acquire(soon()), await pool.acquire(soon())
    pool.release(second, clean=True)
    pool.release(first, clean=True)
    assert await pool.acquire(soon()) is first


async def test_who_finds_none_waits_for_the_next_or_for_the_deadline(pool: Pool) -> None:
    first, _ = await pool.acquire(soon()), await pool.acquire(soon())
    with pytest.raises(TimeoutError):
        await pool.acquire(soon(0.01))
    waiting = asyncio.create_task(pool.acquire(soon()))
    await asyncio.sleep(0)
    pool.release(first, clean=True)
    assert await waiting is first


async def test_what_is_given_to_somebody_who_is_gone_is_not_lost(pool: Pool) -> None:
    first, _ = await pool.acquire(soon()), await pool.acquire(soon())
    waiting = asyncio.create_task(pool.acquire(soon()))
    await asyncio.sleep(0)
    pool.release(first, clean=True)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await pool.acquire(soon()) is first


async def test_a_connection_whose_work_was_broken_off_is_replaced(pool: Pool) -> None:
    first, second = await pool.acquire(soon()), await pool.acquire(soon())
    endless = asyncio.create_task(first.execute("SELECT pg_sleep(60)"))
    await asyncio.sleep(0.05)
    endless.cancel()
    await asyncio.gather(endless, return_exceptions=True)
    pool.release(first, clean=False)
    replacement = await pool.acquire(soon())
    assert replacement not in (first, second)
    assert await replacement.fetchval("SELECT 1") == 1
    assert first.is_closed()


async def test_a_connection_that_closed_while_nobody_used_it_is_not_handed_out(pool: Pool) -> None:
    first = await pool.acquire(soon())
    pool.release(first, clean=True)
    await first.close()
    assert await pool.acquire(soon()) is not first
    assert await pool.acquire(soon()) is not first


async def test_a_place_is_free_again_after_a_failed_attempt_to_connect() -> None:
    async def refuse() -> Connection:
        raise ConnectionRefusedError

    pool = Pool(refuse, 1)
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await pool.acquire(soon())
    await pool.aclose()
