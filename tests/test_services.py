"""The launchers keep their word: services start, freeze, die and come back with their data."""

import asyncio
import socket

import asyncpg
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as Refused
from redis.exceptions import TimeoutError as Hung
from services.loopback import BeyondLoopback
from services.postgres import PostgresServer
from services.redis import RedisServer


async def _value(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_postgres_gives_empty_utf8_databases_with_durable_commits(postgres_url: str) -> None:
    assert await _value(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    assert await _value(postgres_url, "SHOW server_encoding") == "UTF8"
    assert await _value(postgres_url, "SHOW synchronous_commit") == "on"


async def test_a_template_is_copied_with_its_rows(postgres: PostgresServer) -> None:
    template = postgres.create_database()
    await _value(template, "CREATE TABLE kept AS SELECT 7 AS n")
    copy = postgres.create_database(template)
    assert await _value(copy, "SELECT n FROM kept") == 7
    postgres.drop_database(copy)
    postgres.drop_database(template)


async def test_postgres_survives_kill9_and_an_immediate_restart(own_postgres: PostgresServer) -> None:
    url = own_postgres.create_database()
    await _value(url, "CREATE TABLE kept AS SELECT 7 AS n")
    own_postgres.kill9()
    with pytest.raises(ConnectionRefusedError):
        await _value(url, "SELECT 1")
    own_postgres.start()
    own_postgres.restart("immediate")
    assert await _value(url, "SELECT n FROM kept") == 7


async def test_a_paused_postgres_hangs_and_then_answers(own_postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(own_postgres.url())
    own_postgres.pause()
    question = asyncio.ensure_future(connection.fetchval("SELECT 7"))
    assert (await asyncio.wait([question], timeout=0.1))[1] == {question}
    own_postgres.resume()
    assert await question == 7
    await connection.close()


def test_redis_is_empty_for_each_test(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


def test_redis_with_an_append_only_file_survives_kill9(own_redis: RedisServer) -> None:
    with Redis.from_url(own_redis.url) as client:
        client.set("kept", "7")
    own_redis.kill9()
    with Redis.from_url(own_redis.url) as client, pytest.raises(Refused):
        client.ping()
    own_redis.start()
    with Redis.from_url(own_redis.url) as client:
        assert client.get("kept") == b"7"


def test_a_paused_redis_hangs_and_then_answers(own_redis: RedisServer) -> None:
    own_redis.pause()
    with Redis.from_url(own_redis.url, socket_timeout=0.1, retry=None) as client, pytest.raises(Hung):
        client.ping()
    own_redis.resume()
    with Redis.from_url(own_redis.url) as client:
        assert client.ping()


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_other_machines_are_out_of_reach(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as outgoing, pytest.raises(BeyondLoopback):
        outgoing.connect((host, 443))


def test_names_of_other_machines_are_not_looked_up() -> None:
    with pytest.raises(BeyondLoopback):
        socket.getaddrinfo("idp.example", 443)
