"""Schemas and resource types from JSON (RFC 7643 §6, §7), so that a deployment can have its own.

A resource type named User or Group adds its schemaExtensions to the built-in one; any other is served under its own
endpoint. Characteristics that are unsaid have the defaults of RFC 7643 §2.2. All faults are found in one pass.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from scim_server.protocol.attributes import (
    COMMON,
    Attribute,
    AttributeType,
    Mutability,
    ResourceType,
    Returned,
    Schema,
    Uniqueness,
)

RESERVED = ("/serviceproviderconfig", "/schemas", "/resourcetypes", "/bulk", "/me")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*|\$ref")
_URN = re.compile(r"urn:[A-Za-z0-9][A-Za-z0-9._:-]+")
_ENDPOINT = re.compile(r"/[A-Za-z][A-Za-z0-9_-]*")
_CHOICES: Mapping[str, tuple[str, ...]] = {  # the first is the default
    "type": get_args(AttributeType),
    "mutability": ("readWrite", *get_args(Mutability)),
    "returned": ("default", *get_args(Returned)),
    "uniqueness": get_args(Uniqueness),
}
_FLAGS: Mapping[str, str] = {"multiValued": "multi_valued", "required": "required", "caseExact": "case_exact"}
_LISTS: Mapping[str, str] = {"canonicalValues": "canonical_values", "referenceTypes": "reference_types"}
_COMMON_NAMES = {attribute.name.lower() for attribute in COMMON}


class DeclarationError(ValueError):
    """Schemas or resource types that cannot be served; `problems` has one line for each fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(
    files: Mapping[str, Any], known: Sequence[ResourceType], *, extend_only: bool = False
) -> tuple[ResourceType, ...]:
    """The `known` resource types, extended, and then the declared ones.

    `files`: parsed JSON by name. Each may hold one definition, a list, a ListResponse or any nesting of them.
    `extend_only`: what is known may be extended, nothing be declared beside it. Raises DeclarationError.
    """
    declarations = _Declarations(known, extend_only=extend_only)
    found = {name: list(_definitions(content)) for name, content in files.items()}
    for name, definitions in found.items():
        if not definitions:
            declarations.problems.append(f"{name}: holds no schema and no resource type")
    everything = [definition for definitions in found.values() for definition in definitions]
    for definition in everything:
        if "endpoint" not in definition:
            declarations.add_schema(definition)
    for definition in everything:
        if "endpoint" in definition:
            declarations.add_resource_type(definition)
    return declarations.finished()


def _definitions(content: Any) -> Iterator[dict[str, Any]]:
    if type(content) is dict and ("endpoint" in content or ("id" in content and "attributes" in content)):
        yield content
    elif type(content) in (dict, list):
        for item in content.values() if type(content) is dict else content:
            yield from _definitions(item)


