"""Filter text -> parsed -> schema-checked (RFC 7644 §3.4.2.2)."""

from dataclasses import dataclass
from typing import Literal

from scim_server.protocol.attributes import AttributeRef, Profile, ResourceType

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
    """Raise InvalidFilter for anything malformed, unknown or over the limits."""
    raise NotImplementedError
