"""The header `Session-Termination`: it speaks for the stores that deliver inline, and says done only when it is."""

import logging
import re
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from services.processes import free_port
from termination.conftest import World
from termination.crm import RedisCrm, SqlCrm
from termination.receiver import receiving
from termination.scene import DONE, Scene, playing, sessions_of, tenant_of, until

from scim_server.app import open_deployment
from scim_server.sessions.registry import read_stores
from scim_server.settings import Settings
from scim_server.usecases import operations

HEADER = "session-termination"


async def test_none_when_there_is_no_store(sqlite_database: str) -> None:
    async with playing(sqlite_database, []) as scene:
        answer = await scene.set_active(await scene.hire(), False)
        assert answer.headers[HEADER] == "none"


async def test_pending_when_the_store_does_not_answer(sqlite_database: str) -> None:
    dead = RedisCrm(f"redis://127.0.0.1:{free_port()}/0", "crm-redis")
    async with playing(sqlite_database, [dead.entry]) as scene:
        answer = await scene.set_active(await scene.hire(), False)
        assert answer.headers[HEADER] == 'pending; stores="crm-redis"'


async def test_a_webhook_is_pending_and_comes_through_the_worker(sqlite_database: str) -> None:
    async with receiving() as receiver, playing(sqlite_database, [receiver.entry()]) as scene:
        leaver = await scene.hire()
        answer = await scene.set_active(leaver, False)
        assert answer.headers[HEADER] == 'pending; stores="hook"'
        await scene.all_delivered(5)
        left = [body for body in receiver.bodies if body["type"] == "user.deactivated"]
        (kill,) = await scene.kills(leaver, "hook")
        assert [body["data"]["userName"] for body in left] == [leaver.user_name]
        assert left[0]["data"]["epoch"] == kill["epoch"]
        assert [body["type"] for body in receiver.bodies] == ["user.created", "user.deactivated"]


async def test_an_inline_webhook_is_done_when_it_answered_and_pending_while_it_does_not(sqlite_database: str) -> None:
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving())
        scene = await stack.enter_async_context(
            playing(sqlite_database, [receiver.entry(inline=True, budget_ms=3_000)])
        )
        quick, slow = await scene.hire(), await scene.hire()
        assert DONE.fullmatch((await scene.set_active(quick, False)).headers[HEADER])
        assert receiver.bodies[-1]["type"] == "user.deactivated"
        receiver.open_.clear()
        assert (await scene.set_active(slow, False)).headers[HEADER] == 'pending; stores="hook"'
        receiver.open_.set()
        await scene.all_delivered(5)


async def test_several_stores_are_done_together_and_the_header_names_those_that_are_not(
    sqlite_database: str, redis_url: str, tmp_path: Path
) -> None:
    web, desktop = RedisCrm(redis_url, "web"), SqlCrm(tmp_path / "crm.db", "desktop")
    hung = RedisCrm(f"redis://127.0.0.1:{free_port()}/0", "app")
    async with receiving() as receiver, playing(sqlite_database, [web.entry, desktop.entry, receiver.entry()]) as scene:
        leaver = await scene.hire()
        web.log_in(leaver.subject, 2)
        desktop.log_in(leaver.subject, 3)
        answer = await scene.set_active(leaver, False)
        assert (web.alive(leaver.subject), desktop.alive(leaver.subject)) == (0, 0)
        assert sessions_of(answer) == 5
    async with playing(sqlite_database, [web.entry, hung.entry]) as scene:
        leaver = await scene.hire("second")
        web.log_in(leaver.subject)
        answer = await scene.set_active(leaver, False)
        assert web.alive(leaver.subject) == 0
        assert answer.headers[HEADER] == 'pending; stores="app"'
    web.close()


async def test_a_store_of_one_tenant_concerns_no_other(sqlite_database: str, redis_url: str) -> None:
    everybodys, theirs = RedisCrm(redis_url, "everybodys"), RedisCrm(redis_url, "theirs", "elsewhere")
    elsewhere_in_everybodys = RedisCrm(redis_url, "everybodys", "elsewhere")
    stores = [everybodys.entry, {**theirs.entry, "tenant": "elsewhere"}]
    async with playing(sqlite_database, stores) as scene:
        other = Scene(scene.http, scene.database, await tenant_of(scene.http, scene.database, "elsewhere"))
        here, there = await scene.hire("jo"), await other.hire("jo")
        everybodys.log_in("jo", 1)
        theirs.log_in("jo", 2)
        assert sessions_of(await scene.set_active(here, False)) == 1
        assert await scene.kills(here, "theirs") == []
        assert theirs.gate("jo") is None
        assert elsewhere_in_everybodys.gate("jo") is None
        assert sessions_of(await other.set_active(there, False)) == 2
        assert theirs.alive("jo") == 0
    for crm in (everybodys, theirs, elsewhere_in_everybodys):
        crm.close()


async def test_unresolved_is_said_in_the_answer_the_log_a_metric_and_the_check(
    scene: Scene, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def counted(text: str) -> float:
        found = re.search(r'^scim_unresolved_total\{store="crm"\} (\S+)', text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    before = counted((await scene.http.get("/metrics")).text)
    world.crm.log_in("the CRM knows this person by another name")
    without = await scene.hire(externalId=None)
    with caplog.at_level(logging.WARNING):
        answer = await scene.set_active(without, False)
    assert answer.headers[HEADER] == 'unresolved; stores="crm"'
    assert "no session was looked for" in caplog.text
    assert without.id in caplog.text
    assert without.user_name not in caplog.text
    assert await scene.messages(without) == []
    assert counted((await scene.http.get("/metrics")).text) == before + 1

    await scene.set_active(without, True)
    stores = tuple(read_stores([world.crm.entry]))
    async with open_deployment(Settings(database_url=world.database_url, session_stores=stores)) as parts:
        subscriber = parts.deployment.subscribers[0]
        (finding,) = await operations.check_subjects(parts.deployment, scene.idp.row.id, "default", subscriber)
    assert not finding.ok
    assert "1 of 1 active users have no value" in finding.what


async def test_one_store_without_a_subject_is_not_hidden_by_another_that_is_done(
    sqlite_database: str, redis_url: str
) -> None:
    by_key, by_name = RedisCrm(redis_url, "by-key"), RedisCrm(redis_url, "by-name", subject="{userName}")
    async with playing(sqlite_database, [by_key.entry, by_name.entry]) as scene:
        leaver = await scene.hire(externalId=None)
        by_name.log_in(leaver.user_name)
        answer = await scene.set_active(leaver, False)
        assert answer.headers[HEADER] == 'unresolved; stores="by-key"'
        assert by_name.alive(leaver.user_name) == 0
    by_key.close()
    by_name.close()


async def test_reads_and_other_writes_have_no_receipt(scene: Scene) -> None:
    person = await scene.hire()
    assert HEADER not in (await scene.idp.get(f"/Users/{person.id}")).headers
    group = await scene.idp.group(person.id)
    assert HEADER not in (await scene.idp.send("DELETE", f"/Groups/{group['id']}")).headers
    await scene.set_active(person, False)
    await scene.all_delivered(5)
    assert HEADER not in (await scene.set_active(person, True)).headers
    await until(lambda: True, 1)
