"""Echoes: what a login that raced the kill brought back is ended, and nobody who is welcome is."""

import asyncio

import pytest
from dispatch.wards import FlushableRedis, Site, Ward, counted
from termination.scene import until

from scim_server.clock import now_ms
from scim_server.dispatch.echoes import Echoes
from scim_server.dispatch.retry import echo_delay_ms, settlement
from scim_server.sessions.port import Done


async def test_a_session_that_raced_its_kill_is_ended_by_the_echo(
    ward: Ward, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted("scim_echo_sessions_total")
    await ward.kill("ann")
    site.crm.log_in("ann")
    assert await ward.parts.echoes.sweep("crm") == 0  # it is not due yet
    await ward.make_echoes_due()
    assert await ward.parts.echoes.sweep("crm") == 3
    assert site.crm.alive("ann") == 0
    assert counted("scim_echo_sessions_total") - before == 3
    assert "integrate the guard" in caplog.text


async def test_three_echoes_follow_a_kill_at_growing_distances(ward: Ward) -> None:
    await ward.kill("ann")
    for number, seconds in enumerate((2, 13, 45)):
        (row,) = await ward.messages()
        assert row["echoes"] == number
        assert 0 <= row["echo_due"] - now_ms() <= seconds * 1000 + 50
        await ward.make_echoes_due()
        await ward.parts.echoes.sweep("crm")
    (row,) = await ward.messages()
    assert (row["echoes"], row["echo_due"], row["outcome"]) == (3, None, "done")


def test_the_distances_add_up_to_a_minute() -> None:
    assert [echo_delay_ms(number) for number in range(4)] == [2_000, 13_000, 45_000, None]


async def test_a_lift_does_not_wait_for_echoes_and_ends_them(ward: Ward, site: Site) -> None:
    dropped = counted("scim_echoes_total", outcome="dropped")
    await ward.kill("ann")
    await ward.lift("ann")  # at once: it fails if anything stood before it
    site.crm.log_in("ann")
    await ward.make_echoes_due()
    assert await ward.parts.echoes.sweep("crm") == 0
    assert site.crm.alive("ann") == 3
    assert counted("scim_echoes_total", outcome="dropped") - dropped == 1
    assert [row["echo_due"] for row in await ward.messages()] == [None, None]


async def test_a_second_kill_echoes_in_place_of_the_first(ward: Ward, site: Site) -> None:
    await ward.kill("ann")
    await ward.kill("ann")
    site.crm.log_in("ann")
    await ward.make_echoes_due()
    assert await ward.parts.echoes.sweep("crm") == 3
    assert [row["echoes"] for row in await ward.messages()] == [0, 1]


async def test_a_revocation_is_not_repeated_for_its_owner_may_sign_in_again(ward: Ward) -> None:
    await ward.kill("ann", denied=False)
    assert [row["echo_due"] for row in await ward.messages()] == [None]


async def test_echoes_survive_their_process(site: Site) -> None:
    async with site.process() as first:
        await first.kill("ann")
        await first.make_echoes_due()
    site.crm.log_in("ann")
    async with site.process() as second:
        assert await second.parts.echoes.sweep("crm") == 3
    assert site.crm.alive("ann") == 0


async def test_two_processes_share_the_echoes(site: Site) -> None:
    done = counted("scim_echoes_total", outcome="done")
    subjects = [f"p{number}" for number in range(20)]
    async with site.process() as one, site.process() as other:
        await one.kill(*subjects)
        await one.make_echoes_due()
        await asyncio.gather(one.parts.echoes.sweep("crm"), other.parts.echoes.sweep("crm"))
        assert [row["echoes"] for row in await one.messages()] == [1] * 20
    assert counted("scim_echoes_total", outcome="done") - done == 20


async def test_the_loop_finds_what_is_due(ward: Ward, site: Site) -> None:
    await ward.kill("ann")
    site.crm.log_in("ann")
    await ward.make_echoes_due()
    echoes = Echoes(ward.database, ward.parts.lines, poll_s=0.01)
    echoes.start()
    try:
        await until(lambda: site.crm.alive("ann") == 0, within_s=5)
    finally:
        await echoes.aclose()


async def test_a_guard_that_was_seen_makes_echoes_needless(ward: Ward, site: Site) -> None:
    site.crm.beat_guard(now_ms())
    await ward.kill("ann")
    (row,) = await ward.messages()
    assert (bool(row["guard_seen"]), row["echo_due"]) == (True, None)


def test_a_webhook_hears_of_a_kill_once() -> None:
    assert settlement("id", Done(), attempts=0, tried_ms=0, http=True, jitter=0).echo_ms is None
    assert settlement("id", Done(guard_seen=True), attempts=0, tried_ms=0, http=False, jitter=0).echo_ms is None
    assert settlement("id", Done(), attempts=0, tried_ms=0, http=False, jitter=0).echo_ms == 2_000


@pytest.mark.parametrize("crm", ["redis"], indirect=True)
async def test_an_echo_waits_for_a_store_that_does_not_answer(ward: Ward, site: Site) -> None:
    assert isinstance(site.crm, FlushableRedis)
    await ward.kill("ann")
    await ward.make_echoes_due()
    site.crm.spoil_index("ann")
    assert await ward.parts.echoes.sweep("crm") == 0
    (row,) = await ward.messages()
    assert row["echoes"] == 0
    assert row["echo_due"] > now_ms()
