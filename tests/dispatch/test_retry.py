"""When to try again, and what is given up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scim_server.dispatch.retry import (
    HTTP_SCHEDULE_S,
    STORE_CAP_MS,
    http_delay_ms,
    settlement,
    store_delay_ms,
)
from scim_server.sessions.port import Done, Refused, Retry

attempts = st.integers(0, 10_000)
jitters = st.floats(0, 1, exclude_max=True)


@given(attempts, jitters)
def test_a_kill_is_tried_for_ever_at_least_every_fifteen_seconds(earlier: int, jitter: float) -> None:
    said = settlement("id", Retry("away"), attempts=earlier, tried_ms=0, http=False, jitter=jitter)
    assert said.outcome is None
    assert 25 <= said.delay_ms <= STORE_CAP_MS
    refused = settlement("id", Refused("rights"), attempts=earlier, tried_ms=0, http=False, jitter=jitter)
    assert (refused.outcome, refused.delay_ms, refused.error) == (None, STORE_CAP_MS, "rights")


@given(attempts, jitters)
def test_the_wait_never_shrinks(earlier: int, jitter: float) -> None:
    assert store_delay_ms(earlier, jitter) <= store_delay_ms(earlier + 1, jitter)
    assert http_delay_ms(earlier) <= http_delay_ms(earlier + 1)


def test_what_is_done_is_settled_with_its_count() -> None:
    said = settlement("id", Done(7, guard_seen=True), attempts=0, tried_ms=0, http=False, jitter=0)
    assert (said.outcome, said.sessions, said.guard_seen, said.error) == ("done", 7, True, None)


def test_an_http_endpoint_is_given_up_after_about_three_days() -> None:
    assert 2 * 86_400 < sum(HTTP_SCHEDULE_S) < 4 * 86_400
    last = len(HTTP_SCHEDULE_S)
    tried_ms = int(sum(HTTP_SCHEDULE_S) * 1000)
    assert settlement("id", Retry("500"), attempts=last - 1, tried_ms=tried_ms, http=True, jitter=0).outcome is None
    given_up = settlement("id", Retry("500"), attempts=last, tried_ms=tried_ms, http=True, jitter=0)
    assert given_up.outcome == "refused"
    assert given_up.error == f"given up after {last + 1} attempts: 500"
    assert settlement("id", Refused("410"), attempts=0, tried_ms=0, http=True, jitter=0).outcome == "gone"


def test_the_schedule_is_that_of_the_attempts_however_long_each_takes() -> None:
    age_s = 0.0
    for earlier, wait in enumerate(HTTP_SCHEDULE_S):
        said = settlement("id", Retry("500"), attempts=earlier, tried_ms=int(age_s * 1000), http=True, jitter=0)
        assert (said.outcome, said.delay_ms) == (None, int(wait * 1000))
        age_s += wait + 12


@pytest.mark.parametrize("probing", [False, True])
def test_many_probes_within_a_minute_do_not_count_as_three_days(probing: bool) -> None:
    said = settlement("id", Retry("500"), attempts=60, tried_ms=60_000, http=True, jitter=0, probing=probing)
    assert said.outcome is None
    assert said.delay_ms == (200 if probing else 60_000)


def test_an_endpoint_that_never_answered_a_probe_is_given_up_too() -> None:
    said = settlement("id", Retry("500"), attempts=99, tried_ms=3 * 86_400_000, http=True, jitter=0, probing=True)
    assert said.outcome == "refused"


@pytest.mark.parametrize(("asked", "waits"), [(None, 200), (100, 200), (90_000, 90_000)])
def test_a_wait_that_the_receiver_asks_for_is_honoured(asked: int | None, waits: int) -> None:
    assert settlement("id", Retry("429", asked), attempts=0, tried_ms=0, http=True, jitter=0).delay_ms == waits
