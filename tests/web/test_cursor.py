"""Cursor paging (RFC 9865): every resource once, whatever the order, and cursors that are good for one query only."""

from itertools import pairwise
from typing import Any

import pytest
from web.serving import Server, Tenant

from scim_server.protocol.cursor import LIFETIME_S, Cursor, seal, unseal
from scim_server.protocol.errors import ExpiredCursor, InvalidCursor

KEY = b"k" * 32


async def pages(tenant: Tenant, endpoint: str, **query: str) -> list[Any]:
    """All pages from the first to the last."""
    found = [await tenant.found(endpoint, cursor="", **query)]
    while following := found[-1].get("nextCursor"):
        found.append(await tenant.found(endpoint, cursor=following, **query))
        assert len(found) < 20
    return found


def ids(page: Any) -> list[str]:
    return [resource["id"] for resource in page["Resources"]]


@pytest.mark.parametrize("sort_order", ["ascending", "descending"])
@pytest.mark.parametrize("sort_by", ["", "id", "userName", "title", "meta.lastModified", "active", "emails.value"])
async def test_walks_everything_once_forwards_and_backwards(tenant: Tenant, sort_by: str, sort_order: str) -> None:
    for number in range(7):
        titled = {"title": f"T{number % 2}"} if number % 3 else {}
        await tenant.user(active=number % 2 == 0, **titled)
    query = {"sortOrder": sort_order, **({"sortBy": sort_by} if sort_by else {})}
    whole = await tenant.found("/Users", **query)
    walked = await pages(tenant, "/Users", count="2", **query)
    assert [len(page["Resources"]) for page in walked] == [2, 2, 2, 1]
    assert [one for page in walked for one in ids(page)] == ids(whole)
    assert all(page["totalResults"] == 7 and "startIndex" not in page for page in walked)
    assert "previousCursor" not in walked[0]
    for earlier, later in pairwise(walked):
        back = await tenant.found("/Users", cursor=later["previousCursor"], count="2", **query)
        assert ids(back) == ids(earlier)
        assert ("previousCursor" in back) == (earlier is not walked[0])
        again = await tenant.found("/Users", cursor=back["nextCursor"], count="2", **query)
        assert ids(again) == ids(later)


async def test_what_comes_and_goes_between_pages_neither_skips_nor_repeats(tenant: Tenant) -> None:
    for name in "bdfh":
        await tenant.user(name)
    first = await tenant.found("/Users", cursor="", count="2", sortBy="userName")
    await tenant.send("DELETE", f"/Users/{ids(first)[1]}")
    await tenant.user("a")
    second = await tenant.found("/Users", cursor=first["nextCursor"], sortBy="userName")
    assert [user["userName"] for user in second["Resources"]] == ["f", "h"]


async def test_filtered_and_by_post(tenant: Tenant) -> None:
    for number in range(3):
        await tenant.user(f"n{number}", title="x" if number else "y")
    search: dict[str, Any] = {"filter": 'title eq "x"', "cursor": "", "count": 1}
    first = (await tenant.send("POST", "/Users/.search", search)).json()
    assert (first["totalResults"], first["itemsPerPage"]) == (2, 1)
    second = (await tenant.send("POST", "/Users/.search", {**search, "cursor": first["nextCursor"]})).json()
    assert second["Resources"][0]["userName"] == "n2"
    assert "nextCursor" not in second


async def test_count_zero_and_an_empty_list(tenant: Tenant) -> None:
    assert (await tenant.found("/Users", cursor=""))["Resources"] == []
    await tenant.user()
    page = await tenant.found("/Users", cursor="", count="0")
    assert (page["totalResults"], page["Resources"], "nextCursor" in page) == (1, [], False)


async def test_a_cursor_is_good_for_its_own_query_only(server: Server, tenant: Tenant) -> None:
    await tenant.users(3)
    cursor = (await tenant.found("/Users", cursor="", count="2", filter="active eq true"))["nextCursor"]
    assert cursor.replace("-", "").replace("_", "").isalnum()
    other = await server.tenant()
    refused = [
        await tenant.get(f"/Users?cursor={cursor}"),
        await tenant.get(f"/Users?cursor={cursor}&filter=active eq false"),
        await tenant.get(f"/Users?cursor={cursor}&filter=active eq true&sortBy=userName"),
        await tenant.get(f"/Groups?cursor={cursor}"),
        await tenant.get(f"/Users?cursor={cursor[:-1]}&filter=active eq true"),
        await tenant.get("/Users?cursor=forged"),
        await tenant.get("/Users?cursor=%C3%A9"),
        await other.get(f"/Users?cursor={cursor}&filter=active eq true"),
    ]
    assert [(each.status_code, each.json()["scimType"]) for each in refused] == [(400, "invalidCursor")] * len(refused)


@pytest.mark.parametrize("count", ["3", "x", "1.5"])
async def test_another_count_is_refused(tenant: Tenant, count: str) -> None:
    await tenant.users(3)
    cursor = (await tenant.found("/Users", cursor="", count="2"))["nextCursor"]
    answer = await tenant.get(f"/Users?cursor={cursor}&count={count}")
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidCount")


def test_a_cursor_says_nothing_to_others_and_expires() -> None:
    cursor = Cursor("ann@people.example", "id", False, 10, 99, made=1_000)
    text = seal(cursor, KEY, ["tenant"])
    assert unseal(text, KEY, ["tenant"], now=1_000) == cursor
    with pytest.raises(ExpiredCursor):
        unseal(text, KEY, ["tenant"], now=1_001 + LIFETIME_S * 1_000)
    for key, context in ((b"other" * 7, ["tenant"]), (KEY, ["foreign"])):
        with pytest.raises(InvalidCursor):
            unseal(text, key, context, now=1_000)


async def test_the_configuration_says_so(tenant: Tenant) -> None:
    pagination = (await tenant.get("/ServiceProviderConfig")).json()["pagination"]
    assert pagination == {
        "cursor": True,
        "index": True,
        "defaultPaginationMethod": "index",
        "defaultPageSize": 100,
        "maxPageSize": 1000,
        "cursorTimeout": LIFETIME_S,
    }
