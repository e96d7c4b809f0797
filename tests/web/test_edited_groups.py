"""What the answer to an edit of a small group shows: it is worked out from what was read before the edit."""

import asyncio
from typing import Any

from web.serving import Tenant


def _listed(user_id: str, **more: Any) -> list[dict[str, Any]]:
    return [{"value": user_id, **more}]


async def test_the_answer_is_the_group_as_it_is(tenant: Tenant) -> None:
    ada, bob, eve = await tenant.users(3)
    path = f"/Groups/{(await tenant.group(bob))['id']}"
    for operation in (
        {"op": "add", "path": "members", "value": _listed(ada, display="Ada")},
        {"op": "add", "path": "members", "value": _listed(ada.upper())},
        {"op": "add", "path": "members", "value": _listed(ada, display="Countess")},
        {"op": "remove", "path": f'members[value eq "{bob}"]'},
        {"op": "replace", "path": "members", "value": [*_listed(ada), *_listed(eve)]},
        {"op": "replace", "value": {"displayName": "renamed", "members": _listed(eve, display="Eve")}},
        {"op": "remove", "path": f'members[value eq "{bob}"]'},
        {"op": "remove", "path": "members"},
    ):
        answer = await tenant.patch(path, operation)
        assert answer.status_code == 200, answer.text
        assert answer.json() == (await tenant.get(path)).json(), operation


async def test_an_answer_misses_nobody_who_came_at_the_same_time(tenant: Tenant) -> None:
    users = await tenant.users(12)
    path = f"/Groups/{(await tenant.group())['id']}"
    edits = [tenant.patch(path, {"op": "add", "path": "members", "value": _listed(user)}) for user in users]
    # Each version is a count of edits, and so the least number of members that an answer of that version shows.
    for answer, user in zip(await asyncio.gather(*edits), users, strict=True):
        shown = {member["value"] for member in answer.json()["members"]}
        assert user in shown
        assert len(shown) >= int(answer.json()["meta"]["version"][3:-1]) - 1


async def test_the_hundred_and_first_member_is_the_end_of_bodies(tenant: Tenant) -> None:
    *users, last = await tenant.users(101)
    path = f"/Groups/{(await tenant.group(*users))['id']}"
    added = await tenant.patch(path, {"op": "add", "path": "members", "value": _listed(last)})
    assert (added.status_code, added.content) == (204, b"")
    removed = await tenant.patch(path, {"op": "remove", "path": f'members[value eq "{last}"]'})
    assert (removed.status_code, len(removed.json()["members"])) == (200, 100)
