"""A deployment with one session store, taken apart: nothing runs unless a test says so."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from prometheus_client import REGISTRY
from sqlalchemy import select, update
from storage.opened import rows
from termination.crm import RedisCrm, SqlCrm

from scim_server.app import Parts, open_deployment
from scim_server.clock import new_id, now_ms
from scim_server.dispatch.sentinels import Sentinels
from scim_server.sessions.port import Done
from scim_server.sessions.registry import read_stores
from scim_server.settings import Settings
from scim_server.storage.access import tenant_named
from scim_server.storage.change import Action, Audit, Change, Committed, Message, ResourceRow
from scim_server.storage.statements import Statement
from scim_server.storage.subjects import standings
from scim_server.storage.tables import outbox, sentinel
from scim_server.usecases.access import create_tenant
from scim_server.usecases.deployment import Delivered

TENANT = "default"


class FlushableRedis(RedisCrm):
    """A CRM on Redis, with the misfortunes of Redis."""

    def beat_guard(self, now: int) -> None:
        """The guard's sign of life."""
        self._redis.set(f"scim:guard:{self._tenant}", now)

    def lose_everything(self) -> None:
        """FLUSHALL."""
        self._redis.flushall()

    def spoil_index(self, subject: str) -> None:
        """The index becomes something that no kill can read."""
        self._redis.set(f"{self._name}:i:{self._tenant}:{subject}", "no set")

    def save(self) -> None:
        """A dump, which the next start loads."""
        self._redis.save()

    def keys(self) -> set[str]:
        """All there are."""
        return {str(key) for key in self._redis.scan_iter("*")}


class FlushableSql(SqlCrm):
    """A CRM on SQLite, with the misfortunes of a file."""

    def beat_guard(self, now: int) -> None:
        """The guard's sign of life."""
        with self._connected() as connection:
            connection.execute("INSERT OR REPLACE INTO scim_guard VALUES (?, ?)", [TENANT, now])

    def lose_everything(self) -> None:
        """Both tables emptied."""
        with self._connected() as connection:
            connection.executescript("DELETE FROM scim_gate; DELETE FROM user_sessions;")

    def save(self) -> None:
        """A copy, which `restore` brings back."""
        with self._connected() as connection, sqlite3.connect(f"{self._path}.copy") as copy:
            connection.backup(copy)
        copy.close()

    def restore(self) -> None:
        """Everything is as it was at the last `save`."""
        with self._connected() as connection, sqlite3.connect(f"{self._path}.copy") as copy:
            copy.backup(connection)
        copy.close()


@dataclass
class Ward:
    """One process of the deployment, and hands to do what a request does."""

    parts: Parts
    tenant_id: str

    @property
    def database(self) -> Any:
        return self.parts.deployment.database

    @property
    def sentinels(self) -> Sentinels:
        return self.parts.sentinels

    async def kill(self, *subjects: str, denied: bool = True) -> Delivered:
        """Commit and deliver; each is confirmed."""
        return await self._move("terminate", subjects, denied)

    async def lift(self, *subjects: str) -> Delivered:
        """Let them in again, and confirm it."""
        return await self._move("lift", subjects, False)

    async def user(self, subject: str | None, *, active: bool = True, entitled: bool = True) -> str:
        """A user with this externalId, of whom no store hears."""
        doc = {"userName": new_id(), **({"externalId": subject} if subject else {})}
        row = ResourceRow(orjson.dumps(doc).decode(), "{}", active=active, unique_key=new_id(), external_id=subject)
        change = self._change("insert", row=row, entitled=entitled)
        await self.database.commit(change)
        return change.resource_id

    async def messages(self) -> list[Any]:
        """The outbox, by epoch: ids of one millisecond have no order."""
        return await rows(self.database, select(outbox).order_by(outbox.c.epoch, outbox.c.id))

    async def make_echoes_due(self) -> None:
        """As if their time had passed."""
        change = update(outbox).where(outbox.c.echo_due.is_not(None)).values(echo_due=0)
        await self.database.write((Statement(lambda d: change), {}))

    async def watched(self) -> Any:
        """The row of the sentinel."""
        return (await rows(self.database, select(sentinel)))[0]

    async def epochs(self) -> dict[str, tuple[int, bool]]:
        """Epoch and denial of each subject that ever moved."""
        found = await standings(self.database, self.tenant_id, "crm", after="", since=0, limit=1000)
        return {one.subject: (one.epoch, one.denied) for one in found}

    async def look_and_mend(self) -> None:
        """What the loops do in a second."""
        await self.sentinels.look("crm")
        await self.sentinels.mend("crm")

    async def commit(self, action: Action, *subjects: str, denied: bool) -> Committed:
        """Commit a move of these subjects, which nobody delivers."""
        messages = tuple(
            Message(new_id(), "crm", subject, action, "user.deactivated", {"id": subject}, denied=denied)
            for subject in subjects
        )
        committed: Committed = await self.database.commit(self._change("none", messages=messages))
        return committed

    async def _move(self, action: Action, subjects: tuple[str, ...], denied: bool) -> Delivered:
        committed = await self.commit(action, *subjects, denied=denied)
        delivered = await self.parts.deployment.terminator.deliver_now(TENANT, committed.queued)
        assert [type(outcome) for outcome in delivered.outcomes.values()] == [Done] * len(subjects), delivered
        return delivered

    def _change(self, write: Any, **fields: Any) -> Change:
        audit = Audit("test", f"user.{write}", "r")
        given: dict[str, Any] = {"id": new_id(), "at": now_ms(), "tenant_id": self.tenant_id, "resource_id": new_id()}
        return Change(type="User", write=write, audit=audit, **given, **fields)


@dataclass(frozen=True)
class Site:
    """A migrated database and a CRM, on which processes can be opened one after the other, or at once."""

    database_url: str
    crm: FlushableRedis | FlushableSql

    @asynccontextmanager
    async def process(self, **entry: Any) -> AsyncIterator[Ward]:
        """One process; `entry` changes the store's configuration."""
        entries = [{**self.crm.entry, **entry}]
        settings = Settings(database_url=self.database_url, session_stores=tuple(read_stores(entries)))
        async with open_deployment(settings) as parts:
            database = parts.deployment.database
            await create_tenant(database, TENANT, actor="test", new_id=new_id(), change_id=new_id(), now=now_ms())
            tenant = await tenant_named(database, TENANT)
            assert tenant is not None
            yield Ward(parts, tenant.id)


def counted(name: str, **labels: str) -> float:
    """A counter's value now."""
    return REGISTRY.get_sample_value(name, {"store": "crm", **labels}) or 0.0
