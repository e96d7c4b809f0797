"""Bulk (RFC 7644 §3.7): the same results as single requests, references in any order, limits, one receipt."""

from pathlib import Path
from typing import Any

import pytest
from termination.crm import PATIENT
from web.serving import ENTERPRISE, GROUP, PATCH, USER, Server, Tenant, serving

from scim_server.protocol.bulk import BULK_REQUEST_URN, BULK_RESPONSE_URN, MAX_PAYLOAD_BYTES
from scim_server.sessions.registry import read_stores
from scim_server.settings import Settings
from scim_server.storage import schema
from scim_server.usecases.bulk import combined
from scim_server.usecases.change import Receipt


def post_user(bulk_id: str, **data: Any) -> dict[str, Any]:
    body = {"schemas": [USER], "userName": f"{bulk_id}@people.example", **data}
    return {"method": "POST", "path": "/Users", "bulkId": bulk_id, "data": body}


def post_group(bulk_id: str, *members: str) -> dict[str, Any]:
    body = {"schemas": [GROUP], "displayName": bulk_id, "members": [{"value": f"bulkId:{one}"} for one in members]}
    return {"method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": body}


def patch(path: str, *operations: dict[str, Any]) -> dict[str, Any]:
    return {"method": "PATCH", "path": path, "data": {"schemas": [PATCH], "Operations": operations}}


