"""The OpenAPI document: every address of the server, every attribute that is enforced, no loose ends."""

from collections.abc import Iterator
from typing import Any

from web.serving import ENTERPRISE, Server, Tenant


async def document(server: Server) -> Any:
    answer = await server.http.get("http://scim.test/scim/v2/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


async def test_every_reference_leads_somewhere(server: Server) -> None:
    whole = await document(server)
    assert whole["openapi"] == "3.1.0"
    assert whole["servers"] == [{"url": "http://scim.test"}]
    known = {f"#/components/schemas/{name}" for name in whole["components"]["schemas"]}
    assert set(references(whole)) <= known


async def test_every_address_answers_the_methods_it_lists(server: Server, tenant: Tenant) -> None:
    for path, item in (await document(server))["paths"].items():
        listed = {method.upper() for method in item if method != "parameters"}
        address = "http://scim.test" + path.replace("{id}", "x")
        allowed = (await tenant.send("OPTIONS", address)).headers["Allow"].split(", ")
        assert set(allowed) - {"HEAD"} == listed, path
        assert ("{id}" in path) == ("parameters" in item)
        for method in listed:
            assert item[method.lower()]["summary"]


async def test_resources_as_their_schemas_say(server: Server) -> None:
    schemas = (await document(server))["components"]["schemas"]
    user = schemas["User"]
    assert user["required"] == ["schemas", "userName"]
    assert user["properties"]["password"]["writeOnly"] is True
    assert user["properties"]["groups"]["readOnly"] is True
    assert user["properties"]["emails"]["items"]["properties"]["primary"] == {
        "type": "boolean",
        "description": user["properties"]["emails"]["items"]["properties"]["primary"]["description"],
    }
    manager = user["properties"][ENTERPRISE]["properties"]["manager"]["properties"]
    assert manager["displayName"]["readOnly"] is True
    assert schemas["Group"]["properties"]["members"]["items"]["required"] == ["value"]


async def test_operations_have_names_and_links_lead_to_them(server: Server) -> None:
    paths = (await document(server))["paths"]
    operations = [each for item in paths.values() for method, each in item.items() if method != "parameters"]
    names = [each["operationId"] for each in operations]
    assert len(set(names)) == len(names)
    links = paths["/scim/v2/Users"]["post"]["responses"]["201"]["links"]
    assert set(links) == {"get", "replace", "patch", "delete"}
    assert {link["operationId"] for link in links.values()} <= set(names)


async def test_takes_and_gives(server: Server) -> None:
    paths = (await document(server))["paths"]
    post = paths["/scim/v2/Users"]["post"]
    assert set(post["responses"]) == {"201", "default"}
    assert "application/scim+json" in post["requestBody"]["content"]
    assert {one["name"] for one in paths["/scim/v2/Users"]["get"]["parameters"]} >= {"filter", "cursor", "sortBy"}
