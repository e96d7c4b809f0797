"""A session store that answers as told, and messages for it on a real database."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from storage.opened import rows

from scim_server.clock import new_id, now_ms
from scim_server.dispatch.terminator import Line
from scim_server.sessions.port import Action, Delivery, Done, Finding, Gate, Outcome, Retry, SessionInfo, Trial
from scim_server.storage.change import Audit, Change, Message, Queued
from scim_server.storage.database import Database
from scim_server.storage.postgres import PostgresDatabase
from scim_server.storage.sqlite import SqliteDatabase, sqlite_path
from scim_server.storage.tables import outbox

Answer = Callable[[Delivery], Outcome | Awaitable[Outcome]]


class ToldStore:
    """A store in memory. `answer` decides; `deliveries` are those that were begun, `together` the most at once of one
    subject."""

    kind = "told"
    events = False
    per_tenant = False

    def __init__(self, name: str = "crm", *, inline: bool = True) -> None:
        self.name = name
        self.inline = inline
        self.answer: Answer = lambda delivery: Done(1)
        self.deliveries: list[Delivery] = []
        self.together = 0
        self.arrived = asyncio.Condition()
        self._busy: list[str] = []

    async def deliver(self, delivery: Delivery) -> Outcome:
        self.deliveries.append(delivery)
        self._busy.append(delivery.subject)
        self.together = max(self.together, self._busy.count(delivery.subject))
        async with self.arrived:
            self.arrived.notify_all()
        try:
            answer = self.answer(delivery)
            return answer if isinstance(answer, Outcome) else await answer
        finally:
            self._busy.remove(delivery.subject)

    async def received(self, number: int) -> None:
        """Return once so many deliveries have begun."""
        async with asyncio.timeout(40), self.arrived:
            await self.arrived.wait_for(lambda: len(self.deliveries) >= number)

    async def assert_gates(self, tenant: str, gates: Sequence[tuple[str, Gate]]) -> Outcome:
        return Done()

    async def beat(self, tenant: str, raised: str, value: int, other: str) -> int | None:
        return None

    async def canary(self, tenant: str) -> Trial | None:
        return None

    async def check(self, tenant: str) -> list[Finding]:
        return []

    async def show(self, tenant: str, subject: str) -> list[SessionInfo]:
        return []

    async def fingerprint(self) -> str | None:
        return None

    async def aclose(self) -> None:
        return


async def never(delivery: Delivery) -> Outcome:
    """The answer of a store that hangs."""
    await asyncio.Event().wait()
    raise AssertionError(delivery)


def away(delivery: Delivery) -> Outcome:
    """The answer of a store that is down."""
    return Retry("connection refused")


@dataclass
class Mailbox:
    """A database with the tenant `acme`, in which messages can be left."""

    url: str
    database: Database
    tenant_id: str = field(default_factory=new_id)

    @classmethod
    async def open(cls, url: str) -> "Mailbox":
        """On a migrated database."""
        return cls(url, await another_process(url))

    async def aclose(self) -> None:
        """Give back connections."""
        await self.database.aclose()

    async def leave(
        self, *subjects: str, action: Action = "terminate", delay_ms: int = 0, store: str = "crm"
    ) -> tuple[Queued, ...]:
        """Commit one message for each subject; nobody is woken."""
        messages = tuple(
            Message(
                new_id(),
                store,
                subject,
                action,
                "user.deactivated",
                {"userName": subject},
                denied=action == "terminate",
                delay_ms=delay_ms,
            )
            for subject in subjects
        )
        change = Change(
            id=new_id(),
            at=now_ms(),
            tenant_id=self.tenant_id,
            type="User",
            resource_id=new_id(),
            write="none",
            audit=Audit("test", "user.revoke", "r"),
            messages=messages,
        )
        return (await self.database.commit(change)).queued

    async def rows(self) -> list[Any]:
        """The outbox in the order of its ids."""
        return await rows(self.database, select(outbox).order_by(outbox.c.id))

    async def outcomes(self) -> list[str | None]:
        """What each came to; None = still waiting."""
        return [row["outcome"] for row in await self.rows()]


async def another_process(url: str) -> Database:
    """The same database as a second server process has it open: wake-ups between the two are NOTIFY or nothing."""
    if url.startswith("sqlite"):
        return SqliteDatabase(sqlite_path(url))
    return await PostgresDatabase.open(url, listen_url=url, pool_size=4)


def lines(*stores: ToldStore, budget_s: float = 0.15) -> dict[str, Line]:
    """Lines as the composition root makes them."""
    return {store.name: Line(store, budget_s=budget_s) for store in stores}
