"""Discovery says what is enforced, for the tenant that asks."""

from typing import Any

import pytest
from web.serving import GROUP, USER, Server, Tenant


async def attributes(tenant: Tenant, urn: str, **headers: str | None) -> dict[str, Any]:
    shown = (await tenant.get(f"/Schemas/{urn}", **headers)).json()
    return {attribute["name"]: attribute for attribute in shown["attributes"]}


async def test_every_capability_that_is_stated_is_there(tenant: Tenant) -> None:
    config = (await tenant.get("/ServiceProviderConfig")).json()
    supported = {name: value["supported"] for name, value in config.items() if "supported" in value}
    assert supported == {
        "patch": True,
        "bulk": True,
        "filter": True,
        "changePassword": False,
        "sort": True,
        "etag": True,
    }
    await tenant.users(3)
    assert (await tenant.found("/Users", count="5000"))["itemsPerPage"] == 3
    assert config["filter"]["maxResults"] == config["pagination"]["maxPageSize"] == 1000


async def test_passwords_can_be_changed_where_they_are_kept(server: Server) -> None:
    keeping = await server.tenant("passwords=hash")
    assert (await keeping.get("/ServiceProviderConfig")).json()["changePassword"] == {"supported": True}


@pytest.mark.parametrize(("option", "uniqueness"), [("group_names=unique", "server"), ("group_names=any", "none")])
async def test_group_names_are_unique_where_a_second_one_is_refused(
    server: Server, option: str, uniqueness: str
) -> None:
    tenant = await server.tenant(option)
    assert (await attributes(tenant, GROUP))["displayName"]["uniqueness"] == uniqueness
    await tenant.group(name="A")
    second = await tenant.send("POST", "/Groups", {"schemas": [GROUP], "displayName": "a"})
    assert second.status_code == (409 if uniqueness == "server" else 201)


async def test_without_a_token_it_is_as_in_the_rfc(tenant: Tenant) -> None:
    assert (await attributes(tenant, GROUP, Authorization=None))["displayName"]["uniqueness"] == "none"


async def test_an_entra_tenant_sees_no_password(server: Server, tenant: Tenant) -> None:
    assert "password" in await attributes(tenant, USER)
    assert "password" not in await attributes(await server.tenant("profile=entra"), USER)


@pytest.mark.parametrize("endpoint", ["/ServiceProviderConfig", "/Schemas", "/ResourceTypes", f"/Schemas/{USER}"])
async def test_discovery_cannot_be_filtered(tenant: Tenant, endpoint: str) -> None:
    assert (await tenant.get(f"{endpoint}?filter=id pr")).status_code == 403
