"""Requests of every kind to the product and to the ceiling by turns, with few and many users and members."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import orjson

from benchmarks.load import Ask, Connection, Cost, run
from benchmarks.servers import Server

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

_MORE_USERS = """
INSERT INTO resource (tenant_id, type, id, version, created, modified, active, unique_key, external_id,
                      display_name_key, family_name_key, doc, search)
SELECT tenant_id, type, gen_random_uuid(), 1, created, modified, active, n || unique_key, n || external_id,
       n || display_name_key, n || family_name_key, jsonb_set(doc, '{userName}', to_jsonb(n || unique_key)), search
FROM resource, generate_series(1, $2) AS n WHERE id = $1
"""
_COUNT_THEM = """
UPDATE counter SET n = n + $1 WHERE type = 'User' AND shard = (SELECT min(shard) FROM counter WHERE type = 'User')
"""
_MEMBERS = """
INSERT INTO member (tenant_id, group_id, member_id, type)
SELECT tenant_id, $1, id, type FROM resource WHERE type = 'User' ORDER BY id LIMIT $2
"""
_MORE_PEOPLE = """
INSERT INTO person SELECT gen_random_uuid(), n || name, body FROM person, generate_series(1, $2) AS n WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A server with its database, filled; `users` are (id, userName) of some, `groups` ids by number of members."""

    server: Server
    users: Sequence[tuple[str, str]]
    groups: dict[int, str]


Source = Callable[[Target], Callable[[int], Callable[[], Ask]]]


def user(name: str) -> dict[str, Any]:
    """A user of about 1 kB as a large identity provider sends it."""
    return {
        "schemas": [USER, ENTERPRISE],
        "userName": f"{name}@people.example",
        "externalId": f"x-{name}",
        "name": {"formatted": f"Given {name}", "givenName": "Given", "familyName": name},
        "displayName": f"Given {name}",
        "title": "Account Manager",
        "preferredLanguage": "en-GB",
        "active": True,
        "emails": [{"type": "work", "value": f"{name}@people.example", "primary": True}],
        "phoneNumbers": [
            {"type": "work", "value": "+49 30 5550100"},
            {"type": "mobile", "value": "+49 170 5550101"},
        ],
        "addresses": [{"type": "work", "streetAddress": "Long Street 12", "locality": "Berlin", "country": "DE"}],
        ENTERPRISE: {"employeeNumber": name, "department": "Sales", "costCenter": "4711", "organization": "Example"},
    }


async def fill(server: Server, database_url: str, users: int, groups: Sequence[int]) -> Target:
    """The product's database: so many users, and a group of each size."""
    connection = await Connection.open(server)
    made = orjson.loads((await connection.ask(("POST", "/Users", user("template")))).body)
    ids: dict[int, str] = {}
    for size in groups:
        group = {"schemas": [GROUP], "displayName": f"Group of {size}"}
        ids[size] = orjson.loads((await connection.ask(("POST", "/Groups", group))).body)["id"]
    connection.close()
    database = await asyncpg.connect(database_url)
    try:
        await database.execute(_MORE_USERS, made["id"], users)
        await database.execute(_COUNT_THEM, users)
        for size, group_id in ids.items():
            await database.execute(_MEMBERS, group_id, size)
        await database.execute("VACUUM ANALYZE")
        rows = await database.fetch(
            "SELECT id, doc ->> 'userName' AS name FROM resource WHERE type = 'User' ORDER BY id DESC LIMIT 2000"
        )
    finally:
        await database.close()
    return Target(server, [(str(row["id"]), row["name"]) for row in rows], ids)


async def fill_ceiling(server: Server, database_url: str, users: int, groups: Sequence[int]) -> Target:
    """The same for the ceiling; its groups are nothing but ids."""
    connection = await Connection.open(server)
    made = orjson.loads((await connection.ask(("POST", "/Users", user("template")))).body)
    connection.close()
    database = await asyncpg.connect(database_url)
    ids = {size: str(uuid4()) for size in groups}
    try:
        await database.execute(_MORE_PEOPLE, made["id"], users)
        for size, team in ids.items():
            await database.execute("INSERT INTO belongs SELECT $1, id FROM person ORDER BY id LIMIT $2", team, size)
        await database.execute("VACUUM ANALYZE")
        rows = await database.fetch("SELECT id, name FROM person ORDER BY id DESC LIMIT 2000")
    finally:
        await database.close()
    return Target(server, [(str(row["id"]), row["name"]) for row in rows], ids)


async def compare(first: Target, second: Target, source: Source, *, seconds: float, rounds: int) -> list[Cost]:
    """Run both by turns; of each the round with the median cost."""
    costs: list[list[Cost]] = [[], []]
    for _ in range(rounds):
        for mine, target in zip(costs, (first, second), strict=True):
            await run(target.server, source(target), 0.3)  # statements prepared, caches warm
            mine.append(await run(target.server, source(target), seconds))
            await asyncio.sleep(0.3)  # what the server does after its answers belongs to nobody else's run
    return [sorted(each, key=lambda cost: cost.cpu_us)[len(each) // 2] for each in costs]


# --- sources of requests -----------------------------------------------------------------------------------------

_serial = itertools.count()


def _in_turn(target: Target, make: Callable[[str, str], Ask]) -> Callable[[int], Callable[[], Ask]]:
    def source(n: int) -> Callable[[], Ask]:
        users = itertools.cycle(target.users[n::16])
        return lambda: make(*next(users))

    return source


def get(target: Target) -> Callable[[int], Callable[[], Ask]]:
    """One user by id."""
    return _in_turn(target, lambda user_id, _: ("GET", f"/Users/{user_id}", None))


def by_name(target: Target) -> Callable[[int], Callable[[], Ask]]:
    """One user by userName."""
    return _in_turn(target, lambda _, name: ("GET", f"/Users?filter=userName+eq+%22{name}%22", None))


def page(target: Target) -> Callable[[int], Callable[[], Ask]]:
    """The first hundred users."""
    return _in_turn(target, lambda *_: ("GET", "/Users?count=100", None))


def post(target: Target) -> Callable[[int], Callable[[], Ask]]:
    """A new user."""
    return lambda _: lambda: ("POST", "/Users", user(f"new{next(_serial)}-{uuid4().hex[:8]}"))


def patch(target: Target) -> Callable[[int], Callable[[], Ask]]:
    """Another title for a user."""

    def make(user_id: str, _: str) -> Ask:
        operation = {"op": "replace", "path": "title", "value": f"Title {next(_serial)}"}
        return "PATCH", f"/Users/{user_id}", {"schemas": [PATCH], "Operations": [operation]}

    return _in_turn(target, make)


def member(size: int) -> Source:
    """One member into a group of this size, and out again."""

    def source(target: Target) -> Callable[[int], Callable[[], Ask]]:
        path = f"/Groups/{target.groups[size]}"

        def of_connection(n: int) -> Callable[[], Ask]:
            operations = itertools.chain.from_iterable(
                (
                    {"op": "add", "path": "members", "value": [{"value": user_id}]},
                    {"op": "remove", "path": f'members[value eq "{user_id}"]'},
                )
                for user_id, _ in itertools.cycle(target.users[n::16])
            )
            return lambda: ("PATCH", path, {"schemas": [PATCH], "Operations": [next(operations)]})

        return of_connection

    return source
