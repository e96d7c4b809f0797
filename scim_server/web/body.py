"""Request bodies: from bytes to a JSON object, within limits (RFC 7644 §3.1, §3.8)."""

import asyncio
import codecs
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from scim_server.protocol.errors import InvalidSyntax, InvalidValue, TooLarge, UnsupportedMediaType

MAX_BYTES = 1_048_576
MAX_DEPTH = 32
DEADLINE_S = 30
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_ACCEPTED = ("application/scim+json", "application/json")


async def read_json(request: Request, max_bytes: int = MAX_BYTES) -> Any:
    """The parsed body. Raises UnsupportedMediaType, TooLarge, InvalidSyntax or InvalidValue."""
    _check_media_type(request.headers.get("content-type"))
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType("Send the body without a Content-Encoding.")
    raw = (await _read(request, max_bytes)).removeprefix(codecs.BOM_UTF8)  # which RFC 8259 §8.1 lets us ignore
    if not raw:
        raise InvalidSyntax("The body is empty; send a JSON object.")
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError as problem:
        raise InvalidSyntax(
            f"The body is not JSON: {problem.msg} at line {problem.lineno}, column {problem.colno}."
        ) from None
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_too_deep(parsed):
        raise InvalidSyntax(f"The body is nested more than {MAX_DEPTH} levels deep.")
    if b"\\u0000" in raw and _NUL.search(raw):
        raise InvalidValue("The body contains the character U+0000, which no value may have.")
    request.scope["scim.sent"] = parsed
    return parsed


def in_any_case(message: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The message with its keys spelt as in `names`, whatever their case was (RFC 7643 §2.1)."""
    spellings = {name.lower(): name for name in names}
    return {spellings.get(key.lower()) or key: value for key, value in message.items()}


def _check_media_type(header: str | None) -> None:
    # curl's default and a missing header are forgiven; what else claims not to be JSON in UTF-8 is not.
    kind, _, rest = (header or "application/json").partition(";")
    if kind.strip().lower() not in (*_ACCEPTED, "application/x-www-form-urlencoded"):
        raise UnsupportedMediaType("Send the body as application/scim+json.")
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", rest, re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType("Send the body in UTF-8.")


async def _read(request: Request, max_bytes: int) -> bytes:
    too_large = TooLarge(f"The body is larger than {max_bytes} bytes; send less in one request.")
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and len(declared) < 19 and int(declared) > max_bytes:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(DEADLINE_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError:
        raise InvalidSyntax(f"The body did not arrive within {DEADLINE_S} seconds.", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise InvalidSyntax("The body did not arrive in full.") from None
    return b"".join(chunks)


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
