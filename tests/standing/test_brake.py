"""The mass brake: it alerts beyond its limit, and where the tenant wants it holds kills for a person to decide."""

import asyncio
from typing import Any

import asyncpg
import pytest
from prometheus_client import REGISTRY
from standing.firm import Firm, House, Person, sessions_of, until

from scim_server.usecases import access_groups, amends, brake, operations


def alerts(firm: Firm) -> float:
    return REGISTRY.get_sample_value("scim_brake_alerts_total", {"tenant": firm.idp.row.name}) or 0


async def leave(firm: Firm, people: list[Person]) -> list[str]:
    """What the answers say when these are deactivated one after the other."""
    return [(await firm.active(person, False)).headers["session-termination"] for person in people]


@pytest.fixture
async def cautious(house: House) -> Firm:
    """A tenant that holds kills beyond 20 %, but no fewer than twenty."""
    return await house.firm("brake_hold=20%")


async def held_people(firm: Firm, number: int) -> list[Person]:
    """So many whose kills are held, after the brake has let twenty through."""
    people = await firm.staff(brake.FLOOR + number)
    said = await leave(firm, people)
    assert [text == "held" for text in said] == [False] * brake.FLOOR + [True] * number
    return people[brake.FLOOR :]


async def test_twenty_are_never_too_many(cautious: Firm) -> None:
    people = await cautious.staff(20)
    assert "held" not in await leave(cautious, people)
    assert alerts(cautious) == 0
    assert await amends.held(cautious.parts.deployment, await cautious.operator()) == {}


async def test_a_tenth_is_never_too_many(house: House) -> None:
    firm = await house.firm("brake_hold=10")
    people = await firm.staff(220)
    assert "held" not in await leave(firm, people[:22])
    assert alerts(firm) == 0
    assert await leave(firm, people[22:23]) == ["held"]
    assert alerts(firm) == 1


async def test_beyond_that_it_alerts_and_without_a_hold_it_goes_on(
    firm: Firm, caplog: pytest.LogCaptureFixture
) -> None:
    people = await firm.staff(22)
    assert "held" not in await leave(firm, people)
    assert alerts(firm) == 2
    assert f"21 of 22 users of tenant {firm.idp.row.name} lost access within 10 minutes" in caplog.text


async def test_what_is_held_is_stored_as_inactive_and_changes_nothing_in_the_store(
    cautious: Firm, caplog: pytest.LogCaptureFixture
) -> None:
    (person,) = await held_people(cautious, 1)
    assert caplog.text.count(f"kills of tenant {cautious.idp.row.name} are held") == 1
    assert not await cautious.is_active(person)
    assert cautious.crm.alive(person.subject) == 3
    assert cautious.crm.gate(person.subject) is None
    waiting = await amends.held(cautious.parts.deployment, await cautious.operator())
    assert [one.subject for one in waiting[person.id]] == [person.subject]


async def test_all_who_leave_with_one_group_are_judged_together(house: House) -> None:
    firm = await house.firm("access_groups=CRM Users", "brake_hold=20%")
    people = await firm.staff(24)
    group = await firm.group("CRM Users", *people[:22])  # the two others have no access that could be lost
    await firm.delivered()
    for person in people[:22]:
        firm.crm.log_in(person.subject)
    answer = await firm.put(group, "CRM Users", people[0])
    assert answer.headers["session-termination"] == "held"
    assert all(firm.crm.alive(person.subject) == 3 for person in people[:22])
    assert alerts(firm) == 1
    await firm.join(group, *people[1:22])  # a mistake, mended by who made it
    assert await amends.held(firm.parts.deployment, await firm.operator()) == {}
    await firm.delivered()
    assert not any(firm.is_denied(person) for person in people[:22])
    assert all(firm.crm.alive(person.subject) == 3 for person in people[:22])


async def test_a_misspelt_option_ends_no_more_than_the_brake_lets_through(cautious: Firm) -> None:
    people = await cautious.staff(25)
    await cautious.group("CRM Users", *people)
    await cautious.set("access_groups=CRM User")
    assert await access_groups.reconcile(cautious.parts.deployment, await cautious.operator()) == (25, 0)
    assert sum(cautious.is_cut_off(person) for person in people) == brake.FLOOR
    await cautious.set("access_groups=CRM Users")
    assert await access_groups.reconcile(cautious.parts.deployment, await cautious.operator()) == (0, 25)
    assert not any(cautious.is_denied(person) for person in people)


