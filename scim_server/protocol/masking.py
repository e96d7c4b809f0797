"""A request body with its personal values masked: what was asked stays readable, whom it was about does not."""

import re
from typing import Any

# What these hold is vocabulary, not personal data.
_PLAIN = frozenset({"op", "schemas", "type", "method", "bulkid", "primary", "active", "resourcetype", "failonerrors"})
# To the end where it is not closed; a client may choose the wrong quotes.
_LITERAL = re.compile(r""""[^"\\]*+(?:\\.[^"\\]*+)*+"?|'[^']*+'?""", re.DOTALL)
_BOOLEANS = ("true", "false")
MAX_ELEMENTS = 20


def masked(value: Any, key: str = "") -> Any:
    """The same shape with texts and numbers replaced by a hint of them; long lists are cut.

    "ada@example.com" -> "a***", 26 -> 0; paths keep their names, their quoted values become "***".
    """
    if isinstance(value, dict):
        return {_path(name): masked(item, name.lower()) for name, item in value.items()}
    if isinstance(value, list):
        shown = [masked(item, key) for item in value[:MAX_ELEMENTS]]
        return shown if len(value) <= MAX_ELEMENTS else [*shown, f"… {len(value) - MAX_ELEMENTS} more"]
    if value is None or isinstance(value, bool) or key in _PLAIN:
        return value
    if isinstance(value, str):
        if key == "path":
            return _path(value)
        return value if value.lower() in _BOOLEANS or value == "" else f"{value[0]}***"
    return 0


def _path(text: str) -> str:
    return _LITERAL.sub('"***"', text)[:256]
