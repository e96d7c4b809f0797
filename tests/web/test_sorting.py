"""sortBy on any attribute, on both databases (RFC 7644 §3.4.2.3)."""

from typing import Any

import pytest
from web.serving import ENTERPRISE, USER, Tenant

from scim_server.clock import now_ms

PEOPLE: list[dict[str, Any]] = [
    {
        "userName": "b@x.example",
        "externalId": "a",
        "title": "chef",
        "name": {"familyName": "Ödegaard"},
        "emails": [{"value": "m@x.example"}, {"value": "A@x.example", "primary": True}],
        "active": False,
        ENTERPRISE: {"employeeNumber": "20", "manager": {"value": "z"}},
    },
    {
        "userName": "A@x.example",
        "externalId": "B",
        "title": "Baker",
        "name": {"familyName": "adams"},
        "emails": [{"value": "z@x.example"}, {"value": "b@x.example"}],
        ENTERPRISE: {"employeeNumber": "10", "manager": {"value": "Y"}},
    },
    {"userName": "c@x.example", "name": {"givenName": "Only"}},
    {"userName": "d@x.example", "title": "baker", "name": {"familyName": "Zola"}, "phoneNumbers": [{"value": "1"}]},
]


async def order(tenant: Tenant, sort_by: str, sort_order: str = "ascending", **more: str) -> str:
    """The first letters of the userNames."""
    listed = await tenant.found("/Users", sortBy=sort_by, sortOrder=sort_order, **more)
    return "".join(user["userName"][0] for user in listed["Resources"])


async def people(tenant: Tenant) -> None:
    for person in PEOPLE:
        answer = await tenant.send("POST", "/Users", {"schemas": [USER], **person})
        assert answer.status_code == 201
        made = now_ms()
        while now_ms() == made:  # ids are in the order of creation only from one millisecond to the next
            pass


@pytest.mark.parametrize(
    ("sort_by", "ascending"),
    [
        ("userName", "Abcd"),
        ("USERNAME", "Abcd"),
        ("id", "bAcd"),
        ("externalId", "Abcd"),  # caseExact: upper case comes first
        ("title", "Adbc"),
        ("name.familyName", "Adbc"),
        ("urn:ietf:params:scim:schemas:core:2.0:User:name.givenName", "cbAd"),
        ("emails", "bAcd"),  # the primary value, else the first
        ("emails.value", "bAcd"),
        ("phoneNumbers.value", "dbAc"),
        ("active", "bAcd"),
        ("meta.created", "bAcd"),
        ("meta.lastModified", "bAcd"),
        ("meta.version", "bAcd"),
        ("meta.resourceType", "bAcd"),
        (f"{ENTERPRISE}:employeeNumber", "Abcd"),
        (f"{ENTERPRISE}:manager.value", "Abcd"),
        ("manager", "Abcd"),
        ("schemas", "bAcd"),
    ],
)
async def test_any_attribute_and_its_exact_reverse(tenant: Tenant, sort_by: str, ascending: str) -> None:
    await people(tenant)
    assert await order(tenant, sort_by) == ascending
    assert await order(tenant, sort_by, "descending") == ascending[::-1]


async def test_pages_of_a_sorted_list(tenant: Tenant) -> None:
    await people(tenant)
    assert await order(tenant, "title", startIndex="2", count="2") == "db"
    assert await order(tenant, "title", filter="title pr", startIndex="2") == "db"


@pytest.mark.parametrize(
    ("sort_by", "hint"),
    [
        ("shoeSize", "no attribute"),
        ("name", "name.familyName"),
        ("password", "never returned"),
        ("groups.display", "gives no order"),
        (ENTERPRISE, "no attribute"),
        ("urn:example:unknown:size", "no attribute"),
    ],
)
async def test_what_gives_no_order_is_refused(tenant: Tenant, sort_by: str, hint: str) -> None:
    answer = await tenant.get(f"/Users?sortBy={sort_by}")
    assert answer.status_code == 400
    assert answer.json()["scimType"] == "invalidValue"
    assert hint in answer.json()["detail"]


async def test_groups(tenant: Tenant) -> None:
    for name in ("beta", "Alpha", "gamma"):
        await tenant.group(name=name)
    listed = await tenant.found("/Groups", sortBy="displayName", sortOrder="descending")
    assert [group["displayName"] for group in listed["Resources"]] == ["gamma", "beta", "Alpha"]