async def test_one_is_approved_and_the_others_wait(cautious: Firm) -> None:
    first, second = await held_people(cautious, 2)
    deployment, operator = cautious.parts.deployment, await cautious.operator()
    receipt = await amends.approve(deployment, operator, first.id)
    assert receipt is not None
    assert (receipt.state, receipt.sessions) == ("done", 3)
    assert cautious.is_cut_off(first)
    assert cautious.crm.alive(second.subject) == 3
    assert list(await amends.held(deployment, operator)) == [second.id]
    assert await amends.approve(deployment, operator, first.id) is None
    assert [row["outcome"] for row in await cautious.messages(first)] == ["cancelled", "done"]
    (audit,) = await cautious.audits("brake.approve")
    assert (audit["resource_id"], audit["actor"].partition(":")[0]) == (first.id, "cli")


async def test_who_is_rejected_never_noticed(cautious: Firm) -> None:
    (person,) = await held_people(cautious, 1)
    undone = await amends.reject(cautious.parts.deployment, await cautious.operator(), person.id)
    assert undone is not None
    assert undone.result == "restored"
    assert await cautious.is_active(person)
    await cautious.delivered()
    assert cautious.crm.gate(person.subject) is None
    assert cautious.crm.alive(person.subject) == 3
    assert await amends.held(cautious.parts.deployment, await cautious.operator()) == {}


async def test_who_is_rejected_after_leaving_a_group_is_in_it_again(house: House) -> None:
    firm = await house.firm("access_groups=CRM Users", "brake_hold=20%")
    people = await firm.staff(22)
    group = await firm.group("CRM Users", *people)
    await firm.put(group, "CRM Users")
    assert len(await amends.held(firm.parts.deployment, await firm.operator())) == 22
    for person in people:
        undone = await amends.reject(firm.parts.deployment, await firm.operator(), person.id)
        assert undone is not None
        assert undone.result == "restored"
    await firm.is_coherent()
    assert not any(firm.is_denied(person) for person in people)


async def test_a_return_by_the_identity_provider_cancels(cautious: Firm) -> None:
    (person,) = await held_people(cautious, 1)
    await cautious.active(person, True)
    assert cautious.crm.gate(person.subject) is None
    assert cautious.crm.alive(person.subject) == 3
    assert await amends.held(cautious.parts.deployment, await cautious.operator()) == {}
    assert await amends.approve(cautious.parts.deployment, await cautious.operator(), person.id) is None
    assert [row["outcome"] for row in await cautious.messages(person)] == ["cancelled"]


async def test_who_was_deleted_meanwhile_can_be_approved(cautious: Firm) -> None:
    (person,) = await held_people(cautious, 1)
    assert (await cautious.idp.send("DELETE", f"/Users/{person.id}")).status_code == 204
    assert cautious.crm.alive(person.subject) == 3
    receipt = await amends.approve(cautious.parts.deployment, await cautious.operator(), person.id)
    assert receipt is not None
    assert receipt.sessions == 3
    assert cautious.is_cut_off(person)


async def test_a_held_kill_never_hits_who_has_the_key_now(cautious: Firm) -> None:
    (person,) = await held_people(cautious, 1)
    await cautious.idp.send("DELETE", f"/Users/{person.id}")
    await cautious.hire(userName=person.user_name, externalId=person.subject)
    assert await amends.approve(cautious.parts.deployment, await cautious.operator(), person.id) is None
    assert cautious.crm.alive(person.subject) == 3
    assert not cautious.is_denied(person)


async def test_a_held_deletion_can_be_rejected(cautious: Firm) -> None:
    people = await cautious.staff(21)
    group = await cautious.group("Sales", people[20])
    await leave(cautious, people[:20])
    gone = await cautious.idp.send("DELETE", f"/Users/{people[20].id}")
    assert gone.headers["session-termination"] == "held"
    undone = await amends.reject(cautious.parts.deployment, await cautious.operator(), people[20].id)
    assert undone is not None
    assert undone.result == "recreated"
    assert [each["value"] for each in (await cautious.idp.get(f"/Groups/{group}")).json()["members"]] == [people[20].id]
    assert cautious.crm.alive(people[20].subject) == 3
    assert cautious.crm.gate(people[20].subject) is None
    assert await amends.held(cautious.parts.deployment, await cautious.operator()) == {}


