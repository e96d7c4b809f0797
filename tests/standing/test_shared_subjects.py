"""Two people with one externalId: whoever keeps it is let in again, and when both leave the door is shut."""

import asyncio

import pytest
from standing.firm import Firm, Person

BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


async def is_welcome(firm: Firm, person: Person) -> bool:
    """Not denied, and a new login lasts."""
    await firm.delivered()
    return not firm.is_denied(person)


def takes(person: Person, external_id: str) -> dict[str, object]:
    operation = {"op": "replace", "path": "externalId", "value": external_id}
    return {
        "method": "PATCH",
        "path": f"/Users/{person.id}",
        "data": {"schemas": [PATCH], "Operations": [operation]},
    }


async def test_who_swap_their_keys_are_both_welcome_and_their_old_sessions_are_over(firm: Firm) -> None:
    ann, bob = await firm.staff(2)
    body = {"schemas": [BULK], "Operations": [takes(ann, bob.subject), takes(bob, ann.subject)]}
    answer = await firm.idp.send("POST", "/Bulk", body)
    assert [each["status"] for each in answer.json()["Operations"]] == ["200", "200"]
    for person in (ann, bob):
        assert await is_welcome(firm, person)
        assert firm.crm.alive(person.subject) == 0


@pytest.mark.parametrize("how", ["deleted", "deactivated", "renamed"])
async def test_who_was_made_anew_stays_when_the_old_account_goes(firm: Firm, how: str) -> None:
    old = await firm.hire()
    new = await firm.hire(externalId=old.subject)
    if how == "deleted":
        await firm.idp.send("DELETE", f"/Users/{old.id}")
    elif how == "deactivated":
        await firm.active(old, False)
    else:
        await firm.idp.patch(f"/Users/{old.id}", {"op": "replace", "path": "externalId", "value": f"{old.subject}-2"})
    assert firm.crm.alive(new.subject) == 0
    assert await is_welcome(firm, new)
    (audit,) = await firm.audits("user.readmit")
    assert audit["resource_id"] == new.id
    await firm.active(new, False)
    await firm.delivered()
    assert firm.is_denied(new)


async def test_when_both_leave_at_once_the_door_is_shut(firm: Firm) -> None:
    pairs = []
    for _ in range(12):
        one = await firm.hire()
        pairs.append((one, await firm.hire(externalId=one.subject)))
    await asyncio.gather(*(firm.active(person, False) for pair in pairs for person in pair))
    await firm.delivered()
    assert [firm.is_denied(one) for one, _ in pairs] == [True] * len(pairs)
    assert sum(firm.crm.alive(one.subject) for one, _ in pairs) == 0
