"""Dialects of known clients, turned into what the RFCs would have them send: pure request -> request functions.

One file per client, one function per quirk; its docstring shows the request as sent and as meant and names the
entry in docs/idp (Qnn). A function gives back the very object it got when it has nothing to do. Tolerance is per
request, not per tenant: one Entra tenant speaks two dialects at the same time. What only a reader of the schema
can recognise is accepted in place, by `value`, `edit`, `membership` and `patch`, under the names in READ_IN_PLACE.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.quirks import entra, generic, okta, onelogin

ResourceQuirk = Callable[[dict[str, Any], ResourceType], dict[str, Any]]
EnvelopeQuirk = Callable[[dict[str, Any]], dict[str, Any]]
OperationQuirk = Callable[[dict[str, Any], ResourceType], dict[str, Any]]

RESOURCE: tuple[ResourceQuirk, ...] = (
    entra.misspelt_enterprise_urn,
    entra.microsoft_group_schema,
    okta.custom_group_schema,
    generic.path_keys,
    onelogin.manager_id,
    entra.roles_in_json_text,
    generic.display_name_of_element,
)
ENVELOPE: tuple[EnvelopeQuirk, ...] = (generic.envelope_keys,)
OPERATION: tuple[OperationQuirk, ...] = (
    entra.misspelt_enterprise_urn_in_operation,
    onelogin.manager_id_in_operation,
    entra.roles_in_json_text_in_operation,
    generic.display_name_of_element_in_operation,
)

READ_IN_PLACE: Mapping[str, str] = {
    "string-boolean": 'Q23: `"active": "False"` is read as `"active": false`, in every position and case.',
    "wrapped-value": 'Q23: `"active": [{"value": "False"}]` is read as `"active": "False"`; so are all plain ones.',
    "number-for-text": 'A number where text belongs is read as its digits: `"employeeNumber": 7` is `"7"`.',
    "bare-value": 'Q21, Q27: `"manager": "26"` is read as `"manager": {"value": "26"}`; the same for list elements.',
    "list-for-object": 'Q27: `"manager": [{"value": "26"}]` is read as `"manager": {"value": "26"}`.',
    "object-for-list": 'Q21: `"emails": {…}` is read as `"emails": [{…}]`.',
    "remove-by-value": "Q20: `remove` with a path and an array of values removes just those elements.",
    "element-created": 'Q25: `emails[type eq "work"].value` without such an element creates it.',
}


def straighten_resource(body: Any, resource_type: ResourceType) -> tuple[Any, tuple[str, ...]]:
    """The body of a POST or PUT as meant, and the names of the quirks that fired. Never raises: what is no JSON object
    passes unchanged."""
    if type(body) is not dict:
        return body, ()
    return _run(RESOURCE, body, resource_type)


def straighten_patch(body: Any, resource_type: ResourceType) -> tuple[Any, tuple[str, ...]]:
    """The body of a PATCH as meant, and the names of the quirks that fired. Never raises: what has not the shape of a
    PATCH passes unchanged."""
    if type(body) is not dict:
        return body, ()
    fired: dict[str, None] = {}
    for rewrite in ENVELOPE:
        straight = rewrite(body)
        if straight is not body:
            fired[name_of(rewrite)] = None
        body = straight
    operations = body.get("Operations")
    if type(operations) is not list:
        return body, tuple(fired)
    out = []
    for operation in operations:
        if type(operation) is dict:
            operation, names = _run(OPERATION, operation, resource_type)
            fired.update(dict.fromkeys(names))
        out.append(operation)
    return {**body, "Operations": out}, tuple(fired)


def name_of(quirk: Callable[..., Any]) -> str:
    """The name under which a quirk is logged and documented, e.g. "misspelt-enterprise-urn"."""
    return quirk.__name__.removesuffix("_in_operation").replace("_", "-")


def catalogue() -> dict[str, str]:
    """Every quirk by name with what is known about it; the documentation lists exactly these."""
    rewriters: Sequence[Callable[..., Any]] = (*ENVELOPE, *RESOURCE, *OPERATION)
    # The variant for PATCH operations comes last and must not hide the fuller docstring of the first.
    found = {name_of(quirk): quirk.__doc__ or "" for quirk in reversed(rewriters)}
    return {**found, **READ_IN_PLACE}


def _run(
    quirks: Sequence[Callable[[dict[str, Any], ResourceType], dict[str, Any]]],
    body: dict[str, Any],
    resource_type: ResourceType,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    fired = []
    for rewrite in quirks:
        straight = rewrite(body, resource_type)
        if straight is not body:
            fired.append(name_of(rewrite))
            body = straight
    return body, tuple(fired)
