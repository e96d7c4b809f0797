"""The breaker: three failures in a row open it, one success closes it."""

from scim_server.dispatch.breaker import FAILURES, Breaker


def test_three_failures_in_a_row_open_it() -> None:
    breaker = Breaker()
    for success in (False, False, True, False, False):
        assert breaker.record(success) is False
        assert not breaker.is_open
    breaker.record(False)
    assert FAILURES == 3
    assert breaker.is_open


def test_one_success_closes_it_and_only_that_one_says_so() -> None:
    breaker = Breaker(failures=7)
    assert breaker.record(True) is True
    assert not breaker.is_open
    assert breaker.record(True) is False


def test_half_open_lets_one_attempt_through() -> None:
    breaker = Breaker(failures=7)
    breaker.half_open()
    assert breaker.failures == FAILURES - 1
    breaker.record(False)
    assert breaker.is_open
    fresh = Breaker()
    fresh.half_open()
    assert fresh.failures == 0
