"""Filter text -> syntax tree, by the grammar of scim2-filter-parser (RFC 7644 §3.4.2.2, figure 1).

Owns words, literals, precedence and limits; knows no schema. The package's lexer reads neither JSON escapes nor
numbers and its grammar binds `and` and `or` alike, so we feed its parser typed tokens of our own and
re-associate what comes out. Literals are lifted out before parsing: filters of one shape are one tree.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from scim2_filter_parser import ast
from scim2_filter_parser.parser import SCIMParser, SCIMParserError

from scim_server.protocol.notation import brief

MAX_LENGTH = 8192
MAX_TERMS = 200
MAX_DEPTH = 32

_WORD = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[()\[\]]|[^ \t\r\n()\[\]"]+', re.DOTALL)
# PostgreSQL cannot store NUL, and no UTF-8 can carry a lone surrogate.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_JSON_WORD = re.compile(r"true|false|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_decode = json.JSONDecoder(strict=False).decode


class Malformed(Exception):
    """The text is not a filter; `word` counts the words before the fault, `column` turns that into a position."""

    def __init__(self, why: str, word: int) -> None:
        super().__init__(why)
        self.why = why
        self.word = word


@dataclass(frozen=True, slots=True)
class Name:
    """An attribute name as written, and which word of the filter it is."""

    text: str
    word: int


@dataclass(frozen=True, slots=True)
class Test:
    """`name operator literal`, operator in lower case; `slot` is None for `pr` and for the literal null."""

    name: Name
    operator: str
    slot: int | None


@dataclass(frozen=True, slots=True)
class Negation:
    term: "Syntax"


@dataclass(frozen=True, slots=True)
class Junction:
    operator: Literal["and", "or"]
    terms: tuple["Syntax", ...]


@dataclass(frozen=True, slots=True)
class Elements:
    """`name[term]`; `name[term].sub op x` arrives as `name[term and sub op x]`, `name[term] pr` as `name[term]`."""

    name: Name
    term: "Syntax"


Syntax = Test | Negation | Junction | Elements


def lift(text: str, refuse_unquoted: bool) -> tuple[str, list[str]]:
    """Split into the skeleton, in which `"` stands for each literal, and the decoded texts of the literals.

    A literal's type is that of the attribute it is compared with, so quoted and unquoted ones become text alike.
    `null` stays in the skeleton. Raise Malformed for text that is too long or has words out of place, and with
    `refuse_unquoted` for literals that are neither JSON nor in quotes.
    """
    if len(text) > MAX_LENGTH:
        raise Malformed(f"the filter is longer than {MAX_LENGTH} characters; send it in parts", 0)
    _refuse_unstorable(text, 0)
    words = _WORD.findall(text)
    literals = []
    for index, kind in enumerate(_kinds(words)):
        if kind == "COMP_VALUE":
            literals.append(_literal(words[index], index, refuse_unquoted))
            words[index] = '"'
    return " ".join(words), literals


def read(skeleton: str) -> Syntax:
    """Parse what `lift` made. Raise Malformed for what the grammar refuses and for too many terms or levels."""
    words = skeleton.split(" ") if skeleton else []
    kinds = _kinds(words)
    _refuse_too_big(kinds)
    reached = 0

    def feed() -> Iterator[_Token]:
        nonlocal reached
        slot = 0
        for reached, (kind, word) in enumerate(zip(kinds, words, strict=True)):
            yield _token(kind, word, reached, slot)
            slot += kind == "COMP_VALUE"
        reached = len(words)

    try:
        # A parser instance keeps its state in itself: one for each parse, or threads would mix their filters.
        tree = SCIMParser().parse(feed())
    except SCIMParserError:
        raise Malformed(_unexpected(words, reached), reached) from None
    return _syntax(tree)


def column(text: str, word: int) -> int:
    """Where the word stands in the text, counted from 1; one past the end if there are fewer words."""
    found = next(islice(_WORD.finditer(text), word, None), None)
    return (found.start() if found else len(text)) + 1


# --- words -------------------------------------------------------------------------------------------------------

# What a word is follows from where it stands, so that attributes may be called `not`, `pr` or `trueName`.
# Each place maps words to (kind of token, next place); None is any other word.
_Place = dict[str | None, tuple[str, str]]
_BRACKETS: _Place = {
    "(": ("LPAREN", "attribute"),
    "[": ("LBRACKET", "attribute"),
    ")": ("RPAREN", "connective"),
    "]": ("RBRACKET", "element"),
}
_COMPARE = ("eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le")
_OPERATORS: _Place = {**{name: (name.upper(), "literal") for name in _COMPARE}, "pr": ("PR", "connective")}
_CONNECTIVES: _Place = {"and": ("AND", "attribute"), "or": ("OR", "attribute")}
_PLACES: Mapping[str, _Place] = {
    "attribute": {**_BRACKETS, None: ("ATTRNAME", "operator")},
    "operator": {**_BRACKETS, **_OPERATORS},
    "literal": {**_BRACKETS, "null": ("NULL", "connective"), None: ("COMP_VALUE", "connective")},
    "connective": {**_BRACKETS, **_CONNECTIVES},
    "element": {**_BRACKETS, **_OPERATORS, **_CONNECTIVES},
}
_EXPECTED = {
    "operator": "an operator: eq, ne, co, sw, ew, gt, ge, lt, le or pr",
    "connective": "`and`, `or` or the end",
    "element": "an operator, `and`, `or` or the end",
}
_TESTS = frozenset(kind for kind, _ in _OPERATORS.values())


def _kinds(words: Sequence[str]) -> list[str]:
    kinds = []
    place = "attribute"
    for index, word in enumerate(words):
        choices = _PLACES[place]
        found = choices.get(word.lower()) or choices.get(None)
        if word[0] == '"':
            found = ("COMP_VALUE", "connective")
        elif place == "attribute" and word.lower() == "not" and words[index + 1 : index + 2] == ["("]:
            found = ("NOT", "attribute")
        elif place == "element" and word[0] == ".":
            found = ("SUBATTR", "operator")
        if found is None:
            raise Malformed(f"expected {_EXPECTED[place]}, not {brief(word)}", index)
        kind, place = found
        kinds.append(kind)
    return kinds


def _literal(word: str, index: int, refuse_unquoted: bool) -> str:
    if word[0] == '"':
        return _string(word, index)
    if word[0] == "'" or (refuse_unquoted and not _JSON_WORD.fullmatch(word)):
        raise Malformed("put text values in double quotes", index)
    return word


def _string(word: str, index: int) -> str:
    if "\\" not in word:
        if len(word) == 1 or word[-1] != '"':
            raise Malformed('the text value is not closed; end it with "', index)
        return word[1:-1]
    try:
        text = _decode(word)
    except ValueError:
        raise Malformed("the text value is not a JSON string; close it and check its escapes", index) from None
    assert isinstance(text, str)
    _refuse_unstorable(text, index)
    return text


def _refuse_unstorable(text: str, index: int) -> None:
    if _UNSTORABLE.search(text):
        raise Malformed("NUL characters and lone surrogates are not allowed; remove them", index)


# --- the grammar package -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Token:
    """What the package's parser reads of a token."""

    type: str
    value: Any
    index: int
    end: int
    lineno: int = 1


