"""Quirks of Microsoft Entra ID, both dialects (with and without `aadOptscim062020`)."""

import json
from typing import Any

from scim_server.protocol.attributes import Attribute, ResourceType
from scim_server.protocol.quirks.generic import with_elements, with_elements_of_operation
from scim_server.protocol.schemas import ENTERPRISE_URN

_MISSPELT_URN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User"
_MICROSOFT_GROUP = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"


def misspelt_enterprise_urn(body: dict[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """Q17: a colon is missing in the URN of the enterprise extension.

    as sent:  {"schemas": ["urn:ietf:…:enterprise:2.0User"], "urn:ietf:…:enterprise:2.0User": {"department": "R&D"}}
    as meant: {"schemas": ["urn:ietf:…:enterprise:2.0:User"], "urn:ietf:…:enterprise:2.0:User": {"department": "R&D"}}
    """
    body = _respelt_keys(body)
    declared = body.get("schemas")
    if type(declared) is list and _MISSPELT_URN in declared:
        return {**body, "schemas": [ENTERPRISE_URN if urn == _MISSPELT_URN else urn for urn in declared]}
    return body


def misspelt_enterprise_urn_in_operation(operation: dict[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """Q17: the same in the path or in the keys of the value of a PATCH operation."""
    path, value = operation.get("path"), operation.get("value")
    if type(path) is str and path.startswith(_MISSPELT_URN):
        operation = {**operation, "path": _respelt(path)}
    if type(value) is dict and (straight := _respelt_keys(value)) is not value:
        operation = {**operation, "value": straight}
    return operation


def microsoft_group_schema(body: dict[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """Q18: groups declare a schema of Microsoft's own that carries nothing.

    as sent:  {"schemas": ["urn:ietf:…:core:2.0:Group", "http://schemas.microsoft.com/…/ADSCIM/2.0/Group"], …}
    as meant: {"schemas": ["urn:ietf:…:core:2.0:Group"], …}
    """
    declared = body.get("schemas")
    if type(declared) is not list or _MICROSOFT_GROUP not in declared:
        return body
    return {**body, "schemas": [urn for urn in declared if urn != _MICROSOFT_GROUP]}


def roles_in_json_text(body: dict[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """Q26: app roles as JSON inside a string (SingleAppRoleAssignment and AppRoleAssignmentsComplex mappings).

    as sent:  {"roles": [{"value": "{\\"id\\":\\"1\\",\\"value\\":\\"sales\\",\\"displayName\\":\\"Sales\\"}"}]}
    as meant: {"roles": [{"value": "sales", "display": "Sales"}]}
    """
    return with_elements(body, resource_type, _decoded_role)


def roles_in_json_text_in_operation(operation: dict[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """Q26: the same in the value of a PATCH operation."""
    return with_elements_of_operation(operation, resource_type, _decoded_role)


def _respelt_keys(value: dict[str, Any]) -> dict[str, Any]:
    if not any(key.startswith(_MISSPELT_URN) for key in value):
        return value
    return {_respelt(key): item for key, item in value.items()}


def _respelt(text: str) -> str:
    return text.replace(_MISSPELT_URN, ENTERPRISE_URN, 1)


def _decoded_role(element: Any, attribute: Attribute) -> Any:
    if attribute.name != "roles":
        return element
    text = element.get("value") if type(element) is dict else element
    if type(text) is not str or not text.startswith("{"):
        return element
    try:
        role = json.loads(text)
    except (ValueError, RecursionError):  # nested deeper than any role
        return element
    if type(role) is not dict or type(role.get("value")) is not str:
        return element
    straight = dict(element) if type(element) is dict else {}
    straight["value"] = role["value"]
    if type(role.get("displayName")) is str:
        straight["display"] = role["displayName"]
    return straight
