"""What a Change tells the session stores: epochs, denial and order, on both databases."""

import asyncio
import itertools
from typing import Any

import pytest
from sqlalchemy import bindparam, select, update
from storage.opened import Tenant, rows

from scim_server.storage.change import Message, Queued, Write
from scim_server.storage.database import Database, Stale
from scim_server.storage.outbox import Settlement, settle
from scim_server.storage.statements import Statement
from scim_server.storage.subjects import Standing, standings
from scim_server.storage.tables import outbox, subject


async def test_a_termination_denies_and_its_epoch_is_the_time(database: Database, tenant: Tenant) -> None:
    change = tenant.user(messages=(terminate("ada"),))
    [said] = (await database.commit(change)).queued
    assert (said.store, said.subject, said.action, said.type) == ("crm", "ada", "terminate", "user.deactivated")
    assert (said.epoch, said.denied, said.not_before, said.data) == (change.at, True, change.at, {"reason": "test"})
    assert (said.blocked, said.held) == (False, False)
    [stored] = await rows(database, select(outbox).where(outbox.c.tenant_id == tenant.id))
    assert (stored["id"], stored["change_id"], stored["resource_id"]) == (said.id, change.id, change.resource_id)
    assert (stored["epoch"], stored["created"], stored["attempts"], stored["settled"]) == (
        change.at,
        change.at,
        0,
        None,
    )


async def test_an_epoch_always_rises(database: Database, tenant: Tenant) -> None:
    first = await _say(database, tenant, terminate("ada"), at=5_000)
    late = await _say(database, tenant, terminate("ada"), at=4_000)
    same = await _say(database, tenant, terminate("ada"), at=5_001)
    later = await _say(database, tenant, terminate("ada"), at=9_000)
    assert [said.epoch for said in first + late + same + later] == [5_000, 5_001, 5_002, 9_000]
    assert [said.not_before for said in late] == [5_000]


async def test_each_store_and_subject_has_its_own_epoch(database: Database, tenant: Tenant) -> None:
    await _say(database, tenant, terminate("ada"), at=9_000)
    said = await _say(database, tenant, terminate("bob"), terminate("ada", store="web"), at=1_000)
    other = await _say(database, Tenant(), terminate("ada"), at=2_000)
    assert [each.epoch for each in said + other] == [1_000, 1_000, 2_000]


async def test_a_lift_with_if_denied_is_said_only_to_the_denied(database: Database, tenant: Tenant) -> None:
    assert await _say(database, tenant, lift("ada")) == ()
    await _say(database, tenant, terminate("ada"), at=5_000)
    [lifted] = await _say(database, tenant, lift("ada"), at=6_000)
    assert (lifted.action, lifted.epoch, lifted.denied, lifted.not_before) == ("lift", 6_000, False, 6_000)
    assert await _say(database, tenant, lift("ada")) == ()
    [stored] = await rows(database, select(subject).where(subject.c.tenant_id == tenant.id))
    assert (stored["epoch"], bool(stored["denied"])) == (6_000, False)


async def test_an_epoch_outlives_its_user(database: Database, tenant: Tenant) -> None:
    user = tenant.user("ada", at=5_000)
    await database.commit(user)
    delete = tenant.change("delete", "User", user.resource_id, at=8_000, messages=(terminate("ada"),))
    [gone] = (await database.commit(delete)).queued
    again = tenant.user("ada", at=7_000, messages=(lift("ada"),))
    [back] = (await database.commit(again)).queued
    assert (gone.epoch, back.epoch, back.denied, back.not_before) == (8_000, 8_001, False, 8_000)
    [stored] = await rows(database, select(subject).where(subject.c.tenant_id == tenant.id))
    assert stored["resource_id"] == again.resource_id


async def test_a_notice_moves_nothing(database: Database, tenant: Tenant) -> None:
    [said] = await _say(database, tenant, notify("ada"))
    assert (said.epoch, said.denied, said.not_before) == (None, None, None)
    assert await rows(database, select(subject).where(subject.c.tenant_id == tenant.id)) == []


async def test_all_messages_of_a_change_come_back_in_order(database: Database, tenant: Tenant) -> None:
    await _say(database, tenant, terminate("denied"), at=1_000)
    messages = (notify("ada"), terminate("bob"), lift("denied"), lift("free"), terminate("ada", store="web"))
    said = await _say(database, tenant, *messages, at=9_000)
    assert [(each.id, each.subject, each.epoch) for each in said] == [
        (messages[0].id, "ada", None),
        (messages[1].id, "bob", 9_000),
        (messages[2].id, "denied", 9_000),
        (messages[4].id, "ada", 9_000),
    ]


