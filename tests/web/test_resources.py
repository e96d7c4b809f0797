"""One user or group: what is stored, what is shown, and when its version moves."""

import asyncio
from typing import Any

import pytest
from services.redis import RedisServer
from sqlalchemy import select
from termination.crm import PATIENT
from web.serving import ENTERPRISE, SCIM_JSON, USER, Server, Tenant, serving

from scim_server.settings import Settings
from scim_server.storage.statements import Statement
from scim_server.storage.tables import resource

FULL: dict[str, Any] = {
    "externalId": "e-1",
    "name": {"formatted": "Dr Ada L.", "givenName": "Ada", "familyName": "L.", "honorificPrefix": "Dr"},
    "displayName": "Ada",
    "nickName": "A",
    "profileUrl": "https://people.example/ada",
    "title": "Countess",
    "userType": "Employee",
    "preferredLanguage": "en",
    "locale": "en-GB",
    "timezone": "Europe/London",
    "active": True,
    "emails": [{"value": "ada@people.example", "type": "work", "primary": True}, {"value": "a@home.example"}],
    "phoneNumbers": [{"value": "+44 20 0", "type": "work"}],
    "ims": [{"value": "ada", "type": "xmpp"}],
    "photos": [{"value": "https://people.example/ada.jpg", "type": "photo"}],
    "addresses": [{"streetAddress": "1 Row", "locality": "London", "country": "GB", "type": "work"}],
    "entitlements": [{"value": "engine"}],
    "roles": [{"value": "author", "display": "Author"}],
    "x509Certificates": [{"value": "MIIB"}],
    ENTERPRISE: {"employeeNumber": "1", "costCenter": "2", "organization": "3", "division": "4", "department": "5",
                 "manager": {"value": "26"}},
}  # fmt: skip


async def test_all_attributes_come_back_as_they_went_in(tenant: Tenant) -> None:
    made = await tenant.user("ada", **FULL)
    shown = (await tenant.get(f"/Users/{made['id']}")).json()

    assert shown == made
    assert {name: shown[name] for name in FULL} == FULL
    assert shown["schemas"] == [USER, ENTERPRISE]
    put = await tenant.send("PUT", f"/Users/{made['id']}", shown)
    assert put.json() == shown


