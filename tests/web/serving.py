"""The real ASGI application in this process, on each database, and tenants that speak to it as a client does.

One application a database serves all tests of a session; each test makes tenants of its own.
"""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from services.postgres import PostgresServer

from scim_server.app import build_app, open_database
from scim_server.clock import new_id, now_ms
from scim_server.settings import Settings
from scim_server.storage import access as rows
from scim_server.storage import schema
from scim_server.storage.access import TenantRow
from scim_server.storage.database import Database
from scim_server.usecases import access

BASE = "http://scim.test/scim/v2"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
SCIM_JSON = "application/scim+json"


def stamp() -> dict[str, Any]:
    """Who, by which request and when: what every administrative use case wants to know."""
    return {"actor": "test", "change_id": new_id(), "now": now_ms()}


@dataclass
class Tenant:
    """A tenant and one of its tokens; sends requests to the application."""

    http: httpx.AsyncClient
    database: Database
    row: TenantRow
    token: str
    _serial: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def send(self, method: str, path: str, body: Any = None, **headers: str | None) -> httpx.Response:
        """`body`: bytes as they are, else JSON. `headers`: If_Match="…" is If-Match; None leaves a header out."""
        given: dict[str, str | None] = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            given["Content-Type"] = SCIM_JSON
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        url = path if path.startswith("http") else BASE + path
        kept = {name: value for name, value in given.items() if value is not None}
        return await self.http.request(method, url, content=content, headers=kept)

    async def get(self, path: str, **headers: str | None) -> httpx.Response:
        """GET"""
        return await self.send("GET", path, **headers)

    async def found(self, endpoint: str, **query: str) -> Any:
        """The ListResponse of a query."""
        answer = await self.get(f"{endpoint}?{httpx.QueryParams(query)}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def user(self, name: str | None = None, /, **attributes: Any) -> Any:
        """A new user as the answer to its POST shows it."""
        name = name or f"user{next(self._serial)}@people.example"
        return await self._made("/Users", {"schemas": [USER], "userName": name, **attributes})

    async def users(self, number: int) -> list[str]:
        """The ids of so many new users."""
        made: list[str] = []
        while len(made) < number:
            users = await asyncio.gather(*(self.user() for _ in range(min(100, number - len(made)))))
            made += [user["id"] for user in users]
        return made

    async def group(self, *members: str, name: str | None = None, **attributes: Any) -> Any:
        """A new group as the answer to its POST shows it."""
        name = name or f"group {next(self._serial)}"
        listed = [{"value": member} for member in members]
        return await self._made("/Groups", {"schemas": [GROUP], "displayName": name, "members": listed, **attributes})

    async def patch(self, path: str, *operations: dict[str, Any], **headers: str | None) -> httpx.Response:
        """PATCH with these operations."""
        return await self.send("PATCH", path, {"schemas": [PATCH], "Operations": operations}, **headers)

    async def issue(self, scope: str = "scim", *, expires: int | None = None) -> str:
        """Another token of this tenant."""
        return await access.issue_token(self.database, self.row, "more", scope, expires=expires, **stamp())

    async def with_scope(self, scope: str) -> "Tenant":
        """This tenant by a token of another scope."""
        return Tenant(self.http, self.database, self.row, await self.issue(scope), self._serial)

    async def _made(self, endpoint: str, body: dict[str, Any]) -> Any:
        answer = await self.send("POST", endpoint, body)
        assert answer.status_code == 201, answer.text
        return answer.json()


@dataclass
class Server:
    """A running application and the database beneath it."""

    http: httpx.AsyncClient
    database: Database
    settings: Settings

    async def tenant(self, *options: str) -> Tenant:
        """A new tenant, with options as `scim-server tenant set` takes them."""
        name = f"t{secrets.token_hex(6)}"
        await access.create_tenant(self.database, name, new_id=new_id(), **stamp())
        row = await rows.tenant_named(self.database, name)
        assert row is not None
        if options:
            row = await access.set_options(self.database, row, list(options), self.settings.served_types, **stamp())
        token = await access.issue_token(self.database, row, "test", "scim", expires=None, **stamp())
        return Tenant(self.http, self.database, row, token)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Server]:
    """The application of these settings between its start-up and its shutdown."""
    app = build_app(settings)
    to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    lifespan = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert (await from_app.get())["type"] == "lifespan.startup.complete"
    database = await open_database(settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        http.headers.clear()  # a client that says nothing of itself, as Entra does
        yield Server(http, database, settings)
    await database.aclose()
    await to_app.put({"type": "lifespan.shutdown"})
    await lifespan


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
async def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A migrated database of each kind, for the whole session."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('web')}/scim.db"
        await schema.migrate(url)
        yield url
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    url = postgres.create_database()
    await schema.migrate(url)
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
async def server(database_url: str) -> AsyncIterator[Server]:
    """The application on each database."""
    async with serving(Settings(database_url=database_url)) as running:
        yield running


@pytest.fixture
async def tenant(server: Server) -> Tenant:
    """A tenant with the default options."""
    return await server.tenant()


@pytest.fixture
async def sqlite_url(tmp_path: Path) -> str:
    """A migrated SQLite file of one test, for an application of its own."""
    url = f"sqlite:///{tmp_path}/own.db"
    await schema.migrate(url)
    return url
