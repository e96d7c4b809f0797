"""The vocabulary of RFC 7643 §2, §6 and §7: attributes, schemas and resource types as frozen data.

Holds no behaviour but look-up by name; names are matched without regard to case (RFC 7643 §2.1).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

AttributeType = Literal["string", "boolean", "decimal", "integer", "dateTime", "binary", "reference", "complex"]
Mutability = Literal["readOnly", "readWrite", "immutable", "writeOnly"]
Returned = Literal["always", "never", "default", "request"]
Uniqueness = Literal["none", "server", "global"]


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """One attribute or sub-attribute with its RFC 7643 §7 characteristics. Compared by identity."""

    name: str
    type: AttributeType = "string"
    multi_valued: bool = False
    description: str = ""
    required: bool = False
    case_exact: bool = False
    mutability: Mutability = "readWrite"
    returned: Returned = "default"
    uniqueness: Uniqueness = "none"
    canonical_values: tuple[str, ...] = ()
    reference_types: tuple[str, ...] = ()
    sub_attributes: tuple["Attribute", ...] = ()
    by_name: Mapping[str, "Attribute"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {sub.name.lower(): sub for sub in self.sub_attributes})

    def sub(self, name: str) -> "Attribute | None":
        """The sub-attribute of this name, whatever its case; None if there is none."""
        return self.by_name.get(name.lower())


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """A schema definition (RFC 7643 §7): `id` is its URN."""

    id: str
    name: str
    description: str
    attributes: tuple[Attribute, ...]
    by_name: Mapping[str, Attribute] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {a.name.lower(): a for a in self.attributes})

    def attribute(self, name: str) -> Attribute | None:
        """The attribute of this name, whatever its case; None if there is none."""
        return self.by_name.get(name.lower())


# RFC 7643 §3.1: attributes every resource has, on top of its schema. `schemas` is not filterable in SQL terms but
# is a legal name in `attributes=`.
COMMON: tuple[Attribute, ...] = (
    Attribute("schemas", "reference", multi_valued=True, required=True, case_exact=True, returned="always"),
    Attribute("id", case_exact=True, mutability="readOnly", returned="always", uniqueness="server"),
    Attribute("externalId", case_exact=True),
    Attribute(
        "meta",
        "complex",
        mutability="readOnly",
        sub_attributes=(
            Attribute("resourceType", case_exact=True, mutability="readOnly"),
            Attribute("created", "dateTime", mutability="readOnly"),
            Attribute("lastModified", "dateTime", mutability="readOnly"),
            Attribute("location", "reference", case_exact=True, mutability="readOnly"),
            Attribute("version", case_exact=True, mutability="readOnly"),
        ),
    ),
)
_COMMON_BY_NAME = {attribute.name.lower(): attribute for attribute in COMMON}


@dataclass(frozen=True, slots=True, eq=False)
class ResourceType:
    """A resource type (RFC 7643 §6): `endpoint` such as "/Users"; extensions pair a schema with `required`."""

    name: str
    endpoint: str
    description: str
    schema: Schema
    extensions: tuple[tuple[Schema, bool], ...] = ()
    by_urn: Mapping[str, Schema] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_urn", {schema.id.lower(): schema for schema, _ in self.extensions})

    def attribute(self, name: str) -> Attribute | None:
        """A core or common attribute (never of an extension) by name, whatever its case."""
        return self.schema.by_name.get(name.lower()) or _COMMON_BY_NAME.get(name.lower())

    def extension(self, urn: str) -> Schema | None:
        """A declared extension schema by URN, whatever its case."""
        return self.by_urn.get(urn.lower())

    def attributes(self) -> Iterator[tuple[Schema | None, Attribute]]:
        """All attributes: the core ones with None, then each extension's with its schema."""
        for attribute in (*COMMON, *self.schema.attributes):
            yield None, attribute
        for schema, _ in self.extensions:
            for attribute in schema.attributes:
                yield schema, attribute


@cache
def beside(resource_type: ResourceType, others: tuple[ResourceType, ...]) -> ResourceType:
    """The resource type for a filter on several types: what only the others have is declared, and has no value there
    (RFC 7644 §3.4.2.1). A name that it knows already keeps its meaning."""
    known = {attribute.name.lower() for _, attribute in resource_type.attributes()}
    extensions = list(resource_type.extensions)
    declared = {resource_type.schema.id, *(schema.id for schema, _ in extensions)}
    for other in others:
        for schema in (other.schema, *(extension for extension, _ in other.extensions)):
            if schema.id in declared:
                continue
            new = tuple(attribute for attribute in schema.attributes if attribute.name.lower() not in known)
            extensions.append((Schema(schema.id, schema.name, schema.description, new), False))
            declared.add(schema.id)
            known |= {attribute.name.lower() for attribute in new}
    return replace(resource_type, extensions=tuple(extensions))


@dataclass(frozen=True, slots=True)
class AttributeRef:
    """A resolved reference to an attribute or sub-attribute, e.g. of `urn:…:enterprise:2.0:User:manager.value`.

    `extension` is the declared URN of the extension schema (in its declared case) or None for core attributes.
    """

    extension: str | None
    attribute: Attribute
    sub: Attribute | None = None

    @property
    def leaf(self) -> Attribute:
        """The attribute whose type and case rules apply."""
        return self.sub or self.attribute


@dataclass(frozen=True, slots=True)
class Profile:
    """How strictly a tenant wants ambiguous requests read. The defaults suffice for every known client."""

    name: str = "interop"
    create_on_unmatched_value_path: bool = True
    refuse_unknown_attributes: bool = False
    refuse_unquoted_literals: bool = False
    refuse_second_primary: bool = False


INTEROP = Profile()
RFC = Profile(
    name="rfc",
    create_on_unmatched_value_path=False,
    refuse_unknown_attributes=True,
    refuse_unquoted_literals=True,
    refuse_second_primary=True,
)
