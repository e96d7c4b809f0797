"""The shape of the code: files and functions stay small, and what was reached is never given up.

The numbers of CEILINGS may only fall. The summary of every run names the five longest functions.
"""

import ast
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("scim_server", "conformance")
DATA = {"scim_server/protocol/schemas.py"}  # RFC 7643 as data: as long as the RFC makes it


@dataclass(frozen=True)
class Shape:
    """Lines: of the longest file, of the longest function, of 90 % and of half of the functions."""

    longest_file: int
    longest_function: int
    ninth_decile: int
    median: int


HOUSE_RULES = Shape(longest_file=500, longest_function=80, ninth_decile=30, median=10)
CEILINGS = Shape(longest_file=500, longest_function=80, ninth_decile=30, median=10)


@dataclass(frozen=True)
class Function:
    """Where a function stands and how many lines it takes, its docstring and decorators left out."""

    where: str
    lines: int


def test_no_number_rises(record_property: Callable[[str, str], None]) -> None:
    functions = sorted(_functions(), key=lambda function: function.lines, reverse=True)
    measured = _measure([function.lines for function in functions])
    record_property("shape", str(measured))
    for function in functions[:5]:
        record_property(f"{function.lines:3} lines", function.where)
    assert [f"{path}: {lines}" for path, lines in _files() if lines > CEILINGS.longest_file] == []
    assert [long for long in functions if long.lines > CEILINGS.longest_function] == []
    assert measured.ninth_decile <= CEILINGS.ninth_decile
    assert measured.median <= CEILINGS.median


def test_test_files_have_names_of_their_own() -> None:
    """Pytest imports them by their name alone; two of one name end a whole run."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, number in names.items() if number > 1] == []


def test_the_ceilings_keep_the_house_rules() -> None:
    assert all(ceiling <= rule for ceiling, rule in zip(astuple(CEILINGS), astuple(HOUSE_RULES), strict=True))


@pytest.mark.parametrize("data", sorted(DATA))
def test_every_exempt_file_exists(data: str) -> None:
    assert (ROOT / data).is_file()


def _measure(lengths: list[int]) -> Shape:
    ascending = sorted(lengths)
    return Shape(
        longest_file=max(lines for _, lines in _files()),
        longest_function=ascending[-1],
        ninth_decile=ascending[math.ceil(0.9 * len(ascending)) - 1],
        median=math.ceil(statistics.median(ascending)),
    )


def _files() -> Iterator[tuple[str, int]]:
    for path in _sources():
        name = path.relative_to(ROOT).as_posix()
        if name not in DATA:
            yield name, len(path.read_text().splitlines())


def _functions() -> Iterator[Function]:
    for path in _sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield Function(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", _lines(node))


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    docstring = function.body[0] if ast.get_docstring(function, clean=False) is not None else None
    documented = docstring.end_lineno - docstring.lineno + 1 if docstring and docstring.end_lineno else 0
    return function.end_lineno - function.lineno + 1 - documented


def _sources() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
