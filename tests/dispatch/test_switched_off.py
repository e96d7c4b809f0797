"""A receiver that answers 410 Gone: nothing more is sent to it, for that tenant, until somebody replays."""

import asyncio
import json

import pytest
from dispatch.deliveries import Mailbox, ToldStore
from typer.testing import CliRunner

from scim_server.cli import app
from scim_server.clock import new_id, now_ms
from scim_server.dispatch.terminator import Line, Terminator
from scim_server.dispatch.watch import Watch
from scim_server.dispatch.worker import Worker
from scim_server.sessions.port import Refused
from scim_server.storage.outbox import Silence, replay, silences


async def work_off(mailbox: Mailbox, *lines: Line) -> None:
    """Return when the worker has nothing to do any more."""
    worker = Worker(mailbox.database, {line.store.name: line for line in lines})
    worker.start()
    while None in await mailbox.outcomes():
        await worker.round_done()
    await worker.aclose()


async def test_nothing_is_sent_to_it_until_a_replay(mailbox: Mailbox, caplog: pytest.LogCaptureFixture) -> None:
    store = ToldStore(inline=False)
    line = Line(store, http=True)
    store.answer = lambda delivery: Refused("410 Gone")
    await mailbox.leave("ann")
    await work_off(mailbox, line)
    await mailbox.leave("bob", "ann")
    await work_off(mailbox, line)
    assert len(store.deliveries) == 1
    assert await mailbox.outcomes() == ["gone"] * 3
    (off,) = await silences(mailbox.database)
    assert isinstance(off, Silence)
    assert (off.store, off.tenant) == ("crm", "acme")
    watch = Watch(mailbox.database, {"crm": line}, now_ms)
    for _ in range(2):
        await watch.look()
    assert caplog.text.count("wants no more messages of tenant acme") == 1

    store.answer = ToldStore().answer
    assert await replay(mailbox.database, store="crm") == 3
    assert await silences(mailbox.database) == []
    await work_off(mailbox, line)
    assert await mailbox.outcomes() == ["done"] * 3
    assert [delivery.subject for delivery in store.deliveries].count("ann") == 3


async def test_a_replay_of_one_message_switches_it_on_as_well(mailbox: Mailbox) -> None:
    store = ToldStore(inline=False)
    line = Line(store, http=True)
    store.answer = lambda delivery: Refused("410 Gone")
    first, _ = await mailbox.leave("ann", "bob")
    await work_off(mailbox, line)
    store.answer = ToldStore().answer
    assert await replay(mailbox.database, ids=[first.id]) == 1
    await work_off(mailbox, line)
    assert sorted(map(str, await mailbox.outcomes())) == ["done", "refused"]


async def test_a_replay_of_other_messages_leaves_it_off(mailbox: Mailbox) -> None:
    stores = [ToldStore(name, inline=False) for name in ("crm", "other")]
    for store in stores:
        store.answer = lambda delivery: Refused("410 Gone")
    (other,) = await mailbox.leave("ann", store="other")
    await mailbox.leave("ann")
    await work_off(mailbox, *(Line(store, http=True) for store in stores))
    assert await replay(mailbox.database, ids=[other.id]) == 1
    assert await replay(mailbox.database, ids=[new_id()]) == 0
    assert [off.store for off in await silences(mailbox.database)] == ["crm"]
    assert await replay(mailbox.database, store="crm", since=now_ms() + 60_000) == 0
    assert await silences(mailbox.database) == []


async def test_one_that_is_called_within_the_request_is_not_called_either(mailbox: Mailbox) -> None:
    store = ToldStore()
    store.answer = lambda delivery: Refused("410 Gone")
    terminator = Terminator(mailbox.database, {"crm": Line(store, http=True)})
    await terminator.deliver_now("acme", await mailbox.leave("ann"))
    delivered = await terminator.deliver_now("acme", await mailbox.leave("bob"))
    assert len(store.deliveries) == 1
    (outcome,) = delivered.outcomes.values()
    assert isinstance(outcome, Refused)
    assert "outbox replay --store crm" in outcome.why


async def test_status_says_that_it_is_off(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ToldStore()
    store.answer = lambda delivery: Refused("410 Gone")
    await Terminator(mailbox.database, {"crm": Line(store, http=True)}).deliver_now("acme", await mailbox.leave("ann"))
    monkeypatch.setenv("SCIM_DATABASE_URL", mailbox.url)
    ran = await asyncio.to_thread(CliRunner().invoke, app, ["status", "--json"], catch_exceptions=False)
    (row,) = [row for row in json.loads(ran.stdout) if row["state"] == "off"]
    assert row["name"] == "acme/crm"
    assert "outbox replay --store crm" in row["detail"]
