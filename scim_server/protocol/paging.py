"""Which page a client asks for, by index (RFC 7644 §3.4.2.4) or by cursor (RFC 9865), and the ListResponse around texts
that are already JSON. Knows numbers and text only: what is counted and sorted is the storage's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scim_server.protocol.errors import InvalidCount, InvalidValue, ScimError

DEFAULT_COUNT = 100
MAX_RESULTS = 1000
LIST_RESPONSE_URN = "urn:ietf:params:scim:api:messages:2.0:ListResponse"

_MAX_DIGITS = 18  # fits 64 bits, which is all that a database counts
_FAR = 999_999_999_999_999_999  # what any number beyond means: a page behind the last one


@dataclass(frozen=True, slots=True)
class Page:
    """`start_index` counts from 1; `count` 0 asks for totalResults only."""

    start_index: int = 1
    count: int = DEFAULT_COUNT

    @property
    def offset(self) -> int:
        """How many resources come before the page."""
        return self.start_index - 1


@dataclass(frozen=True, slots=True)
class CursorPage:
    """`cursor` as sent, "" for the first page; `count` None when unsaid: then pages are as long as the first."""

    cursor: str
    count: int | None = None


def parse_page(start_index: Any = None, count: Any = None, *, max_results: int = MAX_RESULTS) -> Page:
    """From query parameters (text) or the JSON of a SearchRequest (numbers); None and "" are unsaid.

    startIndex below 1 means 1, count below 0 means 0, count above `max_results` means that. Raises InvalidValue.
    """
    wanted = _number("count", count, min(DEFAULT_COUNT, max_results))
    return Page(max(1, _number("startIndex", start_index, 1)), min(max(0, wanted), max_results))


def parse_cursor_page(cursor: str, count: Any = None, *, max_results: int = MAX_RESULTS) -> CursorPage:
    """The same where the client sent a cursor, which decides over a startIndex. Raises InvalidCount."""
    if count is None or count == "":
        return CursorPage(cursor)
    return CursorPage(cursor, min(max(0, _number("count", count, 0, InvalidCount)), max_results))


def list_response(texts: Iterable[str], total: int, start_index: int = 1) -> bytes:
    """A ListResponse as UTF-8; each of `texts` is the JSON of one resource and goes in as it is."""
    return _response(texts, total, f'"startIndex":{start_index},')


def cursor_response(texts: Iterable[str], total: int, previous: str | None, following: str | None) -> bytes:
    """A ListResponse of cursor paging; a cursor is left out where there is no such page."""
    cursors = {"previousCursor": previous, "nextCursor": following}
    return _response(texts, total, "".join(f'"{name}":"{cursor}",' for name, cursor in cursors.items() if cursor))


def _response(texts: Iterable[str], total: int, members: str) -> bytes:
    resources = list(texts)
    return (
        f'{{"schemas":["{LIST_RESPONSE_URN}"],"totalResults":{total},{members}'
        f'"itemsPerPage":{len(resources)},"Resources":[{",".join(resources)}]}}'
    ).encode()


def _number(name: str, value: Any, default: int, problem: type[ScimError] = InvalidValue) -> int:
    if value is None or value == "":
        return default
    if type(value) is int:
        return max(-_FAR, min(value, _FAR))
    text = value.strip() if type(value) is str else ""
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit():
        raise problem(f"{name} must be a whole number.")
    size = int(digits) if len(digits) <= _MAX_DIGITS else _FAR
    return -size if digits != text else size
