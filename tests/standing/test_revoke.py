"""POST /.revoke: one call of a person ends the sessions of one user, with or without the account."""

import asyncio
from typing import Any

import pytest
from standing.firm import Firm, House, sessions_of
from web.serving import stamp

from scim_server.storage.access import tenant_named
from scim_server.usecases import access, operations


@pytest.mark.parametrize("name", ["id", "userName", "externalId"])
@pytest.mark.parametrize("deactivate", [True, False, None])
async def test_sessions_end_before_the_answer(firm: Firm, name: str, deactivate: bool | None) -> None:
    robbed, other = await firm.staff(2)
    value = {"id": robbed.id.upper(), "userName": robbed.user_name.upper(), "externalId": robbed.subject}[name]
    body: dict[str, Any] = {name: value} | ({} if deactivate is None else {"deactivate": deactivate})
    answer = await firm.idp.send("POST", "/.revoke", body, X_Request_Id="call-1")
    assert firm.crm.alive(robbed.subject) == 0
    assert firm.crm.alive(other.subject) == 3
    assert answer.status_code == 200, answer.text
    assert sessions_of(answer) == 3
    assert firm.is_denied(robbed) is bool(deactivate)
    assert await firm.is_active(robbed) is not deactivate
    said = answer.json()
    assert said["user"] == {"id": robbed.id, "userName": robbed.user_name}
    assert said["deactivated"] is bool(deactivate)
    assert said["termination"] == answer.headers["session-termination"]
    assert said["requestId"] == answer.headers["x-request-id"] == "call-1"
    (receipt,) = said["receipts"]
    assert receipt["action"] == ("user.update" if deactivate else "user.revoke")
    (store,) = receipt["stores"]
    assert (store["state"], store["sessions"], store["user"]) == ("done", 3, robbed.id)


async def test_a_session_after_it_works(firm: Firm) -> None:
    robbed = await firm.hire()
    await firm.idp.send("POST", "/.revoke", {"id": robbed.id})
    first = firm.crm.gate(robbed.subject)
    firm.crm.log_in(robbed.subject)
    await firm.idp.send("POST", "/.revoke", {"id": robbed.id})
    second = firm.crm.gate(robbed.subject)
    assert first is not None
    assert second is not None
    assert second[0] > first[0]
    assert (second[1], firm.crm.alive(robbed.subject)) == (False, 0)


@pytest.mark.parametrize("deactivate", [True, False])
async def test_who_is_inactive_is_killed_again_and_stays_out(firm: Firm, deactivate: bool) -> None:
    leaver = await firm.hire()
    await firm.active(leaver, False)
    firm.crm.log_in(leaver.subject)
    answer = await firm.idp.send("POST", "/.revoke", {"id": leaver.id, "deactivate": deactivate})
    assert sessions_of(answer) == 3
    assert firm.is_cut_off(leaver)
    assert not await firm.is_active(leaver)


@pytest.mark.parametrize("deactivate", [True, False])
async def test_who_no_access_group_has_stays_out(house: House, deactivate: bool) -> None:
    firm = await house.firm("access_groups=CRM Users")
    person = await firm.hire()
    answer = await firm.idp.send("POST", "/.revoke", {"id": person.id, "deactivate": deactivate})
    assert sessions_of(answer) == 3
    assert firm.is_cut_off(person)
    assert await firm.is_active(person) is not deactivate


async def test_a_revocation_and_a_deactivation_at_once_never_let_in(firm: Firm) -> None:
    people = await firm.staff(40)
    await asyncio.gather(
        *(firm.active(person, False) for person in people),
        *(firm.idp.send("POST", "/.revoke", {"id": person.id}) for person in people),
    )
    await firm.delivered()
    assert all(firm.is_cut_off(person) for person in people)


@pytest.mark.parametrize(("scope", "status"), [("scim", 200), ("scim:revoke", 200), ("scim:read", 403)])
async def test_scopes(firm: Firm, scope: str, status: int) -> None:
    person = await firm.hire()
    caller = await firm.idp.with_scope(scope)
    answer = await caller.send("POST", "/.revoke", {"id": person.id, "deactivate": True})
    assert answer.status_code == status
    assert firm.is_cut_off(person) is (status == 200)
    assert (await firm.idp.send("POST", "/.revoke", {"id": person.id}, Authorization=None)).status_code == 401


async def test_unknown_foreign_and_ambiguous_names_are_not_found(firm: Firm, house: House) -> None:
    foreign = await (await house.firm()).hire()
    twins = [await firm.hire(externalId="twin") for _ in range(2)]
    for body in (
        {"id": foreign.id},
        {"userName": foreign.user_name + "x"},
        {"externalId": foreign.subject},
        {"externalId": "twin"},
        {"id": "no uuid"},
        {"userName": 'a" or userName pr or userName eq "'},
        {"userName": "x" * 5000},
    ):
        answer = await firm.idp.send("POST", "/.revoke", body)
        assert answer.status_code == 404, (body, answer.text)
    assert firm.crm.alive(foreign.subject, twins[0].subject) == 6


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        "x",
        {"id": "a", "userName": "b"},
        {"id": 7},
        {"id": ""},
        {"userName": ["x"]},
        {"id": "a", "deactivate": "true"},
        {"id": "a", "deactivate": None},
        {"user": "x"},
        b"{",
    ],
)
async def test_what_is_not_understood_is_refused(firm: Firm, body: Any) -> None:
    answer = await firm.idp.send("POST", "/.revoke", b"null" if body is None else body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["scimType"] in ("invalidSyntax", "invalidValue")


async def test_it_works_while_the_tenant_is_frozen(firm: Firm) -> None:
    person = await firm.hire()
    row = await tenant_named(firm.idp.database, firm.idp.row.name)
    assert row is not None
    await access.freeze(firm.idp.database, row, firm.parts.deployment.now() + 90_000, **stamp())
    firm.idp.token = await firm.idp.issue()
    for answer in (await firm.active(person, False), await firm.idp.send("DELETE", f"/Users/{person.id}")):
        assert answer.status_code == 429
        assert 80 < int(answer.headers["retry-after"]) <= 90
    assert (await firm.idp.get(f"/Users/{person.id}")).status_code == 200
    assert firm.crm.alive(person.subject) == 3
    answer = await firm.idp.send("POST", "/.revoke", {"id": person.id, "deactivate": True})
    assert sessions_of(answer) == 3
    await access.freeze(firm.idp.database, row, None, **stamp())
    firm.idp.token = await firm.idp.issue()
    assert (await firm.active(person, True)).status_code == 200


async def test_somebody_without_the_stores_key_is_unresolved(firm: Firm) -> None:
    person = await firm.idp.user("nokey@people.example")
    for deactivate in (False, True):
        answer = await firm.idp.send("POST", "/.revoke", {"id": person["id"], "deactivate": deactivate})
        assert answer.headers["session-termination"].startswith("unresolved; stores=")
        (receipt,) = answer.json()["receipts"]
        assert [store["state"] for store in receipt["stores"]] == ["unresolved"]


async def test_a_user_who_goes_meanwhile_is_not_found(firm: Firm) -> None:
    person = await firm.hire()
    deployment, operator = firm.parts.deployment, await firm.operator()
    found = await operations.find_user(deployment, operator, person.id)
    assert found is not None
    await firm.idp.send("DELETE", f"/Users/{person.id}")
    with pytest.raises(Exception, match="No User has this id"):
        await operations.revoke(deployment, operator, found)
    assert firm.is_cut_off(person)
