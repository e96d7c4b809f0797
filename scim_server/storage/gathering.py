"""Reads by key that come while one is under way go out together: the round trip costs a server more than the row.

Whoever comes alone reads alone and waits for nobody. Owns no SQL: a Statement says which other one asks for many.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from scim_server.protocol.errors import ScimError, Unavailable
from scim_server.storage.statements import Parameters, Statement

MOST = 64
_LEFT = "The database was left before it answered; repeat the request as it is."
Read = Callable[[Statement, Parameters], Awaitable[Sequence[Any]]]
_Turn = tuple[str, "asyncio.Future[Sequence[Any]]"]
_Kind = tuple[Statement, Any, Any]  # statement, tenant and resource type: what one statement for many can share


class Gathering:
    """Groups the reads of one event loop; `read` runs one statement, `pack` makes a parameter of a list of keys."""

    def __init__(self, read: Read, pack: Callable[[list[str]], Any]) -> None:
        self._read = read
        self._pack = pack
        self._waiting: dict[_Kind, list[_Turn]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self, one: Statement, many: Statement, given: Parameters) -> Sequence[Any]:
        """The row of `one`, if there is one; `many` asks for several by `keys`. Raises what reading raises."""
        kind = (one, given["tenant_id"], given["type"])
        waiting = self._waiting.get(kind)
        if waiting is not None:
            turn: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()
            waiting.append((given[one.key], turn))
            return await turn
        waiting = self._waiting[kind] = []
        try:
            return await self._read(one, given)
        finally:
            if waiting:
                task = asyncio.create_task(self._serve(kind, many, waiting))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                del self._waiting[kind]

    async def _serve(self, kind: _Kind, many: Statement, waiting: list[_Turn]) -> None:
        try:
            while waiting:
                turns = waiting[:MOST]
                del waiting[:MOST]
                await self._answer(kind, many, turns)
        finally:
            del self._waiting[kind]
            for _, turn in waiting:  # a fault nobody foresaw ended the one before: nobody waits for ever
                if not turn.done():
                    turn.set_exception(Unavailable(_LEFT))

    async def _answer(self, kind: _Kind, many: Statement, turns: list[_Turn]) -> None:
        one, tenant_id, resource_type = kind
        problem: ScimError = Unavailable(_LEFT)
        found: dict[str, Any] | None = None
        try:
            keys = self._pack([wanted for wanted, _ in turns])
            rows = await self._read(many, {"tenant_id": tenant_id, "type": resource_type, "keys": keys})
            found = {row[one.key]: row for row in rows}
        except ScimError as refusal:
            problem = refusal
        finally:
            for wanted, turn in turns:
                if turn.done():  # whoever asked is gone
                    continue
                if found is None:
                    turn.set_exception(problem)
                else:
                    turn.set_result([found[wanted]] if wanted in found else [])
