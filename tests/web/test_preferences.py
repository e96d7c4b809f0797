"""`Prefer: return=minimal` (RFC 7240 §4.2), and methods that every address answers for."""

import pytest
from web.serving import USER, Tenant

MINIMAL = "return=minimal"


async def test_post_without_a_body(tenant: Tenant) -> None:
    answer = await tenant.send("POST", "/Users", {"schemas": [USER], "userName": "a"}, Prefer=MINIMAL)
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["Preference-Applied"] == MINIMAL
    assert answer.headers["ETag"] == 'W/"1"'
    assert (await tenant.get(answer.headers["Location"])).json()["userName"] == "a"


@pytest.mark.parametrize("prefer", [MINIMAL, 'respond-async, Return="minimal"; foo=1', "wait=10,return=minimal"])
async def test_put_and_patch_without_a_body(tenant: Tenant, prefer: str) -> None:
    user, group = await tenant.user("a"), await tenant.group()
    put = await tenant.send("PUT", f"/Users/{user['id']}", {"schemas": [USER], "userName": "b"}, Prefer=prefer)
    title = {"op": "add", "path": "title", "value": "x"}
    patch = await tenant.patch(f"/Users/{user['id']}", title, Prefer=prefer)
    renamed = {"op": "replace", "path": "displayName", "value": "x"}
    grouped = await tenant.patch(f"/Groups/{group['id']}", renamed, Prefer=prefer)
    for answer in (put, patch, grouped):
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["Preference-Applied"] == MINIMAL
    assert patch.headers["ETag"] == 'W/"3"'


async def test_a_large_group_in_full_on_request(tenant: Tenant) -> None:
    group = await tenant.group(*(await tenant.users(101)))
    rename = {"op": "replace", "path": "displayName", "value": "x"}
    assert (await tenant.patch(f"/Groups/{group['id']}", rename)).status_code == 204
    rename["value"] = "y"
    answer = await tenant.patch(f"/Groups/{group['id']}", rename, Prefer="return=representation")
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "return=representation"
    assert len(answer.json()["members"]) == 101


@pytest.mark.parametrize("prefer", [None, "respond-async", "return=something"])
async def test_no_preference_is_applied_unasked(tenant: Tenant, prefer: str | None) -> None:
    answer = await tenant.send("POST", "/Users", {"schemas": [USER], "userName": "a"}, Prefer=prefer)
    assert answer.json()["userName"] == "a"
    assert "Preference-Applied" not in answer.headers


async def test_options_names_the_methods(tenant: Tenant) -> None:
    answer = await tenant.send("OPTIONS", "/Users")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD, POST"
    assert (await tenant.send("HEAD", "/Users")).status_code == 200
