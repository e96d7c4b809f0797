"""The `dateTime` type of RFC 7643 §2.3.5 (xsd:dateTime) as unix milliseconds, the unit of all timestamps here.

Owns only the conversion; it reads no clock. A text without offset is taken as UTC; digits below the
millisecond are cut off.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?", re.ASCII | re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_unix_ms(text: str) -> int:
    """Unix milliseconds of a dateTime such as "2011-05-13T04:42:34.5+02:00". Raise ValueError for anything else."""
    if not _FORM.fullmatch(text):
        raise ValueError("not a dateTime")
    moment = datetime.fromisoformat(text.upper())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return (moment.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
    except OverflowError:
        raise ValueError("not within the years 1 to 9999") from None


def from_unix_ms(milliseconds: int) -> str:
    """The same moment as text in UTC with three decimals, e.g. "2011-05-13T02:42:34.500Z"."""
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
