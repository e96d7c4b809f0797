"""Filter text -> parsed -> schema-checked (RFC 7644 §3.4.2.2), and back to text.

Owns the tree that `match` evaluates and storage compiles to SQL, and the checks against a resource type: names,
operators, literals. The text is read by `grammar`, names by `notation`. A filter either means exactly what it
says or is refused: nothing in it is ever ignored.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NoReturn, cast

from scim_server.protocol import grammar
from scim_server.protocol.attributes import (
    Attribute,
    AttributeRef,
    AttributeType,
    Profile,
    ResourceType,
    Schema,
)
from scim_server.protocol.date_time import from_unix_ms, to_unix_ms
from scim_server.protocol.errors import InvalidFilter
from scim_server.protocol.notation import UnknownExtension, brief, notation, resolve

Operator = Literal["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"]
Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`ref op value`; the value is `Filter.values[slot]`, so that filters of one shape share one tree."""

    ref: AttributeRef
    operator: Operator
    slot: int


@dataclass(frozen=True, slots=True)
class Presence:
    """`ref pr`."""

    ref: AttributeRef


@dataclass(frozen=True, slots=True)
class Not:
    term: "Node"


@dataclass(frozen=True, slots=True)
class And:
    terms: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    terms: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class ValuePath:
    """`ref[term]`: one element of the complex attribute satisfies the whole term. References inside the term name
    sub-attributes: AttributeRef(ref.extension, ref.attribute, sub). `emails[type eq "work"].value eq "x"` becomes
    ValuePath(emails, And(type eq "work", value eq "x"))."""

    ref: AttributeRef
    term: "Node"


Node = Comparison | Presence | Not | And | Or | ValuePath


@dataclass(frozen=True, slots=True)
class Filter:
    """A schema-checked filter: `shape` (text with the literals lifted out, typed) is a cache key for compiled SQL;
    `values` are decoded and converted to the attribute's type."""

    shape: str
    root: Node
    values: tuple[Value, ...]


def parse(text: str, resource_type: ResourceType, profile: Profile) -> Filter:
    """The filter that `text` says, checked against the resource type.

    Values are str, bool, int or float as the attribute's type asks; of a dateTime, unix milliseconds (int).
    `x eq null` becomes `not (x pr)` and `x ne null` becomes `x pr`; a complex attribute means its `value`; a whole
    extension is present when one of its attributes is. Limits: 8192 characters, 200 comparisons, 32 levels.
    Raise InvalidFilter for anything malformed, unknown, unsupported or over the limits.
    """
    try:
        skeleton, literals = grammar.lift(text, profile.refuse_unquoted_literals)
        plan = _cached_plan if len(skeleton) <= _CACHED_LENGTH else _plan
        shape, root, operands = plan(skeleton, resource_type)
        return Filter(shape, root, tuple(map(_converted, operands, literals)))
    except grammar.Malformed as fault:
        raise InvalidFilter(f"Filter, column {grammar.column(text, fault.word)}: {fault.why}.") from None


def to_text(checked: Filter) -> str:
    """The filter in canonical form: declared case, full names, only needed brackets. parse(to_text(f)) == f."""
    return _written(checked.root, lambda test: _literal(test.ref.leaf, checked.values[test.slot]))


def comparisons(node: Node) -> Iterator[Comparison]:
    """All comparisons in a tree, from left to right, which is the order of their slots."""
    match node:
        case Comparison():
            yield node
        case Not(term) | ValuePath(_, term):
            yield from comparisons(term)
        case And(terms) | Or(terms):
            for term in terms:
                yield from comparisons(term)


def size(node: Node) -> int:
    """How many comparisons and presence tests it takes to evaluate a tree."""
    match node:
        case Comparison() | Presence():
            return 1
        case Not(term) | ValuePath(_, term):
            return size(term)
        case And(terms) | Or(terms):
            return sum(map(size, terms))


def equalities(node: Node, values: Sequence[Value]) -> dict[str, Value] | None:
    """What an element must hold to satisfy a value filter: sub-attribute name -> value.

    None unless the filter is nothing but `eq` comparisons joined by `and` that do not contradict each other.
    """
    found: dict[str, Value] = {}
    for term in node.terms if isinstance(node, And) else (node,):
        if not isinstance(term, Comparison) or term.operator != "eq" or term.ref.sub is None:
            return None
        if found.setdefault(term.ref.sub.name, values[term.slot]) != values[term.slot]:
            return None
    return found


