"""Schemas and resource types from JSON: what is taken, and every fault of what is not."""

from typing import Any

import pytest

from scim_server.protocol import discovery
from scim_server.protocol.schema_json import DeclarationError, load
from scim_server.protocol.schemas import ENTERPRISE, GROUP, USER

DEVICE = "urn:example:params:scim:schemas:Device"
BADGE = "urn:example:params:scim:schemas:extension:Badge"


def schema(urn: str = DEVICE, *attributes: dict[str, Any]) -> dict[str, Any]:
    return {"id": urn, "name": "Device", "attributes": list(attributes) or [{"name": "serial"}]}


def device_type(**more: Any) -> dict[str, Any]:
    return {"name": "Device", "endpoint": "/Devices", "schema": DEVICE, **more}


def problems(*definitions: Any) -> list[str]:
    with pytest.raises(DeclarationError) as caught:
        load({"own.json": list(definitions)}, (USER, GROUP))
    return caught.value.problems


def test_a_type_of_its_own_with_the_defaults_of_the_rfc() -> None:
    *_, device = load({"a.json": schema(), "b.json": device_type(description="Things")}, (USER, GROUP))
    assert (device.name, device.endpoint, device.description) == ("Device", "/Devices", "Things")
    serial = device.attribute("SERIAL")
    assert serial is not None
    assert (serial.type, serial.multi_valued, serial.required, serial.case_exact) == ("string", False, False, False)
    assert (serial.mutability, serial.returned, serial.uniqueness) == ("readWrite", "default", "none")


@pytest.mark.parametrize(
    "content",
    [
        [schema(), device_type()],
        {"Resources": [schema(), device_type()], "totalResults": 2},
        {"about": "both", "schemas": [schema()], "resourceTypes": {"device": device_type()}},
    ],
)
def test_definitions_are_found_wherever_they_are(content: Any) -> None:
    assert [rt.name for rt in load({"own.json": content}, (USER, GROUP))] == ["User", "Group", "Device"]


def test_user_and_group_can_be_extended() -> None:
    extended = {"name": "User", "endpoint": "/Users", "schemaExtensions": [{"schema": BADGE, "required": True}]}
    user, group = load({"own.json": [schema(BADGE), extended]}, (USER, GROUP))
    assert user.schema is USER.schema
    assert [(one.id, required) for one, required in user.extensions] == [(ENTERPRISE.id, False), (BADGE, True)]
    assert group is GROUP


def test_what_discovery_shows_loads_again() -> None:
    schemas = [discovery.schema(one, "http://x") for one in (USER.schema, ENTERPRISE)]
    renamed = [{**one, "id": f"{one['id']}2"} for one in schemas]
    rt = {**discovery.resource_type(USER, "http://x"), "name": "Person", "endpoint": "/People"}
    rt |= {"schema": f"{USER.schema.id}2", "schemaExtensions": [{"schema": f"{ENTERPRISE.id}2", "required": False}]}
    *_, person = load({"own.json": [*renamed, rt]}, (USER, GROUP))
    shown = discovery.schema(person.schema, "http://x")["attributes"]
    assert shown == [one for one in schemas[0]["attributes"] if one["name"] != "externalId"]


def test_binary_and_references_are_case_exact() -> None:
    given = [{"name": "image", "type": "binary"}, {"name": "page", "type": "reference"}]
    *_, device = load({"own.json": [schema(DEVICE, *given), device_type()]}, (USER, GROUP))
    assert [attribute.case_exact for attribute in device.schema.attributes] == [True, True]


@pytest.mark.parametrize(
    ("attribute", "fault"),
    [
        ("text", "None: an attribute's name"),
        ({"name": "a b"}, "'a b': an attribute's name"),
        ({"name": 'x"'}, "an attribute's name"),
        ({"name": "x", "type": "text"}, "x: type must be one of string"),
        ({"name": "x", "mutability": ["readOnly"]}, "x: mutability must be one of"),
        ({"name": "x", "returned": None}, "x: returned must be one of"),
        ({"name": "x", "uniqueness": "local"}, "x: uniqueness must be one of"),
        ({"name": "x", "required": "true"}, "x: required must be true or false"),
        ({"name": "x", "multiValued": 1}, "x: multiValued must be"),
        ({"name": "x", "canonicalValues": "a"}, "x: canonicalValues must be a list"),
        ({"name": "x", "type": "complex"}, "x. subAttributes must be a list"),
        ({"name": "x", "subAttributes": [{"name": "y"}]}, "x: only a complex attribute"),
        ({"name": "x", "type": "complex", "subAttributes": [{"name": "y", "type": "complex"}]}, "x.y: a sub-attribute"),
        ({"name": "x", "type": "complex", "subAttributes": [{"name": "y"}, {"name": "Y"}]}, "x.Y: is declared twice"),
        ({"name": "x", "mutability": "writeOnly"}, "x: what is writeOnly"),
        ({"name": "x", "type": "boolean", "uniqueness": "server"}, "cannot be unique"),
        ({"name": "active"}, "active must be one boolean"),
    ],
)
def test_a_broken_attribute_is_named(attribute: Any, fault: str) -> None:
    (problem,) = problems(schema(DEVICE, attribute), device_type())
    assert fault in problem


@pytest.mark.parametrize(
    ("definitions", "fault"),
    [
        ([], "holds no schema"),
        ([schema("Device")], "must be a URN"),
        ([schema("urn:x'y:z")], "must be a URN"),
        ([schema(USER.schema.id)], "declared already"),
        ([schema(), schema(DEVICE.upper().replace("URN", "urn")), device_type()], "declared already"),
        ([schema()], "is used by no resource type"),
        ([device_type()], "there is no schema"),
        ([schema(), device_type(name="a b")], "name must be"),
        ([schema(), device_type(endpoint="Devices")], "endpoint must be"),
        ([schema(), device_type(endpoint="/a/b")], "endpoint must be"),
        ([schema(), device_type(endpoint="/users")], "is taken"),
        ([schema(), device_type(endpoint="/Bulk")], "is taken"),
        ([schema(), device_type(), device_type(name="Other")], "is taken"),
        ([schema(), device_type(schemaExtensions=[{"schema": "urn:unknown"}])], "there is no schema"),
        ([schema(), device_type(schemaExtensions={})], "must be a list"),
        ([schema(), device_type(schemaExtensions=[{"schema": ENTERPRISE.id, "required": 1}])], "required must be"),
        ([schema(), device_type(schemaExtensions=[{"schema": DEVICE}])], "cannot extend itself"),
        ([{"name": "User", "endpoint": "/People"}], "keeps the endpoint"),
    ],
)
def test_a_broken_definition_is_named(definitions: list[Any], fault: str) -> None:
    assert any(fault in problem for problem in problems(*definitions))


def test_all_faults_are_told_at_once() -> None:
    broken = schema(DEVICE, {"name": "x", "type": "text", "required": "no"}, {"name": "-"})
    assert len(problems(broken, device_type(endpoint="Devices"), "nothing")) == 4
