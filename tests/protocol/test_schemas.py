"""The schemas as data, and as discovery shows them."""

from typing import Any

from scim_server.protocol import discovery
from scim_server.protocol.schemas import ENTERPRISE, GROUP, USER

BASE = "https://scim.example/scim/v2"


def nulls(value: Any) -> bool:
    if isinstance(value, dict):
        return any(nulls(item) for item in value.values())
    return any(nulls(item) for item in value) if isinstance(value, list) else value is None


def test_names_are_found_in_any_case() -> None:
    assert USER.attribute("USERNAME") is USER.schema.attribute("userName")
    assert USER.attribute("externalid") is not None
    assert USER.extension(ENTERPRISE.id.upper()) is ENTERPRISE
    assert USER.attribute("department") is None
    emails = USER.attribute("emails")
    assert emails is not None
    assert emails.sub("Value") is emails.by_name["value"]


def test_characteristics_that_the_server_relies_on() -> None:
    user, group = USER.schema.by_name, GROUP.schema.by_name
    assert (user["username"].required, user["username"].uniqueness, user["username"].case_exact) == (
        True,
        "server",
        False,
    )
    assert (user["password"].mutability, user["password"].returned) == ("writeOnly", "never")
    assert user["groups"].mutability == "readOnly"
    assert group["displayname"].required
    assert group["members"].by_name["value"].mutability == "immutable"
    assert ENTERPRISE.by_name["manager"].by_name["displayname"].mutability == "readOnly"


def test_every_attribute_says_what_it_is() -> None:
    for resource_type in (USER, GROUP):
        for _, attribute in resource_type.attributes():
            if attribute.name not in ("schemas", "id", "externalId", "meta"):
                assert attribute.description
                assert all(sub.description for sub in attribute.sub_attributes)
                assert (attribute.type == "complex") == bool(attribute.sub_attributes)


def test_schema_is_rendered_in_camel_case_without_nulls() -> None:
    rendered = discovery.schema(USER.schema, BASE)
    by_name = {attribute["name"]: attribute for attribute in rendered["attributes"]}
    assert rendered["id"] == USER.schema.id
    assert rendered["meta"] == {"resourceType": "Schema", "location": f"{BASE}/Schemas/{USER.schema.id}"}
    assert by_name["userName"]["caseExact"] is False
    assert by_name["emails"]["multiValued"] is True
    assert not nulls(rendered)


def test_entra_finds_what_it_maps() -> None:
    by_name = {a["name"]: a for a in discovery.schema(USER.schema, BASE)["attributes"]}
    types = {
        name: next(s for s in by_name[name]["subAttributes"] if s["name"] == "type")
        for name in ("emails", "phoneNumbers", "addresses", "roles")
    }
    assert types["emails"]["canonicalValues"] == ["work", "home", "other"]
    assert types["phoneNumbers"]["canonicalValues"] == ["work", "home", "mobile", "fax", "pager", "other"]
    assert "canonicalValues" not in types["roles"]
    assert "externalId" in by_name
    assert "externalId" in {a["name"] for a in discovery.schema(GROUP.schema, BASE)["attributes"]}
    assert "externalId" not in {a["name"] for a in discovery.schema(ENTERPRISE, BASE)["attributes"]}


def test_attributes_can_be_left_out_of_a_schema() -> None:
    names = [a["name"] for a in discovery.schema(USER.schema, BASE, without={"password"})["attributes"]]
    assert "password" not in names
    assert "userName" in names


def test_resource_type() -> None:
    assert discovery.resource_type(USER, BASE) == {
        "schemas": [discovery.RESOURCE_TYPE_URN],
        "id": "User",
        "name": "User",
        "endpoint": "/Users",
        "description": "User account",
        "schema": USER.schema.id,
        "schemaExtensions": [{"schema": ENTERPRISE.id, "required": False}],
        "meta": {"resourceType": "ResourceType", "location": f"{BASE}/ResourceTypes/User"},
    }


def test_service_provider_config_states_every_capability() -> None:
    config = discovery.service_provider_config(
        BASE,
        max_results=1000,
        default_results=100,
        cursor_timeout_s=3600,
        bulk_max_operations=1000,
        bulk_max_payload_size=1_048_576,
    )
    assert config["patch"] == {"supported": True}
    assert config["bulk"] == {"supported": True, "maxOperations": 1000, "maxPayloadSize": 1_048_576}
    assert config["filter"] == {"supported": True, "maxResults": 1000}
    assert {"changePassword", "sort", "etag", "pagination", "authenticationSchemes"} <= config.keys()
    assert "documentationUri" not in config
    assert not nulls(config)
