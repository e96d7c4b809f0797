"""Quirks that several clients share: names in another case, paths used as keys, `displayName` for `display`."""

from collections.abc import Callable
from typing import Any

from scim_server.protocol.attributes import Attribute, AttributeRef, ResourceType
from scim_server.protocol.notation import resolve

_ENVELOPE = {"schemas": "schemas", "operations": "Operations"}
_OPERATION = {"op": "op", "path": "path", "value": "value"}


def envelope_keys(body: dict[str, Any]) -> dict[str, Any]:
    """Q22: message keys in another case (JumpCloud, ssoready).

    as sent:  {"operations": [{"Op": "add", "Path": "title", "Value": "x"}]}
    as meant: {"Operations": [{"op": "add", "path": "title", "value": "x"}]}
    """
    body = _renamed(body, _ENVELOPE)
    operations = body.get("Operations")
    if type(operations) is not list:
        return body
    straight = [_renamed(operation, _OPERATION) if type(operation) is dict else operation for operation in operations]
    if all(new is old for new, old in zip(straight, operations, strict=True)):
        return body
    return {**body, "Operations": straight}


def path_keys(body: dict[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """Q17, Q24: paths as keys, and attributes of an extension outside it (Entra).

    as sent:  {"name.givenName": "Ada", "department": "R&D", "urn:…:enterprise:2.0:User:costCenter": "7"}
    as meant: {"name": {"givenName": "Ada"}, "urn:…:enterprise:2.0:User": {"department": "R&D", "costCenter": "7"}}

    In a PATCH without path nothing is moved: `patch.parse` reads every key as a path, `emails[…].value` too.
    """
    straight: dict[str, Any] = {}
    moved: dict[AttributeRef, Any] = {}  # each place once, the first: a body may spell it in thousands of ways
    for key, value in body.items():
        known = resource_type.attribute(key) is not None or resource_type.extension(key) is not None
        ref = None if known else resolve(key, resource_type)
        if isinstance(ref, AttributeRef):
            moved.setdefault(ref, value)
        else:
            straight[key] = value
    if not moved:
        return body
    for ref, value in moved.items():
        steps = [ref.extension, ref.attribute.name, ref.sub.name if ref.sub else None]
        straight = _placed(straight, [step for step in steps if step], value)
    return straight


def display_name_of_element(body: dict[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """Q21, Q26: `displayName` inside a role or member (Entra).

    as sent:  {"members": [{"value": "26", "displayName": "Ada"}]}
    as meant: {"members": [{"value": "26", "display": "Ada"}]}
    """
    return with_elements(body, resource_type, _displayed)


def display_name_of_element_in_operation(operation: dict[str, Any], resource_type: ResourceType) -> dict[str, Any]:
    """Q21, Q26: the same in the value of a PATCH operation."""
    return with_elements_of_operation(operation, resource_type, _displayed)


ElementQuirk = Callable[[Any, Attribute], Any]


def with_elements(body: dict[str, Any], resource_type: ResourceType, change: ElementQuirk) -> dict[str, Any]:
    """Apply `change(element, attribute)` to each element of each core multi-valued complex attribute of `body`;
    the same object back when nothing changed."""
    changes: dict[str, Any] = {}
    for key, value in body.items():
        if type(value) is list or type(value) is dict:
            attribute = resource_type.schema.by_name.get(key.lower())
            if attribute is not None and attribute.multi_valued and attribute.type == "complex":
                straight = _changed(value, attribute, change)
                if straight is not value:
                    changes[key] = straight
    return {**body, **changes} if changes else body


def with_elements_of_operation(
    operation: dict[str, Any], resource_type: ResourceType, change: ElementQuirk
) -> dict[str, Any]:
    """The same for the value of a PATCH operation, with or without a path."""
    value = operation.get("value")
    if type(value) is not list and type(value) is not dict:
        return operation
    path = operation.get("path")
    if type(path) is str and path:
        name = path.partition("[")[0]
        if name.lower().startswith(f"{resource_type.schema.id}:".lower()):
            name = name[len(resource_type.schema.id) + 1 :]
        straight = with_elements({name: value}, resource_type, change)[name]
    elif type(value) is dict:
        straight = with_elements(value, resource_type, change)
    else:
        return operation
    return operation if straight is value else {**operation, "value": straight}


def spelling(element: dict[str, Any], name: str) -> str:
    """The key that is `name` in whatever case; `name` itself if there is none."""
    if name in element:
        return name
    size, wanted = len(name), name.lower()
    for key in element:  # a group may have thousands: most are told apart by their length
        if len(key) == size and key.lower() == wanted:
            return key
    return name


def _renamed(message: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    if all(names.get(key.lower(), key) == key for key in message):
        return message
    return {names.get(key.lower(), key): value for key, value in message.items()}


def _placed(body: dict[str, Any], steps: list[str], value: Any) -> dict[str, Any]:
    """`body` with `value` at `steps`, unless something stands there already."""
    first, *rest = steps
    key = next((key for key in body if key.lower() == first.lower()), first)
    if not rest:
        return body if key in body else {**body, key: value}
    inner = body.get(key)
    if inner is None:
        inner = {}
    if type(inner) is not dict:
        return body
    return {**body, key: _placed(inner, rest, value)}


def _changed(value: Any, attribute: Attribute, change: ElementQuirk) -> Any:
    if type(value) is dict:
        return change(value, attribute)
    straight = [change(element, attribute) for element in value]
    same = all(new is old for new, old in zip(straight, value, strict=True))
    return value if same else straight


def _displayed(element: Any, attribute: Attribute) -> Any:
    if type(element) is not dict:
        return element
    sent = spelling(element, "displayName")
    if sent not in element or spelling(element, "display") in element:
        return element
    if attribute.sub("displayName") is not None or attribute.sub("display") is None:
        return element
    return {("display" if key == sent else key): value for key, value in element.items()}
