"""Lists: pages that fit together, totals that are true, orders that are stable, shapes that clients can rely on."""

import pytest
from web.serving import ENTERPRISE, Server, Tenant

LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"


async def test_an_empty_list_has_every_key(tenant: Tenant) -> None:
    for endpoint in ("/Users", "/Groups"):
        for query in ({}, {"filter": 'displayName eq "nobody"'}, {"startIndex": "7"}, {"count": "0"}):
            found = await tenant.found(endpoint, **query)
            start = int(query.get("startIndex", 1))
            assert found == {
                "schemas": [LIST], "totalResults": 0, "startIndex": start, "itemsPerPage": 0, "Resources": []
            }  # fmt: skip


@pytest.mark.parametrize("query", [{}, {"filter": "userName pr"}, {"sortBy": "title"}, {"filter": 'title eq "same"'}])
async def test_pages_cover_everything_once(tenant: Tenant, query: dict[str, str]) -> None:
    ids = [(await tenant.user(title="same"))["id"] for _ in range(23)]

    seen: list[str] = []
    for start in range(1, 31, 5):
        page = await tenant.found("/Users", startIndex=str(start), count="5", **query)
        assert (page["totalResults"], page["startIndex"]) == (23, start)
        assert page["itemsPerPage"] == len(page["Resources"]) == min(5, max(0, 24 - start))
        seen += [user["id"] for user in page["Resources"]]

    assert sorted(seen) == sorted(ids)
    assert seen == [user["id"] for user in (await tenant.found("/Users", **query))["Resources"]]


async def test_a_page_has_a_hundred_unless_asked_and_a_thousand_at_most(tenant: Tenant) -> None:
    await tenant.users(101)

    assert (await tenant.found("/Users"))["itemsPerPage"] == 100
    assert (await tenant.found("/Users", count="101"))["itemsPerPage"] == 101
    assert (await tenant.found("/Users", count="9999999"))["itemsPerPage"] == 101
    config = (await tenant.get("/ServiceProviderConfig")).json()
    assert config["filter"]["maxResults"] == 1_000


async def test_totals_follow_every_write(tenant: Tenant) -> None:
    first, second = await tenant.user(), await tenant.user()
    await tenant.send("POST", "/Users", {"userName": first["userName"]})
    assert (await tenant.found("/Users", count="0"))["totalResults"] == 2
    await tenant.send("DELETE", f"/Users/{first['id']}")
    await tenant.send("DELETE", f"/Users/{first['id']}")
    assert (await tenant.found("/Users", count="0"))["totalResults"] == 1
    await tenant.patch(f"/Users/{second['id']}", {"op": "replace", "path": "active", "value": False})
    assert (await tenant.found("/Users", count="0"))["totalResults"] == 1
    assert (await tenant.found("/Users", startIndex="9"))["totalResults"] == 1


async def test_members_in_a_list_belong_to_their_group(tenant: Tenant) -> None:
    users = await tenant.users(3)
    groups = [await tenant.group(*users[:number]) for number in range(4)]

    listed = (await tenant.found("/Groups"))["Resources"]

    assert listed == groups
    assert [len(group["members"]) for group in listed] == [0, 1, 2, 3]


