"""Every refusal is a SCIM Error in SCIM's media type, with a detail that helps and nothing that leaks."""

import asyncio
from typing import Any

import asyncpg
import pytest
from services.postgres import PostgresServer
from services.processes import free_port
from web.serving import BASE, PATCH, SCIM_JSON, Server, Tenant, serving, stamp

from scim_server.clock import now_ms
from scim_server.settings import Settings
from scim_server.storage import schema
from scim_server.usecases import access
from scim_server.web.body import MAX_BYTES
from scim_server.web.middleware import MAX_HEADERS, MAX_TARGET

ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
NOBODY = "/Users/0199f5a0-0000-7000-8000-000000000000"
Case = tuple[str, str, Any, dict[str, str | None], int, str | None]
CASES: list[Case] = [
    ("GET", "/Users?filter=shoeSize+eq+44", None, {}, 400, "invalidFilter"),
    ("GET", "/Users?startIndex=x", None, {}, 400, "invalidValue"),
    ("POST", "/Users", b"", {}, 400, "invalidSyntax"),
    ("POST", "/Users", b"{", {}, 400, "invalidSyntax"),
    ("POST", "/Users", [], {}, 400, "invalidSyntax"),
    ("POST", "/Users", {}, {}, 400, "invalidValue"),
    ("POST", "/Users", {"userName": "x"}, {"Authorization": None}, 401, None),
    ("GET", "/Schemas?filter=id+pr", None, {}, 403, None),
    ("GET", NOBODY, None, {}, 404, None),
    ("GET", "/Toasters", None, {}, 404, None),
    ("GET", "http://scim.test/", None, {}, 404, None),
    ("GET", "http://scim.test/scim/v1/Users", None, {}, 404, None),
    ("PATCH", NOBODY, {"Operations": [{"op": "remove", "path": "title"}]}, {}, 404, None),
    ("DELETE", "/Users", None, {}, 405, None),
    ("POST", NOBODY, {}, {}, 405, None),
    ("OPTIONS", "/Users", None, {}, 405, None),
    ("POST", "/ResourceTypes", {}, {}, 405, None),
    ("POST", "/Users", {"userName": "x"}, {"Content-Type": "application/xml"}, 415, None),
    ("POST", "/Users", {"userName": "x"}, {"Content-Type": "application/json; charset=utf-16"}, 415, None),
    ("POST", "/Users", {"userName": "x"}, {"Content-Encoding": "gzip"}, 415, None),
    ("POST", "/Users", b"{" + b" " * MAX_BYTES, {}, 413, None),
    ("PATCH", NOBODY, {"Operations": [{"op": "remove", "path": "title"}] * 1_001}, {}, 413, None),
    ("GET", "/Users?attributes=" + "a" * MAX_TARGET, None, {}, 414, None),
    ("GET", "/Users", None, {f"X-{number}": "1" for number in range(MAX_HEADERS + 1)}, 431, None),
    ("GET", "/Users", None, {"X-Long": "x" * 40_000}, 431, None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "scim_type"), CASES)
async def test_error(
    tenant: Tenant, method: str, path: str, body: object, headers: dict[str, str | None], status: int,
    scim_type: str | None,
) -> None:  # fmt: skip
    answer = await tenant.send(method, path, body, X_Request_Id="abc-1", **headers)

    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == SCIM_JSON
    assert answer.headers["X-Request-Id"] == "abc-1"
    said = answer.json()
    assert said["schemas"] == [ERROR]
    assert said["status"] == str(status)
    assert said.get("scimType") == scim_type
    assert said.keys() <= {"schemas", "status", "scimType", "detail"}
    assert len(said["detail"]) > 10
    assert ("abc-1" in said["detail"]) == (status != 404)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/Users", "GET, HEAD, POST"),
        (NOBODY, "DELETE, GET, HEAD, PATCH, PUT"),
        ("/Groups", "GET, HEAD, POST"),
        ("/Schemas", "GET, HEAD"),
        ("/ServiceProviderConfig", "GET, HEAD"),
    ],
)
async def test_a_405_says_what_is_allowed(tenant: Tenant, path: str, allowed: str) -> None:
    assert (await tenant.send("TRACE", path)).headers["Allow"] == allowed


async def test_a_taken_name_is_409(tenant: Tenant) -> None:
    await tenant.user("ada")
    bob = await tenant.user("bob")
    body = {"userName": "ADA"}

    for answer in (
        await tenant.send("POST", "/Users", body),
        await tenant.send("PUT", f"/Users/{bob['id']}", body),
        await tenant.patch(f"/Users/{bob['id']}", {"op": "replace", "path": "userName", "value": "Ada"}),
    ):
        assert answer.status_code == 409
        assert answer.json()["scimType"] == "uniqueness"
    assert (await tenant.get(f"/Users/{bob['id']}")).json()["userName"] == "bob"


