"""Connections to Postgres that are kept open and handed from one task to the next, the most recently used first.

asyncpg's own pool spends more on a hand-over (timeouts, proxies, resets) than a read by key costs. Nothing here
changes the state of a session, so a connection that finished its work is clean; one that did not is closed.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import asyncpg

Connection: TypeAlias = asyncpg.Connection
STALE_S = 300.0  # unused for so long, a firewall in between may have forgotten the connection
CLOSING_S = 2.0


class Pool:
    """At most `size` connections of one event loop, each made by `connect` when it is first needed."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], size: int) -> None:
        self._connect = connect
        self._vacant = size  # connections that could still be made
        self._free: list[tuple[float, Connection]] = []
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._taken: set[Connection] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    async def acquire(self, deadline: float) -> Connection:
        """A connection to give back by `release`. Raises TimeoutError at the deadline (of the loop's clock), and
        whatever connecting raises."""
        connection = self._pop()
        if connection is None:
            connection = await self._wait(deadline)
        self._taken.add(connection)
        return connection

    def release(self, connection: Connection, *, clean: bool) -> None:
        """Give a connection back. `clean` False: its work was broken off, so nobody knows what it is doing."""
        self._taken.discard(connection)
        if not clean or connection.is_closed():
            self._discard(connection)
        elif (turn := self._next()) is not None:
            turn.set_result(connection)
        else:
            self._free.append((self._loop.time(), connection))

    async def aclose(self) -> None:
        """Close all connections, also those at work."""
        for connection in [*self._taken, *(connection for _, connection in self._free)]:
            self._discard(connection)
        self._free.clear()
        await asyncio.gather(*self._closing)

    def _pop(self) -> Connection | None:
        while self._free:
            since, connection = self._free.pop()
            if not connection.is_closed() and self._loop.time() - since < STALE_S:
                return connection
            self._discard(connection)
        return None

    async def _wait(self, deadline: float) -> Connection:
        while not self._vacant:
            turn: asyncio.Future[Connection | None] = self._loop.create_future()
            self._waiting.append(turn)
            expiry = self._loop.call_at(deadline, _expire, turn)  # a fraction of what asyncio.timeout costs
            try:
                connection = await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled() and turn.exception() is None:
                    self._pass_on(turn.result())
                raise
            finally:
                expiry.cancel()
            if connection is not None:
                return connection
        self._vacant -= 1
        try:
            async with asyncio.timeout_at(deadline):
                return await self._connect()
        except BaseException:
            self._leave()
            raise

    def _next(self) -> "asyncio.Future[Connection | None] | None":
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                return turn
        return None

    def _pass_on(self, connection: Connection | None) -> None:
        """What was handed to a task that is gone goes to the next one."""
        if connection is not None:
            self.release(connection, clean=True)
        elif (turn := self._next()) is not None:
            turn.set_result(None)

    def _leave(self) -> None:
        self._vacant += 1
        if (turn := self._next()) is not None:
            turn.set_result(None)

    def _discard(self, connection: Connection) -> None:
        closing = self._loop.create_task(self._close(connection))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _close(self, connection: Connection) -> None:
        # Closing, not terminating: a statement that was broken off is cancelled on the server too.
        try:
            await connection.close(timeout=CLOSING_S)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()
        finally:
            self._leave()


def _expire(turn: "asyncio.Future[Connection | None]") -> None:
    if not turn.done():
        turn.set_exception(TimeoutError())
