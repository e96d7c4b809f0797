"""SQL with named parameters (`:subject`), rewritten to what each driver binds. Values never enter the text.

Knows just enough SQL to leave quoted text, comments, dollar quotes and `::casts` alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"""
      (?P<skip> [eE]'(?:[^'\\]|\\.|'')*'          # escape string
              | '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*`
              | \$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$
              | --[^\n]* | /\*.*?\*/
              | ::  | :=
      )
    | :(?P<name>[A-Za-z_]\w*)
    | (?P<open>['"`]|/\*)                          # a quote that nothing closes
    """,
    re.VERBOSE | re.DOTALL,
)


class StatementError(ValueError):
    """The statement cannot be read; the message says where."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A parsed statement: literal SQL and parameter names in turn."""

    text: str
    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, text: str) -> "Statement":
        """Raise StatementError when the text is empty or a quote is left open."""
        if not text.strip().strip(";"):
            raise StatementError("the statement is empty")
        parts: list[tuple[str, str | None]] = []
        start = 0
        for token in _TOKEN.finditer(text):
            if token["open"]:
                raise StatementError(f"{token['open']} at character {token.start() + 1} is never closed")
            if token["name"]:
                parts.append((text[start : token.start()], token["name"]))
                start = token.end()
        parts.append((text[start:], None))
        return cls(text, tuple(parts))

    def names(self) -> tuple[str, ...]:
        """Its parameters, each once, in order of first use."""
        return tuple(dict.fromkeys(name for _, name in self.parts if name))

    def numbered(self) -> str:
        """With $1, $2, …: the position of the name in `names()`. For Postgres."""
        numbers = {name: f"${n}" for n, name in enumerate(self.names(), 1)}
        return "".join(literal + (numbers[name] if name else "") for literal, name in self.parts)

    def named(self) -> str:
        """With :name, as SQLite binds them."""
        return self.text

    def formatted(self) -> str:
        """With %(name)s and doubled percent signs. For MySQL drivers."""
        return "".join(literal.replace("%", "%%") + (f"%({name})s" if name else "") for literal, name in self.parts)


def bound(statement: Statement, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of the values, those that the statement names."""
    return {name: values[name] for name in statement.names()}
