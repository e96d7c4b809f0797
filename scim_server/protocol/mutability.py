"""What a value keeps although a client leaves it out, and what it must not change (RFC 7643 §7, RFC 7644 §3.5.1).

Immutable sub-attributes are set once: in a single-valued attribute they stay; in a multi-valued one each element keeps
its own, and goes or comes as a whole. What is never returned no client can repeat. Read-only parts never get this far.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from scim_server.protocol.attributes import Attribute
from scim_server.protocol.errors import Mutability
from scim_server.protocol.value import identity

Element = Mapping[str, Any]


def carried(attribute: Attribute, before: Any, after: Any, parent: str) -> Any:
    """The value that takes the place of `before`, with the parts that it leaves unsaid and cannot lose; None when there
    is nothing. Raises Mutability for an immutable part said differently."""
    names = _lasting(attribute)
    if not names or before is None:
        return after
    if not attribute.multi_valued:
        after = _filled(names, before, after or {}) or None
    elif after is not None:
        held = {identity(element): element for element in before}
        after = [_filled(names, held.get(identity(element), {}), element) for element in after]
    demand_unchanged(attribute, before, after, parent)
    return after


def demand_unchanged(attribute: Attribute, before: Any, after: Any, parent: str) -> None:
    """Raise Mutability when an immutable sub-attribute is not what it was. Elements that went are no change, nor are
    those that came."""
    names = _immutable(attribute)
    if not names or before is None:
        return
    if not attribute.multi_valued:
        _compare(names, before, after or {}, f"{parent}{attribute.name}.")
        return
    held = {identity(element): element for element in before}
    for element in after or ():
        _compare(names, held.get(identity(element), {}), element, f"{parent}{attribute.name}.")


def _compare(names: tuple[str, ...], before: Element, after: Element, prefix: str) -> None:
    for name in names:
        if before.get(name) is not None and before[name] != after.get(name):
            raise Mutability(f"{prefix}{name} cannot be changed once it is set.")


def _filled(names: tuple[str, ...], before: Element, after: Element) -> Element:
    unsaid = {name: before[name] for name in names if name in before and name not in after}
    return {**after, **unsaid} if unsaid else after


@cache
def _immutable(attribute: Attribute) -> tuple[str, ...]:
    return tuple(sub.name for sub in attribute.sub_attributes if sub.mutability == "immutable")


@cache
def _lasting(attribute: Attribute) -> tuple[str, ...]:
    never = tuple(sub.name for sub in attribute.sub_attributes if sub.returned == "never")
    return tuple(dict.fromkeys((*_immutable(attribute), *never)))
