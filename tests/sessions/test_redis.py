"""What is Redis's own: key types, expiry, rights, presets, outages. The common behaviour is in test_every_store."""

import asyncio
import hashlib
import json
import pickle
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from subprocess import DEVNULL, Popen
from time import monotonic, time_ns
from typing import Any

import pytest
from redis.asyncio import Redis
from services.processes import free_port
from services.redis import RedisServer, find_binary
from sessions.session_benches import TENANT, RedisBench, delivery, make_store

from scim_server.sessions import redis_keys
from scim_server.sessions.port import Done, Gate, Refused, Retry, SessionInfo, SessionStore, StoreUnreachable


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[RedisBench]:
    made = RedisBench(redis_url)
    yield made
    await made.aclose()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    client: Any = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def opened() -> AsyncIterator[list[SessionStore]]:
    """Stores to close after the test."""
    stores: list[SessionStore] = []
    yield stores
    for store in stores:
        await store.aclose()


async def test_a_denied_gate_stays_and_an_open_one_expires(bench: RedisBench) -> None:
    await bench.store.deliver(delivery("ann", 10))
    assert await bench.redis.ttl(f"scim:gate:{TENANT}:ann") == -1
    await bench.store.deliver(delivery("ann", 11, "lift"))
    assert 31 * 86400 < await bench.redis.ttl(f"scim:gate:{TENANT}:ann") <= 32 * 86400
    await bench.store.deliver(delivery("ann", 12))
    assert await bench.redis.ttl(f"scim:gate:{TENANT}:ann") == -1


async def test_an_epoch_in_milliseconds_is_written_in_full(bench: RedisBench) -> None:
    await bench.store.deliver(delivery("ann", 1_795_000_000_123))
    assert await bench.gate("ann") == "1795000000123:1:1795000000123"
    await bench.store.deliver(delivery("ann", 1_795_000_000_122, "lift"))
    assert await bench.gate("ann") == "1795000000123:1:1795000000123"


async def test_companions_go_and_do_not_count(bench: RedisBench) -> None:
    await bench.log_in("ann", "s1", "s2")
    assert await bench.store.deliver(delivery("ann", 10)) == Done(sessions=2)
    assert [key async for key in bench.redis.scan_iter("tok:*")] == []


@pytest.mark.parametrize("key", [f"scim:idx:{TENANT}:ann", f"scim:gate:{TENANT}:ann"])
@pytest.mark.parametrize("cluster", [False, True])
async def test_a_key_of_another_type_needs_a_person(request: pytest.FixtureRequest, key: str, cluster: bool) -> None:
    bench = RedisBench(request.getfixturevalue("redis_cluster_url" if cluster else "redis_url"), cluster=cluster)
    await bench.redis.hset(key, "not", "this")
    outcome = await bench.store.deliver(delivery("ann", 10))
    await bench.aclose()
    assert isinstance(outcome, Refused)
    assert "index_key, gate_key" in outcome.why


async def test_a_cluster_met_without_saying_so_needs_a_person(redis_cluster_url: str) -> None:
    bench = RedisBench(redis_cluster_url)
    outcome = await bench.store.deliver(delivery("ann", 10))
    await bench.aclose()
    assert outcome == Refused("this is a Redis Cluster: set cluster = true")


async def test_without_a_gate_sessions_end_whatever_the_epoch(
    redis_url: str, redis: Any, opened: list[SessionStore]
) -> None:
    opened.append(make_store(kind="redis", url=redis_url, session_key="sess:{sid}", index_key="idx:{subject}"))
    for epoch in (10, 9):
        await redis.set("sess:1", "x")
        await redis.sadd("idx:ann", "1")
        assert await opened[0].deliver(delivery("ann", epoch)) == Done(sessions=1)
    assert await redis.keys() == [b"idx:ann:ended"]


async def test_one_fixed_key_per_subject_needs_neither_index_nor_scan(
    redis_url: str, redis: Any, opened: list[SessionStore]
) -> None:
    opened.append(make_store(kind="redis", url=redis_url, session_key=["session:{subject}", "token:{subject}"]))
    await redis.mset({"session:ann": "x", "token:ann": "y", "session:bob": "z"})
    assert await opened[0].deliver(delivery("ann", 10)) == Done(sessions=1)
    assert await redis.keys() == [b"session:bob"]