async def test_every_answer_has_its_headers(tenant: Tenant) -> None:
    made = await tenant.send("POST", "/Users", {"userName": "u"})
    user = made.json()
    path = f"/Users/{user['id']}"
    answers = [
        made,
        await tenant.get(path),
        await tenant.send("PUT", path, {"userName": "u", "title": "t"}),
        await tenant.patch(path, {"op": "replace", "path": "title", "value": "x"}),
    ]

    for answer in answers:
        assert answer.headers["Content-Type"] == SCIM_JSON
        assert answer.headers["Location"] == answer.json()["meta"]["location"] == user["meta"]["location"]
        assert answer.headers["ETag"] == answer.json()["meta"]["version"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Request-Id"]
    gone = await tenant.send("DELETE", path)
    assert (gone.status_code, gone.content) == (204, b"")
    assert "Content-Type" not in gone.headers


async def test_head_is_get_without_a_body(tenant: Tenant) -> None:
    user = await tenant.user()
    for path in ("/Users", f"/Users/{user['id']}", "/Schemas"):
        assert (await tenant.send("HEAD", path)).status_code == 200


async def test_what_changes_nothing_moves_nothing(tenant: Tenant) -> None:
    user = await tenant.user("Same", **FULL)
    group = await tenant.group(user["id"], name="Same")
    await asyncio.sleep(0.002)  # a later lastModified would differ

    for path, before, operations in (
        (f"/Users/{user['id']}", user, [{"op": "replace", "path": "title", "value": "Countess"}]),
        (f"/Users/{user['id']}", user, [{"op": "Add", "path": "emails", "value": [FULL["emails"][0]]}]),
        (f"/Users/{user['id']}", user, [{"op": "replace", "path": "active", "value": "True"}]),
        (f"/Users/{user['id']}", user, [{"op": "remove", "path": 'emails[type eq "pager"]'}]),
        (f"/Users/{user['id']}", user, [{"op": "add", "path": "nickName", "value": each} for each in "BA"]),
        (f"/Groups/{group['id']}", group, [{"op": "add", "path": "members", "value": [{"value": user["id"]}]}]),
        (f"/Groups/{group['id']}", group, [{"op": "replace", "path": "members", "value": [{"value": user["id"]}]}]),
        (f"/Groups/{group['id']}", group, [{"op": "remove", "path": "members", "value": [{"value": group["id"]}]}]),
    ):  # fmt: skip
        answer = await tenant.patch(path, *operations)
        assert answer.status_code == 200
        assert answer.json()["meta"] == before["meta"], operations


async def test_a_patch_that_fails_leaves_no_trace(tenant: Tenant) -> None:
    user = await tenant.user("whole", title="before")
    group = await tenant.group(user["id"])

    failed = [
        await tenant.patch(f"/Users/{user['id']}", {"op": "replace", "path": "title", "value": "after"}, last)
        for last in (
            {"op": "replace", "path": "active", "value": "perhaps"},
            {"op": "replace", "path": "none", "value": "x"},
            {"op": "remove", "path": "userName"},
            {"op": "x"},
        )
    ] + [
        await tenant.patch(f"/Groups/{group['id']}", {"op": "remove", "path": "members"}, last)
        for last in (
            {"op": "add", "path": "members", "value": [{"value": "unknown"}]},
            {"op": "replace", "path": "displayName", "value": ""},
        )
    ]

    assert {answer.status_code for answer in failed} == {400}
    assert (await tenant.get(f"/Users/{user['id']}")).json()["title"] == "before"
    assert (await tenant.get(f"/Groups/{group['id']}")).json() == group


async def test_groups_of_a_user_are_derived_and_do_not_move_its_version(tenant: Tenant) -> None:
    user = await tenant.user()
    first, second = await tenant.group(user["id"], name="first"), await tenant.group(name="second")
    await tenant.patch(f"/Groups/{second['id']}", {"op": "add", "path": "members", "value": user["id"]})
    await tenant.patch(f"/Groups/{second['id']}", {"op": "replace", "path": "displayName", "value": "renamed"})

    shown = (await tenant.get(f"/Users/{user['id']}")).json()
    listed = (await tenant.found("/Users"))["Resources"][0]
    patched = (await tenant.patch(f"/Users/{user['id']}", {"op": "add", "path": "active", "value": True})).json()

    assert {(group["value"], group["display"], group["type"]) for group in shown["groups"]} == {
        (first["id"], "first", "direct"),
        (second["id"], "renamed", "direct"),
    }
    assert shown == listed == patched
    assert shown["meta"] == user["meta"]
    assert shown["groups"][0]["$ref"].endswith(f"/Groups/{shown['groups'][0]['value']}")
    assert "groups" not in (await tenant.get(f"/Users/{user['id']}?excludedAttributes=groups")).json()


async def test_deleting_a_user_moves_its_groups(tenant: Tenant) -> None:
    user, other = await tenant.user(), await tenant.user()
    groups = [await tenant.group(user["id"], other["id"]), await tenant.group(user["id"])]

    await tenant.send("DELETE", f"/Users/{user['id']}")

    for group in groups:
        after = (await tenant.get(f"/Groups/{group['id']}")).json()
        assert user["id"] not in [member["value"] for member in after["members"]]
        assert after["meta"]["version"] == 'W/"2"'
        assert after["meta"]["lastModified"] >= group["meta"]["lastModified"]


@pytest.mark.parametrize("wish", ["auto", "always", "never"])
async def test_the_body_of_a_group_patch_follows_its_size_and_the_option(server: Server, wish: str) -> None:
    tenant = await server.tenant(f"group_patch_body={wish}")
    users = await tenant.users(101)
    group = await tenant.group(*users[:99])
    path = f"/Groups/{group['id']}"

    at_100 = await tenant.patch(path, {"op": "add", "path": "members", "value": [{"value": users[99]}]})
    at_101 = await tenant.patch(path, {"op": "add", "path": "members", "value": [{"value": users[100]}]})
    asked = await tenant.patch(path + "?attributes=displayName", {"op": "replace", "path": "externalId", "value": "1"})
    without = await tenant.patch(
        path + "?excludedAttributes=members", {"op": "add", "path": "externalId", "value": "2"}
    )

    assert at_100.status_code == (204 if wish == "never" else 200)
    assert at_101.status_code == (200 if wish == "always" else 204)
    assert (asked.status_code, asked.json().keys()) == (200, {"schemas", "id", "displayName"})
    assert (without.status_code, "members" in without.json()) == (200, False)
    for answer in (at_100, at_101):
        assert answer.headers["ETag"].startswith('W/"')
        assert answer.headers["Location"] == group["meta"]["location"]
        if answer.status_code == 200:
            assert len(answer.json()["members"]) in (100, 101)
        else:
            assert answer.content == b""


async def test_large_groups_are_listed_without_their_members(tenant: Tenant) -> None:
    users = await tenant.users(120)
    group = await tenant.group(*users)

    for query in ("excludedAttributes=members", "attributes=displayName"):
        assert "members" not in (await tenant.get(f"/Groups?{query}")).json()["Resources"][0]
        assert "members" not in (await tenant.get(f"/Groups/{group['id']}?{query}")).json()
    assert len((await tenant.found("/Groups"))["Resources"][0]["members"]) == 120
    only = (await tenant.get(f"/Groups/{group['id']}?attributes=members.value")).json()
    assert only["members"][0].keys() == {"value"}


async def test_hundreds_of_members_in_one_request(tenant: Tenant) -> None:
    users = await tenant.users(400)
    group = await tenant.group()
    path = f"/Groups/{group['id']}"

    added = await tenant.patch(path, {"op": "add", "path": "members", "value": [{"value": user} for user in users]})
    removed = await tenant.patch(path, *({"op": "remove", "path": f'members[value eq "{u}"]'} for u in users[:-1]))

    assert (added.status_code, removed.status_code) == (204, 200)
    assert [member["value"] for member in removed.json()["members"]] == [users[-1]]


async def test_passwords_are_neither_kept_nor_shown(tenant: Tenant) -> None:
    secret = "k3pt-by-n0b0dy"
    made = await tenant.send("POST", "/Users", {"userName": "p", "password": secret})
    path = f"/Users/{made.json()['id']}"
    answers = [
        made,
        await tenant.patch(path, {"op": "replace", "path": "password", "value": secret}),
        await tenant.patch(path, {"op": "replace", "value": {"password": secret}}),
        await tenant.send("PUT", path, {"userName": "p", "password": secret}),
        await tenant.get(f"{path}?attributes=password"),
        await tenant.send("POST", "/Users/.search", {"attributes": ["password"]}),
    ]

    for answer in answers:
        assert answer.status_code in (200, 201)
        assert "password" not in answer.text
        assert secret not in answer.text
    stored = await tenant.database.read(
        Statement(lambda d: select((d.json_text(resource.c.doc) + d.json_text(resource.c.search)).label("text"))), {}
    )
    assert stored
    assert all(secret not in row["text"] for row in stored)


async def test_restoring_on_post_keeps_the_id_and_says_so(server: Server) -> None:
    tenant = await server.tenant("restore_on_post=true")
    user = await tenant.user("back", title="t", externalId="1")
    group = await tenant.group(user["id"])
    active = await tenant.send("POST", "/Users", {"userName": "BACK"})
    await tenant.patch(f"/Users/{user['id']}", {"op": "replace", "path": "active", "value": False})

    inactive = await tenant.send("POST", "/Users", {"userName": "back", "active": False})
    restored = await tenant.send("POST", "/Users", {"userName": "Back", "externalId": "2"})
    again = await tenant.send("POST", "/Users", {"userName": "back"})

    assert (active.status_code, inactive.status_code, again.status_code) == (409, 409, 409)
    assert restored.status_code == 201
    assert restored.headers["Location"] == user["meta"]["location"]
    shown = (await tenant.get(f"/Users/{user['id']}")).json()
    assert shown["groups"][0]["value"] == group["id"]
    assert (shown["userName"], shown["externalId"], shown["active"], shown.get("title")) == ("Back", "2", True, None)
    assert shown["meta"]["version"] == 'W/"3"'
    assert shown["meta"]["created"] == user["meta"]["created"]


async def test_strict_and_lenient_tenants_share_a_server(server: Server) -> None:
    lenient, strict = await asyncio.gather(server.tenant(), server.tenant("profile=rfc"))
    body = {"schemas": [USER], "userName": "u", "shoeSize": 44}

    assert (await lenient.send("POST", "/Users", body)).status_code == 201
    assert (await strict.send("POST", "/Users", body)).status_code == 400


async def test_a_removed_state_is_not_shown_and_not_changed(tenant: Tenant) -> None:
    for active in (True, False):
        user = await tenant.user(active=active)
        removals: list[dict[str, Any]] = [{"op": "remove"}, {"op": "replace", "value": None}]
        for removal in removals:
            answer = await tenant.patch(f"/Users/{user['id']}", {**removal, "path": "active"})
            assert answer.status_code == 200
            assert "active" not in answer.json()
            assert "Session-Termination" not in answer.headers
    assert (await tenant.found("/Users", filter="active eq true"))["totalResults"] == 1
    assert (await tenant.found("/Users", filter="active eq false"))["totalResults"] == 1


@pytest.mark.parametrize("shape", range(8))
async def test_every_route_to_inactive_says_what_became_of_the_sessions(
    sqlite_url: str, redis_server: RedisServer, shape: int
) -> None:
    store = {
        "name": "crm", "kind": "redis", "url": redis_server.url, "subject": "{id}", "session_key": "sess:{sid}",
        "index_key": "idx:{subject}", "gate_key": "gate:{subject}", **PATIENT,
    }  # fmt: skip
    settings = Settings.model_validate({"database_url": sqlite_url, "session_stores": (store,)})
    async with serving(settings) as server:
        tenant = await server.tenant()
        user = await tenant.user("leaver")
        path = f"/Users/{user['id']}"
        operations: list[dict[str, Any]] = [
            {"op": "Replace", "path": "active", "value": "False"},
            {"op": "Add", "path": "active", "value": "false"},
            {"op": "replace", "value": {"active": False}},
            {"op": "add", "value": {f"{USER}:active": "False"}},
            {"op": "replace", "path": f"{USER}:active", "value": False},
        ]
        if shape < len(operations):
            answer = await tenant.patch(path, operations[shape])
        elif shape == len(operations):
            answer = await tenant.send("PUT", path, {"userName": "leaver", "active": False})
        elif shape == len(operations) + 1:
            answer = await tenant.send("DELETE", path)
        else:
            answer = await tenant.patch(path, {"op": "replace", "path": "active", "value": False}, If_Match='W/"1"')

        assert answer.status_code in (200, 204)
        assert answer.headers["Session-Termination"].startswith("done; sessions=0; dur=")
        if answer.status_code == 200:
            repeated = await tenant.patch(path, {"op": "replace", "path": "active", "value": False})
            assert "Session-Termination" not in repeated.headers
