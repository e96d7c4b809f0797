"""Quirks of Okta. Its renames (`{"id": own, "displayName": …}` as a pathless replace) need no rewriting."""

from typing import Any

from scim_server.protocol.attributes import ResourceType

_CUSTOM_GROUP = "urn:okta:custom:group:1.0"


def custom_group_schema(body: dict[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """Q18: a pushed group carries an extension that cannot be switched off.

    as sent:  {"schemas": ["urn:ietf:…:core:2.0:Group", "urn:okta:custom:group:1.0"],
               "urn:okta:custom:group:1.0": {"description": "…"}, …}
    as meant: {"schemas": ["urn:ietf:…:core:2.0:Group"], …}
    """
    if resource_type.extension(_CUSTOM_GROUP) is not None:
        return body
    declared = body.get("schemas")
    named = type(declared) is list and _CUSTOM_GROUP in declared
    if not named and _CUSTOM_GROUP not in body:
        return body
    straight = {key: value for key, value in body.items() if key != _CUSTOM_GROUP}
    if type(declared) is list:
        straight["schemas"] = [urn for urn in declared if urn != _CUSTOM_GROUP]
    return straight