# --- parsed -> schema-checked ------------------------------------------------------------------------------------

_Plan = tuple[str, Node, tuple[Attribute, ...]]  # shape, root, and for each slot the attribute it is compared with

# Longer filters are rare; without this bound the cache could hold 1024 trees of 200 comparisons.
_CACHED_LENGTH = 512

_ORDERED: frozenset[str] = frozenset({"eq", "ne", "gt", "ge", "lt", "le"})
_TEXTUAL: frozenset[str] = _ORDERED | {"co", "sw", "ew"}
_UNORDERED: frozenset[str] = frozenset({"eq", "ne"})
_OPERATORS: Mapping[AttributeType, frozenset[str]] = {
    "string": _TEXTUAL,
    "reference": _TEXTUAL,
    "dateTime": _ORDERED,
    "integer": _ORDERED,
    "decimal": _ORDERED,
    "boolean": _UNORDERED,
    "binary": _UNORDERED,
    "complex": frozenset(),
}


def _plan(skeleton: str, resource_type: ResourceType) -> _Plan:
    root = _node(grammar.read(skeleton), resource_type, None)
    operands = tuple(test.ref.leaf for test in comparisons(root))
    return _written(root, lambda _: "?"), root, operands


_cached_plan = lru_cache(maxsize=1024)(_plan)


def _node(tree: grammar.Syntax, resource_type: ResourceType, parent: AttributeRef | None) -> Node:
    """Check one part of the tree; `parent` is the attribute whose brackets it stands in."""
    match tree:
        case grammar.Test():
            return _test(tree, resource_type, parent)
        case grammar.Negation(term):
            return Not(_node(term, resource_type, parent))
        case grammar.Junction(operator, terms):
            nodes = [_node(term, resource_type, parent) for term in terms]
            return _joined(And if operator == "and" else Or, nodes)
        case grammar.Elements(name, term):
            ref = _parent(name, resource_type, parent)
            return ValuePath(ref, _node(term, resource_type, ref))


def _joined(kind: type[And] | type[Or], nodes: Sequence[Node]) -> Node:
    flat: list[Node] = []
    for node in nodes:
        flat.extend(node.terms if isinstance(node, kind) else (node,))
    return kind(tuple(flat)) if len(flat) > 1 else flat[0]


def _test(test: grammar.Test, resource_type: ResourceType, parent: AttributeRef | None) -> Node:
    if parent is not None:
        named: AttributeRef | Schema = _element_ref(test.name, parent)
    else:
        named = _named(test.name, resource_type)
    if isinstance(named, Schema):
        return _schema_presence(named, resource_type, test)
    if test.operator == "pr":
        return Presence(named)
    if test.slot is None:
        return _null_test(named, test)
    ref = _comparable(named, test.name)
    if test.operator not in _OPERATORS[ref.leaf.type]:
        allowed = ", ".join(sorted(_OPERATORS[ref.leaf.type]))
        _refuse(test.name, f"{notation(ref)} is of type {ref.leaf.type}; compare it with {allowed} or pr")
    return Comparison(ref, cast(Operator, test.operator), test.slot)


def _null_test(ref: AttributeRef, test: grammar.Test) -> Node:
    if test.operator == "eq":
        return Not(Presence(ref))
    if test.operator == "ne":
        return Presence(ref)
    _refuse(test.name, "null can only be compared with eq and ne")


def _schema_presence(schema: Schema, resource_type: ResourceType, test: grammar.Test) -> Node:
    readable = [attribute for attribute in schema.attributes if _is_readable(attribute)]
    if test.operator != "pr" or schema is resource_type.schema or not readable:
        _refuse(test.name, "this names a whole schema; add a colon and the name of an attribute")
    return _joined(Or, [Presence(AttributeRef(schema.id, attribute)) for attribute in readable])


def _parent(name: grammar.Name, resource_type: ResourceType, parent: AttributeRef | None) -> AttributeRef:
    if parent is not None:
        _refuse(name, "brackets cannot stand within brackets; join the conditions with `and`")
    ref = _named(name, resource_type)
    if isinstance(ref, Schema) or ref.sub is not None or not _has_elements(ref.attribute):
        _refuse(name, f"{brief(name.text)} takes no brackets; compare it directly")
    return ref


def _has_elements(attribute: Attribute) -> bool:
    return attribute.multi_valued or attribute.type == "complex"


