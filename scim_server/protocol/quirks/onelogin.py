"""Quirks of OneLogin, whose JSON template mixes SCIM 1.1 into 2.0."""

from typing import Any

from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.schemas import ENTERPRISE_URN

_MANAGER_PATH = f"{ENTERPRISE_URN}:manager"


def manager_id(body: dict[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """The manager's id under its SCIM 1.1 name.

    as sent:  {"urn:ietf:…:enterprise:2.0:User": {"manager": {"managerId": "26", "displayName": "Ada"}}}
    as meant: {"urn:ietf:…:enterprise:2.0:User": {"manager": {"value": "26", "displayName": "Ada"}}}
    """
    extension = body.get(ENTERPRISE_URN)
    if type(extension) is not dict:
        return body
    manager = extension.get("manager")
    straight = _renamed(manager)
    if straight is manager:
        return body
    return {**body, ENTERPRISE_URN: {**extension, "manager": straight}}


def manager_id_in_operation(operation: dict[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """The same in the value of a PATCH operation."""
    value = operation.get("value")
    if type(value) is not dict:
        return operation
    if operation.get("path") in ("manager", _MANAGER_PATH):
        straight = _renamed(value)
    else:
        straight = manager_id(value, resource_type)
    return operation if straight is value else {**operation, "value": straight}


def _renamed(manager: Any) -> Any:
    if type(manager) is not dict or "managerId" not in manager or "value" in manager:
        return manager
    return {("value" if key == "managerId" else key): value for key, value in manager.items()}
