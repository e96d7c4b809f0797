"""Standard Webhooks 1.0.0: the three headers that let a receiver check who sent a message, and when.

Symmetric signatures only (`v1`, HMAC-SHA256). Pure functions; the caller brings id and time.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

_PREFIX = "whsec_"


def signing_key(secret: str) -> bytes:
    """The key inside `whsec_<base64>`. Raise ValueError, without quoting it, unless it is 24 to 64 bytes long."""
    if not secret.startswith(_PREFIX):
        raise ValueError(f"a webhook secret begins with {_PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"a webhook secret is base64 after {_PREFIX}") from None
    if not 24 <= len(key) <= 64:
        raise ValueError("a webhook secret holds 24 to 64 bytes")
    return key


def signed_headers(keys: Iterable[bytes], message_id: str, unix_s: int, body: bytes) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp` and `webhook-signature` with one signature per key."""
    signed = f"{message_id}.{unix_s}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(unix_s),
        "webhook-signature": " ".join(f"v1,{_sign(key, signed)}" for key in keys),
    }


def _sign(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