async def test_a_message_is_blocked_by_an_older_one_until_that_is_settled(database: Database, tenant: Tenant) -> None:
    [first] = await _say(database, tenant, terminate("ada"))
    [second] = await _say(database, tenant, lift("ada"))
    [beside] = await _say(database, tenant, terminate("ada", store="web"))
    assert (first.blocked, second.blocked, beside.blocked) == (False, True, False)
    settle = Statement(
        lambda _: update(outbox).values(settled=1).where(outbox.c.id == bindparam("of", type_=outbox.c.id.type))
    )
    await database.write((settle, {"of": first.id}), (settle, {"of": second.id}))
    [third] = await _say(database, tenant, terminate("ada"))
    assert not third.blocked


async def test_held_and_delayed_messages_are_stored_as_such(database: Database, tenant: Tenant) -> None:
    await _say(database, tenant, terminate("ada", held=True), terminate("bob", delay_ms=60_000))
    stored = await rows(database, select(outbox).where(outbox.c.tenant_id == tenant.id).order_by(outbox.c.id))
    assert [bool(row["held"]) for row in stored] == [True, False]
    assert 59_000 < stored[1]["due"] - stored[0]["due"] < 61_000


@pytest.mark.parametrize("write", ["update", "delete", "bump"])
async def test_nothing_is_said_when_the_guard_fails(database: Database, tenant: Tenant, write: Write) -> None:
    user = tenant.user()
    await database.commit(user)
    stale = tenant.change(
        write, "User", user.resource_id, row=user.row, expected_version=7, messages=(terminate("ada"), notify("ada"))
    )
    with pytest.raises(Stale):
        await database.commit(stale)
    assert await rows(database, select(outbox).where(outbox.c.tenant_id == tenant.id)) == []
    assert await rows(database, select(subject).where(subject.c.tenant_id == tenant.id)) == []


async def test_a_crowd_of_terminations_gets_epochs_of_their_own(database: Database, tenant: Tenant) -> None:
    names = ("ada", "bob", "cyd")
    crowd = [
        _say(database, tenant, *(terminate(name) for name in (names if even else names[::-1])), at=5_000)
        for even in (True, False) * 12
    ]
    said = [each for queued in await asyncio.gather(*crowd) for each in queued]
    for name in names:
        assert sorted(each.epoch or 0 for each in said if each.subject == name) == list(range(5_000, 5_024))


_numbers = itertools.count(1)


def _next_id() -> str:
    """Greater than those before, which ids of one millisecond need not be."""
    return f"0190b000-0000-7000-8000-{next(_numbers):012x}"


def terminate(name: str, store: str = "crm", **fields: Any) -> Message:
    """The end of a subject's sessions."""
    return Message(_next_id(), store, name, "terminate", "user.deactivated", {"reason": "test"}, denied=True, **fields)


def lift(name: str) -> Message:
    """The subject may log in again, if it had been denied."""
    return Message(_next_id(), "crm", name, "lift", "user.reactivated", {}, if_denied=True)


def notify(name: str) -> Message:
    """News of a subject."""
    return Message(_next_id(), "crm", name, "notify", "user.changed", {})


async def _say(database: Database, tenant: Tenant, *messages: Message, **fields: Any) -> tuple[Queued, ...]:
    return (await database.commit(tenant.change("none", "User", tenant.id, messages=messages, **fields))).queued


async def test_two_users_who_share_a_subject_may_lose_it_at_once(database: Database, tenant: Tenant) -> None:
    shared = [terminate("shared", resource_id=tenant.new_id()) for _ in range(2)]
    said = await _say(database, tenant, *shared, at=5_000)
    assert [(each.id, each.epoch, each.denied) for each in said] == [(each.id, 5_000, True) for each in shared]


async def test_a_subject_that_one_loses_and_another_gets_at_once_is_denied(database: Database, tenant: Tenant) -> None:
    await _say(database, tenant, terminate("shared"), at=1_000)
    said = await _say(database, tenant, terminate("shared"), lift("shared"), at=5_000)
    assert {(each.epoch, each.denied) for each in said} == {(5_000, True)}


async def test_who_is_still_to_be_ended_is_no_matter_for_a_repair(database: Database, tenant: Tenant) -> None:
    [said] = await _say(database, tenant, terminate("ada"), at=5_000)
    assert await standings(database, tenant.id, "crm", after="", since=0, limit=9) == []
    await settle(database, [Settlement(said.id, "done", sessions=1)])
    assert await standings(database, tenant.id, "crm", after="", since=0, limit=9) == [
        Standing("ada", 5_000, True, 5_000)
    ]
