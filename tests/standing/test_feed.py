"""The event feed: everything once, in the order of commits, to each tenant its own."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from standing.firm import BASE, FEED, Firm, House, Person
from storage.opened import Tenant as Made
from storage.opened import rows

from scim_server.clock import new_id
from scim_server.protocol.schemas import ENTERPRISE_URN, GROUP, USER
from scim_server.storage.change import Message
from scim_server.storage.database import Database
from scim_server.storage.feed import entries
from scim_server.storage.outbox import forget
from scim_server.storage.tables import outbox
from scim_server.usecases.options import TenantOptions
from scim_server.usecases.tenant_types import faults

EVENTS = f"{BASE.removesuffix('/scim/v2')}/events"


async def read(firm: Firm, **query: str | int) -> Any:
    answer = await firm.idp.get(f"{EVENTS}?{httpx.QueryParams({k: str(v) for k, v in query.items()})}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def everything(firm: Firm, limit: int = 1000) -> list[Any]:
    """The feed from its beginning, in batches."""
    events: list[Any] = []
    cursor = ""
    while True:
        batch = await read(firm, after=cursor, limit=limit)
        events += batch["events"]
        if not batch["events"]:
            assert batch["cursor"] == cursor
            return events
        cursor = batch["cursor"]


async def test_each_change_is_an_event(firm: Firm) -> None:
    person = await firm.hire()
    group = await firm.group("Sales", person)
    await firm.idp.patch(f"/Users/{person.id}", {"op": "replace", "path": "title", "value": "CEO"})
    await firm.active(person, False)
    await firm.active(person, False)  # changes nothing
    await firm.active(person, True)
    await firm.idp.send("POST", "/.revoke", {"id": person.id})
    await firm.leave(group, person)
    await firm.idp.send("DELETE", f"/Groups/{group}")
    await firm.idp.send("DELETE", f"/Users/{person.id}")
    events = await everything(firm, limit=2)
    assert [event["type"] for event in events] == [
        "user.created",
        "group.created",
        "group.members_changed",
        "user.updated",
        "user.deactivated",
        "user.reactivated",
        "sessions.revoked",
        "group.members_changed",
        "group.deleted",
        "user.deleted",
    ]
    assert all(event["data"]["tenant"] == firm.idp.row.name for event in events)
    assert events[3]["data"] == {
        "tenant": firm.idp.row.name,
        "id": person.id,
        "externalId": person.subject,
        "userName": person.user_name,
        "changed": ["title"],
    }


async def test_values_leave_where_the_tenant_lets_them_out(house: House) -> None:
    department = f"{ENTERPRISE_URN}:department"
    firm = await house.firm(f"event_values=title,displayName,{department}")
    person = await firm.hire()
    group = await firm.group("Sales", person)
    changes = {"title": "CEO", "nickName": "Boss", department: "Board"}
    await firm.idp.patch(f"/Users/{person.id}", {"op": "replace", "value": changes})
    await firm.idp.patch(f"/Users/{person.id}", {"op": "remove", "path": "title"})
    await firm.idp.patch(f"/Users/{person.id}", {"op": "replace", "path": "nickName", "value": "Chief"})
    await firm.idp.patch(f"/Groups/{group}", {"op": "replace", "path": "displayName", "value": "Selling"})
    told = [(event["type"], event["data"].get("values")) for event in await everything(firm)]
    assert told == [
        ("user.created", None),
        ("group.created", {"displayName": {"old": None, "new": "Sales"}}),
        ("group.members_changed", None),
        ("user.updated", {"title": {"old": None, "new": "CEO"}, department: {"old": None, "new": "Board"}}),
        ("user.updated", {"title": {"old": "CEO", "new": None}}),
        ("user.updated", None),
        ("group.updated", {"displayName": {"old": "Sales", "new": "Selling"}}),
    ]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("shoeSize", "is no attribute of User or Group"),
        (ENTERPRISE_URN, "is no attribute of User or Group"),
        ("department", f"is to be written {ENTERPRISE_URN}:department"),
        ("TITLE", "is to be written title"),
        ("name.givenName", "is to be written name"),
        ("password", "cannot be in an event"),
        ("active", "cannot be in an event"),
        ("members", "cannot be in an event"),
        ("groups", "cannot be in an event"),
    ],
)
def test_what_cannot_leave_is_refused(name: str, why: str) -> None:
    assert faults((USER, GROUP), TenantOptions(event_values=("title", name))) == [f"event_values: {name} {why}"]


async def test_access_by_groups_is_told_too(house: House) -> None:
    firm = await house.firm("access_groups=CRM Users")
    person = await firm.hire()
    group = await firm.group("CRM Users", person)
    await firm.leave(group, person)
    told = [event["type"] for event in await everything(firm) if event["data"]["id"] == person.id]
    assert told == ["user.created", "user.deactivated", "user.reactivated", "user.deactivated"]


async def test_a_reader_beside_200_writers_misses_and_repeats_nothing(firm: Firm) -> None:
    people = await firm.staff(10)
    first, second = await firm.group("first", *people[:5]), await firm.group("second")
    seen: list[Any] = (await read(firm, limit=1000))["events"]
    cursor = (await read(firm, limit=1000))["cursor"]
    writing = asyncio.ensure_future(_write(firm, people, first, second))
    while True:
        done = writing.done()
        batch = await read(firm, after=cursor, limit=7)
        seen += batch["events"]
        cursor = batch["cursor"]
        await asyncio.sleep(0)  # in this process the reader would not let the writers in
        if done and not batch["events"]:
            break
    assert {answer.status_code for answer in await writing} <= {200, 201, 204, 503}
    query = select(outbox).where(outbox.c.tenant_id == firm.idp.row.id, outbox.c.store == FEED)
    stored = {row["id"] for row in await rows(firm.idp.database, query)}
    assert len(seen) == len({event["id"] for event in seen})
    assert {event["id"] for event in seen} == stored
    assert [event["id"] for event in await everything(firm)] == [event["id"] for event in seen]
    _check_order(seen, people)
    for group in (first, second):
        shown = {one["value"] for one in (await firm.idp.get(f"/Groups/{group}")).json()["members"]}
        assert _replayed(seen, group) == shown


async def _write(firm: Firm, people: Sequence[Person], first: str, second: str) -> list[httpx.Response]:
    writes = [firm.active(person, bool(round_ % 2)) for round_ in range(8) for person in people[:5]]
    writes += [firm.hire_only(number) for number in range(60)]
    for round_ in range(10):
        for group in (first, second):
            writes += [firm.join(group, person) for person in people[round_ % 5 :: 3]]
            writes += [firm.leave(group, person) for person in people[round_ % 4 :: 4]]
    assert len(writes) >= 200
    return list(await asyncio.gather(*writes))


def _check_order(events: list[Any], people: Sequence[Person]) -> None:
    """Nobody is deactivated or reactivated twice in a row."""
    for person in people:
        told = [event["type"] for event in events if event["data"]["id"] == person.id]
        assert told[0] == "user.created"
        turns = [kind for kind in told if kind in ("user.deactivated", "user.reactivated")]
        assert all(turn != after for turn, after in itertools.pairwise(turns)), turns


def _replayed(events: list[Any], group: str) -> set[str]:
    """The members of a group to whom only the feed is known."""
    members: set[str] = set()
    for event in events:
        if event["type"] == "group.members_changed" and event["data"]["id"] == group:
            members |= set(event["data"]["added"])
            members -= set(event["data"]["removed"])
    return members


async def test_a_long_poll_wakes_with_the_first_event(firm: Firm) -> None:
    cursor = (await read(firm))["cursor"]
    loop = asyncio.get_running_loop()
    polling = asyncio.ensure_future(read(firm, after=cursor, wait=30))
    started = loop.time()
    person = await firm.hire()
    batch = await polling
    assert loop.time() - started < 20
    assert [event["data"]["id"] for event in batch["events"]] == [person.id]


async def test_a_poll_without_events_ends_in_time_with_the_same_cursor(firm: Firm) -> None:
    await firm.hire()
    cursor = (await read(firm))["cursor"]
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert await read(firm, after=cursor, wait=1) == {"events": [], "cursor": cursor}
    assert 0.9 < loop.time() - started < 20
    assert (await read(firm, after=cursor, wait=0))["cursor"] == cursor


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "1",
        "1.",
        ".",
        "1.x",
        "-1.00000000-0000-0000-0000-000000000000",
        "1.zzzzzzzz-0000-0000-0000-000000000000",
        "1.000000000000000000000000000000000000",
        "99999999999999999999.00000000-0000-0000-0000-000000000000",
        "1.00000000-0000-0000-0000-000000000000x",
        "1.00000000-0000-0000-0000-00000000000\N{ARABIC-INDIC DIGIT ONE}",
        "\N{SUPERSCRIPT TWO}.00000000-0000-0000-0000-000000000000",
        "1' OR 1=1 --",
        "\0",
    ],
)
async def test_a_cursor_that_is_none_is_refused(firm: Firm, cursor: str) -> None:
    answer = await firm.idp.get(f"{EVENTS}?{httpx.QueryParams({'after': cursor})}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["scimType"] in ("invalidCursor", "invalidValue")


async def test_a_reader_who_was_away_too_long_is_told_and_one_who_has_it_all_is_not(firm: Firm, house: House) -> None:
    people = await firm.staff(3)
    first, *_, last = (await read(firm))["events"]
    old, new = (await read(firm, limit=1))["cursor"], (await read(firm))["cursor"]
    while await forget(firm.idp.database, firm.parts.deployment.now() + 1_000):
        pass
    assert [event["id"] for event in await everything(firm)] == [last["id"]]
    answer = await firm.idp.get(f"{EVENTS}?{httpx.QueryParams({'after': old})}")
    assert (answer.status_code, answer.json()["scimType"]) == (400, "expiredCursor")
    assert (await read(firm, after=new))["events"] == []
    await firm.active(people[0], False)
    assert [event["type"] for event in (await read(firm, after=new))["events"]] == ["user.deactivated"]
    foreign = await (await house.firm()).idp.get(f"{EVENTS}?{httpx.QueryParams({'after': new})}")
    assert foreign.json()["scimType"] == "expiredCursor"
    assert first["id"] != last["id"]


async def test_the_changes_of_a_group_come_in_their_order(house: House) -> None:
    tenant, versions = Made(), {}
    group = tenant.group("g")
    await house.server.database.commit(group)

    async def change(database: Database) -> None:
        message = Message(new_id(), FEED, group.resource_id, "notify", "group.members_changed", {})
        done = await database.commit(tenant.change("bump", "Group", group.resource_id, messages=(message,)))
        versions[message.id] = done.version

    databases = (house.server.database, house.parts.deployment.database)
    await asyncio.gather(*(change(database) for _ in range(200) for database in databases))
    read: list[int] = []
    place = (0, "00000000-0000-0000-0000-000000000000")
    while found := await entries(house.server.database, tenant.id, place, 50):
        read += [versions[entry.id] for entry in found]
        place = (found[-1].position, found[-1].id)
    assert read == list(range(2, 402))


@pytest.mark.parametrize(("name", "value"), [("limit", "x"), ("limit", "-1"), ("wait", "1.5"), ("wait", "9" * 10)])
async def test_a_number_that_is_none_is_refused(firm: Firm, name: str, value: str) -> None:
    assert (await firm.idp.get(f"{EVENTS}?{name}={value}")).status_code == 400


async def test_tenants_see_their_own_and_scopes_hold(firm: Firm, house: House) -> None:
    other = await house.firm()
    stranger = await other.hire()
    person = await firm.hire()
    assert [event["data"]["id"] for event in await everything(firm)] == [person.id]
    assert [event["data"]["id"] for event in await everything(other)] == [stranger.id]
    for scope, status in (("scim", 200), ("scim:read", 200), ("scim:revoke", 403)):
        caller = await firm.idp.with_scope(scope)
        assert (await caller.get(EVENTS)).status_code == status
    assert (await firm.idp.get(EVENTS, Authorization=None)).status_code == 401
    assert (await firm.idp.send("POST", EVENTS, {})).status_code == 405
