"""Resource types and extensions from configuration: served like /Users, enforced as declared, on both databases."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from web.serving import PATCH, USER, Server, Tenant, serving

from scim_server.settings import Settings, SettingsError

DEVICE = "urn:example:schemas:Device"
SITE = "urn:example:schemas:extension:Site"
DECLARED: dict[str, Any] = {
    "schemas": [
        {
            "id": DEVICE,
            "name": "Device",
            "attributes": [
                {"name": "serial", "required": True, "uniqueness": "server", "caseExact": True},
                {"name": "assetTag", "uniqueness": "server"},
                {"name": "model", "mutability": "immutable"},
                {"name": "ports", "type": "integer"},
                {"name": "bought", "type": "dateTime"},
                {"name": "state", "mutability": "readOnly"},
                {"name": "pin", "mutability": "writeOnly", "returned": "never"},
                {"name": "notes", "returned": "request"},
                {"name": "label", "returned": "always"},
                {"name": "tags", "multiValued": True},
                {
                    "name": "contacts",
                    "type": "complex",
                    "multiValued": True,
                    "subAttributes": [
                        {"name": "value"},
                        {"name": "type"},
                        {"name": "primary", "type": "boolean"},
                        {"name": "secret", "returned": "never"},
                        {"name": "since", "mutability": "immutable"},
                        {"name": "seen", "mutability": "readOnly"},
                    ],
                },
            ],
        },
        {"id": SITE, "name": "Site", "attributes": [{"name": "room", "required": True}, {"name": "floor"}]},
    ],
    "types": [
        {
            "name": "Device",
            "endpoint": "/Devices",
            "schema": DEVICE,
            "schemaExtensions": [{"schema": SITE, "required": False}],
        },
        {"name": "User", "endpoint": "/Users", "schemaExtensions": [{"schema": SITE, "required": False}]},
    ],
}


@pytest.fixture(scope="session")
async def devices(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """An application with these declarations."""
    folder = tmp_path_factory.mktemp("declared")
    (folder / "devices.json").write_text(json.dumps(DECLARED))
    async with serving(Settings(database_url=database_url, schemas_dir=str(folder))) as running:
        yield running


@pytest.fixture
async def tenant(devices: Server) -> Tenant:
    """A tenant of that application."""
    return await devices.tenant()


async def device(tenant: Tenant, serial: str, **attributes: Any) -> Any:
    answer = await tenant.send("POST", "/Devices", {"schemas": [DEVICE], "serial": serial, **attributes})
    assert answer.status_code == 201, answer.text
    return answer.json()


def serials(listed: Any) -> list[str]:
    return [one["serial"] for one in listed["Resources"]]


async def test_create_read_replace_patch_delete(tenant: Tenant) -> None:
    made = await device(tenant, "S1", ports=4, **{SITE: {"room": "R1"}})
    path = f"/Devices/{made['id']}"
    assert made["schemas"] == [DEVICE, SITE]
    assert made["meta"]["resourceType"] == "Device"
    assert made["meta"]["location"].endswith(path)
    put = await tenant.send("PUT", path, {"schemas": [DEVICE], "serial": "S1", "ports": 8})
    assert (put.status_code, put.json()["ports"], SITE in put.json()) == (200, 8, False)
    patched = await tenant.patch(path, {"op": "add", "path": f"{SITE}:room", "value": "R2"})
    assert (patched.status_code, patched.json()[SITE]) == (200, {"room": "R2"})
    assert (await tenant.get(path)).headers["ETag"] == 'W/"3"'
    assert (await tenant.send("DELETE", path)).status_code == 204
    assert (await tenant.get(path)).status_code == 404


async def test_found_by_every_attribute(tenant: Tenant) -> None:
    await device(tenant, "a", ports=1, tags=["x", "Y"], bought="2026-01-31T12:00:00Z", contacts=[{"value": "Ann"}])
    await device(tenant, "B", ports=20, assetTag="T-1", **{SITE: {"room": "Cellar"}})
    for text, expected in {
        'serial eq "a"': ["a"],
        'serial eq "A"': [],  # caseExact
        'assetTag eq "t-1"': ["B"],
        "ports gt 1": ["B"],
        'tags eq "y"': ["a"],
        'bought lt "2026-02-01T00:00:00Z"': ["a"],
        'contacts[value sw "an"]': ["a"],
        f'{SITE}:room eq "cellar"': ["B"],
        "label pr": [],
    }.items():
        assert serials(await tenant.found("/Devices", filter=text)) == expected, text
    assert (await tenant.get('/Devices?filter=pin eq "1"')).json()["scimType"] == "invalidFilter"
    assert serials(await tenant.found("/Devices", sortBy="ports", sortOrder="descending")) == ["B", "a"]
    assert serials(await tenant.found("/Devices", sortBy="serial")) == ["B", "a"]
    assert serials(await tenant.found("/", filter='serial eq "a"')) == ["a"]


@pytest.mark.parametrize(
    ("first", "second"),
    [({"serial": "S"}, {"serial": "S"}), ({"serial": "1", "assetTag": "Tag"}, {"serial": "2", "assetTag": "tAG"})],
)
async def test_unique_values(tenant: Tenant, first: dict[str, Any], second: dict[str, Any]) -> None:
    made = await device(tenant, **first)
    other = await device(tenant, "other")
    answer = await tenant.send("POST", "/Devices", {"schemas": [DEVICE], **second})
    assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
    name, value = list(second.items())[-1]
    assert f"Another Device of this tenant has the {name} {value!r}; look it up" in answer.json()["detail"]
    taken = {"op": "replace", "path": name, "value": value}
    refused = await tenant.patch(f"/Devices/{other['id']}", taken)
    assert (refused.status_code, refused.json()["scimType"]) == (409, "uniqueness")
    assert f"the {name} {value!r};" in refused.json()["detail"]
    assert (await tenant.send("DELETE", f"/Devices/{made['id']}")).status_code == 204
    assert (await tenant.send("POST", "/Devices", {"schemas": [DEVICE], **second})).status_code == 201


async def test_case_exact_unique_values_differ_by_case(tenant: Tenant) -> None:
    await device(tenant, "s")
    await device(tenant, "S")


async def test_required_read_only_and_immutable(tenant: Tenant) -> None:
    for body in ({}, {"serial": ""}, {"serial": "S", SITE: {"floor": "1"}}):
        answer = await tenant.send("POST", "/Devices", {"schemas": [DEVICE], **body})
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")
    made = await device(tenant, "S", state="claimed", model="M")
    path = f"/Devices/{made['id']}"
    assert "state" not in made
    kept = await tenant.send("PUT", path, {"schemas": [DEVICE], "serial": "S"})
    assert kept.json()["model"] == "M"
    for answer in (
        await tenant.send("PUT", path, {"schemas": [DEVICE], "serial": "S", "model": "N"}),
        await tenant.patch(path, {"op": "replace", "path": "model", "value": "N"}),
        await tenant.patch(path, {"op": "replace", "path": "state", "value": "x"}),
        await tenant.patch(path, {"op": "remove", "path": "serial"}),
    ):
        assert (answer.status_code, answer.json()["scimType"]) == (400, "mutability")


async def test_parts_that_are_read_only_or_immutable(tenant: Tenant) -> None:
    contact = {"value": "Ann", "since": "1999", "secret": "s"}
    made = await device(tenant, "S", contacts=[{**contact, "seen": "never"}])
    path = f"/Devices/{made['id']}"
    assert made["contacts"] == [{"value": "Ann", "since": "1999"}]
    kept = await tenant.send("PUT", path, {"serial": "S", "contacts": [{"value": "Ann", "seen": "x"}]})
    assert kept.json()["contacts"] == made["contacts"]
    assert kept.json()["meta"]["version"] == made["meta"]["version"]  # the secret is still there, too
    other = {"value": "Ann", "since": "2000"}
    for answer in (
        await tenant.send("PUT", path, {"serial": "S", "contacts": [other]}),
        await tenant.patch(path, {"op": "replace", "path": "contacts", "value": [other]}),
        await tenant.patch(path, {"op": "add", "value": {"contacts": [other]}}),
        await tenant.patch(path, {"op": "replace", "path": 'contacts[value eq "Ann"].since', "value": "2000"}),
        await tenant.patch(path, {"op": "replace", "path": 'contacts[value eq "Ann"].seen', "value": "2000"}),
        await tenant.patch(path, {"op": "remove", "path": 'contacts[value eq "Ann"].since'}),
    ):
        assert (answer.status_code, answer.json()["scimType"]) == (400, "mutability")
    gone = await tenant.send("PUT", path, {"serial": "S", "contacts": [{"value": "Bob", "since": "2000"}]})
    assert gone.json()["contacts"] == [{"value": "Bob", "since": "2000"}]


async def test_what_is_returned_when(tenant: Tenant) -> None:
    contact = {"value": "Ann", "secret": "s"}
    made = await device(tenant, "S", pin="1234", notes="n", label="l", contacts=[contact])
    path = f"/Devices/{made['id']}"
    assert "pin" not in made
    assert "notes" not in made
    assert made["contacts"] == [{"value": "Ann"}]
    asked = (await tenant.get(f"{path}?attributes=notes,pin,contacts.secret")).json()
    assert set(asked) == {"schemas", "id", "notes", "label"}
    assert "label" in (await tenant.get(f"{path}?excludedAttributes=label,serial")).json()
    listed = (await tenant.found("/Devices"))["Resources"][0]
    assert "pin" not in json.dumps(listed)


async def test_what_no_client_can_read_is_not_lost_by_a_put(tenant: Tenant) -> None:
    made = await device(tenant, "S", pin="1234")
    path = f"/Devices/{made['id']}"
    assert (await tenant.send("PUT", path, made)).json()["meta"]["version"] == 'W/"1"'
    changed = await tenant.send("PUT", path, {**made, "pin": "5678"})
    assert changed.json()["meta"]["version"] == 'W/"2"'
    assert "pin" not in changed.json()


async def test_in_bulk_together_with_users(tenant: Tenant) -> None:
    body = {
        "Operations": [
            {"method": "POST", "path": "/Devices", "bulkId": "d", "data": {"serial": "S", "label": "bulkId:u"}},
            {"method": "POST", "path": "/Users", "bulkId": "u", "data": {"schemas": [USER], "userName": "a"}},
            {"method": "PATCH", "path": "/Devices/bulkId:d", "data": [{"op": "add", "path": "ports", "value": 1}]},
        ]
    }
    outcomes = (await tenant.send("POST", "/Bulk", body)).json()["Operations"]
    assert [outcome["status"] for outcome in outcomes] == ["201", "201", "200"]
    (made,) = (await tenant.found("/Devices"))["Resources"]
    assert made["label"] == outcomes[1]["location"].rsplit("/", 1)[1]
    assert made["ports"] == 1


async def test_users_have_the_extension_too(tenant: Tenant) -> None:
    user = await tenant.user("a", **{SITE: {"room": "R"}})
    assert user["schemas"][-1] == SITE
    assert (await tenant.found("/Users", filter=f'{SITE}:room eq "r"'))["totalResults"] == 1
    answer = await tenant.send(
        "PATCH", f"/Users/{user['id']}", {"schemas": [PATCH], "Operations": [{"op": "remove", "path": f"{SITE}:room"}]}
    )
    assert (answer.status_code, answer.json()["scimType"]) == (400, "mutability")


async def test_discovery_shows_what_is_enforced(tenant: Tenant) -> None:
    types = {one["name"]: one for one in (await tenant.get("/ResourceTypes")).json()["Resources"]}
    assert set(types) == {"User", "Group", "Device"}
    assert types["Device"]["schemaExtensions"] == [{"schema": SITE, "required": False}]
    shown = (await tenant.get(f"/Schemas/{DEVICE}")).json()
    assert shown["attributes"][0]["uniqueness"] == "server"
    assert shown["attributes"][6]["returned"] == "never"


async def test_a_tenant_may_do_without(devices: Server) -> None:
    tenant = await devices.tenant("resource_types=none")
    assert (await tenant.get("/Devices")).status_code == 404
    assert (await tenant.send("POST", "/Devices", {"serial": "S"})).status_code == 404
    assert (await tenant.get("/Users")).status_code == 200
    assert len((await tenant.get("/ResourceTypes")).json()["Resources"]) == 2
    assert (await tenant.get("/?filter=serial pr")).status_code == 400
    outcome = {"method": "POST", "path": "/Devices", "bulkId": "d", "data": {"serial": "S"}}
    bulk = await tenant.send("POST", "/Bulk", {"Operations": [outcome]})
    assert bulk.json()["Operations"][0]["status"] == "404"


def test_faults_of_files_are_told_with_all_others(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "config.toml").write_text('schemas = ["missing.json"]\nschemas_dir = "."\n')
    with pytest.raises(SettingsError) as caught:
        Settings.load({"SCIM_CONFIG": str(tmp_path / "config.toml")})
    assert [problem.split(": ")[1] for problem in caught.value.problems] == ["cannot be read"] * 2
