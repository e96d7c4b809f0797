"""Brake, receipts and feed are answered from indexes, and a quiet deactivation asks two questions more."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from services.postgres import PostgresServer
from standing.firm import House
from storage.opened import Tenant

from scim_server.clock import new_id
from scim_server.storage import access, deactivations, feed, schema, subjects
from scim_server.storage.dialects import POSTGRES
from scim_server.storage.postgres import PostgresDatabase
from scim_server.storage.statements import Parameters, Statement

CHANGES = 20_000


class Explaining(PostgresDatabase):
    """Keeps the plan of each statement that it runs."""

    plans: list[str]
    explainer: "asyncpg.Connection[Any]"

    async def read(self, statement: Statement, parameters: Parameters, *, timeout_ms: int | None = None) -> Any:
        compiled = statement.compiled(POSTGRES)
        explain = "EXPLAIN (FORMAT JSON) " + compiled.sql
        for plans in ("force_generic_plan", "force_custom_plan"):
            await self.explainer.execute(f"SET plan_cache_mode = {plans}")
            self.plans.append(await self.explainer.fetchval(explain, *compiled.arguments(parameters)))
        return await super().read(statement, parameters, timeout_ms=timeout_ms)


@pytest.fixture(scope="module")
def crowded_url(postgres: PostgresServer) -> Iterator[str]:
    """An empty database."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="module")
async def crowd(crowded_url: str) -> Tenant:
    """A tenant with many users of whom some lost access."""
    await schema.migrate(crowded_url)
    tenant = Tenant()
    connection = await asyncpg.connect(crowded_url)
    for owner, number in ((tenant.id, CHANGES), (new_id(), CHANGES), (new_id(), 100)):
        await _fill(connection, owner, number)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
    return tenant


async def _fill(connection: Any, tenant_id: str, number: int) -> None:
    ids = [new_id() for _ in range(number)]
    await connection.execute(
        "INSERT INTO resource (tenant_id, type, id, version, created, modified, active, entitled, doc, search)"
        " SELECT $1, 'User', id, 1, n, n, n % 100 <> 0, n % 70 <> 0, '{}', '{}'"
        " FROM unnest($2::uuid[]) WITH ORDINALITY AS made (id, n)",
        tenant_id,
        ids,
    )
    await connection.execute(
        "INSERT INTO deactivation SELECT $1, id, id, n, 'deactivated', 'test', NULL, NULL"
        " FROM unnest($2::uuid[]) WITH ORDINALITY AS made (id, n)",
        tenant_id,
        ids,
    )
    await connection.execute(
        "INSERT INTO audit SELECT $1, id, n, 'test', 'user.update', 'User', id, 'r' || n, '{}'"
        " FROM unnest($2::uuid[]) WITH ORDINALITY AS made (id, n)",
        tenant_id,
        ids,
    )
    for store, action in (("-feed", "notify"), ("crm", "terminate")):
        await connection.execute(
            "INSERT INTO outbox (id, change_id, tenant_id, resource_id, store, subject, action, type, data, created,"
            " position, due, settled, held)"
            " SELECT gen_random_uuid(), id, $1, id, $3, id::text, $4, 'x', '{}', n, n, n,"
            " CASE WHEN n % 500 <> 0 OR $3 = '-feed' THEN n END, n % 500 = 0"
            " FROM unnest($2::uuid[]) WITH ORDINALITY AS made (id, n)",
            tenant_id,
            ids,
            store,
            action,
        )
    await connection.execute("INSERT INTO counter VALUES ($1, 'User', 0, $2)", tenant_id, number)


@pytest.fixture
async def explaining(crowded_url: str) -> AsyncIterator[Explaining]:
    """That database, opened."""
    database = await Explaining.open(crowded_url, listen_url=None)
    assert isinstance(database, Explaining)
    database.plans = []
    database.explainer = await asyncpg.connect(crowded_url)
    yield database
    await database.explainer.close()
    await database.aclose()


async def test_questions_are_answered_from_indexes(explaining: Explaining, crowd: Tenant) -> None:
    mine = crowd.id
    assert await deactivations.count_since(explaining, mine, CHANGES - 50, 21) == 21
    assert await deactivations.count_active(explaining, mine) == sum(
        n % 100 != 0 and n % 70 != 0 for n in range(1, CHANGES + 1)
    )
    assert len(await deactivations.listing(explaining, mine, CHANGES - 10)) == 10
    assert len(await deactivations.held(explaining, mine)) == CHANGES // 500
    (held, *_) = await deactivations.held(explaining, mine)
    assert len(await deactivations.held(explaining, mine, held.resource_id)) == 1
    assert len(await deactivations.listing(explaining, mine, 0, held.resource_id)) == 1
    (record,) = await feed.of_request(explaining, mine, "r777")
    assert len(record.confirmations) == 1
    assert record.resource_id is not None
    assert await feed.of_user(explaining, mine, record.resource_id, 20) == [record]
    zero = "00000000-0000-0000-0000-000000000000"
    last = (await feed.entries(explaining, mine, (3, zero), 100))[-1]
    assert await feed.has(explaining, mine, (last.position, last.id))
    follow = explaining.plans[-4]
    assert re.search(r'"Index Cond": "[^\n]*ROW', follow), follow  # not read from the beginning of the feed
    for plan in explaining.plans:
        assert _tables_read_whole(json.loads(plan)[0]["Plan"]) == [], plan


def _tables_read_whole(plan: dict[str, Any]) -> list[str]:
    whole = plan["Node Type"] == "Seq Scan" and plan["Relation Name"] != "counter"  # which has a few rows
    found = [plan["Relation Name"]] if whole else []
    return found + [name for part in plan.get("Plans", ()) for name in _tables_read_whole(part)]


async def test_a_quiet_deactivation_asks_how_many_and_who_else(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    firm = await house.firm("brake_hold=20%")
    person = await firm.hire()
    kind = type(house.server.database)
    asked: list[Statement] = []
    read = kind.read

    async def counting(self: Any, statement: Statement, *arguments: Any, **more: Any) -> Any:
        if statement is not access._TOKEN_BY_HASH:  # looked at anew each second
            asked.append(statement)
        return await read(self, statement, *arguments, **more)

    monkeypatch.setattr(kind, "read", counting)
    await firm.idp.patch(f"/Users/{person.id}", {"op": "replace", "path": "title", "value": "CEO"})
    plain = len(asked)
    asked.clear()
    await firm.active(person, False)
    assert len(asked) == plain + 2
    assert {deactivations._COUNT_SINCE, subjects._OWNERS} <= set(asked)
