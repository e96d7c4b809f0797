"""A member more or less costs the same in a group of any size: statements sent, rows asked for, rows looked at."""

import contextvars
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from sqlalchemy import literal, null, select, text, true
from web.serving import Tenant

from scim_server.storage import sqlite
from scim_server.storage.dialects import Dialect
from scim_server.storage.postgres import PostgresDatabase
from scim_server.storage.statements import Statement
from scim_server.storage.tables import Id, member, resource

ANALYZE = Statement(lambda _: text("ANALYZE"))
FEW, MANY = 200, 100_000  # both too many for the answer to show them


@dataclass
class Work:
    """What one request made the database do. `steps`: rows that scans read on Postgres, instructions on SQLite."""

    statements: int = 0
    sent: int = 0
    rows: int = 0
    steps: int = 0


of_this_request: contextvars.ContextVar[Work | None] = contextvars.ContextVar("of_this_request", default=None)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both drivers add to the Work of the request that they run for; other work goes on uncounted."""
    fetch, execute, submit = asyncpg.Connection.fetch, sqlite._execute, sqlite.SqliteDatabase._submit

    async def fetch_counted(self: Any, query: str, *given: Any, **more: Any) -> Any:
        work = None if " token " in query else of_this_request.get()
        if work is not None:
            explained = self.transaction()
            await explained.start()
            plan = await self.fetchval("EXPLAIN (ANALYZE, FORMAT JSON) " + query, *given)
            await explained.rollback()
            work.steps += sum(_read(json.loads(plan)[0]["Plan"]))
        rows = await fetch(self, query, *given, **more)
        _count(work, given, rows)
        return rows

    def execute_counted(connection: sqlite3.Connection, compiled: Any, given: Any) -> Any:
        work = None if " token " in compiled.sql else of_this_request.get()  # noted now and then
        if work is None:
            return execute(connection, compiled, given)
        connection.set_progress_handler(work_of(work), 1)
        rows = execute(connection, compiled, given)
        connection.set_progress_handler(None, 0)
        _count(work, compiled.arguments(given), rows)
        return rows

    def work_of(work: Work) -> Any:
        def step() -> int:
            work.steps += 1
            return 0

        return step

    async def submit_in_context(self: Any, job: Any) -> Any:
        here = contextvars.copy_context()
        return await submit(self, lambda connection: here.run(job, connection))

    monkeypatch.setattr(asyncpg.Connection, "fetch", fetch_counted)
    monkeypatch.setattr(sqlite, "_execute", execute_counted)
    monkeypatch.setattr(sqlite.SqliteDatabase, "_submit", submit_in_context)


def _count(work: Work | None, given: Any, rows: Any) -> None:
    if work is not None:
        work.statements += 1
        work.sent += len(repr(given))
        work.rows += len(rows)


def _read(plan: dict[str, Any]) -> Iterator[int]:
    if "Relation Name" in plan or "Index Name" in plan:
        yield plan["Actual Loops"] * (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0))
    for part in plan.get("Plans", ()):
        yield from _read(part)


def _people(dialect: Dialect) -> Any:
    made = dialect.rows("made", {"id": Id})
    like = [made.c.id if column.name == "id" else column for column in resource.c if column.name != "unique_key"]
    copies = select(*like).select_from(resource.join(made, true())).where(resource.c.id == text(":template"))
    return dialect.insert(resource).from_select([c.name for c in resource.c if c.name != "unique_key"], copies)


def _members(dialect: Dialect) -> Any:
    made = dialect.rows("made", {"tenant_id": Id, "group_id": Id, "id": Id})
    rows = select(made.c.tenant_id, made.c.group_id, made.c.id, literal("User"), null())
    return dialect.insert(member).from_select([c.name for c in member.c], rows)


async def _filled(tenant: Tenant, size: int, ids: list[str]) -> str:
    """A group of so many of these users."""
    group: str = (await tenant.group())["id"]
    made = [{"tenant_id": tenant.row.id, "group_id": group, "id": each} for each in ids[:size]]
    await tenant.database.write((Statement(_members), {"made": json.dumps(made)}))
    return group


@pytest.mark.usefixtures("counted")
async def test_one_member_costs_the_same_in_a_group_of_any_size(tenant: Tenant) -> None:
    template, newcomer, other = [(await tenant.user())["id"] for _ in range(3)]
    ids = [f"{template[:24]}ffff{number:08x}" for number in range(MANY)]
    people = {"made": json.dumps([{"id": each} for each in ids]), "template": template}
    await tenant.database.write((Statement(_people), people))
    if isinstance(tenant.database, PostgresDatabase):
        await tenant.database.write((ANALYZE, {}))  # or each foreign key is checked by reading all people
    groups = [await _filled(tenant, size, ids) for size in (FEW, MANY)]
    await tenant.database.write((ANALYZE, {}))  # once: SQLite's readers keep what they learn first
    await tenant.get("/Groups?count=0")  # the token's first use is noted now
    come: dict[str, Any] = {"op": "Add", "path": "members", "value": [{"value": newcomer}]}
    go: dict[str, Any] = {"op": "Remove", "path": "members", "value": [{"value": newcomer}]}
    for operations in (
        [come],
        [come],  # is one already
        [go],
        [{"op": "remove", "path": f'members[value eq "{newcomer}"]'}],  # is none any more
        [{"op": "remove", "path": f'members[value eq "{ids[0]}"]'}, come],  # one for another
        [go, {"op": "add", "path": "members", "value": other}, {"op": "replace", "path": "externalId", "value": "x"}],
    ):
        small, large = [await _patched(tenant, group, operations) for group in groups]
        assert (large.statements, large.rows, large.sent) == (small.statements, small.rows, small.sent)
        assert large.statements <= 10
        assert large.steps <= small.steps * 1.2 + 10


async def _patched(tenant: Tenant, group: str, operations: list[dict[str, Any]]) -> Work:
    work = Work()
    measured = of_this_request.set(work)
    answer = await tenant.patch(f"/Groups/{group}", *operations)
    of_this_request.reset(measured)
    assert (answer.status_code, answer.content) == (204, b""), answer.text[:200]
    return work
