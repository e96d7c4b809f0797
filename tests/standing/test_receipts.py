"""Receipts: when, by whom, which store confirmed when, how many sessions; by request and by person."""

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from standing.firm import BASE, Firm, House, until
from termination.crm import AS_SHIPPED, SqlCrm
from termination.scene import Scene, playing

from scim_server.storage import schema
from scim_server.usecases import amends

ROOT = BASE.removesuffix("/scim/v2")


async def receipts(firm: Firm, path: str, **headers: str | None) -> list[Any]:
    answer = await firm.idp.get(f"{ROOT}/receipts{path}", **headers)
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["receipts"]
    return found


async def test_a_request_has_its_receipt(firm: Firm) -> None:
    person = await firm.hire()
    path, body = f"/Users/{person.id}", {"Operations": [{"op": "replace", "path": "active", "value": False}]}
    await firm.idp.send("PATCH", path, body, X_Request_Id="req-7")
    (receipt,) = await receipts(firm, "/req-7")
    assert receipt["actor"] == f"token:{firm.idp.token.split('_')[1]}"
    assert (receipt["requestId"], receipt["action"]) == ("req-7", "user.update")
    assert receipt["resource"] == {"type": "User", "id": person.id}
    assert receipt["detail"] == {"attributes": ["active"]}
    (store,) = receipt["stores"]
    assert store["user"] == person.id
    assert (store["type"], store["state"], store["sessions"], store["attempts"]) == ("user.deactivated", "done", 3, 1)
    assert store["guard"] == "not seen"
    assert receipt["at"] <= store["confirmed"]
    assert 0 <= store["timeToKillMs"] < 60_000


@pytest.mark.parametrize("by", ["userName", "externalId", "id"])
async def test_a_person_has_the_receipts_of_every_loss(house: House, by: str) -> None:
    firm = await house.firm("access_groups=CRM Users")
    person, colleague = await firm.staff(2)
    group = await firm.group("CRM Users", person, colleague)
    await firm.put(group, "CRM Users")
    for number in range(25):  # which told no store anything
        await firm.idp.patch(f"/Users/{person.id}", {"op": "replace", "path": "title", "value": str(number)})
    value = {"userName": person.user_name, "externalId": person.subject, "id": person.id}[by]
    found = await receipts(firm, f"?{httpx.QueryParams({by: value})}")
    assert [one["action"] for one in found] == ["group.update", "user.create"]
    assert [(store["user"], store["sessions"]) for store in found[0]["stores"]] == [(person.id, 3)]
    assert found[0]["resource"] == {"type": "Group", "id": group}
    whole = await receipts(firm, f"/{found[0]['requestId']}")
    assert {store["user"] for store in whole[0]["stores"]} == {person.id, colleague.id}


async def test_a_deleted_person_keeps_them_under_the_id(firm: Firm) -> None:
    person = await firm.hire()
    await firm.idp.send("DELETE", f"/Users/{person.id}")
    (receipt,) = await receipts(firm, f"?id={person.id.upper()}")
    assert (receipt["action"], receipt["stores"][0]["sessions"]) == ("user.delete", 3)
    assert (await firm.idp.get(f"{ROOT}/receipts?userName={person.user_name}")).status_code == 404


async def test_strangers_and_scopes(firm: Firm, house: House) -> None:
    other = await house.firm()
    person = await other.hire()
    await other.active(person, False)
    (receipt,) = await receipts(other, f"?id={person.id}")
    for path in (f"/{receipt['requestId']}", f"/{receipt['id']}", f"?id={person.id}", "?id=x", "?userName=nobody"):
        assert (await firm.idp.get(f"{ROOT}/receipts{path}")).status_code == 404
        assert (await firm.idp.get(f"{ROOT}/receipts{path}", Authorization=None)).status_code == 401
        revoker = await firm.idp.with_scope("scim:revoke")
        assert (await revoker.get(f"{ROOT}/receipts{path}")).status_code == 403
    reader = await other.idp.with_scope("scim:read")
    assert (await reader.get(f"{ROOT}/receipts/{receipt['requestId']}")).json()["receipts"] == [receipt]
    assert (await firm.idp.get(f"{ROOT}/receipts")).status_code == 400


async def test_who_has_no_key_in_a_store_is_unresolved(firm: Firm) -> None:
    user = await firm.idp.user("nokey@people.example")
    answer = await firm.idp.patch(f"/Users/{user['id']}", {"op": "replace", "path": "active", "value": False})
    assert answer.headers["session-termination"].startswith("unresolved")
    (receipt,) = await receipts(firm, f"?id={user['id']}")
    (store,) = receipt["stores"]
    assert store["state"] == "unresolved"
    (audit,) = await firm.audits("user.update")
    assert json.loads(audit["detail"])["unresolved"] == [store["store"]]


async def test_held_then_approved(house: House) -> None:
    firm = await house.firm("brake_hold=1%")
    people = await firm.staff(21)
    for person in people:
        await firm.active(person, False)
    held = people[-1]
    (receipt,) = await receipts(firm, f"?id={held.id}")
    assert [store["state"] for store in receipt["stores"]] == ["held"]
    assert "confirmed" not in receipt["stores"][0]
    await amends.approve(firm.parts.deployment, await firm.operator(), held.id)
    approved, asked = await receipts(firm, f"?id={held.id}")
    assert [(store["state"], store.get("sessions")) for store in approved["stores"]] == [("done", 3)]
    assert approved["action"] == "brake.approve"
    assert [store["state"] for store in asked["stores"]] == ["cancelled"]


@pytest.fixture(params=["sqlite", "postgres"])
async def slow_scene(
    request: pytest.FixtureRequest, own_database: str, tmp_path: Path
) -> AsyncIterator[tuple[Scene, SqlCrm, sqlite3.Connection]]:
    """A server whose CRM's database is locked by somebody."""
    url = own_database if request.param == "postgres" else f"sqlite:///{tmp_path}/scim.db"
    await schema.migrate(url)
    crm = SqlCrm(tmp_path / "slow.db", budget_ms=AS_SHIPPED["budget_ms"])
    lock = sqlite3.connect(tmp_path / "slow.db", isolation_level=None)
    async with playing(url, [crm.entry]) as scene:
        yield scene, crm, lock
    lock.close()


async def test_pending_until_the_worker_is_done(slow_scene: tuple[Scene, SqlCrm, sqlite3.Connection]) -> None:
    scene, crm, lock = slow_scene
    person = await scene.hire(f"slow-{scene.idp.token[-8:]}", userName=f"{scene.idp.token[-8:]}@people.example")
    crm.log_in(person.subject)
    lock.execute("BEGIN IMMEDIATE")
    answer = await scene.set_active(person, False)
    assert answer.headers["session-termination"] == 'pending; stores="crm"'

    async def states() -> list[Any]:
        path = f"{ROOT}/receipts/{answer.headers['x-request-id']}"
        return [one["stores"] for one in (await scene.idp.get(path)).json()["receipts"]]

    ((before,),) = await states()
    assert before["state"] == "pending"
    assert "timeToKillMs" not in before
    lock.execute("ROLLBACK")

    async def is_done() -> bool:
        return bool((await states())[0][0]["state"] == "done")

    await until(is_done, 10)
    ((after,),) = await states()
    assert crm.alive(person.subject) == 0
    assert after["sessions"] in (0, 3)  # the attempt that was given up may have ended them
    assert after["attempts"] > 1
    assert after["timeToKillMs"] > 100
