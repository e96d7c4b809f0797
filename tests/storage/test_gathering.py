"""Reads by key that share a statement: each gets its own answer, whatever becomes of the others."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from storage.opened import Tenant

from scim_server.clock import new_id
from scim_server.protocol.errors import Unavailable
from scim_server.storage.database import Database
from scim_server.storage.gathering import Gathering
from scim_server.storage.resources import load
from scim_server.storage.statements import Parameters, Statement

ONE, MANY = (Statement(lambda _: pytest.fail("is never compiled")) for _ in range(2))


async def test_parallel_reads_find_their_own_resource_or_none(database: Database, tenant: Tenant) -> None:
    users = [tenant.user() for _ in range(100)]
    for user in users:
        await database.commit(user)
    wanted = [id_ for user in users for id_ in (user.resource_id, new_id(), user.resource_id)]
    for groups in (True, False):
        found = await asyncio.gather(*(load(database, tenant.id, "User", id_, groups=groups) for id_ in wanted))
        known = {user.resource_id for user in users}
        assert [each and each.id for each in found] == [id_ if id_ in known else None for id_ in wanted]
    assert await load(database, tenant.id, "Group", wanted[0], groups=False) is None


class Table:
    """Answers reads when it is let go, and remembers them."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.free = asyncio.Event()
        self.problem: Exception | None = None

    async def read(self, statement: Statement, given: Parameters) -> Sequence[Any]:
        self.asked.append(given["keys"] if statement is MANY else given["id"])
        await self.free.wait()
        if statement is MANY and self.problem is not None:
            raise self.problem
        return [{"id": id_} for id_ in (given["keys"] if statement is MANY else [given["id"]])]


def _reads(table: Table, *ids: str) -> list["asyncio.Task[Sequence[Any]]"]:
    gathering = Gathering(table.read, list)
    given = ({"tenant_id": "t", "type": "User", "id": id_} for id_ in ids)
    return [asyncio.create_task(gathering.read(ONE, MANY, each)) for each in given]


async def test_those_who_come_while_one_is_read_go_out_together() -> None:
    table = Table()
    reads = _reads(table, "a", "b", "c")
    await asyncio.sleep(0)
    table.free.set()
    assert await asyncio.gather(*reads) == [[{"id": "a"}], [{"id": "b"}], [{"id": "c"}]]
    assert table.asked == ["a", ["b", "c"]]


async def test_a_failure_reaches_everybody_who_shared_it() -> None:
    table = Table()
    table.problem = Unavailable("away")
    reads = _reads(table, "a", "b", "c")
    await asyncio.sleep(0)
    table.free.set()
    first, *others = await asyncio.gather(*reads, return_exceptions=True)
    assert first == [{"id": "a"}]
    assert others == [table.problem, table.problem]


async def test_a_fault_nobody_foresaw_leaves_nobody_waiting() -> None:
    one_may_go, many_asked, many_may_go = (asyncio.Event() for _ in range(3))

    async def read(statement: Statement, given: Parameters) -> Sequence[Any]:
        if statement is ONE:
            await one_may_go.wait()
            return [{"id": given["id"]}]
        many_asked.set()
        await many_may_go.wait()
        raise ZeroDivisionError

    gathering = Gathering(read, list)

    def asking(id_: str) -> "asyncio.Task[Sequence[Any]]":
        return asyncio.create_task(gathering.read(ONE, MANY, {"tenant_id": "t", "type": "User", "id": id_}))

    async with asyncio.timeout(40):
        first, second = asking("a"), asking("b")
        await asyncio.sleep(0)
        one_may_go.set()
        await first
        await many_asked.wait()
        (serving,) = gathering._tasks
        late = asking("c")  # while the others are read, which fails
        await asyncio.sleep(0)
        many_may_go.set()
        answers = await asyncio.gather(second, late, serving, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Unavailable, Unavailable, ZeroDivisionError]
        assert await asking("d") == [{"id": "d"}]


async def test_who_is_gone_harms_nobody() -> None:
    table = Table()
    reads = _reads(table, "a", "b", "c", "d")
    await asyncio.sleep(0)
    for gone in (reads[0], reads[2]):
        gone.cancel()
    table.free.set()
    answers = await asyncio.gather(*reads, return_exceptions=True)
    assert [answers[1], answers[3]] == [[{"id": "b"}], [{"id": "d"}]]
    assert table.asked == ["a", ["b", "c", "d"]]
