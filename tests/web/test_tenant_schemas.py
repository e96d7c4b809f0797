"""Schemas of a tenant's own: enforced, shown, searched and patched for it alone, on both databases."""

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from web.serving import ENTERPRISE, USER, Server, Tenant, serving, stamp

from scim_server.app import open_deployment
from scim_server.cli.terminal import operator
from scim_server.protocol.schema_json import DeclarationError
from scim_server.settings import Settings
from scim_server.storage import access as rows
from scim_server.usecases import access, operations
from scim_server.usecases.options import OptionError

BADGE = "urn:example:schemas:extension:Badge"
TEAM = "urn:example:schemas:extension:Team"
OWN: list[dict[str, Any]] = [
    {
        "id": BADGE,
        "attributes": [
            {"name": "number", "uniqueness": "server", "required": True},
            {"name": "color"},
            {"name": "level", "type": "integer"},
            {"name": "rooms", "multiValued": True},
            {
                "name": "desk",
                "type": "complex",
                "subAttributes": [{"name": "floor", "type": "integer"}, {"name": "seat", "caseExact": True}],
            },
        ],
    },
    {"id": TEAM, "attributes": [{"name": "costCenter", "required": True}]},
    {"name": "User", "endpoint": "/Users", "schemaExtensions": [{"schema": BADGE, "required": False}]},
    {"name": "Group", "endpoint": "/Groups", "schemaExtensions": [{"schema": TEAM, "required": True}]},
]


def option(content: Any) -> str:
    return f"schemas={json.dumps(content)}"


@pytest.fixture
async def tenant(server: Server) -> Tenant:
    """A tenant with extensions that no other has."""
    return await server.tenant(option(OWN))


async def names(tenant: Tenant, **query: str) -> list[str]:
    return [user["userName"] for user in (await tenant.found("/Users", **query))["Resources"]]


