"""Every route to inactive ends the sessions before the answer arrives, exactly once, and says so."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from termination.conftest import World
from termination.crm import Crm
from termination.process import toml_of
from termination.scene import PATCH, ROUTES, USER, Person, Scene, by_delete, sessions_of

from scim_server.protocol.errors import Uniqueness


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
async def test_sessions_are_gone_before_the_answer_arrives(scene: Scene, crm: Crm, route: Any) -> None:
    leaver, colleague = await scene.hire(), await scene.hire()
    crm.log_in(leaver.subject)
    crm.log_in(colleague.subject)
    answer = await route(scene, leaver)
    assert crm.alive(leaver.subject) == 0
    assert crm.alive(colleague.subject) == 3
    assert answer.status_code in (200, 204)
    assert sessions_of(answer) == 3
    (kill,) = await scene.kills(leaver)
    assert (kill["outcome"], kill["sessions"], kill["attempts"]) == ("done", 3, 1)
    assert crm.gate(leaver.subject) == (kill["epoch"], True, kill["not_before"])
    assert crm.gate(colleague.subject) is None


WAYS: dict[str, Callable[[Person, Any], tuple[str, Any]]] = {
    "replace": lambda person, value: ("PATCH", [{"op": "replace", "path": "active", "value": value}]),
    "add": lambda person, value: ("PATCH", [{"op": "Add", "path": "active", "value": value}]),
    "without path": lambda person, value: ("PATCH", [{"op": "replace", "value": {"active": value}}]),
    "by name": lambda person, value: ("PATCH", [{"op": "replace", "path": f"{USER}:active", "value": value}]),
    "put": lambda person, value: ("PUT", {"userName": person.user_name, "externalId": person.subject, "active": value}),
}


@pytest.mark.parametrize("value", [False, "False", "false"], ids=repr)
@pytest.mark.parametrize("way", WAYS)
async def test_each_way_to_write_it_terminates_once(scene: Scene, crm: Crm, way: str, value: Any) -> None:
    leaver = await scene.hire()
    crm.log_in(leaver.subject)
    method, said = WAYS[way](leaver, value)
    body = {"schemas": [USER], **said} if method == "PUT" else {"schemas": [PATCH], "Operations": said}
    ended = await scene.idp.send(method, f"/Users/{leaver.id}", body)
    assert sessions_of(ended) == 3
    again = await scene.idp.send(method, f"/Users/{leaver.id}", body)
    assert (again.status_code, "session-termination" in again.headers) == (200, False)
    assert len(await scene.kills(leaver)) == 1


@pytest.mark.parametrize("first", ROUTES[:4], ids=lambda route: route.__name__)
async def test_a_repeat_terminates_nothing(scene: Scene, crm: Crm, first: Any) -> None:
    leaver = await scene.hire()
    await first(scene, leaver)
    crm.log_in(leaver.subject, 1)  # whatever this is: it is not the identity provider's business any more
    for again in ROUTES:
        answer = await again(scene, leaver)
        assert "session-termination" not in answer.headers, again.__name__
    assert len(await scene.kills(leaver)) == 1
    assert (await by_delete(scene, leaver)).status_code == 404


async def test_a_user_who_is_created_inactive_has_no_sessions(scene: Scene, crm: Crm) -> None:
    crm.log_in("early-bird")
    answer = await scene.idp.send(
        "POST", "/Users", {"schemas": [USER], "userName": "early", "externalId": "early-bird", "active": False}
    )
    assert crm.alive("early-bird") == 0
    assert answer.status_code == 201
    assert sessions_of(answer) == 3
    gate = crm.gate("early-bird")
    assert gate is not None
    assert gate[1]


async def test_changes_that_keep_somebody_active_have_no_receipt_and_end_nothing(scene: Scene, crm: Crm) -> None:
    person = await scene.hire()
    crm.log_in(person.subject)
    for operation in (
        {"op": "replace", "path": "active", "value": True},
        {"op": "replace", "path": "displayName", "value": "New Name"},
        {"op": "remove", "path": "active"},
        {"op": "replace", "path": "userName", "value": "renamed@people.example"},  # not this store's subject
    ):
        assert "session-termination" not in (await scene.patch(person, operation)).headers
    assert crm.alive(person.subject) == 3
    assert await scene.messages(person) == []


async def test_a_rename_and_a_deactivation_at_once_end_the_sessions_under_both_names(scene: Scene, crm: Crm) -> None:
    leaver = await scene.hire("old-name")
    crm.log_in("old-name")
    crm.log_in("new-name")
    answer = await scene.patch(
        leaver,
        {"op": "replace", "path": "externalId", "value": "new-name"},
        {"op": "replace", "path": "active", "value": False},
    )
    assert crm.alive("old-name", "new-name") == 0
    assert sessions_of(answer) == 6
    assert sorted(kill["subject"] for kill in await scene.kills(leaver)) == ["new-name", "old-name"]


async def test_a_new_subject_ends_the_sessions_of_the_old_one(scene: Scene, crm: Crm) -> None:
    person = await scene.hire("before")
    crm.log_in("before")
    crm.log_in("after")
    await scene.patch(person, {"op": "replace", "path": "externalId", "value": "after"})
    assert crm.alive("before") == 0
    assert crm.alive("after") == 3
    assert [kill["subject"] for kill in await scene.kills(person)] == ["before"]
    await scene.patch(person, {"op": "remove", "path": "externalId"})
    assert crm.alive("after") == 0


async def test_a_recycled_name_lets_the_newcomer_in_and_never_ends_their_sessions(scene: Scene, crm: Crm) -> None:
    leaver = await scene.hire("jo")
    crm.log_in("jo")
    await scene.patch(leaver, {"op": "replace", "path": "externalId", "value": "jo-the-first"})
    denied = crm.gate("jo")
    assert denied is not None
    assert denied[1]
    await scene.hire("jo")
    lifted = crm.gate("jo")
    assert lifted is not None
    assert not lifted[1]
    assert lifted[0] > denied[0]
    crm.log_in("jo")
    answer = await scene.set_active(leaver, False)
    assert sessions_of(answer) == 0
    await by_delete(scene, leaver)
    assert crm.alive("jo") == 3
    assert crm.gate("jo") == lifted


async def test_who_is_created_again_after_a_deletion_may_log_in_and_old_sessions_stay_dead(
    scene: Scene, crm: Crm
) -> None:
    leaver = await scene.hire("boomerang")
    crm.log_in("boomerang")
    await by_delete(scene, leaver)
    dead = crm.gate("boomerang")
    await scene.hire("boomerang")
    lifted = crm.gate("boomerang")
    assert dead is not None
    assert lifted is not None
    assert (dead[1], lifted[1]) == (True, False)
    assert lifted[0] > dead[0]
    assert lifted[2] >= dead[2]
    assert crm.alive("boomerang") == 0


async def test_a_refused_write_ends_nothing(scene: Scene, crm: Crm) -> None:
    holder, person = await scene.hire(), await scene.hire()
    crm.log_in(person.subject)
    answer = await scene.idp.patch(
        f"/Users/{person.id}",
        {"op": "replace", "path": "active", "value": False},
        {"op": "replace", "path": "userName", "value": holder.user_name},
    )
    assert answer.status_code == Uniqueness.status
    stale = await scene.idp.send("DELETE", f"/Users/{person.id}", If_Match='W/"99"')
    assert stale.status_code == 412
    assert crm.alive(person.subject) == 3
    assert await scene.messages(person) == []


async def test_the_command_line_ends_sessions_before_the_prompt_returns(
    scene: Scene, world: World, tmp_path: Path
) -> None:
    leaver, robbed = await scene.hire(), await scene.hire()
    for person in (leaver, robbed):
        world.crm.log_in(person.subject)
    left, revoked = await asyncio.gather(
        command(world, tmp_path, "user", "deactivate", leaver.user_name),
        command(world, tmp_path, "sessions", "revoke", robbed.id),
    )
    assert world.crm.alive(leaver.subject, robbed.subject) == 0
    for told in (left, revoked):
        assert told.startswith("Session-Termination: done; sessions=3; dur=")
    # A person who asks once more means it: whatever came up since then ends too.
    again = await command(world, tmp_path, "user", "deactivate", leaver.subject)
    assert again.startswith("Session-Termination: done; sessions=0; dur=")
    assert len(await scene.kills(leaver)) == 2
    gate = world.crm.gate(robbed.subject)
    assert gate is not None
    assert not gate[1]
    (kill,) = await scene.kills(robbed)
    assert (kill["type"], kill["outcome"], kill["denied"]) == ("sessions.revoked", "done", 0)
    assert (await scene.idp.get(f"/Users/{robbed.id}")).json()["active"] is True


async def command(world: World, tmp_path: Path, *words: str) -> str:
    """What `scim-server …` prints, run as a person does while the server runs."""
    config = tmp_path / "scim-server.toml"
    config.write_text(toml_of(world.crm.entry))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCIM_")}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "scim_server", *words],
        env=kept | {"SCIM_CONFIG": str(config), "SCIM_DATABASE_URL": world.database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


async def test_a_return_opens_the_gate_and_old_sessions_stay_dead(scene: Scene, crm: Crm) -> None:
    person = await scene.hire()
    crm.log_in(person.subject)
    await scene.set_active(person, False)
    out = crm.gate(person.subject)
    await scene.set_active(person, True)
    back = crm.gate(person.subject)
    assert out is not None
    assert back is not None
    assert (out[1], back[1]) == (True, False)
    assert back[0] > out[0]
    assert crm.alive(person.subject) == 0
    crm.log_in(person.subject)
    assert sessions_of(await scene.set_active(person, False)) == 3


async def test_a_revocation_ends_sessions_and_lets_the_person_log_in_again(scene: Scene, crm: Crm) -> None:
    person = await scene.hire()
    crm.log_in(person.subject)
    answer = await scene.idp.send("POST", "/.revoke", {"userName": person.user_name})
    assert answer.status_code == 200
    assert crm.alive(person.subject) == 0
    gate = crm.gate(person.subject)
    assert gate is not None
    assert not gate[1]


async def test_a_revocation_is_read_in_any_case(scene: Scene, crm: Crm) -> None:
    person = await scene.hire()
    crm.log_in(person.subject)
    answer = await scene.idp.send("POST", "/.revoke", {"username": person.user_name, "Deactivate": True})
    assert answer.status_code == 200
    assert answer.json()["deactivated"] is True
    gate = crm.gate(person.subject)
    assert gate is not None
    assert gate[1]


async def test_revocations_that_race_a_deactivation_never_let_the_leaver_in(scene: Scene, crm: Crm) -> None:
    people = [await scene.hire() for _ in range(10)]
    for person in people:
        crm.log_in(person.subject)
    racing = [
        request
        for person in people
        for request in (
            scene.idp.send("POST", "/.revoke", {"id": person.id}),
            scene.set_active(person, False),
            scene.idp.send("POST", "/.revoke", {"id": person.id}),
        )
    ]
    answers = await asyncio.gather(*racing)
    assert {answer.status_code for answer in answers} == {200}
    await scene.all_delivered(5)
    for person in people:
        gate = crm.gate(person.subject)
        assert gate is not None
        assert gate[1], "somebody inactive was let in"
    assert crm.alive(*(person.subject for person in people)) == 0
