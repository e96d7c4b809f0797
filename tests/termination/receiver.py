"""An HTTP endpoint that takes webhooks, and a port that takes connections and never says a word."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

SECRET = "whsec_" + "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="


@dataclass
class Receiver:
    """Answers 204 while `open_` is set, else waits for it. `bodies` are the messages in the order they came."""

    url: str = ""
    bodies: list[Any] = field(default_factory=list)
    open_: asyncio.Event = field(default_factory=asyncio.Event)

    def entry(self, name: str = "hook", **more: Any) -> dict[str, Any]:
        """Its `[[session_stores]]` entry."""
        return {"name": name, "kind": "webhook", "url": self.url, "secret": SECRET, **more}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
                self.bodies.append(json.loads(await reader.readexactly(length)))
                await self.open_.wait()
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver that answers."""
    made = Receiver()
    made.open_.set()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/scim"
    yield made
    made.open_.set()
    server.close()


@asynccontextmanager
async def silence(port: int = 0) -> AsyncIterator[int]:
    """A port that accepts and never answers."""
    writers: list[asyncio.StreamWriter] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.read()

    server = await asyncio.start_server(swallow, "127.0.0.1", port)
    yield int(server.sockets[0].getsockname()[1])
    server.close()
    for writer in writers:
        writer.close()
