"""Postgres serves the main questions from indexes: each plan of a tenant with 20,000 users is looked at."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import asyncpg
import pytest
from services.postgres import PostgresServer
from storage.opened import Tenant

from scim_server.protocol.attributes import INTEROP, AttributeRef, ResourceType
from scim_server.protocol.filter import parse
from scim_server.protocol.notation import resolve
from scim_server.protocol.schemas import ENTERPRISE_URN, GROUP, GROUP_URN, USER, USER_URN
from scim_server.storage.database import Row
from scim_server.storage.keys import row_of, values_of
from scim_server.storage.listing import Position, Sort, SortValue, search, walk
from scim_server.storage.postgres import PostgresDatabase
from scim_server.storage.resources import load
from scim_server.storage.statements import Parameters, Statement

USERS = 20_000
GROUPS = 500
START = 1_700_000_000_000


class Explaining(PostgresDatabase):
    """Keeps the plan of each statement that it runs."""

    plans: list[dict[str, Any]]
    explainer: "asyncpg.Connection[Any]"

    async def read(
        self, statement: Statement, parameters: Parameters, *, timeout_ms: int | None = None
    ) -> Sequence[Row]:
        compiled = statement.compiled(self.dialect)
        explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + compiled.sql
        plan = await self.explainer.fetchval(explain, *compiled.arguments(parameters))
        self.plans.append(json.loads(plan)[0]["Plan"])
        return await super().read(statement, parameters, timeout_ms=timeout_ms)


@pytest.fixture(scope="module")
def crowded_url(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The URL of a database with one large tenant and a small one, analysed."""
    url = postgres.create_database(migrated_template)
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="module")
async def crowd(crowded_url: str) -> Tenant:
    """The large tenant."""
    tenant = Tenant()
    connection = await asyncpg.connect(crowded_url)
    for owner, users in ((tenant, USERS), (Tenant(), 100)):
        await _fill(connection, owner, users)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
    return tenant


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


def by(name: str, *, descending: bool = False) -> Sort:
    """An order of users by an attribute."""
    ref = resolve(name, USER)
    assert isinstance(ref, AttributeRef)
    return Sort(ref, descending)


BY_ID, BY_TIME = Sort(), by("meta.lastModified")


@pytest.mark.parametrize(
    ("text", "sort", "index", "total"),
    [
        ('userName eq "User777@Example.com"', BY_ID, "resource_unique_key", 1),
        ('userName sw "user777@"', BY_ID, "resource_unique_key", 1),
        ('externalId eq "ext-777"', BY_ID, "resource_external_id", 1),
        ('displayName eq "person 777"', BY_ID, "resource_display_name", 1),
        ('name.familyName eq "family777"', BY_ID, "resource_family_name", 1),
        ('emails.value eq "USER777@example.com"', BY_ID, "resource_value_pkey", 1),
        ('emails[type eq "work" and value eq "user777@example.com"]', BY_ID, "resource_value_pkey", 1),
        ('emails[type eq "home" and value eq "user777@example.com"]', BY_ID, "resource_value_pkey", 0),
        ('employeeNumber eq "777"', BY_ID, "resource_value_pkey", 1),
        ('manager.value eq "boss7"', BY_ID, "resource_value_pkey", 200),
        ('userName eq "user1@example.com" or externalId eq "ext-2"', BY_ID, "resource_external_id", 2),
        ('userName eq "user1@example.com" or emails.value eq "user2@example.com"', BY_ID, "resource_value_pkey", 2),
        ('active eq false and userName eq "user777@example.com"', BY_ID, "resource_unique_key", 0),
        ("active eq false", BY_ID, "resource_inactive", 20),
        ('id eq "{user}"', BY_ID, "resource_pkey", 1),
        ('groups.value eq "{group}"', BY_ID, "member_pkey", 40),
        ('meta.lastModified gt "{late}"', BY_TIME, "resource_modified", 10),
        ('meta.lastModified gt "{middle}"', BY_TIME, "resource_modified", 10_000),
        ("", BY_ID, "resource_pkey", USERS),
        ("", by("displayName"), "resource_display_name", USERS),
        ("", by("name.familyName", descending=True), "resource_family_name", USERS),
    ],
)
async def test_users_are_found_by_index(
    explaining: Explaining, crowd: Tenant, text: str, sort: Sort, index: str, total: int
) -> None:
    await _check(explaining, crowd, USER, text, sort, index, total)


@pytest.mark.parametrize(
    ("text", "index", "total"),
    [
        ('displayName eq "GROUP 7"', "resource_display_name", 1),
        ('members eq "{user}"', "member_of", 1),
        ('members[value eq "{user}" and type eq "User"]', "member_of", 1),
    ],
)
async def test_groups_are_found_by_index(
    explaining: Explaining, crowd: Tenant, text: str, index: str, total: int
) -> None:
    await _check(explaining, crowd, GROUP, text, BY_ID, index, total)


