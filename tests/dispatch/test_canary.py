"""The canary: a session that nobody misses is ended every minute, and somebody hears of it when it is not."""

import pytest
from dispatch.wards import FlushableRedis, Site, Ward, counted
from services.processes import free_port
from termination.scene import until

from scim_server.dispatch.sentinels import Sentinels


async def test_a_canary_dies_and_leaves_nothing(ward: Ward, site: Site) -> None:
    tried, failed = counted("scim_canary_seconds_count"), counted("scim_canary_failures_total")
    await ward.sentinels.look("crm")
    before = site.crm.keys() if isinstance(site.crm, FlushableRedis) else set()
    for _ in range(2):
        await ward.sentinels.try_canary("crm")
    assert counted("scim_canary_seconds_count") - tried == 2
    assert counted("scim_canary_failures_total") == failed
    assert (site.crm.keys() if isinstance(site.crm, FlushableRedis) else set()) == before


@pytest.mark.parametrize("crm", ["redis"], indirect=True)
async def test_a_canary_that_lives_is_counted_and_told_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    failed = counted("scim_canary_failures_total")
    async with site.process(url=f"redis://127.0.0.1:{free_port()}/0") as ward:
        await ward.sentinels.look("crm")
        for _ in range(2):
            await ward.sentinels.try_canary("crm")
    assert counted("scim_canary_failures_total") - failed == 2
    assert caplog.text.count("a canary session was not ended") == 1


@pytest.mark.parametrize("crm", ["redis"], indirect=True)
async def test_where_sessions_are_searched_for_no_canary_is_tried(site: Site) -> None:
    scan = {"index_key": None, "session_key": "s:{subject}|{sid}"}
    tried = counted("scim_canary_seconds_count")
    async with site.process(**scan) as ward:
        await ward.sentinels.look("crm")
        await ward.sentinels.try_canary("crm")
    assert counted("scim_canary_seconds_count") == tried


async def test_the_loop_tries_again_and_again(ward: Ward) -> None:
    tried = counted("scim_canary_seconds_count")
    quick = Sentinels(ward.parts.deployment, ward.parts.lines, every_s=0.02, canary_s=0.02)
    quick.start()
    try:
        await until(lambda: counted("scim_canary_seconds_count") - tried >= 3, within_s=5)
    finally:
        await quick.aclose()
