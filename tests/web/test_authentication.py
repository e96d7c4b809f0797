"""Who gets in, and how far: tokens, scopes, tenants that cannot see each other, addresses in disguise."""

import asyncio
import time
from urllib.parse import quote

import pytest
from web.serving import BASE, GROUP, SCIM_JSON, USER, Server, Tenant, serving, stamp

from scim_server.clock import now_ms
from scim_server.settings import Settings
from scim_server.storage.access import tokens
from scim_server.usecases import access

STRANGER = "01a20300-0000-7000-8000-00000000dead"


LONG = "Bearer " + "x" * 9_000
BAD = (None, "", "non-token", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "bearer\t", "Bearer unknown", "Bearer ñ", LONG)


@pytest.mark.parametrize("header", BAD)
async def test_bad_credentials_are_401(tenant: Tenant, header: str | None) -> None:
    raw = None if header is None else header.encode("latin-1")
    answer = await tenant.http.get(f"{BASE}/Users", headers=[] if raw is None else [(b"Authorization", raw)])

    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == SCIM_JSON
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["status"] == "401"
    assert answer.json()["detail"]


async def test_the_scheme_has_no_case(tenant: Tenant) -> None:
    assert (await tenant.get("/Users", Authorization=f"bEARER  {tenant.token} ")).status_code == 200


async def test_a_cut_or_lengthened_token_is_unknown(tenant: Tenant) -> None:
    for token in (tenant.token[:-1], tenant.token + "x", tenant.token.upper(), ""):
        assert (await tenant.get("/Users", Authorization=f"Bearer {token}")).status_code == 401


async def test_an_expired_token_is_401(tenant: Tenant) -> None:
    tenant.token = await tenant.issue(expires=now_ms() - 1)

    answer = await tenant.get("/Users")

    assert answer.status_code == 401


async def test_a_revoked_token_is_worthless_within_a_second(tenant: Tenant) -> None:
    tenant.token = await tenant.issue()
    assert (await tenant.get("/Users")).status_code == 200
    row = next(row for row in await tokens(tenant.database) if row.id == tenant.token.split("_")[1])

    await access.revoke_token(tenant.database, row, **stamp())
    revoked = time.monotonic()

    answered = True
    while answered:
        asked = time.monotonic()
        answered = (await tenant.get("/Users?count=0")).status_code == 200
        assert not answered or asked - revoked < 1.1


