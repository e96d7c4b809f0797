"""The resource types of one tenant: those of the deployment that it has, with the extensions of its own.

Made once for each combination of options and kept: whatever is compiled for a resource type is kept by its identity.
"""

from functools import cache

import orjson

from scim_server.protocol.attributes import AttributeRef, ResourceType
from scim_server.protocol.errors import Unavailable
from scim_server.protocol.notation import notation, resolve
from scim_server.protocol.schema_json import DeclarationError, load
from scim_server.usecases.options import TenantOptions

_ALWAYS = ("user", "group")
_TOLD_OTHERWISE = ("active", "members")  # by events of their own


def types_of(types: tuple[ResourceType, ...], options: TenantOptions) -> tuple[ResourceType, ...]:
    """What a tenant with these options has of the deployment's `types`. Raises Unavailable when its schemas do not go
    with the deployment's any more: to go on without them would store and show what it had forbidden."""
    if not options.schemas and not options.resource_types:
        return types
    try:
        return _extended(_chosen(types, options.resource_types), options.schemas)
    except DeclarationError as fault:
        raise Unavailable(
            "This tenant's own schemas do not go with the server's; the operator has to correct its option schemas."
        ) from fault


def type_of(types: tuple[ResourceType, ...], options: TenantOptions, name: str) -> ResourceType | None:
    """The tenant's resource type of this name; None where it has none. Raises Unavailable."""
    return next((rt for rt in types_of(types, options) if rt.name == name), None)


def faults(types: tuple[ResourceType, ...], options: TenantOptions) -> list[str]:
    """Why a tenant cannot have these options, one line for each reason."""
    declared = {rt.name.lower(): rt.name for rt in types}
    known = ", ".join(name for key, name in declared.items() if key not in _ALWAYS)
    problems = [
        f"resource_types: there is no {name}; {f'there are {known}' if known else 'the server has none of its own'}"
        for name in options.resource_types
        if name.lower() not in (*declared, "none")
    ]
    try:
        had = _extended(_chosen(types, options.resource_types), options.schemas)
    except DeclarationError as fault:
        return problems + fault.problems
    told_of = [rt for rt in had if rt.name.lower() in _ALWAYS]
    return problems + [said for name in options.event_values if (said := _cannot_leave(name, told_of))]


def _cannot_leave(name: str, types: list[ResourceType]) -> str | None:
    refs = [ref for rt in types if isinstance(ref := resolve(name, rt), AttributeRef)]
    if not refs:
        return f"event_values: {name} is no attribute of User or Group"
    ref = refs[0]
    if ref.sub is not None or notation(ref) != name:
        return f"event_values: {name} is to be written {notation(AttributeRef(ref.extension, ref.attribute))}"
    parts = (ref.attribute, *ref.attribute.sub_attributes)
    if name in _TOLD_OTHERWISE or ref.attribute.mutability == "readOnly" or any(p.returned == "never" for p in parts):
        return f"event_values: {name} cannot be in an event"
    return None


@cache
def _chosen(types: tuple[ResourceType, ...], names: tuple[str, ...]) -> tuple[ResourceType, ...]:
    wanted = {*_ALWAYS, *(name.lower() for name in names)}
    return tuple(rt for rt in types if not names or rt.name.lower() in wanted)


@cache
def _extended(types: tuple[ResourceType, ...], schemas: str) -> tuple[ResourceType, ...]:
    return load({"schemas": orjson.loads(schemas)}, types, extend_only=True) if schemas else types
