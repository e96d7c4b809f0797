"""Quirks of OneLogin, whose JSON template mixes SCIM 1.1 into 2.0."""

from typing import Any

from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.quirks.generic import spelling
from scim_server.protocol.schemas import ENTERPRISE_URN

_MANAGER_PATH = f"{ENTERPRISE_URN}:manager"


def manager_id(body: dict[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """The manager's id under its SCIM 1.1 name.

    as sent:  {"urn:ietf:…:enterprise:2.0:User": {"manager": {"managerId": "26", "displayName": "Ada"}}}
    as meant: {"urn:ietf:…:enterprise:2.0:User": {"manager": {"value": "26", "displayName": "Ada"}}}
    """
    urn = spelling(body, ENTERPRISE_URN)
    extension = body.get(urn)
    if type(extension) is not dict:
        return body
    key = spelling(extension, "manager")
    manager = extension.get(key)
    straight = _renamed(manager)
    if straight is manager:
        return body
    return {**body, urn: {**extension, key: straight}}


def manager_id_in_operation(operation: dict[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """The same in the value of a PATCH operation."""
    value = operation.get("value")
    if type(value) is not dict:
        return operation
    path = operation.get("path")
    if type(path) is str and path.lower() in ("manager", _MANAGER_PATH.lower()):
        straight = _renamed(value)
    else:
        straight = manager_id(value, resource_type)
    return operation if straight is value else {**operation, "value": straight}


def _renamed(manager: Any) -> Any:
    if type(manager) is not dict:
        return manager
    sent = spelling(manager, "managerId")
    if sent not in manager or spelling(manager, "value") in manager:
        return manager
    return {("value" if key == sent else key): value for key, value in manager.items()}
