"""Which attributes an answer shows: `returned`, `attributes` and `excludedAttributes` (RFC 7643 §7, RFC 7644 §3.9).

A request's two lists are compiled once into a plan, a tree of the names to keep, and the plan is cached. Unknown
names in the lists are ignored; what is always returned cannot be excluded, what is never returned cannot be asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scim_server.protocol.attributes import COMMON, Attribute, AttributeRef, ResourceType, Schema
from scim_server.protocol.path import parse_names
from scim_server.protocol.schemas import PASSWORD

Names = Sequence[str] | str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to keep of a resource; `tree` None means all of it, so that its text can be sent as stored."""

    tree: Mapping[str, Any] | None

    def keeps(self, name: str) -> bool:
        """Whether a top-level attribute is shown, so that e.g. `members` need not be loaded when it is not."""
        return self.tree is None or name in self.tree

    def apply(self, resource: dict[str, Any]) -> dict[str, Any]:
        """The resource with only what is shown; the same object when that is everything."""
        return resource if self.tree is None else _selected(resource, self.tree)


def project(
    resource: dict[str, Any], resource_type: ResourceType, attributes: Names = None, excluded: Names = None
) -> dict[str, Any]:
    """The resource (canonical names) as this request wants to see it. Raises InvalidValue for endless lists."""
    return plan(resource_type, attributes, excluded).apply(resource)


def plan(resource_type: ResourceType, attributes: Names = None, excluded: Names = None) -> Plan:
    """The plan for `attributes` and `excludedAttributes`: comma-separated text, a list, or None when unsaid."""
    return _plan(resource_type, _listed(attributes), _listed(excluded))


def _listed(names: Names) -> str:
    return names if isinstance(names, str) else ",".join(names or ())


@lru_cache(maxsize=1024)
def _plan(resource_type: ResourceType, attributes: str, excluded: str) -> Plan:
    wanted = _Choice(parse_names(attributes, resource_type)) if attributes.strip() else None
    unwanted = _Choice(parse_names(excluded, resource_type))
    core = _level((*COMMON, *resource_type.schema.attributes), resource_type.schema, wanted, unwanted)
    tree: dict[str, Any] = core or {}
    for schema, _ in resource_type.extensions:
        level = _level(schema.attributes, schema, wanted, unwanted)
        if level:
            tree[schema.id] = level
    return Plan(None if _is_everything(tree, resource_type) else tree)


class _Choice:
    """The names of one list, taken apart: whole schemas, whole attributes, sub-attributes by attribute."""

    def __init__(self, names: Sequence[AttributeRef | Schema]) -> None:
        self.schemas = {name for name in names if isinstance(name, Schema)}
        refs = [name for name in names if isinstance(name, AttributeRef)]
        self.whole = {ref.attribute for ref in refs if ref.sub is None}
        self.subs = {ref.sub for ref in refs if ref.sub is not None}


def _level(
    attributes: Sequence[Attribute], schema: Schema, wanted: _Choice | None, unwanted: _Choice
) -> dict[str, Any]:
    """The part of the tree for one schema's attributes."""
    level: dict[str, Any] = {}
    for attribute in attributes:
        in_schema = attribute in schema.attributes
        named = wanted is None or (in_schema and schema in wanted.schemas)
        shown = _shown(attribute, named, wanted, unwanted, in_schema and schema in unwanted.schemas)
        if shown is not _HIDDEN:
            level[attribute.name] = shown
    return level


_HIDDEN: Mapping[str, Any] = {}


def _shown(
    attribute: Attribute, by_default: bool, wanted: _Choice | None, unwanted: _Choice, dropped: bool
) -> Mapping[str, Any] | None:
    """None for the whole value, a tree for some of its sub-attributes, _HIDDEN for nothing."""
    if attribute.returned == "never":
        return _HIDDEN
    always = attribute.returned == "always"
    if (dropped or attribute in unwanted.whole) and not always:
        return _HIDDEN
    asked = wanted is not None and attribute in wanted.whole
    whole = always or asked or (by_default and attribute.returned == "default")
    subs = {sub.name: None for sub in attribute.sub_attributes if _sub_is_shown(sub, whole, wanted, unwanted)}
    if not attribute.sub_attributes:
        return None if whole else _HIDDEN
    if not whole and not any(wanted and sub in wanted.subs for sub in attribute.sub_attributes):
        return _HIDDEN
    return None if len(subs) == len(attribute.sub_attributes) else subs or _HIDDEN


def _sub_is_shown(sub: Attribute, whole: bool, wanted: _Choice | None, unwanted: _Choice) -> bool:
    if sub.returned == "always":
        return True
    if sub.returned == "never" or sub in unwanted.subs:
        return False
    return (whole and sub.returned == "default") or (wanted is not None and sub in wanted.subs)


def _is_everything(tree: Mapping[str, Any], resource_type: ResourceType) -> bool:
    """Whether the plan leaves out nothing that a stored resource can hold (a password never is there)."""
    core = (*COMMON, *resource_type.schema.attributes)
    levels = [(tree, core), *((tree.get(s.id, {}), s.attributes) for s, _ in resource_type.extensions)]
    return all(
        attribute is PASSWORD or (attribute.name in level and level[attribute.name] is None)
        for level, attributes in levels
        for attribute in attributes
    )


def _selected(value: dict[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, held in value.items():
        if name not in tree:
            continue
        branch = tree[name]
        if branch is None:
            out[name] = held
        elif type(held) is dict:
            if part := _selected(held, branch):
                out[name] = part
        elif type(held) is list and (parts := [part for each in held if (part := _selected(each, branch))]):
            out[name] = parts
    return out
