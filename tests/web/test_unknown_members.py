"""Members that do not exist: refused by name, or, where the tenant wants that, left out by name."""

from typing import Any

import pytest
from web.serving import GROUP, Server, Tenant
from web.test_explanations import explained

from scim_server.clock import new_id

STRANGER = "01990000-0000-7000-8000-00000000dead"
IGNORE = "unknown_members=ignore"


async def members(tenant: Tenant, group: str) -> list[str]:
    return [member["value"] for member in (await tenant.get(f"/Groups/{group}")).json()["members"]]


def add(*values: str) -> dict[str, Any]:
    return {"op": "add", "path": "members", "value": [{"value": value} for value in values]}


@pytest.mark.parametrize("unknown", ["fake-member-id", STRANGER, "a\\b"])
async def test_they_are_refused_and_nothing_is_applied(tenant: Tenant, unknown: str) -> None:
    (ann,) = await tenant.users(1)
    group = (await tenant.group())["id"]
    answer = await tenant.patch(f"/Groups/{group}", add(ann, unknown))
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")
    assert await members(tenant, group) == []


async def test_where_the_tenant_wants_it_they_are_left_out(server: Server) -> None:
    tenant, stranger = await server.tenant(IGNORE), await (await server.tenant()).user()
    ann, bob = await tenant.users(2)
    made = await tenant.group(ann, "fake-member-id", stranger["id"])
    assert [member["value"] for member in made["members"]] == [ann]
    answer = await tenant.patch(f"/Groups/{made['id']}", add(bob, new_id()))
    assert answer.status_code == 200
    assert sorted(await members(tenant, made["id"])) == sorted([ann, bob])
    body = {"schemas": [GROUP], "displayName": made["displayName"], "members": [{"value": ann}, {"value": new_id()}]}
    assert (await tenant.send("PUT", f"/Groups/{made['id']}", body)).status_code == 200
    assert await members(tenant, made["id"]) == [ann]


async def test_a_request_of_unknown_members_alone_changes_nothing(server: Server) -> None:
    tenant = await server.tenant(IGNORE)
    before = await tenant.group(*await tenant.users(1))
    answer = await tenant.patch(f"/Groups/{before['id']}", add("fake-member-id"))
    assert (answer.status_code, answer.json()["meta"]) == (200, before["meta"])


async def test_the_explanation_names_them_and_is_no_longer_than_it_must(server: Server) -> None:
    tenant = await server.tenant(IGNORE)
    group = (await tenant.group())["id"]
    sent = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [add("x" * 500, *"abcdefghijkl")],
    }
    await tenant.send("PATCH", f"/Groups/{group}", sent, X_Request_Id="pushed")
    (record,) = await explained(tenant, "pushed")
    assert record["ignored"][0] == f'members[value eq "{"x" * 80}"]'
    assert record["ignored"][1:2] == ['members[value eq "a"]']
    assert record["ignored"][10:] == ["members: 3 more"]
