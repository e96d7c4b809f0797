"""Where groups give access: leaving the last one ends it on every route, joining one gives it back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import select
from standing.firm import Firm, House, Person, sessions_of
from storage.opened import rows

from scim_server.storage.tables import resource
from scim_server.usecases import access_groups

OPTION = "access_groups=CRM Users, CRM Admins"


@pytest.fixture
async def club(house: House) -> Firm:
    """A tenant where two groups give access."""
    return await house.firm(OPTION)


async def by_value_path(club: Firm, group: str, leaver: Person, stays: Person) -> Any:
    return await club.leave(group, leaver)


async def by_value_array(club: Firm, group: str, leaver: Person, stays: Person) -> Any:
    value = [{"value": leaver.id}]
    return await club.idp.patch(f"/Groups/{group}", {"op": "remove", "path": "members", "value": value})


async def by_replacing_members(club: Firm, group: str, leaver: Person, stays: Person) -> Any:
    value = [{"value": stays.id}]
    return await club.idp.patch(f"/Groups/{group}", {"op": "replace", "path": "members", "value": value})


async def by_removing_all_and_adding_one(club: Firm, group: str, leaver: Person, stays: Person) -> Any:
    add = {"op": "add", "path": "members", "value": [{"value": stays.id}]}
    return await club.idp.patch(f"/Groups/{group}", {"op": "remove", "path": "members"}, add)


async def by_put(club: Firm, group: str, leaver: Person, stays: Person) -> Any:
    return await club.put(group, "CRM Users", stays)


async def by_put_and_rename_within(club: Firm, group: str, leaver: Person, stays: Person) -> Any:
    return await club.put(group, "CRM Admins", stays)


@pytest.mark.parametrize(
    "route",
    [
        by_value_path,
        by_value_array,
        by_replacing_members,
        by_removing_all_and_adding_one,
        by_put,
        by_put_and_rename_within,
    ],
    ids=lambda route: route.__name__,
)
async def test_leaving_the_last_access_group_ends_access_before_the_answer(club: Firm, route: Any) -> None:
    leaver, stays = await club.staff(2)
    group = await club.group("CRM Users", leaver, stays)
    other = await club.group("Canteen", leaver)
    club.crm.log_in(leaver.subject)
    club.crm.log_in(stays.subject)
    answer = await route(club, group, leaver, stays)
    assert club.is_cut_off(leaver)
    assert club.crm.alive(stays.subject) == 3
    assert not club.is_denied(stays)
    assert answer.status_code == 200
    assert sessions_of(answer) == 3
    assert await club.is_active(leaver)
    assert "session-termination" not in (await club.leave(other, leaver)).headers
    await club.is_coherent()


async def by_deleting_the_group(club: Firm, group: str) -> Any:
    return await club.idp.send("DELETE", f"/Groups/{group}")


async def by_renaming_it_away(club: Firm, group: str) -> Any:
    return await club.rename(group, "Former CRM Users")


async def by_emptying_it(club: Firm, group: str) -> Any:
    return await club.put(group, "CRM Users")


@pytest.mark.parametrize(
    "route", [by_deleting_the_group, by_renaming_it_away, by_emptying_it], ids=lambda route: route.__name__
)
async def test_with_the_group_all_its_members_lose_access_but_those_in_another(club: Firm, route: Any) -> None:
    first, second, both = await club.staff(3)
    group = await club.group("crm users", first, second, both)
    await club.group("CRM Admins", both)
    for person in (first, second, both):
        club.crm.log_in(person.subject)
    answer = await route(club, group)
    assert club.is_cut_off(first)
    assert club.is_cut_off(second)
    assert club.crm.alive(both.subject) == 3
    assert sessions_of(answer) == 6
    await club.is_coherent()


async def add(club: Firm, group: str, person: Person) -> Any:
    await club.rename(group, "CRM Users")
    return await club.join(group, person)


async def rename_into(club: Firm, group: str, person: Person) -> Any:
    await club.join(group, person)
    return await club.rename(group, "CRM USERS")


async def put(club: Firm, group: str, person: Person) -> Any:
    return await club.put(group, "CRM Users", person)


async def post(club: Firm, group: str, person: Person) -> Any:
    await club.group("CRM Admins", person)


@pytest.mark.parametrize("route", [add, rename_into, put, post], ids=lambda route: route.__name__)
async def test_a_new_user_is_denied_until_they_join(club: Firm, route: Any) -> None:
    newcomer = await club.hire()
    group = await club.group("Lobby")
    denied = club.crm.gate(newcomer.subject)
    assert denied is not None
    assert denied[1]
    await route(club, group, newcomer)
    lifted = club.crm.gate(newcomer.subject)
    assert lifted is not None
    assert not lifted[1]
    assert lifted[0] > denied[0]
    await club.is_coherent()


async def test_a_group_is_named_by_its_id_too(house: House) -> None:
    firm = await house.firm()
    person = await firm.hire()
    group = await firm.group("Anything", person)
    await firm.set(f"access_groups={group.upper()}")
    assert await access_groups.reconcile(firm.parts.deployment, await firm.operator()) == (0, 0)
    await firm.rename(group, "Anything else")
    assert not firm.is_denied(person)
    await firm.leave(group, person)
    assert firm.is_cut_off(person)


async def test_a_reactivation_without_a_group_lifts_nothing(club: Firm) -> None:
    person = await club.hire()
    group = await club.group("CRM Users", person)
    await club.leave(group, person)
    denied = club.crm.gate(person.subject)
    for active in (False, True):
        answer = await club.active(person, active)
        assert answer.json()["active"] is active
        assert "session-termination" not in answer.headers
    assert club.crm.gate(person.subject) == denied
    assert await club.active(person, False)
    await club.join(group, person)
    assert club.crm.gate(person.subject) == denied  # in a group, but inactive
    await club.active(person, True)
    assert not club.is_denied(person)
    await club.is_coherent()


async def test_who_is_inactive_leaves_without_a_second_kill(club: Firm) -> None:
    person = await club.hire()
    group = await club.group("CRM Users", person)
    assert sessions_of(await club.active(person, False)) >= 0
    assert "session-termination" not in (await club.leave(group, person)).headers
    await club.active(person, True)
    assert club.is_denied(person)
    await club.is_coherent()


async def test_deleting_a_member_ends_access_like_any_deletion(club: Firm) -> None:
    person = await club.hire()
    await club.group("CRM Users", person)
    club.crm.log_in(person.subject)
    assert sessions_of(await club.idp.send("DELETE", f"/Users/{person.id}")) == 3
    assert club.is_cut_off(person)


async def test_removal_from_both_groups_at_once_always_ends_access(club: Firm) -> None:
    people = await club.staff(50)
    users, admins = await club.group("CRM Users", *people), await club.group("CRM Admins", *people)
    for person in people:
        club.crm.log_in(person.subject, 1)
    answers = await asyncio.gather(*(club.leave(group, person) for person in people for group in (users, admins)))
    assert {answer.status_code for answer in answers} == {200}
    await club.delivered()  # fifty at once can take more than the budget of a request
    assert all(club.is_cut_off(person) for person in people)
    assert sum("session-termination" in answer.headers for answer in answers) == 50
    await club.is_coherent()


async def test_access_is_never_lost_while_one_membership_remains(club: Firm) -> None:
    people = await club.staff(50)
    users, admins = await club.group("CRM Users", *people), await club.group("CRM Admins")
    moves = [move for person in people for move in (club.leave(users, person), club.join(admins, person))]
    assert {answer.status_code for answer in await asyncio.gather(*moves)} == {200}
    await club.is_coherent()
    assert not any(club.is_denied(person) for person in people)


@pytest.mark.parametrize("round_", range(8))
async def test_replacements_renames_and_single_edits_at_once_end_coherent(club: Firm, round_: int) -> None:
    people = await club.staff(6)
    group = await club.group("CRM Users", *people[:3])
    edits: list[Awaitable[Any]] = [
        club.put(group, "CRM Users", *people[:2]),
        *(club.join(group, person) for person in people[3:]),
        club.rename(group, "Lobby" if round_ % 2 else "CRM Admins"),
        club.leave(group, people[0]),
        club.active(people[1], False),
    ]
    answers = await asyncio.gather(*edits[round_ % 5 :], *edits[: round_ % 5])
    assert {answer.status_code for answer in answers} <= {200, 503}, [answer.text for answer in answers]
    await club.is_coherent()


async def test_users_and_groups_deleted_at_once_do_not_block_each_other(
    club: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scim_server.storage.postgres.DEADLOCK_TRIES", 1)  # the first would be answered with 503
    people = await club.staff(12)
    group = await club.group("CRM Users", *people)
    gone = [club.idp.send("DELETE", f"/Users/{person.id}") for person in people[:6]]
    left = [club.leave(group, person) for person in people[3:9]]
    answers = await asyncio.gather(*(one for pair in zip(gone, left, strict=True) for one in pair))
    assert {answer.status_code for answer in answers} <= {200, 204}
    await club.delivered()
    assert all(club.is_cut_off(person) for person in people[:9])
    await club.is_coherent()


async def test_a_changed_option_brings_everybody_in_line(firm: Firm) -> None:
    inside, outside, away = await firm.staff(3)
    await firm.group("CRM Users", inside)
    await firm.active(away, False)
    await firm.set(OPTION)
    operator = await firm.operator()
    assert await access_groups.reconcile(firm.parts.deployment, operator) == (2, 0)  # one of them was inactive anyway
    assert firm.is_cut_off(outside)
    assert firm.crm.alive(inside.subject) == 3
    await firm.is_coherent()
    assert await access_groups.reconcile(firm.parts.deployment, await firm.operator()) == (0, 0)
    await firm.set("access_groups=")
    await access_groups.reconcile(firm.parts.deployment, await firm.operator())
    assert not firm.is_denied(outside)
    assert firm.is_denied(away)
    await firm.is_coherent()


async def test_a_reconciliation_and_the_identity_provider_at_once_end_coherent(
    firm: Firm, house: House, open_firm: Callable[..., Awaitable[Firm]]
) -> None:
    people = await firm.staff(20)
    group = await firm.group("CRM Users", *people[:10])
    await firm.set(OPTION)
    await asyncio.gather(
        access_groups.reconcile(firm.parts.deployment, await firm.operator()),
        *(firm.leave(group, person) for person in people[:10]),
        *(firm.join(group, person) for person in people[10:]),
    )
    await access_groups.reconcile(firm.parts.deployment, await firm.operator())
    await firm.is_coherent()


async def test_the_version_of_a_user_moves_with_access(club: Firm) -> None:
    person = await club.hire()
    group = await club.group("CRM Users", person)

    async def version() -> int:
        query = select(resource.c.version).where(resource.c.id == person.id)
        return int((await rows(club.idp.database, query))[0]["version"])

    before = await version()
    await club.leave(group, person)
    assert await version() == before + 1
