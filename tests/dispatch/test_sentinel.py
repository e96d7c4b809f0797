"""Stores that forget, and a database that does: everything denied is denied again, and no epoch goes back."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from dispatch.wards import FlushableRedis, FlushableSql, Site, Ward, counted
from redis import Redis
from services.postgres import PostgresServer
from services.redis import RedisServer
from termination.scene import until

from scim_server.clock import new_id, now_ms
from scim_server.dispatch.sentinels import Sentinels
from scim_server.dispatch.worker import Worker
from scim_server.storage.access import tenant_named
from scim_server.storage.sentinels import look, made_good, note
from scim_server.storage.subjects import Denial, deny
from scim_server.usecases.access import create_tenant


def losses() -> float:
    """Counted so far, for whatever reason."""
    return counted("scim_store_losses_total", why="sentinel") + counted("scim_store_losses_total", why="fingerprint")


@pytest.fixture
async def beating(ward: Ward) -> Ward:
    """Its sentinel is known to the store, and nothing is owed."""
    await ward.look_and_mend()
    await ward.sentinels.look("crm")
    return ward


async def test_a_store_that_forgot_is_told_again(beating: Ward, site: Site) -> None:
    before = losses()
    await beating.kill("ann", "bob", "eve")
    await beating.lift("eve")
    gates = {subject: site.crm.gate(subject) for subject in ("ann", "bob", "eve")}
    await beating.sentinels.look("crm")
    site.crm.lose_everything()
    site.crm.log_in("ann")  # nothing in the store says no
    await beating.sentinels.look("crm")
    assert losses() - before == 1
    await beating.sentinels.mend("crm")
    assert site.crm.alive("ann") == 0
    assert {subject: site.crm.gate(subject) for subject in gates} == gates
    await beating.look_and_mend()
    assert losses() - before == 1


async def test_a_second_loss_right_after_the_first_was_made_good_is_noticed(beating: Ward, site: Site) -> None:
    await beating.kill("ann")
    await beating.sentinels.look("crm")
    site.crm.lose_everything()
    await beating.look_and_mend()
    site.crm.lose_everything()  # before the next look
    await beating.look_and_mend()
    assert site.crm.gate("ann") is not None
    before = losses()
    await beating.look_and_mend()
    assert losses() == before


async def test_sessions_of_those_let_in_again_are_spared(beating: Ward, site: Site) -> None:
    await beating.kill("eve")
    await beating.lift("eve")
    await beating.sentinels.look("crm")
    site.crm.lose_everything()
    site.crm.log_in("eve")
    await beating.look_and_mend()
    assert site.crm.alive("eve") == 3
    gate = site.crm.gate("eve")
    assert gate is not None
    assert gate[1] is False  # a session of before it has a lower epoch, and stays dead


async def test_a_kill_that_waits_is_not_made_late_by_the_return_that_follows_it(beating: Ward, site: Site) -> None:
    await beating.commit("terminate", "eve", denied=True)
    await beating.commit("lift", "eve", denied=False)
    site.crm.lose_everything()
    site.crm.log_in("eve")  # a session of before the kill came back, its gate did not
    await beating.look_and_mend()
    worker = Worker(beating.database, beating.parts.lines)
    worker.start()
    await until(lambda: (site.crm.gate("eve") or (0, True, 0))[1] is False, within_s=10)
    await worker.aclose()
    assert site.crm.alive("eve") == 0


@pytest.mark.parametrize("crm", ["sql"], indirect=True)
async def test_an_old_copy_of_the_crm_does_not_bring_its_sessions_back(beating: Ward, site: Site) -> None:
    assert isinstance(site.crm, FlushableSql)
    site.crm.log_in("ann")
    site.crm.save()
    await beating.kill("ann")
    await beating.sentinels.look("crm")
    site.crm.restore()
    assert site.crm.alive("ann") == 3
    await beating.look_and_mend()
    assert site.crm.alive("ann") == 0
    assert site.crm.gate("ann") is not None


async def test_a_restart_of_the_server_is_no_loss(site: Site) -> None:
    before = losses()
    for _ in range(2):
        async with site.process() as ward:
            for _ in range(2):
                await ward.look_and_mend()
    assert losses() == before


async def test_a_loss_while_the_server_was_down_is_noticed_at_its_start(site: Site) -> None:
    async with site.process() as first:
        await first.look_and_mend()
        await first.kill("ann")
        await first.sentinels.look("crm")
    site.crm.lose_everything()
    async with site.process() as second:
        await second.look_and_mend()
    assert site.crm.gate("ann") is not None


async def test_a_loss_is_made_good_by_the_next_process_if_this_one_dies(site: Site) -> None:
    async with site.process() as first:
        await first.look_and_mend()
        await first.kill("ann")
        await first.sentinels.look("crm")
        site.crm.lose_everything()
        await first.sentinels.look("crm")  # noticed, and no more
    async with site.process() as second:
        await second.look_and_mend()
    assert site.crm.gate("ann") is not None


async def test_a_loss_during_the_repair_is_repaired_too(beating: Ward) -> None:
    watched = await look(beating.database, "crm", "")
    assert watched is not None
    await note(beating.database, watched, fingerprint=None, lost=True)
    first = await look(beating.database, "crm", "")
    assert first is not None
    while (second := await look(beating.database, "crm", "")) is None or second.lost == first.lost:
        await note(beating.database, watched, fingerprint=None, lost=True)  # its time is later by a millisecond
    await made_good(beating.database, first)
    still = await look(beating.database, "crm", "")
    assert still is not None
    assert still.lost == second.lost
    await made_good(beating.database, second)
    assert (await beating.watched())["lost"] is None


async def test_one_process_beats_and_another_takes_over(site: Site) -> None:
    async with site.process() as other:
        async with site.process() as one:
            await one.sentinels.look("crm")
            owner, planned = (await one.watched())["owner"], (await one.watched())["planned"]
            await other.sentinels.look("crm")
            assert ((await one.watched())["owner"], (await one.watched())["planned"]) == (owner, planned)
        await other.sentinels.look("crm")  # given back in order: at once
        assert (await other.watched())["owner"] != owner


async def test_the_lease_of_a_process_that_died_ends(site: Site) -> None:
    before = losses()
    async with site.process() as ward:
        dead = Sentinels(ward.parts.deployment, ward.parts.lines, lease_ms=100)
        await dead.look("crm")
        owner = (await ward.watched())["owner"]

        async def taken_over() -> bool:
            await ward.sentinels.look("crm")
            return bool((await ward.watched())["owner"] != owner)

        await until(taken_over, within_s=5)
    assert losses() == before


async def test_the_loops_notice_and_mend_within_five_seconds(ward: Ward, site: Site) -> None:
    await ward.kill("ann")
    ward.sentinels.start()

    async def confirmed() -> bool:
        watched = await look(ward.database, "crm", "")
        return watched is not None and watched.confirmed > 0 and watched.lost is None

    await until(confirmed, within_s=5)
    site.crm.lose_everything()
    await until(lambda: site.crm.gate("ann") is not None, within_s=5)


async def test_without_a_gate_there_is_no_sentinel_and_no_alarm(site: Site) -> None:
    before = losses()
    without = {"gate_key": None} if isinstance(site.crm, FlushableRedis) else {"gate_statement": None}
    async with site.process(**without) as ward:
        for _ in range(3):
            await ward.look_and_mend()
        assert (await ward.watched())["confirmed"] == 0
    assert losses() == before


@pytest.mark.parametrize("crm", ["redis"], indirect=True)
async def test_tenants_with_servers_of_their_own_are_watched_one_by_one(
    site: Site, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    before = losses()
    own = [Redis.from_url(f"{redis_server.url.rpartition('/')[0]}/{name}") for name in ("14", "15")]
    async with site.process(url=f"{redis_server.url.rpartition('/')[0]}/{{tenant}}") as ward:
        for name in ("14", "15"):
            await create_tenant(ward.database, name, actor="test", new_id=new_id(), change_id=new_id(), now=now_ms())
            tenant = await tenant_named(ward.database, name)
            assert tenant is not None
            denial = Denial("ann", new_id())
            await deny(ward.database, tenant.id, "crm", [denial], mark=new_id(), at=now_ms())
        for _ in range(2):
            await ward.look_and_mend()
        assert "write redis://" in caplog.text  # of the tenant "default", which has no server; the others go on
        own[0].flushdb()
        await ward.look_and_mend()
        assert losses() - before == 1
        assert [bool(redis.exists(f"crm:g:{name}:ann")) for redis, name in zip(own, ("14", "15"), strict=True)] == [
            True,
            True,
        ]
    for redis in own:
        redis.flushdb()
        redis.close()


# --- a Redis of its own -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forgetful_redis() -> Iterator[RedisServer]:
    """Keeps nothing but what is dumped."""
    server = RedisServer.launch()
    yield server
    server.discard()


@pytest.fixture
async def on_forgetful_redis(site_database: str, forgetful_redis: RedisServer) -> AsyncIterator[tuple[Ward, Site]]:
    """A ward on it, beating."""
    forgetful_redis.flush()
    crm = FlushableRedis(forgetful_redis.url, timeout_ms=1_500)
    site = Site(site_database, crm)
    async with site.process() as ward:
        await ward.look_and_mend()
        await ward.sentinels.look("crm")
        yield ward, site
    crm.close()


async def test_an_old_dump_does_not_bring_its_sessions_back(
    on_forgetful_redis: tuple[Ward, Site], forgetful_redis: RedisServer
) -> None:
    ward, site = on_forgetful_redis
    assert isinstance(site.crm, FlushableRedis)
    site.crm.log_in("ann")
    site.crm.save()
    await ward.kill("ann")
    await ward.sentinels.look("crm")
    forgetful_redis.kill9()
    await ward.sentinels.look("crm")  # it is away: nothing to be said of it
    assert (await ward.watched())["lost"] is None
    forgetful_redis.start()
    assert (site.crm.alive("ann"), site.crm.gate("ann")) == (3, None)
    await ward.look_and_mend()
    assert site.crm.alive("ann") == 0
    assert site.crm.gate("ann") is not None


async def test_a_frozen_store_is_no_loss(on_forgetful_redis: tuple[Ward, Site], forgetful_redis: RedisServer) -> None:
    ward, _ = on_forgetful_redis
    before = losses()
    forgetful_redis.pause()
    try:
        await ward.sentinels.look("crm")
    finally:
        forgetful_redis.resume()
    await ward.look_and_mend()
    assert losses() == before


async def test_a_repair_goes_on_when_the_store_fails_in_the_middle(
    on_forgetful_redis: tuple[Ward, Site], forgetful_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    ward, site = on_forgetful_redis
    await ward.kill("ann")
    await ward.sentinels.look("crm")
    site.crm.lose_everything()
    await ward.sentinels.look("crm")
    forgetful_redis.pause()
    quick = Sentinels(ward.parts.deployment, ward.parts.lines, every_s=0.01)
    quick._held[("crm", "")] = 0
    mending = asyncio.create_task(quick.mend("crm"))
    await until(lambda: "does not take its gates" in caplog.text, within_s=5)
    forgetful_redis.resume()
    await mending
    assert site.crm.gate("ann") is not None


async def test_a_restart_that_lost_nothing_is_checked_all_the_same(site_database: str, own_redis: RedisServer) -> None:
    own_redis.flush()
    crm = FlushableRedis(own_redis.url)
    before = counted("scim_store_losses_total", why="fingerprint")
    async with Site(site_database, crm).process() as ward:
        await ward.look_and_mend()
        await ward.kill("ann")
        await ward.sentinels.look("crm")
        own_redis.kill9()
        own_redis.start()
        asserted = counted("scim_gates_asserted_total")
        await until(_looking(ward, before), within_s=5)  # the pool first finds its connections dead
        await ward.sentinels.mend("crm")
        assert counted("scim_gates_asserted_total") - asserted == 1
    crm.close()


def _looking(ward: Ward, before: float) -> Callable[[], Awaitable[bool]]:
    async def noticed() -> bool:
        await ward.sentinels.look("crm")
        return counted("scim_store_losses_total", why="fingerprint") > before

    return noticed


# --- our own database ---------------------------------------------------------------------------------------


@pytest.fixture
def rewind(site: Site, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Callable[[], Site]]:
    """Call it to copy the database, which nobody has open; call what it returns for a site on the copy."""

    def copy() -> Callable[[], Site]:
        if site.database_url.startswith("sqlite"):
            shutil.copy(site.database_url.removeprefix("sqlite:///"), tmp_path / "old.db")
            return lambda: Site(f"sqlite:///{tmp_path}/old.db", site.crm)
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database(site.database_url)
        request.addfinalizer(lambda: server.drop_database(url))
        return lambda: Site(url, site.crm)

    return copy


async def test_a_database_restored_from_a_copy_takes_nothing_back(
    site: Site, rewind: Callable[[], Callable[[], Site]], caplog: pytest.LogCaptureFixture
) -> None:
    before, lost = counted("scim_database_behind_total"), losses()
    async with site.process() as ward:
        await ward.look_and_mend()
        await ward.kill("early")
        await ward.sentinels.look("crm")
    restored = rewind()
    async with site.process() as ward:
        await ward.kill("late")
        await ward.sentinels.look("crm")
        await ward.lift("early")
        await ward.sentinels.look("crm")
    site.crm.log_in("early")
    gates = site.crm.gate("early"), site.crm.gate("late")
    async with restored().process() as ward:
        await ward.look_and_mend()
        assert counted("scim_database_behind_total") - before == 1
        assert "restored from a copy" in caplog.text
        assert "clock" not in caplog.text
        await ward.look_and_mend()
        assert (counted("scim_database_behind_total") - before, losses() - lost) == (1, 0)
        assert (site.crm.gate("early"), site.crm.gate("late")) == gates  # neither denied anew nor let in
        assert site.crm.alive("early") == 3
        await ward.kill("late")  # to this database, for the first time
        killed = site.crm.gate("late")
        assert gates[1] is not None
        assert killed is not None
        assert killed[0] > gates[1][0]
        await ward.kill("early")
        assert site.crm.alive("early") == 0
        await ward.lift("late")
        lifted = site.crm.gate("late")
        assert lifted is not None
        assert lifted[0] > killed[0]
        assert lifted[1] is False


async def test_epochs_are_times_so_that_they_pass_whatever_a_store_knows(ward: Ward, site: Site) -> None:
    started = now_ms()
    await ward.kill("ann")
    ((epoch, denied),) = (await ward.epochs()).values()
    assert started <= epoch <= now_ms()
    assert denied
    gate = site.crm.gate("ann")
    assert gate is not None
    assert gate[0] == epoch
