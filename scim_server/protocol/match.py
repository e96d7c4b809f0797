"""Does a filter match a resource? The reference that storage's SQL is compared with (RFC 7644 §3.4.2.2).

1. The values of an attribute are its own, or those of each element; null, [] and {} are no values, and neither is
   a value of another type than the attribute's.
2. `eq co sw ew gt ge lt le` match if one value does. Without values they never match.
3. `ne` matches if one value differs, or if there is no value.
4. `pr` matches if one value is not "" and, of a complex attribute, has a sub-attribute with such a value.
5. `name[term]` matches if one element satisfies the whole term; without elements never, not even with `ne`.
   A single-valued complex attribute is its own only element, and of a plain attribute `value` is the element.
6. `not`, `and`, `or` are two-valued logic over that: `not (x eq "a")` matches where x has no value.
7. Text is compared and ordered by code points: folded (`fold`) unless caseExact. A dateTime is its unix
   milliseconds, a number its value; true is not 1.

Resources are plain dicts with declared names, extensions under their declared URN.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scim_server.protocol.attributes import Attribute, AttributeRef
from scim_server.protocol.date_time import to_unix_ms
from scim_server.protocol.filter import And, Comparison, Filter, Node, Not, Or, Presence, Value, ValuePath
from scim_server.protocol.fold import fold

_Read = Callable[[AttributeRef], list[Any]]


def matches(checked: Filter, resource: Mapping[str, Any]) -> bool:
    """Whether the whole resource, with id, meta, members and extension containers, satisfies the filter."""
    return _holds(checked.root, checked.values, lambda ref: _of_resource(ref, resource))


def element_matches(node: Node, values: Sequence[Value], element: Any) -> bool:
    """Whether one element of an attribute (a dict; of a plain attribute, its value) satisfies a value filter."""
    return _holds(node, values, lambda ref: _of_element(ref, element))


def _holds(node: Node, values: Sequence[Value], read: _Read) -> bool:
    match node:
        case Comparison(ref, name, slot):
            return _compares(ref.leaf, name, read(ref), values[slot])
        case Presence(ref):
            return any(_is_present(value) for value in read(ref))
        case Not(term):
            return not _holds(term, values, read)
        case And(terms):
            return all(_holds(term, values, read) for term in terms)
        case Or(terms):
            return any(_holds(term, values, read) for term in terms)
        case ValuePath(ref, term):
            return any(element_matches(term, values, element) for element in read(ref))


def _of_resource(ref: AttributeRef, resource: Mapping[str, Any]) -> list[Any]:
    container = resource if ref.extension is None else resource.get(ref.extension)
    if not isinstance(container, Mapping):
        return []
    elements = _values(container.get(ref.attribute.name))
    if ref.sub is None:
        return elements
    return [value for element in elements for value in _of_element(ref, element)]


def _of_element(ref: AttributeRef, element: Any) -> list[Any]:
    if ref.sub is None:
        return _values(element)
    return _values(element.get(ref.sub.name)) if isinstance(element, Mapping) else []


def _values(held: Any) -> list[Any]:
    if isinstance(held, list):
        return [value for value in held if not _is_nothing(value)]
    return [] if _is_nothing(held) else [held]


def _is_nothing(value: object) -> bool:
    return value is None or value == [] or value == {}


def _is_present(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_is_present(part) for held in value.values() for part in _values(held))
    return value != ""


_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "co": operator.contains,
    "sw": str.startswith,
    "ew": str.endswith,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


def _compares(attribute: Attribute, name: str, held: list[Any], wanted: Value) -> bool:
    keys = [key for key in (_key(attribute, value) for value in held) if key is not None]
    if not keys:
        return name == "ne"
    if isinstance(wanted, str) and not attribute.case_exact:
        wanted = fold(wanted)
    return any(_COMPARE[name](key, wanted) for key in keys)


def _key(attribute: Attribute, value: Any) -> Value:
    """What is compared in place of a stored value; None for a value of another type."""
    match attribute.type:
        case "boolean":
            return value if isinstance(value, bool) else None
        case "integer" | "decimal":
            return value if isinstance(value, int | float) and not isinstance(value, bool) else None
        case "dateTime":
            return _unix_ms(value)
    if not isinstance(value, str):
        return None
    return value if attribute.case_exact else fold(value)


def _unix_ms(value: Any) -> int | None:
    try:
        return to_unix_ms(value) if isinstance(value, str) else None
    except ValueError:
        return None
