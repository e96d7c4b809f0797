"""Many clients at once: nobody's change is lost, names are taken once, and nothing is half done."""

import asyncio
from collections import Counter

import httpx
from web.serving import Tenant

CROWD = 64


async def test_members_added_in_parallel_all_stay(tenant: Tenant) -> None:
    users, group = await tenant.users(CROWD), (await tenant.group())["id"]

    answers = await asyncio.gather(*(_join(tenant, group, user) for user in users))

    assert _statuses(answers) == {200: CROWD}
    after = (await tenant.get(f"/Groups/{group}")).json()
    assert {member["value"] for member in after["members"]} == set(users)
    assert after["meta"]["version"] == f'W/"{CROWD + 1}"'


async def test_members_added_and_removed_in_parallel(tenant: Tenant) -> None:
    leaving, coming = await asyncio.gather(tenant.users(24), tenant.users(24))
    group = (await tenant.group(*leaving))["id"]

    answers = await asyncio.gather(
        *(_join(tenant, group, user) for user in coming), *(_join(tenant, group, user, "Remove") for user in leaving)
    )

    assert _statuses(answers) == {200: 48}
    after = (await tenant.get(f"/Groups/{group}")).json()
    assert {member["value"] for member in after["members"]} == set(coming)


async def test_one_name_in_any_case_and_width_is_taken_once(tenant: Tenant) -> None:
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in "race")
    spellings = [
        letters + "@people.example" for letters in ("race", "RACE", "Race", wide, wide.upper(), "rAcE", "raCE", "ＲACe")
    ]

    answers = await asyncio.gather(
        *(tenant.send("POST", "/Users", {"userName": spellings[n % len(spellings)]}) for n in range(CROWD))
    )

    assert _statuses(answers) == {201: 1, 409: CROWD - 1}
    assert {answer.json()["scimType"] for answer in answers if answer.status_code == 409} == {"uniqueness"}
    assert (await tenant.found("/Users"))["totalResults"] == 1
    assert (await tenant.found("/Users", filter='userName sw "race@"'))["totalResults"] == 1


async def test_one_group_name_is_taken_once(tenant: Tenant) -> None:
    answers = await asyncio.gather(
        *(tenant.send("POST", "/Groups", {"displayName": name}) for name in ("Ops", "OPS") * 16)
    )

    assert _statuses(answers) == {201: 1, 409: 31}


async def test_one_etag_lets_one_put_through(tenant: Tenant) -> None:
    user = await tenant.user()

    answers = await asyncio.gather(
        *(
            tenant.send("PUT", f"/Users/{user['id']}", {"userName": "x", "title": str(number)}, If_Match='W/"1"')
            for number in range(32)
        )
    )

    assert _statuses(answers) == {200: 1, 412: 31}
    winner = next(answer for answer in answers if answer.status_code == 200)
    after = (await tenant.get(f"/Users/{user['id']}")).json()
    assert after["title"] == winner.json()["title"]
    assert after["meta"]["version"] == 'W/"2"'


async def test_one_etag_lets_one_change_of_members_through(tenant: Tenant) -> None:
    users, group = await tenant.users(16), (await tenant.group())["id"]

    answers = await asyncio.gather(*(_join(tenant, group, user, If_Match='W/"1"') for user in users))

    assert _statuses(answers) == {200: 1, 412: 15}
    assert len((await tenant.get(f"/Groups/{group}")).json()["members"]) == 1


async def test_patches_of_different_attributes_do_not_undo_each_other(tenant: Tenant) -> None:
    user = (await tenant.user())["id"]
    names = ("title", "nickName", "displayName", "locale")

    answers = await asyncio.gather(
        *(tenant.patch(f"/Users/{user}", {"op": "replace", "path": name, "value": name}) for name in names)
    )

    assert _statuses(answers) == {200: 4}
    after = (await tenant.get(f"/Users/{user}")).json()
    assert [after[name] for name in names] == list(names)
    assert after["meta"]["version"] == 'W/"5"'


async def test_a_crowd_on_one_user_is_served(tenant: Tenant) -> None:
    user = (await tenant.user())["id"]

    answers = await asyncio.gather(
        *(tenant.patch(f"/Users/{user}", {"op": "replace", "path": "title", "value": str(n)}) for n in range(CROWD))
    )

    assert _statuses(answers) == {200: CROWD}
    after = (await tenant.get(f"/Users/{user}")).json()
    assert after["meta"]["version"] == f'W/"{CROWD + 1}"'


async def test_of_many_deletes_one_counts(tenant: Tenant) -> None:
    user = (await tenant.user())["id"]
    group = (await tenant.group(user))["id"]

    answers = await asyncio.gather(*(tenant.send("DELETE", f"/Users/{user}") for _ in range(16)))

    assert _statuses(answers) == {204: 1, 404: 15}
    after = (await tenant.get(f"/Groups/{group}")).json()
    assert (after["members"], after["meta"]["version"]) == ([], 'W/"2"')


async def test_users_deleted_while_they_join_leave_no_trace(tenant: Tenant) -> None:
    users, group = await tenant.users(24), (await tenant.group())["id"]

    answers = await asyncio.gather(
        *(_join(tenant, group, user) for user in users), *(tenant.send("DELETE", f"/Users/{user}") for user in users)
    )

    assert _statuses(answers).keys() <= {200, 204, 400}
    assert (await tenant.get(f"/Groups/{group}")).json()["members"] == []
    assert (await tenant.found("/Users"))["totalResults"] == 0


async def test_a_group_deleted_while_it_grows(tenant: Tenant) -> None:
    users, group = await tenant.users(16), (await tenant.group())["id"]

    answers = await asyncio.gather(
        *(_join(tenant, group, user) for user in users), tenant.send("DELETE", f"/Groups/{group}")
    )

    assert _statuses(answers).keys() <= {200, 204, 404}
    assert (await tenant.get(f"/Groups/{group}")).status_code == 404
    assert all("groups" not in user for user in (await tenant.found("/Users"))["Resources"])


async def _join(tenant: Tenant, group: str, user: str, op: str = "Add", **headers: str) -> httpx.Response:
    operation = {"op": op, "path": "members", "value": [{"value": user}]}
    return await tenant.patch(f"/Groups/{group}", operation, **headers)


def _statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)
