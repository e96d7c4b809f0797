"""Queries at the root, of all resource types at once (RFC 7644 §3.4.2.1, §3.4.3)."""

from typing import Any

import pytest
from web.serving import ENTERPRISE, USER, Tenant

from scim_server.clock import now_ms


async def world(tenant: Tenant) -> None:
    """User a, group B, user c, group D, in the order of creation."""
    for kind, name in (("user", "a"), ("group", "B"), ("user", "c"), ("group", "D")):
        if kind == "user":
            await tenant.user(name, displayName=f"shown {name}")
        else:
            await tenant.group(name=name)
        made = now_ms()
        while now_ms() == made:  # ids are in the order of creation only from one millisecond to the next
            pass


def names(listed: Any) -> list[str]:
    return [one.get("userName") or one["displayName"] for one in listed["Resources"]]


async def test_everything_in_the_order_of_creation(tenant: Tenant) -> None:
    await world(tenant)
    listed = await tenant.found("/")
    assert names(listed) == ["a", "B", "c", "D"]
    assert listed["totalResults"] == 4
    assert {one["meta"]["resourceType"] for one in listed["Resources"]} == {"User", "Group"}
    assert "members" in listed["Resources"][1]
    assert names(await tenant.found("/", startIndex="2", count="2")) == ["B", "c"]
    assert (await tenant.found("/", count="0"))["totalResults"] == 4


async def test_an_attribute_that_a_type_lacks_has_no_match_there(tenant: Tenant) -> None:
    await world(tenant)
    assert names(await tenant.found("/", filter="userName pr")) == ["a", "c"]
    assert names(await tenant.found("/", filter='displayName eq "b" or displayName sw "shown"')) == ["a", "B", "c"]
    assert names(await tenant.found("/", filter='meta.resourceType eq "Group"')) == ["B", "D"]
    assert names(await tenant.found("/", filter='userName eq "c" or displayName eq "B"')) == ["B", "c"]
    assert names(await tenant.found("/", filter="active eq true or members pr")) == ["a", "c"]
    assert names(await tenant.found("/", filter="not (userName pr)")) == ["B", "D"]
    assert names(await tenant.found("/", filter='emails[type eq "work"] or not (emails pr)')) == ["a", "B", "c", "D"]
    assert names(await tenant.found("/", filter=f'{USER}:userName eq "b" or {ENTERPRISE}:department pr')) == []
    answer = await tenant.get("/?filter=shoeSize eq 1")
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidFilter")


async def test_sorted_across_types(tenant: Tenant) -> None:
    await world(tenant)
    assert names(await tenant.found("/", sortBy="displayName")) == ["B", "D", "a", "c"]
    assert names(await tenant.found("/", sortBy="userName")) == ["a", "c", "B", "D"]
    assert names(await tenant.found("/", sortBy="userName", sortOrder="descending")) == ["D", "B", "c", "a"]
    assert (await tenant.get("/?sortBy=shoeSize")).status_code == 400


@pytest.mark.parametrize("sort_order", ["ascending", "descending"])
@pytest.mark.parametrize("sort_by", ["", "userName", "displayName", "active", "members.value", "emails.value"])
async def test_cursors_walk_all_types(tenant: Tenant, sort_by: str, sort_order: str) -> None:
    await world(tenant)
    query = {"sortOrder": sort_order, **({"sortBy": sort_by} if sort_by else {})}
    if sort_by == "members.value":  # gives no order in either type
        assert (await tenant.get(f"/?sortBy={sort_by}")).status_code == 400
        return
    whole = names(await tenant.found("/", **query))
    page = await tenant.found("/", cursor="", count="1", **query)
    walked = names(page)
    while cursor := page.get("nextCursor"):
        page = await tenant.found("/", cursor=cursor, count="1", **query)
        walked += names(page)
    assert walked == whole
    assert len(whole) == 4


async def test_by_post(tenant: Tenant) -> None:
    await world(tenant)
    search = {"filter": "displayName pr", "attributes": ["displayName"], "sortBy": "displayName", "count": 2}
    answer = await tenant.send("POST", "/.search", search)
    assert answer.status_code == 200
    assert names(answer.json()) == ["B", "D"]
    assert set(answer.json()["Resources"][0]) == {"schemas", "id", "displayName"}


@pytest.mark.parametrize("body", [{"attributes": 1}, {"filter": 1}, {"count": "x"}, {"cursor": 1}, [], {"sortBy": {}}])
async def test_a_broken_search_request_is_refused(tenant: Tenant, body: Any) -> None:
    assert (await tenant.send("POST", "/.search", body)).status_code == 400


async def test_deep_pages_of_several_types_need_a_cursor(tenant: Tenant) -> None:
    answer = await tenant.get("/?startIndex=10001")
    assert answer.json()["scimType"] == "tooMany"
    assert "cursor" in answer.json()["detail"]
