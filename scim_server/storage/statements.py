"""Statements: written in SQLAlchemy Core, compiled once per dialect, run as text on the driver.

SQLAlchemy's own execution costs more than the whole rest of a read (benchmarks/README.md), its compiler nothing
after the first use.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy.sql import ClauseElement

from scim_server.storage.dialects import Dialect

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Compiled:
    """SQL text for one driver, with the names of its positional parameters in order."""

    sql: str
    positions: tuple[str, ...]
    constants: Parameters  # values that stand in the statement itself

    def arguments(self, given: Parameters) -> list[Any]:
        """The driver's positional arguments. A missing parameter is a KeyError: a fault of ours, not of the client."""
        constants = self.constants
        return [given[name] if name in given else constants[name] for name in self.positions]


def bound(name: str, kind: Any) -> Any:
    """A named parameter. (Typed loosely: SQLAlchemy's own types do not follow columns through aliases and variants.)"""
    return bindparam(name, type_=kind)


class Statement:
    """One statement for every dialect. `build` returns the Core construct for the dialect it is given. `many`, of a
    read of one row by `key`: the same for a list `keys`, with a column `key` (gathering.py)."""

    __slots__ = ("_build", "_compiled", "key", "many")

    def __init__(
        self, build: Callable[[Dialect], ClauseElement], *, many: "Statement | None" = None, key: str = "id"
    ) -> None:
        self._build = build
        self.many = many
        self.key = key
        self._compiled: dict[str, Compiled] = {}

    def compiled(self, dialect: Dialect) -> Compiled:
        """Compile on first use, then return the same object."""
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = compile_for(dialect, self._build(dialect))
        return found


def compile_for(dialect: Dialect, core: ClauseElement) -> Compiled:
    """Compile a Core construct to text and positions."""
    compiled = core.compile(dialect=dialect.compiler)
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return Compiled(str(compiled), tuple(getattr(compiled, "positiontup", None) or ()), constants)
