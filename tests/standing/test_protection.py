"""Recovery accounts: no route of SCIM cuts them off or renames them; the command line does, and the audit says so."""

import json
from typing import Any

import pytest
from standing.firm import USER, Firm, House, Person

from scim_server.protocol.errors import Conflict
from scim_server.usecases import access_groups, operations


async def recovery(firm: Firm, named_by: str) -> Person:
    """An account that the tenant's option names by this attribute."""
    person = await firm.hire()
    names = {"id": person.id, "userName": person.user_name.upper(), "externalId": person.subject}
    await firm.set(f"protected_accounts=somebody@else.example, {names[named_by]}")
    return person


def put_of(person: Person, **changes: Any) -> dict[str, Any]:
    return {"schemas": [USER], "userName": person.user_name, "externalId": person.subject, **changes}


@pytest.mark.parametrize("named_by", ["id", "userName", "externalId"])
async def test_no_route_cuts_it_off(firm: Firm, named_by: str) -> None:
    person = await recovery(firm, named_by)
    path = f"/Users/{person.id}"
    attempts = [
        await firm.active(person, False),
        await firm.idp.patch(path, {"op": "Replace", "value": {"active": "False"}}),
        await firm.idp.send("PUT", path, put_of(person, active=False)),
        await firm.idp.send("DELETE", path),
        await firm.idp.send("POST", "/.revoke", {"id": person.id, "deactivate": True}),
    ]
    for answer in attempts:
        assert answer.status_code == 409, answer.text
        assert "--override" in answer.json()["detail"]
        assert "session-termination" not in answer.headers
    assert firm.crm.alive(person.subject) == 3
    assert await firm.is_active(person)
    assert (await firm.idp.patch(path, {"op": "replace", "path": "title", "value": "CEO"})).status_code == 200


@pytest.mark.parametrize("named_by", ["userName", "externalId"])
async def test_the_name_it_is_protected_by_stays(firm: Firm, named_by: str) -> None:
    person = await recovery(firm, named_by)
    path = f"/Users/{person.id}"
    for answer in (
        await firm.idp.patch(path, {"op": "replace", "path": named_by, "value": "another"}),
        await firm.idp.send("PUT", path, put_of(person, **{named_by: "another"})),
        await firm.idp.patch(
            path,
            {"op": "replace", "path": named_by, "value": "another"},
            {"op": "replace", "path": "active", "value": False},
        ),
    ):
        assert answer.status_code == 409, answer.text
        assert "protected" in answer.json()["detail"]
    other = {"userName": "externalId", "externalId": "userName"}[named_by]
    assert (await firm.idp.patch(path, {"op": "replace", "path": other, "value": "free"})).status_code == 200


async def test_its_sessions_can_be_ended_while_it_stays(firm: Firm) -> None:
    person = await recovery(firm, "userName")
    answer = await firm.idp.send("POST", "/.revoke", {"userName": person.user_name})
    assert answer.status_code == 200
    assert firm.crm.alive(person.subject) == 0
    assert not firm.is_denied(person)


async def test_it_needs_no_access_group(house: House) -> None:
    firm = await house.firm("access_groups=CRM Users", "protected_accounts=breakglass@people.example")
    person = await firm.hire(userName="breakglass@people.example")
    assert not firm.is_denied(person)
    group = await firm.group("CRM Users", person)
    assert "session-termination" not in (await firm.leave(group, person)).headers
    await firm.join(group, person)
    assert "session-termination" not in (await firm.idp.send("DELETE", f"/Groups/{group}")).headers
    assert firm.crm.alive(person.subject) == 3
    await firm.set("protected_accounts=")
    assert await access_groups.reconcile(firm.parts.deployment, await firm.operator()) == (1, 0)
    assert firm.is_cut_off(person)


async def test_an_inactive_one_can_be_restored_and_not_deleted(firm: Firm) -> None:
    person = await firm.hire()
    await firm.active(person, False)
    await firm.set(f"protected_accounts={person.user_name}", "restore_on_post=true")
    assert (await firm.idp.send("DELETE", f"/Users/{person.id}")).status_code == 409
    back = await firm.idp.send("POST", "/Users", put_of(person, externalId="other"))
    assert (back.status_code, back.json()["id"], back.json()["active"]) == (201, person.id, True)


async def test_a_person_may_insist_and_the_audit_says_so(firm: Firm) -> None:
    person = await recovery(firm, "userName")
    found = await operations.find_user(firm.parts.deployment, await firm.operator(), person.user_name)
    assert found is not None
    with pytest.raises(Conflict):
        await operations.cut_off(firm.parts.deployment, await firm.operator(), found)
    caller = await firm.operator(override=True)
    receipt = await operations.cut_off(firm.parts.deployment, caller, found)
    assert receipt is not None
    assert (receipt.state, receipt.sessions) == ("done", 3)
    (audit,) = await firm.audits("user.update")
    assert audit["actor"].startswith("cli:")
    assert json.loads(audit["detail"]) == {"attributes": ["active"], "override": True}
