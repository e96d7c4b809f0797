"""Session stores that share our database: brought in line by the commit itself, so that nobody ever sees somebody
inactive whose sessions are still there, and a crash right after it leaves nothing to do.

A companion runs in a savepoint with a limit on its time. Whatever goes wrong there costs the commit nothing: the
message stays in the outbox and goes the way of all others.
"""

import sqlite3
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import asyncpg
import orjson
from sqlalchemy import BigInteger, Integer, and_, case, literal_column, update

from scim_server.storage.change import Change, Companion, Queued
from scim_server.storage.dialects import POSTGRES, SQLITE, Dialect
from scim_server.storage.statements import Statement
from scim_server.storage.tables import Id, outbox

PROGRESS_STEPS = 1_000
MOST_MS = 1_000  # whatever the stores' budgets are: far below the time after which our database counts as gone
_CHECKED = "SET CONSTRAINTS ALL IMMEDIATE"  # what the CRM defers would else fail our COMMIT
_LIMITS = ("lock_timeout", "statement_timeout")
# A trigger of the CRM's may leave another search_path or role behind: for our next statement, or on our connection.
_RESET = "RESET ALL; RESET SESSION AUTHORIZATION; RESET ROLE"

Result = TypeVar("Result")
Plan = Iterator[tuple[Queued, Companion, int]]


class Spoilt(Exception):
    """A companion took so long, or broke so much, that SQLite gave up the whole transaction: begin it again without
    companions."""


async def join_on_postgres(connection: Any, change: Change, told: Sequence[Queued]) -> tuple[Queued, ...]:
    """Run what companions have to do for these messages, settle them, and note it on them. In a transaction."""
    ended: dict[str, int] = {}
    failed: set[str] = set()
    for message, companion, left_ms in _in_turn(change, told, failed):
        limits = "; ".join(f"SET LOCAL {name} = {left_ms}" for name in _LIMITS)
        await connection.execute(f"SAVEPOINT companion; {limits}")
        sessions = await companion.run(connection, message)
        if sessions is not None and await _released(connection):
            ended[message.id] = sessions
        else:
            await connection.execute("ROLLBACK TO companion; RELEASE companion")
            failed.add(message.store)
    if ended:
        settle = _SETTLE.compiled(POSTGRES)
        await connection.execute(settle.sql, *settle.arguments(_rows(change, ended)))
    return _noted(told, ended)


def join_on_sqlite(connection: sqlite3.Connection, change: Change, told: Sequence[Queued]) -> tuple[Queued, ...]:
    """The same in the writer's thread. Raises Spoilt."""
    ended: dict[str, int] = {}
    failed: set[str] = set()
    for message, companion, left_ms in _in_turn(change, told, failed):
        deadline = time.monotonic() + left_ms / 1000
        connection.execute("SAVEPOINT companion")
        connection.set_progress_handler(partial(_is_past, deadline), PROGRESS_STEPS)
        try:
            sessions = _at_once(companion.run(connection, message))
        finally:
            connection.set_progress_handler(None, 0)
        if not connection.in_transaction:
            raise Spoilt
        if sessions is None:
            connection.execute("ROLLBACK TO companion")
            failed.add(message.store)
        else:
            ended[message.id] = sessions
        connection.execute("RELEASE companion")
    if ended:
        settle = _SETTLE.compiled(SQLITE)
        connection.execute(settle.sql, settle.arguments(_rows(change, ended)))
    return _noted(told, ended)


def _in_turn(change: Change, told: Sequence[Queued], failed: set[str]) -> Plan:
    """Messages with their companion and the ms that are left for it: none that is held, none that must not overtake an
    older one, and none of a store that has `failed` or used up its time."""
    started = time.monotonic()
    for message in told:
        companion = change.companions.get(message.store)
        if companion is None or message.store in failed or message.held or message.blocked:
            continue
        left_ms = min(companion.budget_ms, MOST_MS) - int((time.monotonic() - started) * 1000)
        if message.action != "notify" and left_ms > 0:
            yield message, companion, left_ms


async def _released(connection: Any) -> bool:
    try:
        await connection.execute(f"{_CHECKED}; RELEASE companion; {_RESET}")
    except asyncpg.PostgresError:
        return False
    return True


def _is_past(deadline: float) -> int:
    return int(time.monotonic() > deadline)


def _at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """What waits for nothing needs no event loop."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    work.close()
    raise RuntimeError("a companion on SQLite waited for something")


def _rows(change: Change, ended: dict[str, int]) -> dict[str, Any]:
    delays = {message.id: message.delay_ms for message in change.messages}
    rows = [{"id": one, "sessions": sessions, "delay_ms": delays[one]} for one, sessions in ended.items()]
    return {"ended": orjson.dumps(rows).decode()}


def _noted(told: Sequence[Queued], ended: dict[str, int]) -> tuple[Queued, ...]:
    return tuple(replace(message, ended=ended.get(message.id)) for message in told)


def _settle(d: Dialect) -> Any:
    """Done after no attempt at all. The second look that a login under way calls for is an echo, if nobody takes it
    before."""
    said = d.rows("ended", {"id": Id, "sessions": Integer(), "delay_ms": BigInteger()})
    kill = and_(outbox.c.action == literal_column("'terminate'"), outbox.c.denied)
    return (
        update(outbox)
        .where(outbox.c.id == said.c.id)
        .values(
            outcome=literal_column("'done'"),
            sessions=said.c.sessions,
            settled=d.now(),
            echo_due=case((kill, d.now() + said.c.delay_ms)),
        )
    )


_SETTLE = Statement(_settle)
