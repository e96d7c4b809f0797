"""uvicorn's HTTP protocol with a deadline for what comes before a request: a connection that sends nothing, or trickles
its headers, is closed. (Bodies have their own deadline, in body.py; idle keep-alive is uvicorn's.) What is not HTTP is
told so as a SCIM error, like every other refusal. An answer goes out in one piece.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from scim_server.web.reply import MEDIA_TYPE, error_body

HEADERS_S = 10.0
_NOT_HTTP = error_body(
    400, "This is not a request of HTTP/1.1 that can be read; check the client or the proxy before it."
)


class _Whole:
    """A transport that sends at once what is written in one turn of the loop: uvicorn writes head and body of an answer
    one after the other, and each call of the kernel costs as much as a tenth of a GET."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send soon."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def close(self) -> None:
        """Send what is left, then hang up."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if self._pieces and not self._transport.is_closing():  # the client may have gone in this very turn
            self._transport.writelines(self._pieces)
        self._pieces.clear()


class PunctualProtocol(HttpToolsProtocol):
    """One connection. The clock runs from its opening, and again from the first byte of each later request."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, _Whole(transport, self.loop)))
        self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:
            self._start()

    def on_headers_complete(self) -> None:
        self._stop()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        head = (
            "HTTP/1.1 400 Bad Request",
            f"content-type: {MEDIA_TYPE}",
            f"content-length: {len(_NOT_HTTP)}",
            "connection: close",
        )
        self.transport.write("\r\n".join((*head, "", "")).encode() + _NOT_HTTP)
        self.transport.close()

    def _start(self) -> None:
        self._deadline = self.loop.call_later(HEADERS_S, self._close)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        transport: Any = self.transport
        if not transport.is_closing():
            transport.close()
