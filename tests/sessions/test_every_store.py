"""What every store of sessions does, whatever it is made of. One suite, run on each kind and each way to find."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sessions import crm_functions
from sessions.session_benches import (
    TENANT,
    Bench,
    PostgresBench,
    PythonBench,
    RedisBench,
    RedisClusterBench,
    RedisHashBench,
    RedisKeyScanBench,
    RedisSortedIndexBench,
    RedisValueScanBench,
    SqliteBench,
    delivery,
)

from scim_server.sessions.port import Done, Gate, Refused

KINDS = [
    "redis-set",
    "redis-zset",
    "redis-key-scan",
    "redis-value-scan",
    "redis-hash",
    "redis-cluster",
    "postgres",
    "sqlite",
    "python-plain",
    "python-coroutine",
]
REDIS = {
    "redis-set": RedisBench,
    "redis-zset": RedisSortedIndexBench,
    "redis-key-scan": RedisKeyScanBench,
    "redis-value-scan": RedisValueScanBench,
    "redis-hash": RedisHashBench,
}
PYTHON = {"python-plain": "end_sessions", "python-coroutine": "end_sessions_soon"}
UNUSUAL = [
    "*",
    "a?c",
    "[ab]",
    "back\\slash",
    "{}",
    "{sid}",
    "jürgen 李 🙂",
    "a:b",
    "' OR 1=1 --",
    '"',
    "%s",
    "42",
    "$1",
]


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    made: Bench
    if request.param in REDIS:
        made = REDIS[request.param](request.getfixturevalue("redis_url"))
    elif request.param == "redis-cluster":
        made = RedisClusterBench(request.getfixturevalue("redis_cluster_url"))
    elif request.param == "postgres":
        made = await PostgresBench(request.getfixturevalue("postgres_url")).prepared()
    elif request.param in PYTHON:
        made = PythonBench(PYTHON[request.param])
    else:
        made = SqliteBench(tmp_path / "crm.db")
    yield made
    await made.aclose()


async def test_all_sessions_of_the_subject_end_and_nobody_elses(bench: Bench) -> None:
    await bench.log_in("ann", "s1", "s2", "s3")
    await bench.log_in("bob", "s4")
    assert await bench.store.deliver(delivery("ann", 10)) == Done(sessions=3)
    assert await bench.alive("ann") == set()
    assert await bench.alive("bob") == {"s4"}
    assert await bench.gate("ann") == "10:1:10"


async def test_a_subject_without_sessions_is_done_with_none(bench: Bench) -> None:
    assert await bench.store.deliver(delivery("ann", 10)) == Done(sessions=0)


async def test_a_repetition_does_no_harm_and_ends_what_came_back(bench: Bench) -> None:
    await bench.store.deliver(delivery("ann", 10))
    await bench.log_in("ann", "written-back")
    assert await bench.store.deliver(delivery("ann", 10)) == Done(sessions=1)
    assert await bench.store.deliver(delivery("ann", 10)) == Done(sessions=0)
    assert await bench.gate("ann") == "10:1:10"


async def test_a_lift_opens_the_gate_and_ends_nothing(bench: Bench) -> None:
    await bench.store.deliver(delivery("ann", 10))
    await bench.log_in("ann", "new")
    assert await bench.store.deliver(delivery("ann", 11, "lift")) == Done()
    assert await bench.gate("ann") == "11:0:11"
    assert await bench.alive("ann") == {"new"}


async def test_a_late_terminate_spares_a_newer_login(bench: Bench) -> None:
    await bench.store.deliver(delivery("ann", 11, "lift"))
    await bench.log_in("ann", "new")
    assert await bench.store.deliver(delivery("ann", 10)) == Done(sessions=0)
    assert await bench.gate("ann") == "11:0:11"
    assert await bench.alive("ann") == {"new"}


async def test_a_late_terminate_under_a_newer_denial_still_ends_sessions(bench: Bench) -> None:
    await bench.store.deliver(delivery("ann", 12))
    await bench.log_in("ann", "left")
    assert await bench.store.deliver(delivery("ann", 10)) == Done(sessions=1)
    assert await bench.gate("ann") == "12:1:12"


@pytest.mark.parametrize("late", [delivery("ann", 10), delivery("ann", 11), delivery("ann", 11, "lift")])
async def test_the_gate_never_moves_back(bench: Bench, late: object) -> None:
    await bench.store.deliver(delivery("ann", 12))
    await bench.store.deliver(late)  # type: ignore[arg-type]
    assert await bench.gate("ann") == "12:1:12"


async def test_at_the_same_epoch_the_gate_only_opens(bench: Bench) -> None:
    await bench.store.deliver(delivery("ann", 10))
    await bench.store.deliver(delivery("ann", 10, "lift"))
    assert await bench.gate("ann") == "10:0:10"
    await bench.log_in("ann", "new")
    await bench.store.deliver(delivery("ann", 10))
    assert await bench.gate("ann") == "10:0:10"
    assert await bench.alive("ann") == {"new"}


async def test_a_revocation_ends_sessions_and_leaves_the_gate_open(bench: Bench) -> None:
    await bench.log_in("ann", "stolen")
    assert await bench.store.deliver(delivery("ann", 10, denied=False)) == Done(sessions=1)
    assert await bench.gate("ann") == "10:0:10"


@pytest.mark.parametrize("subject", UNUSUAL)
async def test_a_subject_is_only_ever_itself(bench: Bench, subject: str) -> None:
    await bench.log_in(subject, "mine")
    await bench.log_in("abc", "other")
    assert await bench.store.deliver(delivery(subject, 10)) == Done(sessions=1)
    assert await bench.alive(subject) == set()
    assert await bench.alive("abc") == {"other"}
    assert await bench.gate(subject) == "10:1:10"


@pytest.mark.parametrize("subject", ["nul\0byte", "half \ud800 pair", "x" * 1025, ""])
async def test_what_is_no_subject_is_refused(bench: Bench, subject: str) -> None:
    assert isinstance(await bench.store.deliver(delivery(subject, 10)), Refused)


async def test_news_are_for_others(bench: Bench) -> None:
    assert not bench.store.events
    assert bench.store.inline
    assert await bench.store.deliver(delivery("ann", 10, "notify")) == Done()
    assert await bench.gate("ann") is None


async def test_many_sessions_of_one_subject(bench: Bench) -> None:
    await bench.log_in("ann", *(f"s{n}" for n in range(60)))
    assert await bench.store.deliver(delivery("ann", 10)) == Done(sessions=60)
    assert await bench.alive("ann") == set()


async def test_many_subjects_at_once(bench: Bench) -> None:
    subjects = [f"user-{n}" for n in range(20)]
    for subject in subjects:
        await bench.log_in(subject, f"of-{subject}")
    outcomes = await asyncio.gather(*(bench.store.deliver(delivery(subject, 10)) for subject in subjects))
    assert outcomes == [Done(sessions=1)] * 20


async def test_gates_are_asserted_and_the_sessions_of_the_denied_ended(bench: Bench) -> None:
    await bench.log_in("ann", "back-from-the-dead")
    await bench.log_in("bob", "rightful")
    await bench.store.deliver(delivery("eve", 20, "lift"))
    await bench.log_in("eve", "newer")
    gates = [("ann", Gate(10, True, 10)), ("bob", Gate(11, False, 11)), ("eve", Gate(9, True, 9))]
    assert await bench.store.assert_gates(TENANT, gates) == Done(sessions=1)
    assert [await bench.gate(subject) for subject in ("ann", "bob", "eve")] == ["10:1:10", "11:0:11", "20:0:20"]
    assert (await bench.alive("ann"), await bench.alive("bob")) == (set(), {"rightful"})
    assert await bench.alive("eve") == {"newer"}


async def test_a_delivery_broken_off_anywhere_leaves_the_next_unharmed(bench: Bench) -> None:
    await bench.log_in("ann", "s1")
    for steps in range(12):
        task = asyncio.create_task(bench.store.deliver(delivery("ann", 10)))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert isinstance(await bench.store.deliver(delivery("bob", 10)), Done)
    assert isinstance(await bench.store.deliver(delivery("ann", 10)), Done)
    assert await bench.alive("ann") == set()
    assert await bench.gate("ann") == "10:1:10"


async def test_no_login_survives_a_deactivation_that_it_races(bench: Bench) -> None:
    """The guard's protocol: the session is written first, then the gate is read again."""

    async def log_in(subject: str) -> bool:
        for _ in range(int(subject[-1])):
            await asyncio.sleep(0)
        await bench.log_in(subject, f"of-{subject}")
        gate = await bench.gate(subject)
        return gate is None or gate.split(":")[1] == "0"

    subjects = [f"user-{n}" for n in range(40)]
    together = (call for one in subjects for call in (log_in(one), bench.store.deliver(delivery(one, 10))))
    results = await asyncio.gather(*together)
    for subject, accepted in zip(subjects, results[::2], strict=True):
        assert not (accepted and await bench.alive(subject)), subject


