"""JSON lines on stderr, with secrets and personal data masked before anything is written.

Modules log through the standard library; the fields of the current request (request id, tenant, token id) are bound
by the web layer and appear on every line that the request causes.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

_SECRETS = re.compile(
    r"scim_[0-9a-f]{12}_[\w-]+"  # bearer tokens
    r"|whsec_[\w+/=-]+"  # webhook secrets
    r"|(?i:bearer)\s+[^\s\"',]+"
)
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")
_EMAIL = re.compile(r"([\w.+'#-])[\w.+'#-]*@([\w-]+(?:\.[\w-]+)+)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_SILENT = frozenset({"password", "secret", "authorization"})


def configure(level: str) -> None:
    """Send all logging of the process to stderr as JSON lines."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpcore", "asyncio", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def bind(**fields: Any) -> Mapping[str, Any]:
    """Add fields to every line of the current task; give the result to `unbind`."""
    return structlog.contextvars.bind_contextvars(**fields)


def unbind(tokens: Mapping[str, Any]) -> None:
    """Undo a `bind`."""
    structlog.contextvars.reset_contextvars(**tokens)


def redact(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The last processor before rendering: masks every text in the line."""
    for key, value in line.items():
        line[key] = "***" if key.lower() in _SILENT else _masked(value)
    return line


def mask(text: str) -> str:
    """Tokens, webhook secrets and passwords in addresses become ***; of an e-mail address its first letter and domain
    stay, so that an operator can still tell two apart."""
    text = _SECRETS.sub("***", text)
    text = _URL_PASSWORD.sub(r"\1:***@", text)
    return _EMAIL.sub(r"\1***@\2", text)


def mask_literals(text: str) -> str:
    """A filter for the access log: every quoted value becomes "***" (RFC 7644 §7.5.2)."""
    return mask(_QUOTED.sub('"***"', text))


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {k: "***" if str(k).lower() in _SILENT else _masked(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    return value
