"""`scim-server outbox …` and the age of the oldest kill in `status`."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from dispatch.wards import TENANT
from services.processes import free_port
from typer.testing import CliRunner

from scim_server.cli import app
from scim_server.cli.terminal import Failure
from scim_server.clock import new_id, now_ms
from scim_server.dispatch.watch import Watch
from scim_server.storage.access import tenant_named
from scim_server.storage.change import Action, Audit, Change, Message
from scim_server.storage.database import Database
from scim_server.storage.outbox import Settlement, claim, settle
from scim_server.storage.schema import migrate
from scim_server.storage.sqlite import SqliteDatabase, sqlite_path
from scim_server.usecases.access import create_tenant


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with three messages: a kill that waits, one for another store, and a notice that was refused."""
    address = f"sqlite:///{tmp_path}/scim.db"
    config = tmp_path / "scim.toml"
    config.write_text(
        f'[[session_stores]]\nname = "crm"\nkind = "redis"\nurl = "redis://127.0.0.1:{free_port()}/0"\n'
        'session_key = "s:{sid}"\nindex_key = "i:{subject}"\n'
    )
    monkeypatch.setenv("SCIM_CONFIG", str(config))
    monkeypatch.setenv("SCIM_DATABASE_URL", address)
    anyio.run(_prepare, address)
    return address


async def _prepare(url: str) -> None:
    await migrate(url)
    database = SqliteDatabase(sqlite_path(url))
    await create_tenant(database, TENANT, actor="test", new_id=new_id(), change_id=new_id(), now=now_ms())
    tenant = await tenant_named(database, TENANT)
    assert tenant is not None
    await _leave(database, tenant.id, "crm", "terminate")
    await _leave(database, tenant.id, "hook", "terminate")
    await _leave(database, tenant.id, "hook", "notify")
    (gone,) = [one for one in await claim(database, "hook", 10, lease_ms=0) if one.action == "notify"]
    await settle(database, [Settlement(gone.id, "refused", error="410 Gone")])
    await database.aclose()


async def _leave(database: Database, tenant_id: str, store: str, action: Action) -> None:
    message = Message(new_id(), store, new_id(), action, "user.deactivated", {}, denied=True, delay_ms=60_000)
    message = message if store == "crm" else Message(new_id(), store, new_id(), action, "user.updated", {})
    change = Change(
        id=new_id(),
        at=now_ms() - 40_000,
        tenant_id=tenant_id,
        type="User",
        resource_id=new_id(),
        write="none",
        audit=Audit("test", "user.patch", "r"),
        messages=(message,),
    )
    await database.commit(change)


def _run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def _listed() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(_run("outbox", "list", "--json"))
    return rows


async def _due_of(url: str, store: str) -> int:
    database = SqliteDatabase(sqlite_path(url))
    try:
        return len(await claim(database, store, 10, lease_ms=0))
    finally:
        await database.aclose()


def test_retry_makes_what_waits_due(url: str) -> None:
    assert anyio.run(_due_of, url, "crm") == 0
    assert _run("outbox", "retry", "--store", "crm").startswith("Due now: 1;")
    assert anyio.run(_due_of, url, "crm") == 1


def test_retry_of_one_message_leaves_the_others(url: str) -> None:
    (mine,) = [row["id"] for row in _listed() if row["store"] == "crm"]
    assert _run("outbox", "retry", mine.upper()).startswith("Due now: 1;")
    assert _run("outbox", "retry", new_id()).startswith("Due now: 0;")
    assert _run("outbox", "retry").startswith("Due now: 2;")


def test_replay_queues_what_was_refused(url: str) -> None:
    assert [row["state"] for row in _listed()].count("refused") == 1
    assert _run("outbox", "replay", "--since", "10s").startswith("On their way again: 0;")
    assert _run("outbox", "replay", "--store", "crm").startswith("On their way again: 0;")
    assert _run("outbox", "replay", "--since", "1h").startswith("On their way again: 1;")
    assert {row["state"] for row in _listed()} == {"waiting"}
    assert anyio.run(_due_of, url, "hook") == 2


def test_what_is_no_id_is_told_in_one_line(url: str) -> None:
    with pytest.raises(Failure, match="outbox list"):
        CliRunner().invoke(app, ["outbox", "retry", "everything"], catch_exceptions=False)


def test_status_shows_the_oldest_kill(url: str) -> None:
    rows = {row["name"]: row for row in json.loads(_run("status", "--json")) if row["what"] == "session store"}
    assert "oldest pending kill" in rows["crm"]["detail"]
    assert rows["hook"]["state"] == "not configured"


async def test_a_kill_that_waits_for_half_a_minute_is_an_error_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"sqlite:///{tmp_path}/late.db"
    await _prepare(address)
    database = SqliteDatabase(sqlite_path(address))
    watch = Watch(database, {}, now_ms)
    for _ in range(3):
        await watch.look()
    assert caplog.text.count("a kill waits for session store crm since 40 seconds") == 1
    await database.aclose()
