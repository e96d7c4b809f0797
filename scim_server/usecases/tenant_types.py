"""The resource types of one tenant: those of the deployment that it has, with the extensions of its own.

Made once for each combination of options and kept: whatever is compiled for a resource type is kept by its identity.
"""

from functools import cache

import orjson

from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.errors import Unavailable
from scim_server.protocol.schema_json import DeclarationError, load
from scim_server.usecases.options import TenantOptions

_ALWAYS = ("user", "group")


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
        _extended(_chosen(types, options.resource_types), options.schemas)
    except DeclarationError as fault:
        problems += fault.problems
    return problems


@cache
def _chosen(types: tuple[ResourceType, ...], names: tuple[str, ...]) -> tuple[ResourceType, ...]:
    wanted = {*_ALWAYS, *(name.lower() for name in names)}
    return tuple(rt for rt in types if not names or rt.name.lower() in wanted)


@cache
def _extended(types: tuple[ResourceType, ...], schemas: str) -> tuple[ResourceType, ...]:
    return load({"schemas": orjson.loads(schemas)}, types, extend_only=True) if schemas else types