def _named(name: grammar.Name, resource_type: ResourceType) -> AttributeRef | Schema:
    found = resolve(name.text, resource_type)
    if found is None:
        _refuse(name, f"{resource_type.name} has no attribute {brief(name.text)}; see /Schemas")
    if isinstance(found, UnknownExtension):
        _refuse(name, f"{resource_type.name} has no schema {brief(found.urn)}; see /ResourceTypes")
    if isinstance(found, AttributeRef) and not (_is_readable(found.attribute) and _is_readable(found.leaf)):
        _refuse(name, f"{notation(found)} is never returned and cannot be searched; leave it out")
    return found


def _is_readable(attribute: Attribute) -> bool:
    return attribute.returned != "never" and attribute.mutability != "writeOnly"


def _element_ref(name: grammar.Name, parent: AttributeRef) -> AttributeRef:
    """A name within brackets; of a plain multi-valued attribute such as `schemas`, `value` is the element itself."""
    if parent.attribute.type != "complex" and name.text.lower() == "value":
        return parent
    sub = parent.attribute.sub(name.text)
    if sub is None or not _is_readable(sub):
        known = ", ".join(s.name for s in parent.attribute.sub_attributes if _is_readable(s)) or "value"
        _refuse(name, f"{notation(parent)} has no {brief(name.text)}; it has {known}")
    return AttributeRef(parent.extension, parent.attribute, sub)


def _comparable(ref: AttributeRef, name: grammar.Name) -> AttributeRef:
    if ref.leaf.type != "complex":
        return ref
    value = ref.attribute.sub("value")
    if ref.sub is not None or value is None:
        known = ", ".join(f"{notation(ref)}.{sub.name}" for sub in ref.leaf.sub_attributes)
        _refuse(name, f"{notation(ref)} is complex; compare one of {known}")
    return AttributeRef(ref.extension, ref.attribute, value)


def _refuse(name: grammar.Name, why: str) -> NoReturn:
    raise grammar.Malformed(why, name.word)


# --- literals ----------------------------------------------------------------------------------------------------


def _converted(attribute: Attribute, text: str) -> Value:
    kind = attribute.type
    if kind in ("string", "reference", "binary"):
        return text
    try:
        if kind == "boolean":
            return _BOOLEANS[text.lower()]
        if kind == "dateTime":
            return to_unix_ms(text)
        return _number(text)
    except (ValueError, KeyError):
        raise InvalidFilter(f"{attribute.name} is of type {kind}; compare it with {_EXAMPLES[kind]}.") from None


_BOOLEANS = {"true": True, "false": False}
_EXAMPLES: Mapping[AttributeType, str] = {
    "boolean": "true or false",
    "dateTime": 'a time such as "2011-05-13T04:42:34Z"',
    "integer": "a number such as 42",
    "decimal": "a number such as 4.2",
}


def _number(text: str) -> int | float:
    # Fractions are allowed against integers: `children gt 4.5` is a sensible question. 64 bits bound what a
    # database can be asked, 40 characters what int() is made to chew.
    if len(text) > 40 or not text.isascii() or "_" in text:
        raise ValueError(text[:40])
    number = float(text)
    if not math.isfinite(number) or abs(number) >= 2**63:
        raise ValueError(text)
    return int(text) if text.lstrip("+-").isdigit() else number


# --- back to text ------------------------------------------------------------------------------------------------


def _written(node: Node, literal: Callable[[Comparison], str], within: bool = False) -> str:
    match node:
        case Comparison(ref, operator):
            return f"{_name(ref, within)} {operator} {literal(node)}"
        case Presence(ref):
            return f"{_name(ref, within)} pr"
        case Not(term):
            return f"not ({_written(term, literal, within)})"
        case And(terms):
            return " and ".join(
                f"({_written(term, literal, within)})" if isinstance(term, Or) else _written(term, literal, within)
                for term in terms
            )
        case Or(terms):
            return " or ".join(_written(term, literal, within) for term in terms)
        case ValuePath(ref, term):
            return f"{notation(ref)}[{_written(term, literal, within=True)}]"


def _name(ref: AttributeRef, within: bool) -> str:
    if not within:
        return notation(ref)
    return ref.sub.name if ref.sub else "value"


def _literal(attribute: Attribute, value: Value) -> str:
    if attribute.type == "dateTime" and isinstance(value, int):
        value = from_unix_ms(value)
    return json.dumps(value, ensure_ascii=False)
