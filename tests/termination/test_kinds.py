"""Sessions, refresh tokens and API keys: a leaver loses all of them, a revocation ends what it names."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dispatch.wards import counted
from sqlalchemy import select
from storage.opened import rows
from termination.conftest import World
from termination.crm import Crm, SqlCrm
from termination.receiver import Receiver, receiving
from termination.scene import Person, Scene, playing

from scim_server.storage.tables import audit

KINDS = ["session", "refresh_token", "api_key"]


@dataclass
class Office:
    """Sessions in one store, API keys in another, and two receivers: of everything, and of refresh tokens."""

    scene: Scene
    sessions: Crm
    keys: Crm
    all: Receiver
    tokens: Receiver

    async def hire(self) -> Person:
        """A user with three sessions and one API key."""
        person = await self.scene.hire()
        self.sessions.log_in(person.subject, 3)
        self.keys.log_in(person.subject, 1)
        return person

    async def revoke(self, person: Person, **more: Any) -> Any:
        """Everybody's answer to a POST of .revoke."""
        answer = await self.scene.idp.send("POST", "/.revoke", {"id": person.id, **more})
        await self.scene.all_delivered(10)
        return answer

    def alive(self, person: Person) -> tuple[int, int]:
        """Sessions and API keys."""
        return self.sessions.alive(person.subject), self.keys.alive(person.subject)


@pytest.fixture
async def office(world: World, tmp_path: Path) -> AsyncIterator[Office]:
    async with AsyncExitStack() as stack:
        everything = await stack.enter_async_context(receiving())
        tokens = await stack.enter_async_context(receiving())
        keys = SqlCrm(tmp_path / "keys.db", "keys", ends="api_key")
        entries = [
            world.crm.entry,
            keys.entry,
            everything.entry("all"),
            tokens.entry("tokens", ends="refresh_token"),
        ]
        scene = await stack.enter_async_context(playing(world.database_url, entries))
        await scene.store_is_known()
        yield Office(scene, world.crm, keys, everything, tokens)


def kinds_of(receiver: Receiver) -> list[Any]:
    """What the messages that end something name, in the order they came."""
    return [body["data"]["kinds"] for body in receiver.bodies if "kinds" in body["data"]]


async def test_a_leaver_loses_every_kind_and_the_header_counts_each(office: Office) -> None:
    person = await office.hire()
    before = counted("scim_sessions_ended_total", store="keys", kind="api_key")
    answer = await office.scene.set_active(person, False)
    assert answer.headers["session-termination"].startswith("done; sessions=3; api_keys=1; dur=")
    assert office.alive(person) == (0, 0)
    assert counted("scim_sessions_ended_total", store="keys", kind="api_key") == before + 1
    await office.scene.all_delivered(10)
    assert (kinds_of(office.all), kinds_of(office.tokens)) == ([KINDS], [["refresh_token"]])
    await office.scene.set_active(person, True)
    await office.scene.all_delivered(10)
    assert "kinds" not in office.all.bodies[-1]["data"]


@pytest.mark.parametrize("kinds", [None, KINDS])
async def test_a_revocation_ends_all_kinds_unless_it_is_limited(office: Office, kinds: Any) -> None:
    person = await office.hire()
    answer = await office.revoke(person, kinds=kinds)
    assert answer.status_code == 200, answer.text
    assert office.alive(person) == (0, 0)
    assert (kinds_of(office.all), kinds_of(office.tokens)) == ([KINDS], [["refresh_token"]])


async def test_a_revocation_of_one_kind_leaves_the_others_alone(office: Office) -> None:
    person = await office.hire()
    answer = await office.revoke(person, kinds=["api_key"])
    assert answer.headers["session-termination"].startswith("done; sessions=0; api_keys=1; dur=")
    assert office.alive(person) == (3, 0)
    assert office.sessions.gate(person.subject) is None
    assert (kinds_of(office.all), kinds_of(office.tokens)) == ([["api_key"]], [])
    assert [body["type"] for body in office.tokens.bodies] == ["user.created"]
    (receipt,) = answer.json()["receipts"]
    told = {one["store"]: (one["kinds"], one.get("sessions")) for one in receipt["stores"]}
    assert told["keys"] == (["api_key"], 1)
    assert told["all"][0] == ["api_key"]
    assert set(told) == {"keys", "all"}
    (row,) = await rows(office.scene.database, select(audit).where(audit.c.action == "user.revoke"))
    assert '"api_key"' in row["detail"]
    assert '"session"' not in row["detail"]
    answer = await office.revoke(person, kinds=["session", "refresh_token"])
    assert office.alive(person) == (0, 0)
    assert kinds_of(office.all)[-1] == ["session", "refresh_token"]
    feed = (await office.scene.idp.get("http://scim.test/events")).json()["events"]
    assert [event["data"]["kinds"] for event in feed if event["type"] == "sessions.revoked"] == [
        ["api_key"],
        ["session", "refresh_token"],
    ]


@pytest.mark.parametrize(
    "more",
    [
        {"kinds": []},
        {"kinds": "session"},
        {"kinds": ["cookie"]},
        {"kinds": [["session"]]},
        {"kinds": [None]},
        {"kinds": ["session"], "deactivate": True},
    ],
)
async def test_kinds_that_are_not_understood_are_refused(office: Office, more: dict[str, Any]) -> None:
    person = await office.hire()
    assert (await office.revoke(person, **more)).status_code == 400
    assert office.alive(person) == (3, 1)
