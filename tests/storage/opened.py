"""What the tests of both databases share: opening one, and making changes of one tenant."""

import itertools
from typing import Any

from scim_server.clock import new_id
from scim_server.storage.change import Audit, Change, ResourceRow, Write
from scim_server.storage.database import Database, Row
from scim_server.storage.dialects import Dialect
from scim_server.storage.postgres import PostgresDatabase
from scim_server.storage.sqlite import SqliteDatabase, sqlite_path
from scim_server.storage.statements import Statement


async def open_database(url: str) -> Database:
    """Whichever database the URL names."""
    if url.startswith("sqlite"):
        return SqliteDatabase(sqlite_path(url))
    return await PostgresDatabase.open(url, listen_url=None)


class Tenant:
    """Makes changes of one tenant; its clock moves one second with each."""

    def __init__(self) -> None:
        self.id = new_id()
        self._ids = itertools.count(1)
        self._seconds = itertools.count(1)

    def new_id(self) -> str:
        """Greater than those before, which ids of one millisecond need not be."""
        return f"{self.id[:24]}{next(self._ids):012x}"

    def change(self, write: Write, kind: str, resource_id: str, **fields: Any) -> Change:
        """A change with an id, a time and an audit row; `fields` are the rest, or replace these."""
        audit = Audit("token:t", f"{kind.lower()}.{write}", "request-1", {"attributes": ["userName"]})
        given: dict[str, Any] = {
            "id": new_id(),
            "at": 1_700_000_000_000 + 1_000 * next(self._seconds),
            "audit": audit,
        } | fields
        return Change(tenant_id=self.id, type=kind, resource_id=resource_id, write=write, **given)

    def user(self, name: str | None = None, **fields: Any) -> Change:
        """The insertion of a new user."""
        row = ResourceRow(doc='{"userName":"u"}', search="{}", unique_key=name)
        return self.change("insert", "User", self.new_id(), **({"row": row} | fields))

    def group(self, name: str | None = None, **fields: Any) -> Change:
        """The insertion of a new group."""
        row = ResourceRow(doc='{"displayName":"G"}', search='{"displayName":"g"}', unique_key=name)
        return self.change("insert", "Group", self.new_id(), **({"row": row} | fields))


async def rows(database: Database, build: Any, **given: Any) -> list[Row]:
    """What a SELECT returns that one test needs."""

    def built(_: Dialect) -> Any:
        return build

    return list(await database.read(Statement(built), given))