async def test_the_check_passes_and_leaves_nothing_behind(bench: Bench) -> None:
    await bench.log_in("ann", "s1")
    findings = await bench.store.check(TENANT)
    assert [finding for finding in findings if not finding.ok] == []
    assert await bench.alive("ann") == {"s1"}
    assert "scim-check" not in repr(await _everything(bench))


async def _everything(bench: Bench) -> list[str]:
    if isinstance(bench, RedisBench):
        return [key.decode() async for key in bench.redis.scan_iter()]
    if isinstance(bench, PythonBench):
        return [*crm_functions.SESSIONS, *crm_functions.GATES]
    assert isinstance(bench, PostgresBench | SqliteBench)
    return [str(row[0]) for row in await bench._run("SELECT subject FROM scim_gate WHERE subject <> $1", "-")]


async def test_of_two_sentinels_one_is_raised_and_the_other_read(bench: Bench) -> None:
    first = await bench.store.beat(TENANT, "scim-sentinel-0", 100, "scim-sentinel-1")
    if isinstance(bench, PythonBench):  # its gates cannot be read
        assert first is None
        return
    assert first == 0
    assert await bench.store.beat(TENANT, "scim-sentinel-1", 201, "scim-sentinel-0") == 100
    assert await bench.store.beat(TENANT, "scim-sentinel-0", 300, "scim-sentinel-1") == 201
    assert await bench.gate("scim-sentinel-0") == "300:0:0"


async def test_a_canary_is_ended_again_and_again_and_nobodys_session_with_it(bench: Bench) -> None:
    await bench.log_in("ann", "s1")
    trials = [await bench.store.canary(TENANT) for _ in range(2)]
    assert [trial.fault for trial in trials if trial] in ([None, None], [])  # none where sessions are searched for
    assert await bench.alive("ann") == {"s1"}