async def test_an_index_larger_than_lua_can_unpack(bench: RedisBench) -> None:
    sids = [f"s{n}" for n in range(12_000)]
    await bench.redis.mset({f"sess:{sid}": "x" for sid in sids})
    await bench.redis.sadd(f"scim:idx:{TENANT}:ann", *sids)
    assert await bench.store.deliver(delivery("ann", 10)) == Done(sessions=12_000)
    assert await bench.redis.keys("sess:*") == []
    assert await bench.redis.keys("scim:idx:*") == [f"scim:idx:{TENANT}:ann:ended".encode()]


@pytest.mark.parametrize("cluster", [False, True])
async def test_a_record_that_is_written_back_is_found_without_the_index(
    request: pytest.FixtureRequest, cluster: bool
) -> None:
    bench = RedisBench(request.getfixturevalue("redis_cluster_url" if cluster else "redis_url"), cluster=cluster)
    ended = f"scim:idx:{TENANT}:ann:ended"
    await bench.redis.delete(ended)
    await bench.log_in("ann", "s1", "s2")
    assert await bench.store.deliver(delivery("ann", 10)) == Done(sessions=2)
    await bench.redis.set("sess:s1", "{}ann")  # by a request that was under way: no login, no index
    assert await bench.store.deliver(delivery("ann", 10)) == Done(sessions=1)
    assert await bench.store.deliver(delivery("ann", 10)) == Done(sessions=0)
    assert 0 < await bench.redis.pttl(ended) <= 300_000
    await bench.aclose()


async def test_of_a_revocation_nothing_is_kept(bench: RedisBench) -> None:
    await bench.redis.delete(f"scim:idx:{TENANT}:ann:ended")
    await bench.log_in("ann", "s1")
    assert await bench.store.deliver(delivery("ann", 10, denied=False)) == Done(sessions=1)
    assert await bench.redis.keys("*:ended") == []