async def test_a_user_and_its_groups_are_read_by_key(explaining: Explaining, crowd: Tenant) -> None:
    stored = await load(explaining, crowd.id, "User", _user_id(crowd, 777), groups=True)
    assert stored is not None
    used = {node.get("Index Name") for node in _nodes(explaining.plans[0])}
    assert {"resource_pkey", "member_of"} <= used
    assert "Seq Scan" not in {node["Node Type"] for node in _nodes(explaining.plans[0])}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", ["id", "displayName", "userName", "meta.lastModified"])
async def test_a_position_costs_the_same_however_deep(
    explaining: Explaining, crowd: Tenant, name: str, descending: bool
) -> None:
    sort, middle = by(name, descending=descending), USERS // 2
    values: dict[str, SortValue] = {"displayName": "person 5", "userName": "user5", "meta.lastModified": START + middle}
    start = Position(values.get(name), _user_id(crowd, middle))
    if name == "id":
        sort = Sort(None, descending)
    found = await walk(explaining, crowd.id, USER, None, sort=sort, after=start, limit=20, groups=False)
    assert len(found) == 20
    read = [node["Actual Rows"] * node["Actual Loops"] for node in _nodes(explaining.plans[0]) if "Index Name" in node]
    assert 20 <= max(read) <= 25
    removed = [node.get("Rows Removed by Filter", 0) for node in _nodes(explaining.plans[0])]
    assert max(removed) <= 5


async def _check(
    database: Explaining, crowd: Tenant, rt: ResourceType, text: str, sort: Sort, index: str, total: int
) -> None:
    known = {
        "user": _user_id(crowd, 777),
        "group": _group_id(crowd, 7),
        "late": f"2023-11-14T22:13:{20 + (USERS - 11) // 1000:02}.{(USERS - 11) % 1000:03}Z",
        "middle": "2023-11-14T22:13:29.999Z",
    }
    for name, value in known.items():
        text = text.replace("{" + name + "}", value)
    query = parse(text, rt, INTEROP) if text else None
    found = await search(database, crowd.id, rt, query, sort=sort, offset=0, limit=20, groups=False)
    assert (found.total, len(found.resources)) == (total, min(total, 20))
    used = [node.get("Index Name") for plan in database.plans[:1] for node in _nodes(plan)]
    assert index in used
    scanned = [node["Relation Name"] for node in _nodes(database.plans[0]) if node["Node Type"] == "Seq Scan"]
    assert set(scanned) <= {"counter"}  # a few rows, of which the total is the sum


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _user_id(tenant: Tenant, number: int) -> str:
    return f"{tenant.id[:24]}{number:012x}"


def _group_id(tenant: Tenant, number: int) -> str:
    return f"{tenant.id[:24]}ffff{number:08x}"


async def _fill(connection: "asyncpg.Connection[Any]", tenant: Tenant, users: int) -> None:
    rows, values, members = [], [], []
    for number in range(users):
        document, user_id = _user(number), _user_id(tenant, number)
        rows.append(_row(tenant, USER, user_id, document, number))
        values += [
            (tenant.id, "User", value.attr, value.value_key, user_id, value.exclusive)
            for value in values_of(document, USER)
        ]
        members.append((tenant.id, _group_id(tenant, number % GROUPS), user_id, "User", None))
    for number in range(GROUPS):
        group = {"schemas": [GROUP_URN], "displayName": f"Group {number}"}
        rows.append(_row(tenant, GROUP, _group_id(tenant, number), group, number))
    columns = "tenant_id type id version created modified active unique_key external_id display_name_key"
    columns += " family_name_key doc search"
    await connection.copy_records_to_table("resource", records=rows, columns=columns.split())
    await connection.copy_records_to_table("resource_value", records=values)
    await connection.copy_records_to_table("member", records=members)
    counts = [(tenant.id, "User", 0, users), (tenant.id, "Group", 0, GROUPS)]
    await connection.copy_records_to_table("counter", records=counts)


def _row(tenant: Tenant, rt: ResourceType, resource_id: str, document: dict[str, Any], number: int) -> tuple[Any, ...]:
    active = number % 1_000 != 1
    row = row_of(document, rt, active=active, unique_display_name=True)
    keys = (row.unique_key, row.external_id, row.display_name_key, row.family_name_key)
    return (tenant.id, rt.name, resource_id, 1, START + number, START + number, active, *keys, row.doc, row.search)


def _user(number: int) -> dict[str, Any]:
    return {
        "schemas": [USER_URN, ENTERPRISE_URN],
        "userName": f"User{number}@example.com",
        "externalId": f"ext-{number}",
        "name": {"familyName": f"Family{number}", "givenName": "Given"},
        "displayName": f"Person {number}",
        "title": f"Title {number % 50}",
        "emails": [
            {"type": "work", "value": f"user{number}@example.com", "primary": True},
            {"type": "home", "value": f"home{number}@example.org"},
        ],
        "phoneNumbers": [{"type": "work", "value": f"+46 8 {number:06}"}],
        ENTERPRISE_URN: {"employeeNumber": str(number), "department": "D", "manager": {"value": f"boss{number % 100}"}},
    }
