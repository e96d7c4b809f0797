"""What a Change does to the database, whole or not at all: one suite for both databases."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, insert, select
from storage.opened import Tenant, rows

from scim_server.clock import new_id
from scim_server.protocol.attributes import AttributeRef
from scim_server.protocol.notation import resolve
from scim_server.protocol.schemas import USER
from scim_server.storage.change import Change, MemberRow, ResourceRow, ValueRow
from scim_server.storage.database import Database, Stale, Taken
from scim_server.storage.listing import Sort, search
from scim_server.storage.resources import (
    holder_of,
    load,
    members_of,
    members_of_many,
    standing_in,
    types_of,
    values_of,
)
from scim_server.storage.statements import Statement
from scim_server.storage.tables import audit, counter, member, resource, resource_value
from scim_server.storage.tables import tenant as tenants

TITLED = ResourceRow(doc='{"title":"Boss"}', search='{"title":"boss"}', active=False, external_id="E")


async def test_insert_makes_the_row_its_values_its_audit_row_and_counts(database: Database, tenant: Tenant) -> None:
    new = tenant.user("ada", values_in=(ValueRow("emails.value", "ada@x"), ValueRow("badge", "7", exclusive=True)))
    committed = await database.commit(new)
    stored = await load(database, tenant.id, "User", new.resource_id, groups=True)
    assert stored is not None
    assert (committed.version, committed.modified, committed.queued) == (1, new.at, ())
    assert (stored.version, stored.created, stored.modified, stored.active) == (1, new.at, new.at, True)
    assert stored.doc.replace(" ", "") == '{"userName":"u"}'
    assert await holder_of(database, tenant.id, "User", "ada") == new.resource_id
    values = await values_of(database, tenant.id, "User", new.resource_id)
    assert values == {("emails.value", "ada@x", False), ("badge", "7", True)}
    assert await _total(database, tenant, "User") == 1
    [trace] = await rows(database, select(audit).where(audit.c.tenant_id == tenant.id))
    assert (trace["id"], trace["at"], trace["actor"]) == (new.id, new.at, "token:t")
    assert (trace["action"], trace["resource_type"], trace["resource_id"]) == ("user.insert", "User", new.resource_id)
    assert trace["request_id"] == "request-1"
    assert "userName" in trace["detail"]


async def test_update_replaces_the_row_and_moves_version_and_time(database: Database, tenant: Tenant) -> None:
    new = tenant.user("ada", values_in=(ValueRow("emails.value", "old"), ValueRow("emails.value", "kept")))
    await database.commit(new)
    update = tenant.change(
        "update",
        "User",
        new.resource_id,
        row=TITLED,
        expected_version=1,
        values_in=(ValueRow("emails.value", "new"),),
        values_out=(ValueRow("emails.value", "old"),),
    )
    committed = await database.commit(update)
    stored = await load(database, tenant.id, "User", new.resource_id, groups=False)
    assert stored is not None
    assert (committed.version, committed.modified) == (stored.version, stored.modified) == (2, update.at)
    assert (stored.created, stored.active, stored.doc.replace(" ", "")) == (new.at, False, TITLED.doc)
    assert await holder_of(database, tenant.id, "User", "ada") is None
    values = await values_of(database, tenant.id, "User", new.resource_id)
    assert {value for _, value, _ in values} == {"new", "kept"}


async def test_last_modified_never_goes_back(database: Database, tenant: Tenant) -> None:
    new = tenant.user()
    await database.commit(new)
    late = tenant.change("bump", "User", new.resource_id, at=new.at - 60_000)
    assert (await database.commit(late)).modified == new.at


async def test_bump_moves_version_and_time_only(database: Database, tenant: Tenant) -> None:
    new = tenant.user("ada")
    await database.commit(new)
    bump = tenant.change("bump", "User", new.resource_id)
    assert (await database.commit(bump)).version == 2
    stored = await load(database, tenant.id, "User", new.resource_id, groups=False)
    assert stored is not None
    assert (stored.version, stored.modified) == (2, bump.at)
    assert await holder_of(database, tenant.id, "User", "ada") == new.resource_id


async def test_none_leaves_the_row_alone_and_is_audited(database: Database, tenant: Tenant) -> None:
    new = tenant.user()
    await database.commit(new)
    nothing = tenant.change("none", "User", new.resource_id)
    committed = await database.commit(nothing)
    stored = await load(database, tenant.id, "User", new.resource_id, groups=False)
    assert stored is not None
    assert (committed.version, committed.modified, stored.version) == (0, nothing.at, 1)
    assert await _count(database, audit, tenant) == 2


async def test_delete_removes_everything_but_the_audit_trail(database: Database, tenant: Tenant) -> None:
    new = tenant.user("ada", values_in=(ValueRow("emails.value", "a"),))
    await database.commit(new)
    await database.commit(tenant.change("delete", "User", new.resource_id, expected_version=1))
    assert await load(database, tenant.id, "User", new.resource_id, groups=False) is None
    assert await _count(database, resource_value, tenant) == 0
    assert await _total(database, tenant, "User") == 0
    assert await _count(database, audit, tenant) == 2
    assert (await database.commit(tenant.user("ada"))).version == 1


async def test_delete_of_a_user_removes_memberships_and_bumps_those_groups(database: Database, tenant: Tenant) -> None:
    user, other, inside, outside = tenant.user(), tenant.user(), tenant.group(), tenant.group()
    await _commit(database, user, other)
    await database.commit(_with_members(inside, user, other))
    await database.commit(_with_members(outside, other))
    delete = tenant.change("delete", "User", user.resource_id)
    await database.commit(delete)
    assert [each[0] for each in await members_of(database, tenant.id, inside.resource_id)] == [other.resource_id]
    bumped = await load(database, tenant.id, "Group", inside.resource_id, groups=False)
    same = await load(database, tenant.id, "Group", outside.resource_id, groups=False)
    assert bumped is not None
    assert same is not None
    assert (bumped.version, bumped.modified, same.version) == (2, delete.at, 1)


async def test_delete_of_a_group_removes_it_from_groups_and_its_members_from_it(
    database: Database, tenant: Tenant
) -> None:
    user, inner, outer = tenant.user(), tenant.group(), tenant.group()
    await database.commit(user)
    await database.commit(_with_members(inner, user))
    await database.commit(_with_members(outer, inner))
    await database.commit(tenant.change("delete", "Group", inner.resource_id))
    assert await members_of(database, tenant.id, outer.resource_id) == []
    assert await _count(database, member, tenant) == 0


@pytest.mark.parametrize("write", ["update", "bump", "delete"])
async def test_a_guard_that_fails_leaves_nothing_behind(database: Database, tenant: Tenant, write: Any) -> None:
    user, group = tenant.user("ada"), tenant.group()
    await _commit(database, user, group)
    stale = tenant.change(
        write,
        "Group",
        group.resource_id,
        row=TITLED,
        expected_version=7,
        members_in=(MemberRow(user.resource_id, "User"),),
        values_in=(ValueRow("badge", "1"),),
    )
    with pytest.raises(Stale):
        await database.commit(stale)
    stored = await load(database, tenant.id, "Group", group.resource_id, groups=False)
    assert stored is not None
    assert stored.version == 1
    assert await _count(database, member, tenant) == 0
    assert await _count(database, resource_value, tenant) == 0
    assert await _count(database, audit, tenant) == 2
    assert await _total(database, tenant, "Group") == 1


@pytest.mark.parametrize("write", ["update", "bump", "delete"])
async def test_what_is_gone_is_stale(database: Database, tenant: Tenant, write: Any) -> None:
    with pytest.raises(Stale):
        await database.commit(tenant.change(write, "User", new_id(), row=TITLED))
    assert await _count(database, audit, tenant) == 0
    assert await _total(database, tenant, "User") == 0


async def test_a_unique_key_is_taken_within_tenant_and_type_only(database: Database, tenant: Tenant) -> None:
    first, second = tenant.user("ada"), tenant.user("bob")
    await _commit(database, first, second, tenant.group("ada"), Tenant().user("ada"))
    with pytest.raises(Taken):
        await database.commit(tenant.user("ada"))
    row = ResourceRow(doc="{}", search="{}", unique_key="ada")
    with pytest.raises(Taken):
        await database.commit(tenant.change("update", "User", second.resource_id, row=row, expected_version=1))
    assert await holder_of(database, tenant.id, "User", "ada") == first.resource_id
    assert await _total(database, tenant, "User") == 2


async def test_exclusive_values_are_taken_and_plain_ones_shared(database: Database, tenant: Tenant) -> None:
    plain, exclusive = ValueRow("emails.value", "x"), ValueRow("badge", "7", exclusive=True)
    await database.commit(tenant.user(values_in=(plain, exclusive)))
    await database.commit(tenant.user(values_in=(plain,)))
    with pytest.raises(Taken):
        await database.commit(tenant.user(values_in=(exclusive,)))
    assert await _total(database, tenant, "User") == 2


async def test_of_many_who_want_one_name_one_gets_it(database: Database, tenant: Tenant) -> None:
    wishes = [tenant.user("ada") for _ in range(16)]
    outcomes = await asyncio.gather(*map(database.commit, wishes), return_exceptions=True)
    assert sum(isinstance(outcome, Taken) for outcome in outcomes) == 15
    assert await _total(database, tenant, "User") == 1


async def test_of_many_with_one_version_one_wins(database: Database, tenant: Tenant) -> None:
    user = tenant.user()
    await database.commit(user)
    rivals = [tenant.change("update", "User", user.resource_id, row=TITLED, expected_version=1) for _ in range(16)]
    outcomes = await asyncio.gather(*map(database.commit, rivals), return_exceptions=True)
    assert sum(isinstance(outcome, Stale) for outcome in outcomes) == 15


async def test_members_come_and_go_and_keep_their_display(database: Database, tenant: Tenant) -> None:
    users, group = [tenant.user() for _ in range(3)], tenant.group()
    await _commit(database, *users, group)
    a, b, c = (user.resource_id for user in users)
    edit: dict[str, Any] = {"write": "bump", "kind": "Group", "resource_id": group.resource_id}
    await database.commit(tenant.change(**edit, members_in=(MemberRow(b, "User", "Bob"), MemberRow(a, "User", "Ada"))))
    await database.commit(tenant.change(**edit, members_in=(MemberRow(a, "User"), MemberRow(b, "User", "Rob"))))
    both = [[a, "User", "Ada"], [b, "User", "Rob"]]
    assert await members_of(database, tenant.id, group.resource_id) == both
    assert await members_of(database, tenant.id, group.resource_id, limit=1) == both[:1]
    await database.commit(tenant.change(**edit, members_in=(MemberRow(c, "User"),), members_out=(a, new_id())))
    assert await members_of(database, tenant.id, group.resource_id) == [both[1], [c, "User", None]]
    new = (MemberRow(a, "User"), MemberRow(b, "User"))
    await database.commit(tenant.change(**edit, replace_members=True, members_in=new))
    assert await members_of(database, tenant.id, group.resource_id) == [[a, "User", None], both[1]]
    await database.commit(tenant.change(**edit, replace_members=True))
    assert await members_of(database, tenant.id, group.resource_id) == []


async def test_parallel_additions_of_members_commute(database: Database, tenant: Tenant) -> None:
    users, group = [tenant.user() for _ in range(64)], tenant.group()
    await _commit(database, *users, group)
    adds = [
        tenant.change("bump", "Group", group.resource_id, members_in=(MemberRow(user.resource_id, "User"),))
        for user in users
    ]
    await asyncio.gather(*map(database.commit, adds))
    assert len(await members_of(database, tenant.id, group.resource_id)) == 64
    stored = await load(database, tenant.id, "Group", group.resource_id, groups=False)
    assert stored is not None
    assert stored.version == 65


async def test_overlapping_edits_and_deletions_end_without_deadlock(database: Database, tenant: Tenant) -> None:
    users, groups = [tenant.user() for _ in range(12)], [tenant.group() for _ in range(6)]
    await _commit(database, *users, *groups)
    rows = tuple(MemberRow(user.resource_id, "User") for user in users)
    for group in groups:
        await database.commit(tenant.change("bump", "Group", group.resource_id, members_in=rows))
    edits = [
        tenant.change("bump", "Group", group.resource_id, members_in=rows[::step][:6], members_out=(rows[0].member_id,))
        for group in groups
        for step in (1, -1)
    ]
    deletions = [tenant.change("delete", "User", user.resource_id) for user in users]
    outcomes = await asyncio.gather(*map(database.commit, edits + deletions), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)} <= {Stale}
    assert await _total(database, tenant, "User") == 0
    assert await _count(database, member, tenant) == 0


async def test_a_member_that_does_not_exist_makes_the_change_stale(database: Database, tenant: Tenant) -> None:
    user, group, stranger = tenant.user(), tenant.group(), Tenant().user()
    await _commit(database, user, group, stranger)
    await database.commit(tenant.change("delete", "User", user.resource_id))
    for missing in (MemberRow(user.resource_id, "User"), MemberRow(stranger.resource_id, "User")):
        with pytest.raises(Stale):
            await database.commit(tenant.change("bump", "Group", group.resource_id, members_in=(missing,)))
    stored = await load(database, tenant.id, "Group", group.resource_id, groups=False)
    assert stored is not None
    assert stored.version == 1


async def test_counters_agree_with_the_rows_after_a_crowd(database: Database, tenant: Tenant) -> None:
    users = [tenant.user() for _ in range(40)]
    await asyncio.gather(*map(database.commit, users))
    gone = [tenant.change("delete", "User", user.resource_id) for user in users[:15]]
    await asyncio.gather(*map(database.commit, gone))
    assert await _total(database, tenant, "User") == await _count(database, resource, tenant) == 25


async def test_a_user_comes_with_its_groups_and_a_group_with_few_of_its_members(
    database: Database, tenant: Tenant
) -> None:
    user, first, second = tenant.user(), tenant.group(), tenant.group()
    await database.commit(user)
    await database.commit(_with_members(first, user))
    await database.commit(_with_members(second, user))
    stored = await load(database, tenant.id, "User", user.resource_id, groups=True)
    assert stored is not None
    assert stored.groups is not None
    pairs = [[first.resource_id, "G"], [second.resource_id, "G"]]
    assert stored.groups.replace(" ", "") == str(pairs).replace("'", '"').replace(" ", "")
    ids = [first.resource_id, second.resource_id]
    assert [row[:2] for row in await members_of_many(database, tenant.id, ids, 10)] == [
        (group_id, user.resource_id) for group_id in ids
    ]
    asked = [user.resource_id, new_id()]
    assert await standing_in(database, tenant.id, first.resource_id, asked) == {user.resource_id: ("User", True, None)}
    assert await types_of(database, tenant.id, [*asked, ids[0]]) == {user.resource_id: "User", ids[0]: "Group"}


async def test_pages_walk_in_order_with_the_total(database: Database, tenant: Tenant) -> None:
    names = ["b", None, "a", "c"]
    users = []
    for name in names:
        row = ResourceRow(doc="{}", search="{}", display_name_key=name)
        users.append(tenant.user(row=row))
        await database.commit(users[-1])
    ids = [user.resource_id for user in users]
    assert await _ids(database, tenant, Sort(), 0, 10) == (4, ids)
    assert await _ids(database, tenant, Sort(descending=True), 1, 2) == (4, [ids[2], ids[1]])
    by_name = [ids[2], ids[0], ids[3], ids[1]]
    display_name = resolve("displayName", USER)
    assert isinstance(display_name, AttributeRef)
    assert await _ids(database, tenant, Sort(display_name), 0, 3) == (4, by_name[:3])
    assert await _ids(database, tenant, Sort(display_name, descending=True), 0, 4) == (4, by_name[::-1])
    assert await _ids(database, tenant, Sort(), 4, 10) == (4, [])
    assert await _ids(database, tenant, Sort(), 0, 0) == (4, [])


async def test_administrative_writes_are_one_transaction(database: Database) -> None:
    step = Statement(lambda _: insert(tenants).returning(tenants.c.name))
    made = [{"id": new_id(), "name": name, "options": "{}", "created": 1, "frozen_until": None} for name in "ab"]
    assert [row[0]["name"] for row in await database.write((step, made[0]), (step, made[1]))] == ["a", "b"]
    with pytest.raises(Taken):
        await database.write((step, {**made[0], "id": new_id(), "name": "c"}), (step, {**made[1], "id": new_id()}))
    assert [row["name"] for row in await rows(database, select(tenants.c.name).order_by(tenants.c.name))] == ["a", "b"]


async def test_one_refused_commit_does_not_harm_those_beside_it(database: Database, tenant: Tenant) -> None:
    await database.commit(tenant.user("taken"))
    good = [tenant.user(f"user{n}") for n in range(20)]
    bad = [tenant.user("taken"), tenant.change("bump", "User", new_id())]
    outcomes = await asyncio.gather(*map(database.commit, [*good[:10], *bad, *good[10:]]), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [Taken, Stale]
    assert await _total(database, tenant, "User") == 21


def _with_members(group: Change, *others: Change) -> Change:
    return replace(group, members_in=tuple(MemberRow(each.resource_id, each.type) for each in others))


async def _commit(database: Database, *changes: Change) -> None:
    for change in changes:
        await database.commit(change)


async def _ids(database: Database, tenant: Tenant, sort: Sort, offset: int, limit: int) -> tuple[int, list[str]]:
    found = await search(database, tenant.id, USER, None, sort=sort, offset=offset, limit=limit, groups=False)
    return found.total, [each.id for each in found.resources]


async def _total(database: Database, tenant: Tenant, kind: str) -> int:
    here = (counter.c.tenant_id == tenant.id, counter.c.type == kind)
    [row] = await rows(database, select(func.sum(counter.c.n)).where(*here))
    return int(row[0] or 0)


async def _count(database: Database, table: Any, tenant: Tenant) -> int:
    [row] = await rows(database, select(func.count()).select_from(table).where(table.c.tenant_id == tenant.id))
    return int(row[0])