async def bulk(tenant: Tenant, *operations: dict[str, Any], **envelope: Any) -> list[Any]:
    body = {"schemas": [BULK_REQUEST_URN], "Operations": operations, **envelope}
    answer = await tenant.send("POST", "/Bulk", body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["schemas"] == [BULK_RESPONSE_URN]
    found: list[Any] = answer.json()["Operations"]
    return found


def id_of(outcome: Any) -> str:
    return str(outcome["location"].rsplit("/", 1)[1])


def statuses(outcomes: list[Any]) -> list[str]:
    return [outcome["status"] for outcome in outcomes]


async def members(tenant: Tenant, group_id: str) -> set[str]:
    return {member["value"] for member in (await tenant.get(f"/Groups/{group_id}")).json()["members"]}


async def test_each_method(tenant: Tenant) -> None:
    kept, gone = await tenant.user(), await tenant.user()
    outcomes = await bulk(
        tenant,
        post_user("new"),
        {"method": "PUT", "path": f"/Users/{kept['id']}", "data": {"schemas": [USER], "userName": "renamed"}},
        patch(f"/Users/{kept['id']}", {"op": "add", "path": "title", "value": "Chef"}),
        {"method": "DELETE", "path": f"/Users/{gone['id']}"},
    )
    assert statuses(outcomes) == ["201", "200", "200", "204"]
    assert [outcome["method"] for outcome in outcomes] == ["POST", "PUT", "PATCH", "DELETE"]
    assert [outcome.get("version") for outcome in outcomes] == ['W/"1"', 'W/"2"', 'W/"3"', None]
    assert outcomes[0]["bulkId"] == "new"
    assert outcomes[1]["location"] == kept["meta"]["location"]
    assert "response" not in outcomes[0]
    now = (await tenant.get(f"/Users/{kept['id']}")).json()
    assert (now["userName"], now["title"]) == ("renamed", "Chef")
    assert (await tenant.get(f"/Users/{gone['id']}")).status_code == 404


async def test_references_in_any_order(tenant: Tenant) -> None:
    outcomes = await bulk(
        tenant,
        patch("/Groups/bulkId:team", {"op": "add", "path": "members", "value": [{"value": "bulkId:late"}]}),
        post_group("team", "ann"),
        post_user("ann"),
        post_user("late", **{ENTERPRISE: {"manager": {"value": "bulkId:ann"}}}),
    )
    assert statuses(outcomes) == ["200", "201", "201", "201"]
    _, team, ann, late = map(id_of, outcomes)
    assert await members(tenant, team) == {ann, late}
    assert (await tenant.get(f"/Users/{late}")).json()[ENTERPRISE]["manager"]["value"] == ann


async def test_references_in_a_circle(tenant: Tenant) -> None:
    manager: Any = {ENTERPRISE: {"manager": {"value": "bulkId:boss"}, "department": "Sales"}}
    outcomes = await bulk(
        tenant,
        post_group("A", "B", "boss"),
        post_group("B", "A"),
        post_user("boss", **manager),
    )
    assert statuses(outcomes) == ["201", "201", "201"]
    first, second, boss = map(id_of, outcomes)
    assert await members(tenant, first) == {second, boss}
    assert await members(tenant, second) == {first}
    user = (await tenant.get(f"/Users/{boss}")).json()
    assert user[ENTERPRISE]["manager"]["value"] == boss
    assert user[ENTERPRISE]["department"] == "Sales"
    assert user["meta"]["version"] == outcomes[2]["version"]


async def test_half_a_circle_is_undone(tenant: Tenant) -> None:
    await tenant.group(name="B")
    outcomes = await bulk(tenant, post_group("A", "B"), post_group("B", "A"))
    assert statuses(outcomes) == ["409", "409"]
    assert outcomes[1]["response"]["scimType"] == "uniqueness"
    assert (await tenant.found("/Groups", filter='displayName eq "A"'))["totalResults"] == 0


async def test_what_refers_to_nothing_made_is_refused(tenant: Tenant) -> None:
    outcomes = await bulk(tenant, post_group("a", "nowhere"), post_group("b", "a"), post_user("fine"))
    assert statuses(outcomes) == ["409", "409", "201"]
    assert "'nowhere'" in outcomes[0]["response"]["detail"]


async def test_a_fault_is_told_where_it_is(tenant: Tenant) -> None:
    user = await tenant.user()
    outcomes = await bulk(
        tenant,
        {"method": "GET", "path": "/Users"},
        {"method": "DELETE", "path": "/Users/unknown"},
        {"method": "DELETE", "path": "/Sandwiches/1"},
        {"method": "POST", "path": f"/Users/{user['id']}", "bulkId": "x", "data": {}},
        {"method": "DELETE", "path": "/Users"},
        post_user("u") | {"data": {"schemas": [USER]}},
        {**patch(f"/Users/{user['id']}", {"op": "add", "path": "title", "value": "x"}), "version": 'W/"7"'},
    )
    assert statuses(outcomes) == ["400", "404", "404", "405", "405", "400", "412"]
    for outcome in outcomes:
        assert outcome["response"]["status"] == outcome["status"]
        assert outcome["response"]["detail"]
    assert outcomes[-1]["location"] == user["meta"]["location"]
    assert "location" not in outcomes[5]


@pytest.mark.parametrize(("limit", "expected"), [(1, ["201", "400"]), (2, ["201", "400", "201", "400"])])
async def test_fail_on_errors_stops_there(tenant: Tenant, limit: int, expected: list[str]) -> None:
    def bad(name: str) -> dict[str, Any]:
        return post_user(name) | {"data": {}}

    outcomes = await bulk(
        tenant, post_user("a"), bad("b"), post_user("c"), bad("d"), post_user("e"), failOnErrors=limit
    )
    assert statuses(outcomes) == expected


async def test_limits_are_checked_before_anything_is_done(tenant: Tenant) -> None:
    limits = (await tenant.get("/ServiceProviderConfig")).json()["bulk"]
    assert limits == {"supported": True, "maxOperations": 1000, "maxPayloadSize": MAX_PAYLOAD_BYTES}
    many = [post_user(str(number)) for number in range(limits["maxOperations"] + 1)]
    large = [post_user("large", title="x" * limits["maxPayloadSize"])]
    for operations in (many, large):
        answer = await tenant.send("POST", "/Bulk", {"schemas": [BULK_REQUEST_URN], "Operations": operations})
        assert answer.status_code == 413
    assert (await tenant.found("/Users"))["totalResults"] == 0


async def test_needs_the_scope_for_writing(tenant: Tenant) -> None:
    reading = await tenant.with_scope("scim:read")
    assert (await reading.send("POST", "/Bulk", {"Operations": [post_user("a")]})).status_code == 403


async def test_operations_are_straightened_like_single_requests(tenant: Tenant) -> None:
    user = await tenant.user()
    path = f"/Users/{user['id']}"
    (outcome,) = await bulk(tenant, patch(path, {"op": "Replace", "path": "active", "value": "False"}))
    assert outcome["status"] == "200"
    assert (await tenant.get(path)).json()["active"] is False


async def test_other_tenants_are_out_of_reach(server: Server, tenant: Tenant) -> None:
    foreign = await (await server.tenant()).user()
    (outcome,) = await bulk(tenant, {"method": "DELETE", "path": f"/Users/{foreign['id']}"})
    assert outcome["status"] == "404"


async def test_one_receipt_for_all(tmp_path: Path, redis_url: str) -> None:
    keys = {"session_key": "s:{sid}", "index_key": "i:{subject}"}
    store = {"name": "crm", "kind": "redis", "url": redis_url, **keys, **PATIENT}
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/scim.db",
        session_stores=tuple(read_stores([store])),
    )
    await schema.migrate(settings.database_url)
    async with serving(settings) as server:
        tenant = await server.tenant()
        leavers = [await tenant.user(), await tenant.user()]
        operations = [
            patch(f"/Users/{leavers[0]['id']}", {"op": "replace", "path": "active", "value": False}),
            {"method": "DELETE", "path": f"/Users/{leavers[1]['id']}"},
        ]
        answer = await tenant.send("POST", "/Bulk", {"Operations": operations})
        assert answer.headers["Session-Termination"].startswith("done; sessions=0; dur=")


def test_the_worst_is_said_of_all() -> None:
    done = Receipt("done", sessions=2, milliseconds=1.0)
    pending = Receipt("pending", stores=("b",))
    assert combined([]) is None
    assert combined([done, done]) == Receipt("done", sessions=4, milliseconds=2.0)
    assert combined([done, pending, Receipt("pending", stores=("a",))]) == Receipt("pending", 2, 1.0, ("a", "b"))
    worst = combined([pending, Receipt("held"), Receipt("unresolved", stores=("c",)), done])
    assert worst is not None
    assert (worst.state, worst.stores) == ("unresolved", ("c",))