async def test_the_guards_heartbeat_is_reported_while_fresh(bench: RedisBench) -> None:
    for age_ms, seen in ((1_000, True), (120_000, False)):
        await bench.redis.set(f"scim:guard:{TENANT}", time_ns() // 1_000_000 - age_ms)
        assert await bench.store.deliver(delivery("ann", 10)) == Done(guard_seen=seen)


# --- what frameworks write ----------------------------------------------------------------------------------


@pytest.mark.parametrize("member", [b"\xac\xed\x00\x05t\x00\x04abcd", b'"abcd"', b"abcd"])
async def test_spring_session(member: bytes, redis_url: str, redis: Any, opened: list[SessionStore]) -> None:
    opened.append(make_store(kind="redis", url=redis_url, preset="spring-indexed"))
    principals = "spring:session:index:org.springframework.session.FindByIndexNameSessionRepository"
    await redis.hset("spring:session:sessions:abcd", "creationTime", "1")
    await redis.set("spring:session:sessions:expires:abcd", "")
    await redis.sadd(f"{principals}.PRINCIPAL_NAME_INDEX_NAME:ann", member)
    assert await opened[0].deliver(delivery("ann", 10)) == Done(sessions=1)
    assert await redis.keys("spring:session:sessions:*") == []


@pytest.mark.parametrize(
    ("preset", "key", "mine", "others"),
    [
        (
            "connect-redis",
            "sess:abc",
            json.dumps({"cookie": {}, "passport": {"user": "42"}}, separators=(",", ":")).encode(),
            b'{"cookie":{},"passport":{"user":"421"}}',
        ),
        ("connect-redis", "sess:abc", b'{"passport":{"user":42},"x":1}', b'{"passport":{"user":421},"x":42}'),
        ("django-cache", ":1:django.contrib.sessions.cacheabc", pickle.dumps({"_auth_user_id": "42"}), b"\x80\x05}."),
        ("django-cache", ":1:django.contrib.sessions.cacheabc", pickle.dumps({"_auth_user_id": 42}), b"\x80\x05}."),
        ("flask-session", "session:abc", b"\x81\xa8_user_id\xa242", b"\x81\xa8_user_id\xa3421"),
        ("flask-session", "session:abc", b"\x81\xa7user_id\x2a", b"\x81\xa7user_id\x2b"),
    ],
)
async def test_presets_know_the_record(
    preset: str, key: str, mine: bytes, others: bytes, redis_url: str, redis: Any, opened: list[SessionStore]
) -> None:
    opened.append(make_store(kind="redis", url=redis_url, preset=preset))
    await redis.mset({key: mine, f"{key}2": others, "elsewhere": mine})
    assert await opened[0].deliver(delivery("42", 10)) == Done(sessions=1)
    assert sorted(await redis.keys()) == sorted([f"{key}2".encode(), b"elsewhere"])


async def test_php_sessions_by_a_pattern_of_ones_own(redis_url: str, redis: Any, opened: list[SessionStore]) -> None:
    pattern = "authenticated_user_id|{php}"
    opened.append(make_store(kind="redis", url=redis_url, session_key="PHPREDIS_SESSION:{sid}", value_contains=pattern))
    await redis.set("PHPREDIS_SESSION:1", 'x|i:1;authenticated_user_id|s:3:"ann";')
    await redis.set("PHPREDIS_SESSION:2", 'authenticated_user_id|s:4:"anna";')
    assert await opened[0].deliver(delivery("ann", 10)) == Done(sessions=1)
    assert await redis.keys() == [b"PHPREDIS_SESSION:2"]


async def test_a_session_id_never_swallows_part_of_a_subject(
    redis_url: str, redis: Any, opened: list[SessionStore]
) -> None:
    opened.append(make_store(kind="redis", url=redis_url, session_key="sess:{subject}:{sid}"))
    await redis.mset({"sess:a:1": "", "sess:a:b:2": ""})
    assert await opened[0].deliver(delivery("a", 10)) == Done(sessions=1)
    assert await redis.keys() == [b"sess:a:b:2"]


# --- looking through all keys -------------------------------------------------------------------------------


async def test_all_who_wait_share_one_walk(redis_url: str, redis: Any, opened: list[SessionStore]) -> None:
    store = make_store(kind="redis", url=redis_url, session_key="s:{subject}:{sid}")
    opened.append(store)
    await redis.mset({f"s:u{n % 100}:{n}": "" for n in range(5_000)})
    before = await _scans(redis)
    outcomes = await asyncio.gather(*(store.deliver(delivery(f"u{n}", 10)) for n in range(100)))
    assert outcomes == [Done(sessions=50)] * 100
    assert await _scans(redis) - before <= 2 * 6  # 5,000 keys by 1,000, for the first who came and all others


async def test_a_walk_outlives_its_delivery_and_answers_the_repetition(
    redis_url: str, redis: Any, opened: list[SessionStore]
) -> None:
    store = make_store(kind="redis", url=redis_url, session_key="s:{subject}:{sid}")
    opened.append(store)
    await redis.mset({f"s:u{n % 100}:{n}": "" for n in range(5_000)})
    before = await _scans(redis)
    broken_off = asyncio.create_task(store.deliver(delivery("u1", 10)))
    while await _scans(redis) == before:
        assert not broken_off.done()
    broken_off.cancel()
    await asyncio.gather(broken_off, return_exceptions=True)
    assert await store.deliver(delivery("u1", 10)) == Done(sessions=50)
    assert await _scans(redis) - before <= 6


async def test_a_fault_in_a_walk_does_not_hold_up_the_repetition_for_ever(
    redis_url: str, redis: Any, opened: list[SessionStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(kind="redis", url=redis_url, session_key="s:{subject}:{sid}")
    opened.append(store)
    await redis.set("s:u1:1", "")
    once = asyncio.Event()

    def match_pattern(template: Any) -> str:
        if not once.is_set():
            once.set()
            raise KeyError("a node that left the cluster")
        return redis_keys.match_pattern(template)

    monkeypatch.setattr("scim_server.sessions.redis_scan.match_pattern", match_pattern)
    async with asyncio.timeout(40):
        assert isinstance(await store.deliver(delivery("u1", 10)), Retry)
        with pytest.raises(KeyError):
            await store._server(TENANT).scan._walker  # type: ignore[attr-defined]
        assert await store.deliver(delivery("u1", 10)) == Done(sessions=1)


async def test_a_walk_is_the_first_thing_a_cluster_client_does(
    redis_cluster_url: str, opened: list[SessionStore]
) -> None:
    more = {"cluster": True, "value_contains": '"user":{json}'}
    opened.append(make_store(kind="redis", url=redis_cluster_url, session_key="sess:{sid}", **more))
    async with Redis.from_url(redis_cluster_url) as client:
        await client.set("sess:1", '{"user":"ann"}')
        await client.set("sess:2", '{"user":"bob"}')
        assert await opened[0].deliver(delivery("ann", 10)) == Done(sessions=1)
        assert await client.keys() == [b"sess:2"]


# --- outages ------------------------------------------------------------------------------------------------


async def test_a_dead_server_costs_no_retries(opened: list[SessionStore]) -> None:
    opened.append(_store(f"redis://:hidden-word@127.0.0.1:{free_port()}/0"))
    started = monotonic()
    outcome = await opened[0].deliver(delivery("ann", 10))
    assert monotonic() - started < 2  # those that the client library makes by itself take three to four seconds
    assert isinstance(outcome, Retry)
    assert "hidden-word" not in outcome.why
    with pytest.raises(StoreUnreachable) as problem:
        await opened[0].fingerprint()
    assert "hidden-word" not in str(problem.value)


async def test_a_hung_server_is_left_at_the_callers_word_and_serves_the_next(
    own_redis: RedisServer, opened: list[SessionStore]
) -> None:
    store = _store(own_redis.url, timeout_ms=5000, connect_timeout_ms=5000)
    opened.append(store)
    assert isinstance(await store.deliver(delivery("warm", 10)), Done)
    own_redis.pause()
    try:
        for _ in range(3):
            started = monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await store.deliver(delivery("ann", 10))
            assert monotonic() - started < 2
    finally:
        own_redis.resume()
    outcomes = await asyncio.gather(*(store.deliver(delivery(f"u{n}", 10)) for n in range(20)))
    assert outcomes == [Done()] * 20


async def test_a_hung_server_is_given_up_after_the_stores_own_time(
    own_redis: RedisServer, opened: list[SessionStore]
) -> None:
    opened.append(_store(own_redis.url, timeout_ms=100))
    await opened[0].deliver(delivery("warm", 10))
    own_redis.pause()
    try:
        started = monotonic()
        outcome = await opened[0].deliver(delivery("ann", 10))
        assert monotonic() - started < 2
        assert isinstance(outcome, Retry)
        assert "in time" in outcome.why
    finally:
        own_redis.resume()
    assert isinstance(await opened[0].deliver(delivery("ann", 10)), Done)


async def test_a_restart_shows_in_the_fingerprint_and_is_survived(
    own_redis: RedisServer, opened: list[SessionStore]
) -> None:
    opened.append(_store(own_redis.url))
    before = await opened[0].fingerprint()
    assert before
    assert before == await opened[0].fingerprint()
    own_redis.kill9()
    assert isinstance(await opened[0].deliver(delivery("ann", 11)), Retry)
    own_redis.start()
    assert await opened[0].deliver(delivery("ann", 11)) == Done()
    assert await opened[0].fingerprint() != before


async def test_a_server_that_takes_no_writes_says_why(own_redis: RedisServer, opened: list[SessionStore]) -> None:
    opened.append(_store(own_redis.url))
    client: Any = Redis.from_url(own_redis.url)
    try:
        await client.config_set("maxmemory", "1")
        full = await opened[0].deliver(delivery("full", 10))
        await client.config_set("maxmemory", "0")
        await client.replicaof("127.0.0.1", str(free_port()))
        replica = await opened[0].deliver(delivery("replica", 10))
    finally:
        await client.replicaof("NO", "ONE")
        await client.aclose()
    assert isinstance(full, Retry)
    assert "maxmemory" in full.why
    assert isinstance(replica, Retry)
    assert "replica" in replica.why
    assert await opened[0].deliver(delivery("replica", 10)) == Done()


async def test_no_password_in_what_the_operator_reads(redis_url: str, redis: Any, opened: list[SessionStore]) -> None:
    await redis.execute_command("ACL SETUSER crm on >right-word ~* +@all")
    opened.append(_store(redis_url.replace("redis://", "redis://crm:wrong-word@")))
    outcome = await opened[0].deliver(delivery("ann", 10))
    await redis.execute_command("ACL DELUSER crm")
    assert outcome == Retry("Redis refuses the user or password: correct the store's url")
    assert "wrong-word" not in repr(opened[0].settings)  # type: ignore[attr-defined]


async def test_a_redis_under_sentinels(
    redis_server: RedisServer, redis_url: str, sentinel: str, opened: list[SessionStore]
) -> None:
    more = {"sentinels": [sentinel], "service": "crm"}
    opened.append(_store("redis://by-sentinel/0", **more))
    assert await opened[0].deliver(delivery("ann", 10)) == Done()
    async with Redis.from_url(redis_url) as client:
        assert await client.get(f"scim:gate:{TENANT}:ann") == b"10:1:10"


async def test_each_tenant_may_have_its_own_server(redis_url: str, redis: Any, opened: list[SessionStore]) -> None:
    opened.append(_store(redis_url.rpartition("/")[0] + "/{tenant}"))
    assert await opened[0].fingerprint() is None
    assert isinstance(await opened[0].deliver(delivery("ann", 10)), Refused)  # "acme" is no database number
    done = [await opened[0].assert_gates(number, [("ann", Gate(10, True, 10))]) for number in ("14", "15")]
    assert done == [Done(), Done()]
    assert await redis.keys() == []
    for number in ("14", "15"):
        async with Redis.from_url(redis_url.rpartition("/")[0] + f"/{number}") as client:
            assert await client.keys() == [f"scim:gate:{number}:ann".encode()]
            await client.flushdb()


# --- the operator's view ------------------------------------------------------------------------------------


async def test_show_names_live_sessions_without_giving_them_away(bench: RedisBench) -> None:
    await bench.log_in("ann", "s1")
    await bench.redis.expire("sess:s1", 100)
    await bench.redis.sadd(f"scim:idx:{TENANT}:ann", "expired-long-ago")
    shown = await bench.store.show(TENANT, "ann")
    assert shown is not None
    (session,) = shown
    assert session == SessionInfo("session", hashlib.sha256(b"s1").hexdigest()[:12], session.expires_in_s)
    assert session.expires_in_s in (99, 100)
    assert await bench.alive("ann") == {"s1"}


async def test_the_check_notices_an_index_that_nobody_fills(bench: RedisBench) -> None:
    await bench.redis.mset({f"sess:{n}": "x" for n in range(50)})
    bad = [finding for finding in await bench.store.check(TENANT) if not finding.ok]
    assert ["does not fill the index" in finding.hint for finding in bad] == [True]
    assert len(await bench.redis.keys()) == 50


async def test_the_check_says_why_it_cannot_reach_the_server(opened: list[SessionStore]) -> None:
    opened.append(_store(f"redis://127.0.0.1:{free_port()}"))
    (finding,) = await opened[0].check(TENANT)
    assert not finding.ok
    assert "cannot be reached" in finding.what


@pytest.mark.parametrize("finding_by", ["index", "value", "hash"])
async def test_the_rights_that_the_check_prints_are_enough(
    finding_by: str, redis_url: str, redis: Any, opened: list[SessionStore]
) -> None:
    entries: dict[str, dict[str, Any]] = {
        "index": {"session_key": ["sess:{sid}", "tok:{sid}"], "index_key": "idx:{subject}"},
        "value": {"session_key": "sess:{sid}", "value_contains": '"user":{json}'},
        "hash": {"preset": "frappe"},
    }
    more = {**entries[finding_by], "gate_key": "scim:gate:{subject}", "kind": "redis"}
    opened.append(make_store(url=redis_url, **more))
    line = next(f.hint for f in await opened[0].check(TENANT) if "rights" in f.what)
    await redis.execute_command(*line.replace(">PASSWORD", ">word").split())
    store = make_store(url=redis_url.replace("redis://", "redis://scim-server:word@"), **more)
    opened.append(store)
    try:
        assert [finding for finding in await store.check(TENANT) if not finding.ok] == []
        assert await store.deliver(delivery("ann", 10)) == Done()
        assert await store.assert_gates(TENANT, [("ann", Gate(11, True, 11)), ("bob", Gate(11, True, 1))]) == Done()
        assert await store.show(TENANT, "ann") == []
        assert await store.fingerprint()
        await redis.execute_command("ACL SETUSER scim-server resetkeys ~other")
        outcome = await store.deliver(delivery("ann", 12))
        assert isinstance(outcome, Refused)
        assert "ACL" in outcome.why
    finally:
        await redis.execute_command("ACL DELUSER scim-server")


@pytest.fixture
def sentinel(redis_server: RedisServer, tmp_path: Path) -> Iterator[str]:
    """The address of a sentinel that watches the tests' Redis as "crm"."""
    port, watched = free_port(), redis_server.url.rpartition(":")[2].partition("/")[0]
    config = tmp_path / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor crm 127.0.0.1 {watched} 1\n")
    process = Popen([find_binary(), config, "--sentinel"], stdout=DEVNULL)
    try:
        with _patient(port) as client:
            client.ping()
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _patient(port: int) -> Any:
    from redis import Redis as BlockingRedis
    from redis.backoff import ConstantBackoff
    from redis.retry import Retry as DriverRetry

    return BlockingRedis(port=port, retry=DriverRetry(ConstantBackoff(0.05), 100))


def _store(url: str, **more: Any) -> SessionStore:
    return make_store(kind="redis", url=url, **{**RedisBench.entry, **more})


async def _scans(redis: Any) -> int:
    stats = await redis.info("commandstats")
    return int(stats.get("cmdstat_scan", {"calls": 0})["calls"])
