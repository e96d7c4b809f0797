"""Finding sessions that no index names: one walk through the keyspace for everybody who waits.

At most one walk runs at a time; who comes during it waits for the next, because sessions begun before they asked
may lie behind its cursor. A walk outlives the deliveries that asked for it: it may take seconds where they have
milliseconds, and their repetition (the same ticket) is given its result.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.exceptions import RedisError

from scim_server.events.subject import Template
from scim_server.sessions.config import RedisSettings
from scim_server.sessions.redis_keys import Search, Wanted, match_pattern, rendered
from scim_server.tasks import stop

Found = dict[Wanted, set[bytes]]
"""Session ids by subject; everybody looked for is there, with an empty set if need be."""

_COUNT = 1000


class SharedScan:
    """The walks of one client (`redis.asyncio.Redis` or `RedisCluster`)."""

    def __init__(self, settings: RedisSettings, client: Any) -> None:
        self._settings = settings
        self._client = client
        self._waiting: list[tuple[Sequence[Wanted], asyncio.Future[Found]]] = []
        self._tickets: dict[str, asyncio.Future[Found]] = {}
        self._walker: asyncio.Task[None] | None = None

    async def find(self, ticket: str, wanted: Sequence[Wanted]) -> Found:
        """Raise RedisError or OSError when the walk broke off."""
        result = self._tickets.get(ticket)
        if result is None:
            result = self._tickets[ticket] = asyncio.get_running_loop().create_future()
            self._waiting.append((wanted, result))
        if self._walker is None or self._walker.done():
            self._walker = asyncio.create_task(self._walk_for_all())
        try:
            return await asyncio.shield(result)
        finally:
            if result.done():
                self._tickets.pop(ticket, None)

    async def aclose(self) -> None:
        """Break off the walk."""
        if self._walker is not None:
            await stop([self._walker])
        for result in self._tickets.values():
            result.cancel()

    async def _walk_for_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            uncollected = [ticket for ticket, result in self._tickets.items() if result.done()]
            search = {one for wanted, _ in batch for one in wanted}
            try:
                found = await self._walk(search)
            except (RedisError, OSError) as problem:
                for _, result in batch:
                    result.set_exception(problem)
                    result.exception()  # nobody may be there to hear of it
            else:
                for wanted, result in batch:
                    result.set_result({one: found[one] for one in wanted})
            finally:
                for _, result in batch:
                    if not result.done():  # a fault nobody foresaw: a repetition would wait for this walk for ever
                        result.set_exception(RedisError("the walk broke off"))
                        result.exception()
            for ticket in uncollected:
                self._tickets.pop(ticket, None)

    async def _walk(self, wanted: set[Wanted]) -> Found:
        found: Found = {one: set() for one in wanted}
        search = Search(self._settings, wanted)
        if self._settings.hash_key:
            await self._walk_hashes(search, found)
        else:
            await self._walk_keys(search, found)
        return found

    async def _walk_keys(self, search: Search, found: Found) -> None:
        by_value = bool(self._settings.value_contains)
        async for keys in self._batches(self._settings.session_key[0]):
            named = [(key, sid, owners) for key in keys for sid, owners in search.by_key(key)]
            records = await self._records([key for key, _, _ in named]) if by_value and named else ()
            holders = [search.by_value(record or b"") for record in records] if by_value else None
            for position, (_, sid, owners) in enumerate(named):
                for one in owners if holders is None else holders[position] & owners:
                    found[one].add(sid)

    async def _walk_hashes(self, search: Search, found: Found) -> None:
        template = self._settings.hash_key[0]
        for name in {rendered(template, one) for one in found}:
            cursor = None
            while cursor != 0:
                cursor, fields = await self._client.hscan(name, cursor or 0, count=_COUNT)
                for sid, record in fields.items():
                    for one in search.by_value(record):
                        if rendered(template, one) == name:
                            found[one].add(sid)

    async def _records(self, keys: list[bytes]) -> Sequence[bytes | None]:
        read = self._client.mget_nonatomic if self._settings.cluster else self._client.mget
        records: Sequence[bytes | None] = await read(keys)
        return records

    async def _batches(self, template: Template) -> AsyncIterator[list[bytes]]:
        pattern = match_pattern(template)
        if not self._settings.cluster:
            cursor = None
            while cursor != 0:
                cursor, keys = await self._client.scan(cursor or 0, match=pattern, count=_COUNT)
                yield keys
            return
        await self._client.initialize()  # before it there are no nodes, and a walk of none finds nobody
        for node in self._client.get_primaries():
            cursor = None
            while cursor != 0:
                cursors, keys = await self._client.scan(cursor or 0, match=pattern, count=_COUNT, target_nodes=[node])
                cursor = cursors[node.name]
                yield keys
