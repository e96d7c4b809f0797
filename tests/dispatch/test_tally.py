"""What kills add up to, and the warning of a subject template that finds nobody."""

import logging

import pytest
from dispatch.wards import Site, Ward, counted

from scim_server.dispatch.tally import EMPTY_IN_A_ROW, Tally
from scim_server.sessions.port import Done, Outcome, Retry


async def test_kills_are_counted_and_timed(ward: Ward, site: Site) -> None:
    def figures() -> list[float]:
        ended = counted("scim_sessions_ended_total", kind="session")
        return [counted("scim_time_to_kill_seconds_count"), ended, counted("scim_terminations_empty_total")]

    before = figures()
    site.crm.log_in("ann")
    await ward.kill("ann", "bob")
    await ward.lift("ann")
    assert [now - past for now, past in zip(figures(), before, strict=True)] == [2, 3, 1]


def test_twenty_empty_kills_in_a_row_are_suspicious(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    tally = Tally()
    nothing: list[Outcome] = [Done(0)] * (EMPTY_IN_A_ROW - 1)
    for outcome in [*nothing, Done(1), *nothing, Retry("away")]:
        tally.count("crm", outcome, waited_ms=1, finds_sessions=True)
    assert caplog.text == ""
    tally.count("crm", Done(0), waited_ms=1, finds_sessions=True)
    assert caplog.text.count("found no session at all") == 1


def test_a_webhook_says_nothing_of_sessions(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally()
    for _ in range(EMPTY_IN_A_ROW):
        tally.count("crm-api", Done(0), waited_ms=1, finds_sessions=False)
    assert (tally.empty, caplog.text) == (0, "")
