"""Undo of deactivations: users, gates and memberships come back, each once, and nobody who is somebody else by now."""

from typing import Any

from standing.firm import Firm, House, Person

from scim_server.usecases import amends


async def undo(firm: Firm, **more: Any) -> dict[str, str]:
    """What an undo of everything says, by userName."""
    given = {"dry_run": False, **more}
    done = await amends.undo(firm.parts.deployment, await firm.operator(), 0, **given)
    return {one.user_name or one.resource_id: one.result for one in done}


async def members(firm: Firm, group: str) -> set[str]:
    shown = (await firm.idp.get(f"/Groups/{group}")).json()
    return {one["value"] for one in shown["members"]}


async def delete(firm: Firm, person: Person) -> None:
    assert (await firm.idp.send("DELETE", f"/Users/{person.id}")).status_code == 204


async def test_deactivated_people_come_back_and_may_sign_in_but_old_sessions_stay_dead(firm: Firm) -> None:
    gone, also_gone, stays = await firm.staff(3)
    for person in (gone, also_gone):
        await firm.active(person, False)
    denied = firm.crm.gate(gone.subject)
    assert await undo(firm) == {gone.user_name: "restored", also_gone.user_name: "restored"}
    lifted = firm.crm.gate(gone.subject)
    assert denied is not None
    assert lifted is not None
    assert (lifted[1], lifted[0] > denied[0], lifted[2] >= denied[2]) == (False, True, True)
    assert await firm.is_active(gone)
    assert firm.crm.alive(gone.subject, also_gone.subject) == 0
    assert firm.crm.alive(stays.subject) == 3
    assert await undo(firm) == {}


async def test_deleted_people_come_back_under_their_ids_with_their_memberships(firm: Firm) -> None:
    first, second = await firm.staff(2)
    sales, support = await firm.group("Sales", first, second), await firm.group("Support", first)
    closed = await firm.group("Closed", first)
    await firm.idp.patch(f"/Users/{first.id}", {"op": "replace", "path": "title", "value": "Buyer"})
    before = (await firm.idp.get(f"/Users/{first.id}")).json()
    await delete(firm, first)
    await delete(firm, second)
    await firm.idp.send("DELETE", f"/Groups/{closed}")
    assert await members(firm, sales) == set()
    assert await undo(firm) == {first.user_name: "recreated", second.user_name: "recreated"}
    assert await members(firm, sales) == {first.id, second.id}
    assert await members(firm, support) == {first.id}
    after = (await firm.idp.get(f"/Users/{first.id}")).json()
    for shown in (before, after):
        del shown["meta"]
        shown["groups"] = [group for group in shown["groups"] if group["value"] != closed]
    assert after == before
    assert not firm.is_denied(first)
    assert await undo(firm) == {}


async def test_a_dry_run_says_the_same_and_does_nothing(firm: Firm) -> None:
    inactive, deleted, taken, back = await firm.staff(4)
    await firm.active(inactive, False)
    await delete(firm, deleted)
    await delete(firm, taken)
    await firm.hire(userName=taken.user_name.upper(), externalId=f"{taken.subject}-new")
    await firm.active(back, False)
    await firm.active(back, True)
    said = {
        inactive.user_name: "would be restored",
        deleted.user_name: "would be recreated",
        taken.user_name: "cannot: another user has the userName now",
        back.user_name: "active already",
    }
    assert await undo(firm, dry_run=True) == said
    assert not await firm.is_active(inactive)
    assert (await firm.idp.get(f"/Users/{deleted.id}")).status_code == 404
    assert firm.is_denied(inactive)
    assert await undo(firm) == {
        name: result.replace("would be ", "") if "would" in result else result for name, result in said.items()
    }
    assert (await firm.idp.get(f"/Users/{taken.id}")).status_code == 404


async def test_only_the_time_and_the_actor_that_are_meant(firm: Firm) -> None:
    early, by_idp, by_other = await firm.staff(3)
    await firm.active(early, False)
    operator = await firm.operator()
    since = firm.parts.deployment.now()
    await firm.active(by_idp, False)
    actor = f"token:{firm.idp.token.split('_')[1]}"
    firm.idp.token = await firm.idp.issue()
    await firm.active(by_other, False)
    done = await amends.undo(firm.parts.deployment, operator, since - 1, dry_run=True, actor=actor)
    assert {one.resource_id for one in done} - {early.id} == {by_idp.id}
    done = await amends.undo(firm.parts.deployment, operator, firm.parts.deployment.now() + 1, dry_run=True)
    assert done == []


async def test_who_lost_access_twice_is_brought_back_once(firm: Firm) -> None:
    person = await firm.hire()
    await firm.active(person, False)
    await firm.active(person, True)
    await firm.active(person, False)
    assert await undo(firm) == {person.user_name: "restored"}
    await firm.active(person, False)
    assert await undo(firm) == {person.user_name: "restored"}
    assert await undo(firm) == {}


async def test_who_was_taken_out_of_an_access_group_is_in_it_again(house: House) -> None:
    firm = await house.firm("access_groups=CRM Users")
    people = await firm.staff(3)
    group = await firm.group("CRM Users", *people)
    for person in people:
        firm.crm.log_in(person.subject)
    await firm.put(group, "CRM Users")
    assert all(firm.is_cut_off(person) for person in people)
    assert set((await undo(firm)).values()) == {"restored"}
    assert await members(firm, group) == {person.id for person in people}
    assert not any(firm.is_denied(person) for person in people)
    await firm.is_coherent()
    await firm.rename(group, "Former CRM Users")
    assert set((await undo(firm)).values()) == {"waits for an access group"}
    await firm.rename(group, "CRM Users")
    await delete(firm, people[0])
    assert (await undo(firm))[people[0].user_name] == "recreated"
    assert not firm.is_denied(people[0])
    await firm.is_coherent()


async def test_who_is_deleted_after_a_deactivation_comes_back_active(firm: Firm) -> None:
    person = await firm.hire()
    group = await firm.group("Sales", person)
    await firm.active(person, False)
    await delete(firm, person)
    assert await undo(firm) == {person.user_name: "recreated"}
    assert await firm.is_active(person)
    assert await members(firm, group) == {person.id}
    assert not firm.is_denied(person)


async def test_a_frozen_tenant_can_be_mended(firm: Firm) -> None:
    person = await firm.hire()
    await firm.active(person, False)
    done = await amends.undo(
        firm.parts.deployment, await firm.operator(frozen_until=firm.parts.deployment.now() + 60_000), 0, dry_run=False
    )
    assert [one.result for one in done] == ["restored"]
