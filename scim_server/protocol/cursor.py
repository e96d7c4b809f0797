"""Cursors (RFC 9865) without a memory: all that the next page needs travels in the cursor, sealed with a key.

Sealed means that nobody can make or alter one, use it for another tenant, filter or order (the `context`), or read
it: the sort key within is personal data, and cursors stand in addresses that proxies log.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from scim_server.protocol.errors import ExpiredCursor, InvalidCursor

LIFETIME_S = 3_600
MAX_LENGTH = 8_192
_TAG = 16


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where to go on: behind (`backwards`: before) the resource with this sort value and id. `count` is the length of
    pages, `total` the number of matches when the first page was made, `made` that time in unix ms."""

    value: str | int | float | None
    id: str
    backwards: bool
    count: int
    total: int
    made: int


def seal(cursor: Cursor, key: bytes, context: Sequence[str | bool | None]) -> str:
    """The cursor as text of unreserved characters (RFC 3986 §2.3)."""
    plain = json.dumps(astuple(cursor), separators=(",", ":")).encode()
    # The tag is nonce and signature in one (as in SIV, RFC 5297): it depends on key, context and every byte.
    tag = _tag(key, context, plain)
    return base64.urlsafe_b64encode(tag + _masked(key, tag, plain)).rstrip(b"=").decode()


def unseal(text: str, key: bytes, context: Sequence[str | bool | None], now: int) -> Cursor:
    """The cursor that `seal` made with the same key and context. Raises InvalidCursor and ExpiredCursor."""
    tag, plain = _opened(text, key)
    if not hmac.compare_digest(tag, _tag(key, context, plain)):
        raise InvalidCursor(
            "The cursor was not made by this server for this query; repeat filter and sort exactly, or begin again."
        )
    cursor = Cursor(*json.loads(plain))
    if now - cursor.made > LIFETIME_S * 1000:
        raise ExpiredCursor(f"The cursor is older than {LIFETIME_S} seconds; begin again with an empty cursor.")
    return cursor


def _opened(text: str, key: bytes) -> tuple[bytes, bytes]:
    try:
        raw = base64.urlsafe_b64decode(text[:MAX_LENGTH] + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    return raw[:_TAG], _masked(key, raw[:_TAG], raw[_TAG:])


def _tag(key: bytes, context: Sequence[str | bool | None], plain: bytes) -> bytes:
    message = json.dumps(list(context)).encode() + b"\0" + plain
    return hmac.digest(key, message, hashlib.sha256)[:_TAG]


def _masked(key: bytes, tag: bytes, text: bytes) -> bytes:
    stream = hashlib.shake_256(b"cursor" + key + tag).digest(len(text))
    return bytes(a ^ b for a, b in zip(text, stream, strict=True))