async def test_filters_reach_what_identity_providers_match_by(tenant: Tenant) -> None:
    boss = await tenant.user("boss")
    user = await tenant.user(
        "Ann@people.example", externalId="Ext-1", displayName="Ann", title="Chef", nickName="A", locale="en",
        name={"familyName": "Ek", "givenName": "Ann"}, emails=[{"value": "ann@work.example", "type": "work"}],
        phoneNumbers=[{"value": "+46 1", "type": "mobile"}], roles=[{"value": "cook", "primary": True}],
        **{ENTERPRISE: {"employeeNumber": "7", "department": "Kitchen", "manager": {"value": boss["id"]}}},
    )  # fmt: skip
    group = await tenant.group(user["id"], name="Crew", externalId="G-1")

    for query in (
        'userName eq "ann@PEOPLE.example"', 'USERNAME Eq "ann@people.example"', 'externalId eq "Ext-1"',
        'emails.value eq "ANN@work.example"',
        'emails[type eq "work"].value eq "ann@work.example"', 'emails[type eq "work" and value ew "work.example"]',
        'name.familyName eq "ek"',
        f'{ENTERPRISE}:employeeNumber eq "7"', 'employeeNumber eq "7"', f'{ENTERPRISE}:department sw "kit"',
        f'manager eq "{boss["id"]}"',
        f'{ENTERPRISE}:manager.value eq "{boss["id"]}"', 'phoneNumbers[type eq "mobile"].value eq "+46 1"',
        'roles[primary eq "True"].value eq "cook"',
        f'id eq "{user["id"]}"', f'id eq "{user["id"]}" and manager eq "{boss["id"]}"', f'groups eq "{group["id"]}"',
        'groups.display eq "crew"',
        'title eq "chef" and active eq true', 'title eq "chef" and active eq "True"', "title eq Chef",
        "userName eq ann@people.example",
        'meta.resourceType eq "User" and title pr', 'displayName eq "ANN" and not (nickName eq "b")',
    ):  # fmt: skip
        assert [each["id"] for each in (await tenant.found("/Users", filter=query))["Resources"]] == [user["id"]], query
    for query in (
        'displayName eq "CREW"', 'externalId eq "G-1"',
        f'members eq "{user["id"]}"', f'members.value eq "{user["id"]}"',
        f'members[value eq "{user["id"]}"]', f'id eq "{group["id"]}" and members eq "{user["id"]}"',
    ):  # fmt: skip
        assert (await tenant.found("/Groups", filter=query))["totalResults"] == 1, query
    for query in ('externalId eq "ext-1"', 'title eq "chef" and active eq false', f'members eq "{boss["id"]}"'):
        endpoint = "/Groups" if "members" in query else "/Users"
        assert (await tenant.found(endpoint, filter=query))["totalResults"] == 0, query


async def test_search_and_query_string_say_the_same(tenant: Tenant) -> None:
    for number in range(7):
        await tenant.user(title=str(number % 2))
    query = {"filter": 'title eq "1"', "startIndex": "2", "count": "1", "attributes": "userName"}

    by_address = await tenant.found("/Users", **query)
    by_body = await tenant.send(
        "POST", "/Users/.search", {**query, "startIndex": 2, "count": 1, "attributes": ["userName"]}
    )

    assert by_body.json() == by_address
    assert by_address["totalResults"] == 3


async def test_a_query_is_read_in_any_case(tenant: Tenant) -> None:
    for number in range(3):
        await tenant.user(title=str(number))
    query = {"Filter": 'title eq "1" or title eq "2"', "SORTBY": "title", "sortorder": "descending", "Count": 1}

    for endpoint in ("/Users/.search", "/.search"):
        found = (await tenant.send("POST", endpoint, {**query, "ATTRIBUTES": ["title"]})).json()
        assert (found["totalResults"], found["itemsPerPage"]) == (2, 1)
        assert [(user["title"], "userName" in user) for user in found["Resources"]] == [("2", False)]
    by_address = {name: str(value) for name, value in query.items()}
    assert (await tenant.found("/Users", **by_address, ATTRIBUTES="title")) == found


async def test_what_entra_maps_is_in_the_schemas(server: Server) -> None:
    interop, entra = await server.tenant(), await server.tenant("profile=entra")

    users = (await interop.get("/Schemas/urn:ietf:params:scim:schemas:core:2.0:User")).json()
    for_entra = (await entra.get("/Schemas/urn:ietf:params:scim:schemas:core:2.0:User")).json()

    attributes = {attribute["name"]: attribute for attribute in users["attributes"]}
    assert {
        "userName",
        "externalId",
        "active",
        "emails",
        "phoneNumbers",
        "addresses",
        "roles",
        "name",
    } <= attributes.keys()
    assert attributes.keys() - {attribute["name"] for attribute in for_entra["attributes"]} == {"password"}
    kinds = {
        name: next(sub for sub in attributes[name]["subAttributes"] if sub["name"] == "type").get("canonicalValues")
        for name in ("emails", "phoneNumbers", "roles")
    }
    assert kinds == {
        "emails": ["work", "home", "other"],
        "phoneNumbers": ["work", "home", "mobile", "fax", "pager", "other"],
        "roles": None,
    }
    assert "null" not in (await interop.get("/Schemas")).text