def _token(kind: str, word: str, index: int, slot: int) -> _Token:
    # Attribute names go through whole, URN and sub-attribute included: only the schema knows where a URN ends.
    value: Any = word.lower()
    if kind == "ATTRNAME":
        value = Name(word, index)
    elif kind == "SUBATTR":
        value = Name(word[1:], index)
    elif kind == "COMP_VALUE":
        value = slot
    elif kind == "NULL":
        value = None
    return _Token(kind, value, index, index + 1)


def _refuse_too_big(kinds: Sequence[str]) -> None:
    if sum(kind in _TESTS for kind in kinds) > MAX_TERMS:
        raise Malformed(f"the filter has more than {MAX_TERMS} comparisons; send it in parts", 0)
    depth = 0
    for index, kind in enumerate(kinds):
        depth += (kind in ("LPAREN", "LBRACKET")) - (kind in ("RPAREN", "RBRACKET"))
        if depth > MAX_DEPTH:
            raise Malformed(f"the filter is nested deeper than {MAX_DEPTH} levels; simplify it", index)


def _unexpected(words: Sequence[str], reached: int) -> str:
    if reached >= len(words):
        return "the filter ends too early; complete it"
    what = "a value" if words[reached] == '"' else brief(words[reached])
    return f"{what} cannot stand here; write the filter as in RFC 7644 section 3.4.2.2"


def _syntax(node: ast.Filter) -> Syntax:
    tree: Syntax
    if node.namespace is not None:
        tree = Elements(_name(node.namespace), _syntax(node.expr))
    elif isinstance(node.expr, ast.LogExpr):
        tree = _junction(node.expr)
    elif isinstance(node.expr, ast.AttrExpr):
        tree = _test(node.expr)
    else:
        tree = _syntax(node.expr)
    return Negation(tree) if node.negated else tree


def _junction(node: ast.LogExpr) -> Syntax:
    # Unparenthesised chains arrive as one left-leaning spine, because groups keep a Filter of their own.
    spine = [node]
    while isinstance(spine[-1].expr1.expr, ast.LogExpr):
        spine.append(spine[-1].expr1.expr)
    alternatives = [[_syntax(spine[-1].expr1)]]
    for link in reversed(spine):
        if link.op == "or":
            alternatives.append([])
        alternatives[-1].append(_syntax(link.expr2))
    return _joined("or", [_joined("and", terms) for terms in alternatives])


def _joined(operator: Literal["and", "or"], terms: Sequence[Syntax]) -> Syntax:
    return terms[0] if len(terms) == 1 else Junction(operator, tuple(terms))


def _test(node: ast.AttrExpr) -> Syntax:
    path = node.attr_path
    slot = node.comp_value and node.comp_value.value
    if isinstance(path.attr_name, Name):
        return Test(path.attr_name, _operator(node), slot)
    # `name[term] …`: the package hangs the brackets, as a Filter, where the name would be.
    elements = path.attr_name
    name, sub = _name(elements.namespace), elements.namespace.sub_attr
    term = _syntax(elements.expr)
    if sub is not None:
        return Elements(name, _joined("and", [term, Test(sub.value, _operator(node), slot)]))
    if _operator(node) != "pr":
        raise Malformed(f"name a sub-attribute to compare: {name.text}[…].value", name.word)
    return Elements(name, term)


def _operator(node: ast.AttrExpr) -> str:
    return str(node.value)


def _name(path: ast.AttrPath) -> Name:
    if not isinstance(path.attr_name, Name):
        raise Malformed("brackets cannot follow brackets", _name(path.attr_name.namespace).word)
    return path.attr_name
