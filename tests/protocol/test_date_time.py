"""dateTime texts and unix milliseconds."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scim_server.protocol.date_time import from_unix_ms, to_unix_ms


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.1234567Z", 123),
        ("1970-01-01T02:00:01+02:00", 1000),
        ("1969-12-31T19:00:00.5-05:00", 500),
        ("1970-01-01t00:00:01z", 1000),
        ("1970-01-01T00:00:01", 1000),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_offsets_and_fractions(text: str, milliseconds: int) -> None:
    assert to_unix_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1970-01-01",
        "1970-01-01 00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-01-01T24:00:01Z",
        "1970-01-01T00:00:00+25:00",
        "1970-W01-4T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "0000-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z\n",
        "١٩٧٠-01-01T00:00:00Z",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        to_unix_ms(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_there_and_back(moment: datetime) -> None:
    milliseconds = to_unix_ms(moment.isoformat())
    assert to_unix_ms(from_unix_ms(milliseconds)) == milliseconds
