"""PATCH paths and the lists of `attributes=` (RFC 7644 §3.5.2 figure 7, §3.9, §3.10), resolved against a schema.

Owns what a path refers to; what is done there is `patch`'s. The bracketed part is an ordinary filter and is
checked by `filter`. Names that are not declared never get further than this file.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from scim_server.protocol import filter as filters
from scim_server.protocol.attributes import AttributeRef, Profile, ResourceType, Schema
from scim_server.protocol.errors import InvalidPath, InvalidValue
from scim_server.protocol.notation import UnknownExtension, brief, notation, resolve

MAX_LENGTH = 8192

_BRACKETS = re.compile(r"\[[^\]]*\]?")
_QUOTED = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # to the end where it is not closed


@dataclass(frozen=True, slots=True)
class Path:
    """`name.givenName`, `emails[type eq "work"].value`, `members[value eq "x"]`.

    `ref` names the attribute and, after a dot, its sub-attribute. With brackets, `term` is the condition that an
    element must satisfy (`match.element_matches(path.term, path.values, element)`) and `values` its literals;
    brackets may also follow a single-valued complex attribute, whose value then is the only element.
    """

    ref: AttributeRef
    term: filters.Node | None = None
    values: tuple[filters.Value, ...] = ()


@dataclass(frozen=True, slots=True)
class SchemaPath:
    """A whole schema by its URN: an extension's container, or the core schema, which like an empty path means the
    resource itself."""

    schema: Schema


def parse_path(text: str, resource_type: ResourceType, profile: Profile) -> Path | SchemaPath | UnknownExtension:
    """What a PATCH path points at.

    UnknownExtension is for the caller to ignore and log; a profile that refuses unknown attributes gets InvalidPath
    instead. Raise InvalidPath for unknown names and malformed paths, and InvalidFilter for a fault within the
    brackets (RFC 7644 table 9).
    """
    if len(text) > MAX_LENGTH:
        raise InvalidPath(f"The path is longer than {MAX_LENGTH} characters; shorten it.")
    if not text:
        return SchemaPath(resource_type.schema)
    attribute, condition, sub = _split(text.strip())
    found = resolve(attribute, resource_type)
    if found is None:
        raise InvalidPath(f"{resource_type.name} has no attribute {brief(attribute)}; see /Schemas.")
    if isinstance(found, UnknownExtension):
        if profile.refuse_unknown_attributes:
            raise InvalidPath(f"{resource_type.name} has no schema {brief(found.urn)}; see /ResourceTypes.")
        return found
    if not condition:
        return SchemaPath(found) if isinstance(found, Schema) else Path(found)
    checked = filters.parse(attribute + condition, resource_type, profile)
    if not isinstance(checked.root, filters.ValuePath):
        raise InvalidPath(f"The path {brief(text)} selects more than one attribute; send one operation for each.")
    return Path(_after_brackets(checked.root.ref, sub), checked.root.term, checked.values)


def parse_names(names: str | Iterable[str], resource_type: ResourceType) -> tuple[AttributeRef | Schema, ...]:
    """The attributes and whole schemas that `attributes` or `excludedAttributes` lists, as one comma-separated text
    or as a list. Unknown names are left out; Entra's `emails[type eq "work"]` asks for `emails`. Raise InvalidValue for
    a text that is too long."""
    if isinstance(names, str):
        if len(names) > MAX_LENGTH:
            raise InvalidValue(f"The list of attributes is longer than {MAX_LENGTH} characters; shorten it.")
        names = names.split(",")
    resolved = (resolve(_BRACKETS.sub("", name).strip(), resource_type) for name in names)
    return tuple(found for found in resolved if isinstance(found, AttributeRef | Schema))


def _split(text: str) -> tuple[str, str, str]:
    """`emails[type eq "work"].value` -> `emails`, `[type eq "work"]`, `value`; the latter two may be empty."""
    if "[" not in text:
        return text, "", ""
    plain = _QUOTED.sub('""', text)
    attribute, _, rest = text.partition("[")
    condition, bracket, tail = rest.rpartition("]")
    well_formed = plain.count("[") == plain.count("]") == 1 and bracket and (not tail or tail[0] == "." != tail)
    if not well_formed:
        raise InvalidPath(f'The path {brief(text)} is malformed; write it like emails[type eq "work"].value.')
    return attribute.rstrip(), f"[{condition}]", tail[1:]


def _after_brackets(ref: AttributeRef, name: str) -> AttributeRef:
    if not name:
        return ref
    sub = ref.attribute.sub(name)
    if sub is None:
        raise InvalidPath(f"{notation(ref)} has no sub-attribute {brief(name)}; see /Schemas.")
    return AttributeRef(ref.extension, ref.attribute, sub)
