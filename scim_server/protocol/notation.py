"""Attribute notation (RFC 7644 §3.10): what a name such as `urn:…:User:manager.value` refers to, and back to text.

Owns name resolution for filters, PATCH paths and `attributes=` alike; knows neither filters nor values.
Only declared names resolve, so no text from outside ever reaches the attributes of a Python object.
"""

import re
from dataclasses import dataclass

from scim_server.protocol.attributes import Attribute, AttributeRef, ResourceType, Schema

_NAME = r"[A-Za-z$][\w$-]*"
_URN = r"[A-Za-z][A-Za-z0-9+.-]*:[!#-'*-Z\\^-~]+"  # printable ASCII without quotes and brackets
_FORM = re.compile(rf"({_URN}):|(?:({_URN}):)?({_NAME})(?:\.({_NAME}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class UnknownExtension:
    """The text is well formed, but the resource type declares no schema of this URN."""

    urn: str


def resolve(text: str, resource_type: ResourceType) -> AttributeRef | Schema | UnknownExtension | None:
    """What `text` names: an attribute, the whole of a schema (its URN alone), an undeclared URN, or None: nothing.

    A name without URN that is not a core attribute means the extension attribute of that name if exactly one
    declared extension has it, because clients write `manager`; `urn:…:User.manager` is `urn:…:User:manager`.
    """
    schema = _schema(text, resource_type)
    if schema is not None:
        return schema
    form = _FORM.fullmatch(text)
    if form is None:
        return None
    whole, urn, name, sub_name = form.groups()
    if whole is not None:
        return _schema(whole, resource_type) or UnknownExtension(whole)
    if urn is None:
        return _with_sub(_unqualified(name, resource_type), sub_name)
    schema = _schema(urn, resource_type)
    if schema is None and sub_name is not None:
        # A dot after the URN of a schema, whose own last part then looks like the name of an attribute.
        schema, name, sub_name = _schema(f"{urn}:{name}", resource_type), sub_name, None
    if schema is None:
        return UnknownExtension(urn)
    if schema is resource_type.schema:
        return _with_sub(_ref(None, resource_type.attribute(name)), sub_name)
    return _with_sub(_ref(schema.id, schema.attribute(name)), sub_name)


def notation(ref: AttributeRef) -> str:
    """The full name of what `ref` refers to, in declared case; `resolve` gives the same reference back."""
    name = ref.attribute.name if ref.extension is None else f"{ref.extension}:{ref.attribute.name}"
    return name if ref.sub is None else f"{name}.{ref.sub.name}"


def brief(text: str) -> str:
    """A client's own words, cut short and made printable, to be quoted in a detail."""
    printable = "".join(char if char.isprintable() else "?" for char in text[:60])
    return f"`{printable}…`" if len(text) > 60 else f"`{printable}`"


def _schema(urn: str, resource_type: ResourceType) -> Schema | None:
    if ":" not in urn:
        return None
    if urn.lower() == resource_type.schema.id.lower():
        return resource_type.schema
    return resource_type.extension(urn)


def _unqualified(name: str, resource_type: ResourceType) -> AttributeRef | None:
    core = resource_type.attribute(name)
    if core is not None:
        return AttributeRef(None, core)
    candidates = [_ref(schema.id, schema.attribute(name)) for schema, _ in resource_type.extensions]
    declared = [ref for ref in candidates if ref is not None]
    return declared[0] if len(declared) == 1 else None


def _ref(extension: str | None, attribute: Attribute | None) -> AttributeRef | None:
    return AttributeRef(extension, attribute) if attribute else None


def _with_sub(ref: AttributeRef | None, sub_name: str | None) -> AttributeRef | None:
    if ref is None or sub_name is None:
        return ref
    sub = ref.attribute.sub(sub_name)
    return AttributeRef(ref.extension, ref.attribute, sub) if sub else None
