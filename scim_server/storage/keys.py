"""What a document is found by: the columns, the indexed values and the search document that are made from it.

All text in them is folded here, in Python, because databases disagree about case. filter_sql.py reads what this
module writes, and learns from `key_columns` and `indexed` where to look. No I/O.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson

from scim_server.protocol.attributes import Attribute, AttributeRef, ResourceType, Schema
from scim_server.protocol.date_time import to_unix_ms
from scim_server.protocol.fold import fold
from scim_server.protocol.notation import notation, resolve
from scim_server.protocol.schemas import ENTERPRISE_URN
from scim_server.storage.change import ResourceRow, ValueRow

# Attributes, in the notation of RFC 7644 §3.10, whose values get index rows so that `eq` finds them at once.
INDEXED: Mapping[str, tuple[str, ...]] = {
    "User": (
        "emails.value",
        "phoneNumbers.value",
        f"{ENTERPRISE_URN}:employeeNumber",
        f"{ENTERPRISE_URN}:manager.value",
    ),
}
_COLUMNS: Mapping[str, str] = {
    "externalId": "external_id",
    "displayName": "display_name_key",
    "name.familyName": "family_name_key",
}
# A Postgres index entry holds at most 2,704 bytes with all its columns; protocol/value.py lets a unique value have
# 255 characters, which only musical symbols can fold to more than this.
KEY_BYTES = 1_300
_RULES = 1  # grows when the code below makes other rows of the same schemas
_TEXTUAL = ("string", "reference", "binary")
_NUMERIC = ("integer", "decimal")


@dataclass(frozen=True, slots=True)
class IndexedValue:
    """An attribute with index rows: `name` is `resource_value.attr`; no two resources share an `exclusive` value."""

    ref: AttributeRef
    name: str
    exclusive: bool


def row_of(
    document: Mapping[str, Any], resource_type: ResourceType, *, active: bool, unique_display_name: bool
) -> ResourceRow:
    """The columns of a document as protocol.resource.check leaves it. `unique_display_name`: no two groups of the
    tenant may share a displayName."""
    keys = {column: _key_at(document, ref) for ref, column in key_columns(resource_type).items()}
    if unique_display_name and resource_type.name == "Group":
        keys["unique_key"] = keys["display_name_key"]
    return ResourceRow(
        doc=orjson.dumps(document).decode(),
        search=orjson.dumps(search_of(document, resource_type)).decode(),
        active=active,
        **keys,
    )


def values_of(document: Mapping[str, Any], resource_type: ResourceType) -> set[ValueRow]:
    """The index rows of a document."""
    return {row for _, _, row in indexed_values(document, resource_type)}


def indexed_values(
    document: Mapping[str, Any], resource_type: ResourceType
) -> Iterator[tuple[AttributeRef, Any, ValueRow]]:
    """Each value that has an index row: its attribute, the value as it stands in the document, the row."""
    for each in indexed(resource_type):
        for value in _held(document, each.ref):
            found = _searched(each.ref.leaf, value)
            if found is not None:
                yield each.ref, value, ValueRow(each.name, value_key(found), each.exclusive)


@cache
def rules(resource_type: ResourceType, *, unique_display_name: bool) -> str:
    """A name for the way in which all this is made of a document: equal names, equal rows."""
    shown = {notation(ref): column for ref, column in key_columns(resource_type).items()}
    values = {notation(each.ref): each.exclusive for each in indexed(resource_type)}
    searched = [
        [
            schema.id if schema else "",
            *_characteristics(attribute),
            [_characteristics(s) for s in attribute.sub_attributes],
        ]
        for schema, attribute in resource_type.attributes()
    ]
    by_name = unique_display_name and resource_type.name == "Group"
    content = [_RULES, KEY_BYTES, sorted(shown.items()), sorted(values.items()), sorted(searched, key=str), by_name]
    return hashlib.sha256(orjson.dumps(content)).hexdigest()


def _characteristics(attribute: Attribute) -> list[Any]:
    return [attribute.name, attribute.type, attribute.multi_valued, attribute.case_exact]


def search_of(document: Mapping[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """The document as filters see it: text folded unless caseExact, a dateTime as unix milliseconds, true as 1, a
    multi-valued attribute always as a list; without what has a column that says it all."""
    core, extensions = _searchable(resource_type)
    search = _searched_object(document, core)
    for urn, attributes in extensions.items():
        if urn in document:
            search[urn] = _searched_object(document[urn], attributes)
    return search


def value_key(value: str | int | float) -> str:
    """The text that an index row holds for a value of the search document."""
    return index_key(value) if isinstance(value, str) else repr(value)


def index_key(text: str) -> str:
    """The text itself, or of one too long for an index its beginning and its SHA-256."""
    raw = text.encode()
    if len(raw) <= KEY_BYTES:
        return text
    return beginning(text) + hashlib.sha256(raw).hexdigest()


def beginning(text: str) -> str:
    """As much of the text as every `index_key` of a text that starts with it starts with."""
    return text.encode()[: KEY_BYTES - 64].decode(errors="ignore")


def plain_number(value: float) -> int | float:
    """One spelling for each number: databases compare 2 and 2.0 by the digits that they are sent."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**63 else value


