"""JSON lines on stderr, with secrets and personal data masked before anything is written.

Modules log through the standard library; the fields of the current request (request id, tenant, token id) are bound
by the web layer and appear on every line that the request causes. The access log has a path of its own, because the
logging machinery costs more than answering the request.
"""

import asyncio
import json
import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

import orjson

from scim_server.clock import now_ms

Fields = dict[str, Any]

_ACCESS = logging.getLogger("scim_server.access")
_ACCESS_HEAD = '{"event":"request","level":"info","logger":"scim_server.access",'
_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
_request: ContextVar[Fields | None] = ContextVar("request", default=None)
_SILENT = frozenset({"password", "secret", "authorization"})
# A text without any of these, in lower case, has nothing to mask.
_SUSPICIOUS = ("@", "scim_", "whsec_", "bearer", *_SILENT)
_SECRETS = re.compile(
    r"scim_[0-9a-f]{12}_[\w-]+"  # bearer tokens
    r"|whsec_[\w+/=-]+"  # webhook secrets
    r"|(?i:bearer)\s+[^\s\"',]+"
)
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")
# Of a query as it was sent: what names a person outside filters.
_NAMED = re.compile(r"(?i)(?<![^&])((?:userName|externalId)=)[^&]+")
# Runs of letters and quotes are read whole, be they addresses, be they closed, or not: a pattern that starts again
# inside of what it has read takes minutes for a text that was made for it.
_EMAIL = re.compile(r"([\w.+'#-]++)(@[\w-]+(?:\.[\w-]+)+)?")
_QUOTED = re.compile(r""""[^"\\]*+(?:\\.[^"\\]*+)*+"?|'[^']*+'?""", re.DOTALL)


def configure(level: str) -> None:
    """Send all logging of the process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpcore", "asyncio", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def begin(**fields: Any) -> Token[Fields | None]:
    """Begin a request: its fields are on every line of the current task; give the result to `end`."""
    return _request.set(fields)


def bind(**fields: Any) -> None:
    """Add fields to the lines of the current request."""
    current = _request.get()
    if current is not None:
        current.update(fields)


def end(token: Token[Fields | None]) -> None:
    """Undo a `begin`."""
    _request.reset(token)


class AccessLog:
    """The lines of answered requests. Those of one turn of the event loop are written at once: a line costs a call of
    the kernel otherwise."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, fields: Mapping[str, Any]) -> None:
        """Log a request with `fields` and those bound to it."""
        if not _ACCESS.isEnabledFor(logging.INFO):
            return
        line = {"time": datetime.fromtimestamp(now_ms() / 1000, UTC), **(_request.get() or {}), **fields}
        text = orjson.dumps(line, option=_LINE).decode()
        if _is_suspicious(text):
            text = orjson.dumps(_masked(line), option=_LINE).decode()
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._write)
        self._lines.append(_ACCESS_HEAD + text[1:])

    def _write(self) -> None:
        sys.stderr.write("".join(self._lines))
        self._lines.clear()


def mask(text: str) -> str:
    """Tokens, webhook secrets and passwords in addresses become ***; of an e-mail address its first letter and domain
    stay, so that an operator can still tell two apart."""
    if not _is_suspicious(text):
        return text
    text = _SECRETS.sub("***", text)
    text = _URL_PASSWORD.sub(r"\1:***@", text)
    return _EMAIL.sub(_initial, text)


def mask_query(query: str) -> str:
    """A query string, readable, for the access log, which masks all else: every quoted value becomes "***" (RFC 7644
    §7.5.2), and so do the names by which operators ask for somebody."""
    return _QUOTED.sub('"***"', unquote_plus(_NAMED.sub(r"\1***", query)))


def _initial(found: re.Match[str]) -> str:
    name, domain = found.groups()
    bare = name.lstrip(".+'#-")
    return f"{name[: len(name) - len(bare)]}{bare[:1]}***{domain}" if domain else name


def _is_suspicious(text: str) -> bool:
    # Each search takes a few dozen nanoseconds, a regular expression for all of them a hundred times that.
    return any(map(text.lower().__contains__, _SUSPICIOUS))


class _Formatter(logging.Formatter):
    """A record as a line of JSON, masked as a whole."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = {
            **(_request.get() or {}),
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(_masked(line), default=repr)  # unlike orjson, it writes what is no UTF-8, too


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {k: "***" if str(k).lower() in _SILENT else _masked(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    return value
