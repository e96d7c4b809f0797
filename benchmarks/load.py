"""Load over keep-alive connections, as little code as answers need, and what it cost the server."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from benchmarks.servers import TOKEN, Server

CONNECTIONS = 16
Ask = tuple[str, str, Any]  # method, path below /scim/v2, body


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run: `cpu_us` is the server's processor time a request."""

    requests: int
    seconds: float
    cpu_us: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Throughput."""
        return self.requests / self.seconds


class Connection:
    """One keep-alive HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, server: Server) -> "Connection":
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 24))

    async def ask(self, ask: Ask) -> Answer:
        """Send one request and read its answer."""
        method, path, body = ask
        content = b"" if body is None else orjson.dumps(body)
        head = f"{method} /scim/v2{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
        if content:
            head += f"Content-Type: application/scim+json\r\nContent-Length: {len(content)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + content)
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        length = int(headers.get("content-length", 0))
        return Answer(int(first.split()[1]), headers, await self._reader.readexactly(length))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def run(server: Server, asks: Callable[[int], Callable[[], Ask]], seconds: float) -> Cost:
    """Keep all connections busy; `asks(n)` makes the source of requests of connection n."""
    connections = [await Connection.open(server) for _ in range(CONNECTIONS)]
    times: list[float] = []

    async def work(connection: Connection, next_ask: Callable[[], Ask], until: float) -> None:
        while (begun := time.perf_counter()) < until:
            answer = await connection.ask(next_ask())
            if answer.status >= 300:
                raise RuntimeError(f"{server.name} answered {answer.status}: {answer.body[:500]!r}")
            times.append(time.perf_counter() - begun)

    started, cpu = time.perf_counter(), server.cpu_us()
    try:
        await asyncio.gather(
            *(work(each, asks(n), started + seconds) for n, each in enumerate(connections)),
        )
    finally:
        for connection in connections:
            connection.close()
    elapsed = time.perf_counter() - started
    return Cost(
        len(times),
        elapsed,
        (server.cpu_us() - cpu) / len(times),
        percentile(times, 50) * 1000,
        percentile(times, 99) * 1000,
    )


def percentile(values: list[float], percent: int) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
