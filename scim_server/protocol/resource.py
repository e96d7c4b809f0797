"""The body of a POST or PUT, normalised and validated (RFC 7643 §2-§4, RFC 7644 §3.3, §3.5.1).

What comes out is what is stored: canonical names, no nulls, `schemas` computed, without `id`, `meta` and other
read-only attributes. Group members and the password leave on their own: neither is ever part of the document.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from scim_server.protocol.attributes import Attribute, Profile, ResourceType
from scim_server.protocol.errors import InvalidSyntax, InvalidValue, Mutability
from scim_server.protocol.membership import Member, read_members
from scim_server.protocol.mutability import carried
from scim_server.protocol.schemas import MEMBERS, PASSWORD
from scim_server.protocol.value import Reading, missing, read, required


@dataclass(frozen=True, slots=True)
class Checked:
    """A body as it is to be stored.

    `members` is None when the body says nothing about them, [] when it empties the group. `ignored` names what
    no declared schema knows, `quirks` the deviations that were accepted; both are for the log.
    """

    document: dict[str, Any]
    members: list[Member] | None
    password: str | None
    ignored: tuple[str, ...]
    quirks: tuple[str, ...]


def check(
    body: Any,
    resource_type: ResourceType,
    profile: Profile,
    *,
    active: bool | None = None,
    current: Mapping[str, Any] | None = None,
) -> Checked:
    """Normalise and validate.

    `active` is used where the resource type has that attribute and the body does not (True on POST, the state kept
    on PUT); `current` is the stored document of a PUT, which guards immutable attributes.
    Raises InvalidSyntax, InvalidValue or Mutability.
    """
    if type(body) is not dict:
        raise InvalidSyntax("The body must be a JSON object.")
    reading = Reading(profile, refuse_second_primary=profile.refuse_second_primary)
    draft = _Draft(resource_type, reading)
    draft.take(body)
    document = draft.document
    if active is not None and "active" not in document and "active" in resource_type.schema.by_name:
        document["active"] = active
    if current is not None:
        _keep(document, current, resource_type)
    demand_required(document, resource_type)
    return Checked(
        {"schemas": schemas_of(document, resource_type), **document},
        draft.members,
        draft.password,
        reading.ignored,
        reading.quirks,
    )


def schemas_of(document: Mapping[str, Any], resource_type: ResourceType) -> list[str]:
    """The value of `schemas` for what the document holds (RFC 7643 §3)."""
    return [
        resource_type.schema.id,
        *(schema.id for schema, _ in resource_type.extensions if schema.id in document),
    ]


def demand_required(document: Mapping[str, Any], resource_type: ResourceType) -> None:
    """Raise InvalidValue for a required attribute or extension that the document lacks."""
    for attribute in required(resource_type.schema.attributes):
        if attribute.name not in document:
            raise missing(attribute, "")
    for schema, obligatory in resource_type.extensions:
        held = document.get(schema.id)
        if held is None and obligatory:
            raise InvalidValue(f"{schema.id} is required: send the extension's attributes.")
        if held is not None:
            for attribute in required(schema.attributes):
                if attribute.name not in held:
                    raise missing(attribute, f"{schema.id}:")


class _Draft:
    """The document while its body is being read."""

    __slots__ = ("document", "members", "password", "reading", "resource_type")

    def __init__(self, resource_type: ResourceType, reading: Reading) -> None:
        self.resource_type = resource_type
        self.reading = reading
        self.document: dict[str, Any] = {}
        self.members: list[Member] | None = None
        self.password: str | None = None

    def take(self, body: Mapping[str, Any], *, outermost: bool = True) -> None:
        core = self.resource_type.schema
        for key, value in body.items():
            attribute = self.resource_type.attribute(key)
            if attribute is not None:
                self._take_core(attribute, value)
            elif self.resource_type.extension(key) is not None:
                self._take_extension(key, value)
            elif outermost and type(value) is dict and key.lower() == core.id.lower():
                self.take(value, outermost=False)
            elif value is not None:
                self.reading.unknown(key)

    def _take_core(self, attribute: Attribute, value: Any) -> None:
        if attribute.name == "schemas":
            self._compare_schemas(value)
        elif attribute.mutability == "readOnly":
            pass
        elif attribute is MEMBERS:
            self.members = list(read_members(value, self.reading).values())
        else:
            normal = read(attribute, value, "", self.reading)
            if attribute is PASSWORD:
                self.password = normal
            elif normal is not None:
                self.document[attribute.name] = normal

    def _take_extension(self, key: str, value: Any) -> None:
        schema = self.resource_type.by_urn[key.lower()]
        if value is None:
            return
        if type(value) is not dict:
            raise InvalidValue(f"{schema.id} must be an object.")
        prefix = f"{schema.id}:"
        held: dict[str, Any] = {}
        for name, item in value.items():
            attribute = schema.by_name.get(name.lower())
            if attribute is None:
                if item is not None and name.lower() != "schemas":  # which some models say here too
                    self.reading.unknown(prefix + name)
            elif attribute.mutability != "readOnly":
                normal = read(attribute, item, prefix, self.reading)
                if normal is not None:
                    held[attribute.name] = normal
        if held:
            self.document[schema.id] = held

    def _compare_schemas(self, value: Any) -> None:
        """What the client declares changes nothing, but a strict tenant wants it to be true."""
        value = [] if value is None else value
        if type(value) is not list or not all(type(urn) is str for urn in value):
            raise InvalidValue("schemas must be an array of URNs.")
        strict = self.reading.profile.refuse_unknown_attributes
        core = self.resource_type.schema.id.lower()
        if strict and core not in [urn.lower() for urn in value]:
            raise InvalidSyntax(f"schemas must contain {self.resource_type.schema.id}.")
        for urn in value:
            if urn.lower() != core and self.resource_type.extension(urn) is None:
                if strict:
                    raise InvalidSyntax(f"schemas names {urn!r}, which {self.resource_type.name} does not have.")
                self.reading.unknown(urn)


def _keep(document: dict[str, Any], current: Mapping[str, Any], resource_type: ResourceType) -> None:
    """What a body does not say is gone, except for what cannot be changed and what no client can have read; an
    immutable attribute said differently is refused."""
    for urn, attribute in _kept(resource_type):
        before = (current.get(urn, {}) if urn else current).get(attribute.name)
        if before is None:
            continue
        prefix = f"{urn}:" if urn else ""
        said = (document.get(urn, {}) if urn else document).get(attribute.name)
        if attribute.mutability == "immutable" and said not in (None, before):
            raise Mutability(f"{prefix}{attribute.name} cannot be changed once it is set.")
        whole = attribute.mutability == "immutable" or attribute.returned == "never"
        after = before if whole and said is None else carried(attribute, before, said, prefix)
        if after is not None:
            (document.setdefault(urn, {}) if urn else document)[attribute.name] = after


@cache
def _kept(resource_type: ResourceType) -> tuple[tuple[str | None, Attribute], ...]:
    return tuple(
        (schema.id if schema else None, attribute)
        for schema, attribute in resource_type.attributes()
        if any(
            each.mutability == "immutable" or each.returned == "never"
            for each in (attribute, *attribute.sub_attributes)
        )
        and attribute is not MEMBERS
    )