class _Declarations:
    """What has been declared so far, and what is wrong with it."""

    def __init__(self, known: Sequence[ResourceType], *, extend_only: bool) -> None:
        self.extend_only = extend_only
        self.problems: list[str] = []
        self.types = {rt.name.lower(): rt for rt in known}
        self.schemas: dict[str, Schema] = {}
        self.core: set[str] = set()
        self.declared: set[str] = set()
        self.used: set[str] = set()
        for rt in known:
            self.core.add(rt.schema.id.lower())
            for schema in (rt.schema, *(extension for extension, _ in rt.extensions)):
                self.schemas[schema.id.lower()] = schema

    def finished(self) -> tuple[ResourceType, ...]:
        """All resource types. Raises DeclarationError."""
        for urn in sorted(self.declared - self.used):
            self.problems.append(f"{self.schemas[urn].id}: is used by no resource type")
        if self.problems:
            raise DeclarationError(self.problems)
        return tuple(self.types.values())

    def add_schema(self, raw: Mapping[str, Any]) -> None:
        """Take one schema definition."""
        urn = raw.get("id")
        if type(urn) is not str or not _URN.fullmatch(urn):
            self.problems.append(f"schema {urn!r}: id must be a URN of letters, digits and . _ - :")
            return
        if urn.lower() in self.schemas:
            self.problems.append(f"{urn}: is declared already")
            return
        attributes = self._attributes(raw.get("attributes"), f"{urn}:")
        name = raw.get("name") or urn.rsplit(":", 1)[1]
        self.schemas[urn.lower()] = Schema(urn, str(name), str(raw.get("description") or ""), attributes)
        self.declared.add(urn.lower())

    def add_resource_type(self, raw: Mapping[str, Any]) -> None:
        """Take one resource type definition; its schemas must have been taken before."""
        name, before = raw.get("name"), len(self.problems)
        if type(name) is not str or not _NAME.fullmatch(name):
            self.problems.append(f"resource type {name!r}: name must be letters, digits, _ and -")
            return
        known = self.types.get(name.lower())
        if known is None and self.extend_only:
            self.problems.append(f"{name}: is not served here; {', '.join(rt.name for rt in self.types.values())} are")
            return
        if known is None:
            self._check_endpoint(raw.get("endpoint"), name)
            schema = self._schema(raw.get("schema"), f"{name}: schema")
        else:
            schema = known.schema
            if (raw.get("endpoint"), raw.get("schema", schema.id)) != (known.endpoint, schema.id):
                self.problems.append(f"{name}: keeps the endpoint {known.endpoint} and the schema {schema.id}")
        extensions = dict(known.extensions if known else ())
        for extension, required in self._extensions(raw.get("schemaExtensions", []), name):
            if extension is schema:
                self.problems.append(f"{name}: {extension.id} cannot extend itself")
            extensions[extension] = required
        if schema is None or len(self.problems) > before:
            return
        endpoint = known.endpoint if known else str(raw["endpoint"])
        description = known.description if known else str(raw.get("description") or "")
        self.types[name.lower()] = ResourceType(name, endpoint, description, schema, tuple(extensions.items()))

    def _check_endpoint(self, endpoint: Any, name: str) -> None:
        taken = {*RESERVED, *(rt.endpoint.lower() for rt in self.types.values())}
        if type(endpoint) is not str or not _ENDPOINT.fullmatch(endpoint):
            self.problems.append(f"{name}: endpoint must be a slash and letters, digits, _ and -, such as /Devices")
        elif endpoint.lower() in taken:
            self.problems.append(f"{name}: the endpoint {endpoint} is taken")

    def _extensions(self, raw: Any, name: str) -> Iterator[tuple[Schema, bool]]:
        if type(raw) is not list or not all(type(item) is dict for item in raw):
            self.problems.append(f"{name}: schemaExtensions must be a list of objects with schema and required")
            return
        for item in raw:
            schema = self._schema(item.get("schema"), f"{name}: schemaExtensions")
            required = item.get("required", False)
            if type(required) is not bool:
                self.problems.append(f"{name}: schemaExtensions: required must be true or false")
            elif schema is not None:
                yield schema, required

    def _schema(self, urn: Any, where: str) -> Schema | None:
        schema = self.schemas.get(urn.lower()) if type(urn) is str else None
        if schema is None:
            self.problems.append(f"{where}: there is no schema {urn!r}")
        else:
            self.used.add(schema.id.lower())
        return schema

    def _attributes(self, raw: Any, parent: str, *, sub: bool = False) -> tuple[Attribute, ...]:
        if type(raw) is not list or not raw:
            self.problems.append(
                f"{parent} {'subAttributes' if sub else 'attributes'} must be a list, not an empty one"
            )
            return ()
        found: dict[str, Attribute] = {}
        for item in raw:
            attribute = self._attribute(item, parent, sub)
            # Some list what every resource has; that is known and cannot be changed.
            if attribute is None or (not sub and attribute.name.lower() in _COMMON_NAMES):
                continue
            if attribute.name.lower() in found:
                self.problems.append(f"{parent}{attribute.name}: is declared twice")
            found[attribute.name.lower()] = attribute
        return tuple(found.values())

    def _attribute(self, raw: Any, parent: str, sub: bool) -> Attribute | None:
        name = raw.get("name") if type(raw) is dict else None
        if type(name) is not str or not _NAME.fullmatch(name):
            self.problems.append(f"{parent} {name!r}: an attribute's name must be letters, digits, _ and -")
            return None
        where = f"{parent}{name}"
        given: dict[str, Any] = {key: self._choice(raw, key, where) for key in _CHOICES}
        given |= {field: self._flag(raw, key, where) for key, field in _FLAGS.items()}
        given |= {field: self._texts(raw, key, where) for key, field in _LISTS.items()}
        if given["type"] == "complex" and not sub:
            given["sub_attributes"] = self._attributes(raw.get("subAttributes"), f"{where}.", sub=True)
        given["case_exact"] |= given["type"] in ("binary", "reference")  # RFC 7643 §2.3.6, §2.3.7
        self.problems += [f"{where}: {fault}" for fault in _contradictions(name, given, raw, sub)]
        return Attribute(name, description=str(raw.get("description") or ""), **given)

    def _choice(self, raw: Mapping[str, Any], key: str, where: str) -> str:
        value = raw.get(key, _CHOICES[key][0])
        if value not in _CHOICES[key]:
            self.problems.append(f"{where}: {key} must be one of {', '.join(dict.fromkeys(_CHOICES[key]))}")
        return str(value)

    def _flag(self, raw: Mapping[str, Any], key: str, where: str) -> bool:
        value = raw.get(key, False)
        if type(value) is not bool:
            self.problems.append(f"{where}: {key} must be true or false")
        return value is True

    def _texts(self, raw: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        value = raw.get(key) or []
        if type(value) is not list or not all(type(item) is str for item in value):
            self.problems.append(f"{where}: {key} must be a list of texts")
            return ()
        return tuple(value)


def _contradictions(name: str, given: Mapping[str, Any], raw: Mapping[str, Any], sub: bool) -> Iterable[str]:
    if sub and given["type"] == "complex":
        yield "a sub-attribute cannot be complex (RFC 7643 §2.3.8)"
    if given["type"] != "complex" and raw.get("subAttributes"):
        yield "only a complex attribute has subAttributes"
    if given["mutability"] == "writeOnly" and given["returned"] != "never":
        yield "what is writeOnly is returned never"
    if given["type"] in ("complex", "boolean") and given["uniqueness"] != "none":
        yield f"a {given['type']} value cannot be unique"
    if not sub and name.lower() == "active" and (given["type"] != "boolean" or given["multi_valued"]):
        yield "active must be one boolean"