def outcome(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("scimType")


async def test_discovery_shows_them_to_this_tenant_only(server: Server, tenant: Tenant) -> None:
    types = {one["name"]: one["schemaExtensions"] for one in (await tenant.get("/ResourceTypes")).json()["Resources"]}
    assert types == {
        "User": [{"schema": ENTERPRISE, "required": False}, {"schema": BADGE, "required": False}],
        "Group": [{"schema": TEAM, "required": True}],
    }
    assert (await tenant.get(f"/Schemas/{BADGE}")).json()["attributes"][0]["uniqueness"] == "server"
    assert BADGE in (await tenant.get("/openapi.json")).text
    other = await server.tenant()
    assert (await other.get(f"/Schemas/{BADGE}")).status_code == 404
    assert BADGE not in (await other.get("/openapi.json")).text
    ignored = await other.user("a", **{BADGE: {"number": "1"}})
    assert BADGE not in ignored
    assert (await other.group())["displayName"]


async def test_they_are_enforced(tenant: Tenant) -> None:
    held: Any
    for held in ({"color": "red"}, {"number": "1", "level": "high"}, {"number": "1", "desk": 3}, "1"):
        answer = await tenant.send("POST", "/Users", {"schemas": [USER], "userName": "a", BADGE: held})
        assert outcome(answer) == (400, "invalidValue")
    assert outcome(await tenant.send("POST", "/Groups", {"displayName": "g"})) == (400, "invalidValue")
    team = (await tenant.send("POST", "/Groups", {"displayName": "g", TEAM: {"costCenter": "7"}})).json()
    gone = await tenant.patch(f"/Groups/{team['id']}", {"op": "remove", "path": TEAM})
    assert gone.status_code == 400
    await tenant.user("a", **{BADGE: {"number": "1"}})
    taken = await tenant.send("POST", "/Users", {"schemas": [USER], "userName": "b", BADGE: {"number": "1"}})
    assert outcome(taken) == (409, "uniqueness")
    assert f"{BADGE}:number '1'; look it up" in taken.json()["detail"]


async def test_filter_sort_projection_and_patch(tenant: Tenant) -> None:
    held = {"number": "1", "color": "Red", "level": 9, "rooms": ["A", "B"], "desk": {"floor": 2, "seat": "x"}}
    first = await tenant.user("a", **{BADGE: held})
    await tenant.user("b", **{BADGE: {"number": "2", "color": "blue", "level": 10, "desk": {"floor": 3}}})
    await tenant.user("c")
    for text in ('number eq "1"', 'color eq "RED"', 'rooms eq "a"', 'desk.seat eq "x"', "level lt 10"):
        assert await names(tenant, filter=f"{BADGE}:{text}") == ["a"], text
    assert await names(tenant, filter=f"not ({BADGE}:number pr)") == ["c"]
    assert await names(tenant, sortBy=f"{BADGE}:level", sortOrder="descending") == ["c", "b", "a"]
    assert await names(tenant, sortBy=f"{BADGE}:desk.floor") == ["a", "b", "c"]
    path = f"/Users/{first['id']}"
    changes: list[dict[str, Any]] = [
        {"op": "replace", "path": f"{BADGE}:desk.floor", "value": 5},
        {"op": "add", "path": f"{BADGE}:rooms", "value": ["C"]},
        {"op": "replace", "value": {f"{BADGE}:number": "3"}},
    ]
    changed = (await tenant.patch(path, *changes)).json()
    assert changed["schemas"] == [USER, BADGE]
    assert changed[BADGE] == {**held, "number": "3", "rooms": ["A", "B", "C"], "desk": {"floor": 5, "seat": "x"}}
    assert await names(tenant, filter=f'{BADGE}:number eq "3"') == ["a"]
    assert await names(tenant, filter=f'{BADGE}:number eq "1"') == []
    shown = (await tenant.get(f"{path}?attributes={BADGE}:color")).json()
    assert shown[BADGE] == {"color": "Red"}
    kept = (await tenant.send("PUT", path, {**changed, "title": "t"})).json()
    assert kept[BADGE] == changed[BADGE]
    listed = await tenant.send("POST", "/.search", {"filter": f"{BADGE}:level eq 10"})
    assert listed.json()["totalResults"] == 1


async def test_bulk_and_the_command_line_know_them(tenant: Tenant, server: Server) -> None:
    data = {"schemas": [USER], "userName": "a", BADGE: {"number": "1"}}
    operation = {"method": "POST", "path": "/Users", "bulkId": "a", "data": data}
    done = (await tenant.send("POST", "/Bulk", {"Operations": [operation]})).json()["Operations"]
    assert done[0]["status"] == "201"
    async with open_deployment(server.settings) as parts:
        caller = await operator(parts, tenant.row.name)
        user = await operations.find_user(parts.deployment, caller, "a")
        assert user is not None
        await operations.set_active(parts.deployment, caller, user, False)
    assert await names(tenant, filter=f'{BADGE}:number eq "1" and active eq false') == ["a"]
    assert await names(tenant, filter=f'{BADGE}:number sw "1"') == ["a"]


async def test_they_can_be_set_while_the_server_runs_and_taken_away(server: Server) -> None:
    tenant = await server.tenant()
    types = server.settings.served_types
    tenant.row = await access.set_options(server.database, tenant.row, [option(OWN)], types, **stamp())
    tenant.token = await tenant.issue()  # what the server knows of the old one is good for a second
    assert (await tenant.user("a", **{BADGE: {"number": "1"}}))[BADGE] == {"number": "1"}
    tenant.row = await access.set_options(server.database, tenant.row, ["schemas="], types, **stamp())
    tenant.token = await tenant.issue()
    assert (await tenant.get(f"/Schemas/{BADGE}")).status_code == 404


async def test_every_fault_is_named_and_nothing_is_stored(server: Server) -> None:
    wrong = [
        {"id": BADGE, "attributes": [{"name": "a", "type": "text"}, {"name": "b", "mutability": "sometimes"}]},
        {"id": ENTERPRISE, "attributes": [{"name": "a"}]},
        {"id": BADGE, "attributes": [{"name": "a"}]},
        {"name": "User", "endpoint": "/Users", "schemaExtensions": [{"schema": BADGE}, {"schema": TEAM}]},
        {"name": "Door", "endpoint": "/Doors", "schema": BADGE},
    ]
    tenant = await server.tenant()
    given = [option(wrong), "resource_types=Robot"]
    with pytest.raises(DeclarationError) as caught:
        await access.set_options(server.database, tenant.row, given, server.settings.served_types, **stamp())
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        "resource_types",
        f"{BADGE}:a",
        f"{BADGE}:b",
        ENTERPRISE,
        BADGE,
        "User",
        "Door",
    ]
    stored = await rows.tenant_named(server.database, tenant.row.name)
    assert stored is not None
    assert stored.options == {}
    with pytest.raises(OptionError):
        await access.set_options(server.database, tenant.row, ["schemas={"], (), **stamp())


async def test_schemas_that_no_longer_fit_are_said_and_stop_this_tenant_only(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Settings(database_url=sqlite_url)) as before:
        tenant = await before.tenant(option(OWN))
        other = await before.tenant()
    (tmp_path / "own.json").write_text(json.dumps(OWN))  # now the server has a schema of this name itself
    with caplog.at_level(logging.ERROR):
        async with serving(Settings(database_url=sqlite_url, schemas_dir=str(tmp_path))) as after:
            tenant.http = other.http = after.http
            assert (await tenant.get("/Users")).status_code == 503
            assert (await other.get("/Users")).status_code == 200
    assert [record.getMessage() for record in caplog.records if tenant.row.name in record.getMessage()]
