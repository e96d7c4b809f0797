"""GET /requests/{id}: every request that writes, or tries to, can be explained afterwards."""

import asyncio
from typing import Any

import pytest
from web.serving import SCIM_JSON, Tenant

TRIES = 200


async def explained(tenant: Tenant, request_id: str) -> Any:
    """The records of a request; they are stored a moment after the answer."""
    for _ in range(TRIES):
        answer = await tenant.get(f"http://scim.test/requests/{request_id}")
        if answer.status_code == 200:
            return answer.json()["requests"]
        await asyncio.sleep(0.05)
    raise AssertionError(f"{request_id} was not recorded")


async def test_a_nul_in_an_address_harms_no_records(tenant: Tenant) -> None:
    refused = await tenant.send("DELETE", "/Users/a%00b", X_Request_Id="hostile")
    await tenant.send("POST", "/Users", {"userName": "ada"}, X_Request_Id="after")

    assert refused.status_code == 404
    assert [record["request"] for record in await explained(tenant, "hostile")] == ["DELETE /scim/v2/Users/a\ufffdb"]
    assert [record["status"] for record in await explained(tenant, "after")] == [201]


@pytest.mark.parametrize("address", ["/requests/%00", "/receipts/%00", "/requests/" + "x" * 200, "/receipts/%ff"])
async def test_what_cannot_be_a_request_id_is_unknown(tenant: Tenant, address: str) -> None:
    answer = await tenant.get(f"http://scim.test{address}")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == SCIM_JSON


async def test_a_record_that_cannot_be_stored_does_not_end_the_others(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Event()

    async def broken(*_: Any) -> None:
        tried.set()
        raise ValueError

    with monkeypatch.context() as patched:
        patched.setattr("scim_server.storage.exchanges.keep", broken)
        await tenant.send("POST", "/Users", {"userName": "lost"}, X_Request_Id="lost")
        await asyncio.wait_for(tried.wait(), 40)
    await tenant.send("POST", "/Users", {"userName": "kept"}, X_Request_Id="kept")

    assert [record["status"] for record in await explained(tenant, "kept")] == [201]


async def test_why_it_was_refused_names_nobody(tenant: Tenant) -> None:
    await tenant.user("ada.lovelace@example.com")
    await tenant.send("POST", "/Users", {"userName": "ada.lovelace@example.com"}, X_Request_Id="twice")

    (record,) = await explained(tenant, "twice")
    assert (record["status"], "userName" in record["error"]) == (409, True)
    assert "lovelace" not in str(record)