async def test_a_return_under_another_key_leaves_the_old_sessions_to_decide_about(cautious: Firm) -> None:
    (person,) = await held_people(cautious, 1)
    new = f"{person.subject}-new"
    await cautious.idp.patch(
        f"/Users/{person.id}",
        {"op": "replace", "path": "externalId", "value": new},
        {"op": "replace", "path": "active", "value": True},
    )
    cautious.crm.log_in(new)
    receipt = await amends.approve(cautious.parts.deployment, await cautious.operator(), person.id)
    assert receipt is not None
    assert receipt.sessions == 3
    assert cautious.crm.alive(person.subject) == 0
    assert cautious.crm.alive(new) == 3


async def test_a_person_cutting_somebody_off_is_not_held_up(cautious: Firm) -> None:
    first, second, third, fourth = await held_people(cautious, 4)
    answer = await cautious.idp.send("POST", "/.revoke", {"id": first.id, "deactivate": True})
    assert sessions_of(answer) == 3
    assert cautious.is_cut_off(first)
    newcomer = await cautious.hire()
    answer = await cautious.idp.send("POST", "/.revoke", {"id": newcomer.id, "deactivate": True})
    assert sessions_of(answer) == 3
    assert cautious.is_cut_off(newcomer)
    deployment, operator = cautious.parts.deployment, await cautious.operator()
    found = await operations.find_user(deployment, operator, second.user_name)
    assert found is not None
    receipt = await operations.cut_off(deployment, operator, found)
    assert receipt is not None
    assert receipt.state == "done"
    assert set(await amends.held(deployment, operator)) == {third.id, fourth.id}


async def test_an_approval_and_a_return_at_once_never_lock_out_who_is_active(cautious: Firm) -> None:
    people = await held_people(cautious, 20)
    deployment, operator = cautious.parts.deployment, await cautious.operator()

    async def both(person: Person) -> Any:
        return await asyncio.gather(amends.approve(deployment, operator, person.id), cautious.active(person, True))

    for _, answer in await asyncio.gather(*(both(person) for person in people)):
        assert answer.status_code == 200
    await cautious.is_coherent()
    assert not any(cautious.is_denied(person) for person in people)
    assert await amends.held(deployment, operator) == {}


@pytest.mark.parametrize(
    "house", ["postgres"], indirect=True
)  # SQLite has one writer: there nobody waits in the middle
async def test_a_return_that_waits_for_an_approval_sees_what_it_denied(cautious: Firm) -> None:
    (person,) = await held_people(cautious, 1)
    deployment, operator = cautious.parts.deployment, await cautious.operator()
    connection = await asyncpg.connect(cautious.house.server.settings.database_url)

    async def wait_for_locks(number: int) -> None:
        async def are_waiting() -> bool:
            waiting = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
            return int(await connection.fetchval(waiting)) >= number

        await until(are_waiting, 10)

    transaction = connection.transaction()
    await transaction.start()
    # Holds up the approval after it has the user and before it can deny the subject.
    await connection.execute(
        "INSERT INTO subject (tenant_id, store, subject, resource_id, change_id, epoch, denied, not_before, modified) "
        "VALUES ($1, 'standing', $2, $3, $3, 1, false, 1, 1)",
        operator.tenant_id,
        person.subject,
        person.id,
    )
    approval = asyncio.create_task(amends.approve(deployment, operator, person.id))
    await wait_for_locks(1)
    back = asyncio.create_task(cautious.active(person, True))
    await wait_for_locks(2)
    await transaction.rollback()
    await connection.close()
    assert await approval is not None
    assert (await back).status_code == 200
    await cautious.is_coherent()
    assert not cautious.is_denied(person)


async def test_what_was_undone_counts_no_more(cautious: Firm) -> None:
    people = await held_people(cautious, 2)
    deployment, operator = cautious.parts.deployment, await cautious.operator()
    await amends.undo(deployment, operator, 0, dry_run=False)
    assert await leave(cautious, people[:1]) != ["held"]