@pytest.mark.parametrize("path", ["/Users", "/Groups", f"/Users/{STRANGER}", "/Users/.search", f"/Groups/{STRANGER}"])
@pytest.mark.parametrize(
    "spelling", ["/scim/v2", "/scim%2Fv2", "//scim///v2", "/%73cim/v2", "/scim/v2/", "/scim/./v2", "/scim/v2/x/.."]
)
async def test_no_spelling_of_an_address_gets_past_authentication(tenant: Tenant, spelling: str, path: str) -> None:
    for address in (spelling + path, spelling + quote(path, safe=""), f"{spelling}{path}/"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            answer = await tenant.http.request(method, f"http://scim.test{address}", content=b"{}")
            assert answer.status_code in (401, 404, 405), f"{method} {address}"


async def test_a_reading_token_reads_and_does_not_write(tenant: Tenant) -> None:
    user, group = await tenant.user(), await tenant.group()
    reader = await tenant.with_scope("scim:read")

    for path in ("/Users", "/Groups", f"/Users/{user['id']}", f"/Groups/{group['id']}"):
        assert (await reader.get(path)).status_code == 200
    assert (await reader.send("POST", "/Users/.search", {"filter": "userName pr"})).status_code == 200
    for method, path in _writes(user["id"], group["id"]):
        answer = await reader.send(method, path, {"userName": "x", "displayName": "x"})
        assert answer.status_code == 403, f"{method} {path}"
        assert answer.json()["status"] == "403"
    assert (await tenant.found("/Users"))["totalResults"] == 1


async def test_a_revoking_token_neither_reads_nor_writes(tenant: Tenant) -> None:
    user, group = await tenant.user(), await tenant.group()
    revoker = await tenant.with_scope("scim:revoke")

    for method, path in (*_writes(user["id"], group["id"]), ("GET", "/Users"), ("GET", f"/Users/{user['id']}")):
        assert (await revoker.send(method, path, {"userName": "x"})).status_code == 403


def _writes(user: str, group: str) -> list[tuple[str, str]]:
    return [("POST", "/Users"), ("POST", "/Groups")] + [
        (method, path) for method in ("PUT", "PATCH", "DELETE") for path in (f"/Users/{user}", f"/Groups/{group}")
    ]


async def test_a_foreign_id_is_answered_exactly_like_an_unknown_or_malformed_one(server: Server) -> None:
    ours, theirs = await asyncio.gather(server.tenant(), server.tenant())
    user, group = await theirs.user(), await theirs.group()

    for endpoint, foreign in (("/Users", user["id"]), ("/Groups", group["id"]), ("/Users", group["id"])):
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            seen = set()
            for candidate in (foreign, foreign.upper(), STRANGER, "0", "%00", "x" * 300, "é", f"{foreign}%20"):
                answer = await ours.send(
                    method,
                    f"{endpoint}/{candidate}",
                    None if method == "GET" else _body(method, endpoint),
                    If_Match='W/"1"',
                    X_Request_Id="same",
                )
                seen.add((answer.status_code, answer.content, tuple(answer.headers.items())))
            assert len(seen) == 1, f"{method} {endpoint}"
            assert next(iter(seen))[0] == 404
    assert (await theirs.get(f"/Users/{user['id']}")).json() == user


def _body(method: str, endpoint: str) -> dict[str, object]:
    if method == "PATCH":
        return {"Operations": [{"op": "replace", "path": "externalId", "value": "x"}]}
    return {"userName": "x"} if endpoint == "/Users" else {"displayName": "x"}


async def test_a_foreign_member_is_refused_like_an_unknown_one(server: Server) -> None:
    ours, theirs = await asyncio.gather(server.tenant(), server.tenant())
    foreign, group = (await theirs.user())["id"], (await ours.group())["id"]

    answers = {
        (await ours.patch(f"/Groups/{group}", {"op": "add", "path": "members", "value": [{"value": candidate}]},
                          X_Request_Id="same")).text.replace(candidate, "…")
        for candidate in (foreign, STRANGER)
    }  # fmt: skip
    created = await ours.send(
        "POST", "/Groups", {"schemas": [GROUP], "displayName": "g", "members": [{"value": foreign}]}
    )

    assert len(answers) == 1
    assert created.status_code == 400
    assert (await ours.get(f"/Groups/{group}")).json()["members"] == []
    assert (await theirs.get(f"/Users/{foreign}")).json().get("groups") is None


async def test_filters_find_nothing_of_another_tenant(server: Server) -> None:
    ours, theirs = await asyncio.gather(server.tenant(), server.tenant())
    user = await theirs.user("secret@people.example", externalId="e-1", title="Spy")
    group = await theirs.group(user["id"], name="secret group")
    await ours.user(manager=user["id"])

    for query in ('userName eq "secret@people.example"', 'externalId eq "e-1"', 'title eq "Spy"', "groups pr",
                  f'id eq "{user["id"]}"', f'groups eq "{group["id"]}"', 'groups.display co "secret"'):  # fmt: skip
        assert (await ours.found("/Users", filter=query))["totalResults"] == 0, query
    for query in ("members pr", f'members eq "{user["id"]}"', 'displayName eq "secret group"'):
        assert (await ours.found("/Groups", filter=query))["totalResults"] == 0, query
    assert (await ours.found("/Users"))["totalResults"] == 1


async def test_names_are_taken_within_a_tenant_only(server: Server) -> None:
    ours, theirs = await asyncio.gather(server.tenant(), server.tenant())

    for tenant in (ours, theirs):
        await tenant.user("same@people.example")
        await tenant.group(name="same")


async def test_discovery_is_open_unless_the_operator_closes_it(server: Server) -> None:
    endpoints = ("/ServiceProviderConfig", "/Schemas", f"/Schemas/{USER}", "/ResourceTypes", "/ResourceTypes/User")
    for path in endpoints:
        assert (await server.http.get(BASE + path)).status_code == 200
        assert (await server.http.get(BASE + path, headers={"Authorization": "Bearer wrong"})).status_code == 401


async def test_closed_discovery_wants_a_token(sqlite_url: str) -> None:
    async with serving(Settings(database_url=sqlite_url, discovery_auth=True)) as closed:
        assert (await closed.http.get(f"{BASE}/Schemas")).status_code == 401
        assert (await (await closed.tenant()).get("/Schemas")).status_code == 200