@cache
def unique_attribute(resource_type: ResourceType) -> Attribute | None:
    """The core attribute in the column `unique_key`: the first single text that no two resources may share."""
    for attribute in resource_type.schema.attributes:
        if attribute.uniqueness != "none" and attribute.type in _TEXTUAL and not attribute.multi_valued:
            return attribute
    return None


@cache
def key_columns(resource_type: ResourceType) -> Mapping[AttributeRef, str]:
    """Single-valued core text -> the indexed column that holds its `index_key`."""
    found = {ref: column for name, column in _COLUMNS.items() if (ref := _text_reference(name, resource_type))}
    unique = unique_attribute(resource_type)
    return {**found, AttributeRef(None, unique): "unique_key"} if unique else found


@cache
def indexed(resource_type: ResourceType) -> tuple[IndexedValue, ...]:
    """Attributes with index rows: INDEXED, and all that are unique but for the one in `unique_key`."""
    names = INDEXED.get(resource_type.name, ())
    found = {ref: False for name in names if isinstance(ref := resolve(name, resource_type), AttributeRef)}
    found |= dict.fromkeys(_unique_refs(resource_type), True)
    return tuple(IndexedValue(ref, _short(ref), exclusive) for ref, exclusive in found.items())


def _unique_refs(resource_type: ResourceType) -> Iterator[AttributeRef]:
    for schema, attribute in resource_type.attributes():
        extension = schema.id if schema else None
        if attribute.name == "id" or attribute is unique_attribute(resource_type):
            continue
        if attribute.uniqueness != "none":
            yield AttributeRef(extension, attribute)
        for sub in attribute.sub_attributes:
            if sub.uniqueness != "none":
                yield AttributeRef(extension, attribute, sub)


def _short(ref: AttributeRef) -> str:
    """Unambiguous like the full name, but not sixty bytes longer in every row of every user."""
    return notation(ref).replace(ENTERPRISE_URN, "enterprise").lower()


def _text_reference(name: str, resource_type: ResourceType) -> AttributeRef | None:
    ref = resolve(name, resource_type)
    if not isinstance(ref, AttributeRef) or ref.extension or ref.attribute.multi_valued or ref.leaf.multi_valued:
        return None
    return ref if ref.leaf.type in _TEXTUAL else None


def _key_at(document: Mapping[str, Any], ref: AttributeRef) -> str | None:
    for value in _held(document, ref):
        found = _searched(ref.leaf, value)
        return index_key(found) if isinstance(found, str) else None
    return None


def _held(document: Mapping[str, Any], ref: AttributeRef) -> Iterator[Any]:
    container = document if ref.extension is None else document.get(ref.extension, {})
    for element in _each(container.get(ref.attribute.name)):
        yield from _each(element.get(ref.sub.name)) if ref.sub else (element,)


def _each(held: Any) -> list[Any]:
    if isinstance(held, list):
        return held
    return [] if held is None else [held]


_Attributes = Mapping[str, Attribute]


@cache
def _searchable(resource_type: ResourceType) -> tuple[_Attributes, Mapping[str, _Attributes]]:
    in_columns = (unique_attribute(resource_type), resource_type.schema.attribute("active"))
    core = {name: each for name, each in _named(resource_type.schema).items() if each not in in_columns}
    return core, {schema.id: _named(schema) for schema, _ in resource_type.extensions}


def _named(schema: Schema) -> _Attributes:
    return {attribute.name: attribute for attribute in schema.attributes}


def _searched_object(held: Mapping[str, Any], attributes: _Attributes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in held.items():
        attribute = attributes.get(name)
        if attribute is None:
            continue
        if attribute.multi_valued:
            found[name] = [each for item in _each(value) if (each := _searched(attribute, item)) is not None]
        elif (each := _searched(attribute, value)) is not None:
            found[name] = each
    return found


def _searched(attribute: Attribute, value: Any) -> Any:
    """What is compared in place of a value, as protocol.match says; None for a value of another type."""
    kind = attribute.type
    if isinstance(value, str):
        if kind == "dateTime":
            return _unix_ms_or_text(value)
        return (value if attribute.case_exact else fold(value)) if kind in _TEXTUAL else None
    if isinstance(value, bool):
        return int(value) if kind == "boolean" else None
    if isinstance(value, int | float):
        return plain_number(value) if kind in _NUMERIC else None
    return _searched_object(value, _subs(attribute)) if kind == "complex" and isinstance(value, dict) else None


@cache
def _subs(attribute: Attribute) -> _Attributes:
    return {sub.name: sub for sub in attribute.sub_attributes}


def _unix_ms_or_text(value: str) -> int | str:
    try:
        return to_unix_ms(value)
    except ValueError:
        return value  # present, but equal to no time
