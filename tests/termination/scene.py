"""A running server with session stores, and one identity provider that speaks to it."""

import asyncio
import itertools
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlalchemy import func, select
from storage.opened import rows
from termination.crm import Crm
from web.serving import PATCH, USER, Tenant, stamp

from scim_server.app import build_app, open_database
from scim_server.clock import new_id
from scim_server.sessions.registry import read_stores
from scim_server.settings import Settings
from scim_server.storage import access as access_rows
from scim_server.storage.database import Database
from scim_server.storage.tables import outbox, sentinel
from scim_server.usecases import access

BUSY = 5  # how much slower than an idle machine one may be
DONE = re.compile(r"done; sessions=(\d+); dur=(\d+\.\d)")


@dataclass(frozen=True)
class Person:
    """A user as created: its id, and its externalId, which is the subject in every store here."""

    id: str
    user_name: str
    subject: str


@dataclass
class Scene:
    """A client of the server, a connection to its database, and the tenant `default` that speaks by `idp`."""

    http: httpx.AsyncClient
    database: Database
    idp: Tenant
    _serial: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def hire(self, subject: str | None = None, **attributes: Any) -> Person:
        """A new user; `externalId` None leaves it out."""
        number = next(self._serial)
        attributes = {"externalId": subject or f"p{number}", **attributes}
        given = {name: value for name, value in attributes.items() if value is not None}
        user = await self.idp.user(given.pop("userName", f"{secrets.token_hex(6)}@people.example"), **given)
        return Person(user["id"], user["userName"], user.get("externalId", ""))

    async def set_active(self, person: Person, active: bool) -> httpx.Response:
        """The plainest PATCH."""
        return await self.patch(person, {"op": "replace", "path": "active", "value": active})

    async def patch(self, person: Person, *operations: dict[str, Any]) -> httpx.Response:
        """PATCH with these operations; it succeeds."""
        answer = await self.idp.patch(f"/Users/{person.id}", *operations)
        assert answer.status_code == 200, answer.text
        return answer

    async def messages(self, person: Person, store: str = "crm") -> list[Any]:
        """What a store was or will be told about a person, in the order it was made."""
        mine = (outbox.c.resource_id == person.id) & (outbox.c.store == store)
        return await rows(self.database, select(outbox).where(mine).order_by(outbox.c.id))

    async def kills(self, person: Person, store: str = "crm") -> list[Any]:
        """The terminations among them."""
        return [row for row in await self.messages(person, store) if row["action"] == "terminate"]

    async def waiting(self) -> int:
        """Messages that are not settled."""
        query = select(func.count().label("n")).select_from(outbox).where(outbox.c.settled.is_(None))
        return int((await rows(self.database, query))[0]["n"])

    async def store_is_known(self) -> None:
        """See `store_is_known`."""
        await store_is_known(self.database)

    async def all_delivered(self, within_s: float) -> float:
        """Seconds until nothing waits any more."""
        return await until(self._nothing_waits, within_s)

    async def _nothing_waits(self) -> bool:
        return await self.waiting() == 0


async def store_is_known(database: Database, name: str | None = None) -> None:
    """Wait until a store that is new was told who had left: until then, that may end sessions, too. Of all stores that
    the database remembers, or of one."""

    async def is_known() -> bool:
        found = await rows(database, select(sentinel.c.store, sentinel.c.stage, sentinel.c.lost))
        states = [(row["stage"], row["lost"]) for row in found if name in (None, row["store"])]
        return bool(states) and set(states) == {(None, None)}

    await until(is_known, 30)


@asynccontextmanager
async def playing(database_url: str, entries: Sequence[dict[str, Any]]) -> AsyncIterator[Scene]:
    """A server of its own with these session stores."""
    settings = Settings(database_url=database_url, session_stores=tuple(read_stores(entries)))
    app = build_app(settings)
    database = await open_database(settings)
    async with _lifespan(app), _client(app) as http:
        try:
            yield Scene(http, database, await tenant_of(http, database, "default"))
        finally:
            await database.aclose()


@asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    running = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    started = await from_app.get()
    assert started["type"] == "lifespan.startup.complete", started
    try:
        yield
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        await running


def _client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://scim.test")


async def tenant_of(http: httpx.AsyncClient, database: Database, name: str) -> Tenant:
    """The tenant of this name, made if need be, with a token."""
    await access.create_tenant(database, name, new_id=new_id(), **stamp())
    row = await access_rows.tenant_named(database, name)
    assert row is not None
    token = await access.issue_token(database, row, "idp", "scim", expires=None, **stamp())
    return Tenant(http, database, row, token)


async def until(condition: Any, within_s: float, about: object = "") -> float:
    """Seconds until `condition()` (a coroutine function or a plain one) holds; fails after `within_s`, if the machine
    were idle."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while True:
        held = condition()
        if await held if asyncio.iscoroutine(held) else held:
            return loop.time() - started
        assert loop.time() - started < within_s * BUSY, f"not within {within_s} s {about}"
        await asyncio.sleep(0.005)  # what is looked at is another process, which gives no signal


async def by_patch_with_path(scene: Scene, person: Person) -> httpx.Response:
    return await scene.patch(person, {"op": "replace", "path": "active", "value": False})


async def by_patch_without_path(scene: Scene, person: Person) -> httpx.Response:
    return await scene.patch(person, {"op": "replace", "value": {"active": False}})


async def by_patch_in_entra_dialect(scene: Scene, person: Person) -> httpx.Response:
    return await scene.patch(person, {"op": "Replace", "path": "active", "value": "False"})


async def by_put(scene: Scene, person: Person) -> httpx.Response:
    body = {"schemas": [USER], "userName": person.user_name, "externalId": person.subject, "active": False}
    return await scene.idp.send("PUT", f"/Users/{person.id}", body)


async def by_delete(scene: Scene, person: Person) -> httpx.Response:
    return await scene.idp.send("DELETE", f"/Users/{person.id}")


ROUTES = [by_patch_with_path, by_patch_without_path, by_patch_in_entra_dialect, by_put, by_delete]


def sessions_of(answer: httpx.Response) -> int:
    """How many the receipt says were ended; fails unless it says done."""
    said = DONE.fullmatch(answer.headers["session-termination"])
    assert said, answer.headers["session-termination"]
    return int(said[1])


__all__ = ["PATCH", "ROUTES", "USER", "Crm", "Person", "Scene", "playing", "sessions_of", "tenant_of", "until"]