async def test_a_frozen_tenant_reads_but_does_not_write(server: Server) -> None:
    tenant = await server.tenant()
    await access.freeze(tenant.database, tenant.row, now_ms() + 90_000, **stamp())

    answer = await tenant.send("POST", "/Users", {"userName": "x"})

    assert answer.status_code == 429
    assert answer.json()["schemas"] == [ERROR]
    assert 85 <= int(answer.headers["Retry-After"]) <= 90
    assert (await tenant.get("/Users")).status_code == 200


async def test_a_request_id_that_is_no_id_is_replaced(tenant: Tenant) -> None:
    for sent in ("a b", "x" * 129, 'x"y', "<script>", None):
        made = (await tenant.get("/Users", X_Request_Id=sent)).headers["X-Request-Id"]
        assert made != sent
        assert len(made) == 36


async def test_details_quote_no_more_of_a_request_than_a_person_reads(tenant: Tenant) -> None:
    for path in (f"/Users?filter={'a' * 5_000}+eq+1", "/Users?filter=" + "%22" * 2_000, f"/Users?sortBy={'x' * 9_000}"):
        assert len((await tenant.get(path)).content) < 600
    user = await tenant.user()
    for operation in (
        {"op": "add", "path": "x" * 8_000, "value": 1},
        {"op": "x" * 8_000},
        {"op": "add", "path": 'emails[type eq "' + "y" * 8_000 + '"', "value": 1},
    ):
        assert len((await tenant.patch(f"/Users/{user['id']}", operation)).content) < 600


async def test_a_damaged_database_is_500_and_shows_nothing_of_itself(postgres: PostgresServer) -> None:
    url = postgres.create_database()
    await schema.migrate(url)
    async with serving(Settings(database_url=url)) as server:
        tenant = await server.tenant()
        connection = await asyncpg.connect(url)
        await connection.execute("ALTER TABLE resource RENAME TO lost")
        await connection.close()

        damaged = await tenant.get("/Users")

        assert damaged.status_code == 500
        assert damaged.headers["Content-Type"] == SCIM_JSON
        assert damaged.json()["status"] == "500"
        assert "lost" not in damaged.text
        assert "relation" not in damaged.text


async def test_http_errors_before_authentication_do_not_read_the_body(server: Server) -> None:
    answer = await server.http.post(f"{BASE}/Users", content=b"{" + b" " * MAX_BYTES)

    assert answer.status_code == 401


async def test_an_empty_or_broken_patch_is_refused_before_the_resource_is_looked_up(tenant: Tenant) -> None:
    bodies: list[Any] = [{}, {"Operations": []}, {"Operations": {}}, {"schemas": [PATCH], "Operations": ["x"]}]
    for body in bodies:
        answer = await tenant.send("PATCH", NOBODY, body)
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidSyntax")


async def test_a_database_that_is_away_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scim_server.storage.postgres.PATIENCE_S", 0.1)
    nowhere = f"postgresql://postgres@127.0.0.1:{free_port()}/scim"
    async with serving(Settings(database_url=nowhere, listen_url="-")) as server:
        for method, path in (("GET", "/Users"), ("POST", "/Users"), ("DELETE", NOBODY)):
            answer = await server.http.request(method, BASE + path, headers={"Authorization": "Bearer x"})

            assert answer.status_code == 503
            assert answer.headers["Content-Type"] == SCIM_JSON
            assert answer.headers["Retry-After"] == "1"
            assert answer.json()["status"] == "503"
        assert (await server.http.get("http://scim.test/readyz")).status_code == 503
        assert (await server.http.get("http://scim.test/livez")).status_code == 200


async def test_a_saturated_server_says_so_and_stays_alive(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scim_server.web.middleware.MAX_CONCURRENT", 0)
    for path in ("/Users", "/Users/z", "/Schemas"):
        answer = await tenant.get(path)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.headers["Content-Type"] == SCIM_JSON
    assert (await tenant.get("http://scim.test/livez")).status_code == 200
    assert (await tenant.get("http://scim.test/metrics")).status_code == 200


async def test_a_tenant_that_takes_all_places_leaves_some_to_others(
    server: Server, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scim_server.web.shares.MAX_OF_A_TENANT", 3)
    other = await server.tenant()
    waits = [asyncio.create_task(other.get("http://scim.test/events?wait=2")) for _ in range(4)]
    done, waiting = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)

    (refused,) = [wait.result() for wait in done]
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert refused.headers["Content-Type"] == SCIM_JSON
    assert (await tenant.get("/Users")).status_code == 200
    assert (await other.get("/Users")).status_code == 429
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    assert (await other.get("/Users")).status_code == 200
