"""The outermost layer, as pure ASGI: request ids, address normalisation, admission control, the access log, and the
last resort for errors nobody expected.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from scim_server import log, metrics
from scim_server.clock import new_id
from scim_server.web.reply import MEDIA_TYPE, error_body
from scim_server.web.shares import Shares

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_CONCURRENT = 500
ALWAYS_ANSWERED = ("/livez", "/readyz", "/metrics")
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32_768
MAX_TARGET = 16_384
_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_SLASHES = re.compile(r"/{2,}")
_log = logging.getLogger(__name__)


class Edge:
    """Wraps the application; one instance a process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._running = 0
        self._shares = Shares()
        self._log = log.AccessLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, _request_id(scope))
        scope["scim.request_id"] = answer.request_id
        _normalise(scope)
        refusal = self._refusal(scope)
        if refusal is not None:
            status, detail, why = refusal
            metrics.refused_requests.labels(why).inc()
            await answer.error(status, detail)
            return
        self._running += 1
        scope["scim.shares"] = self._shares
        try:
            await self._run(scope, receive, answer)
        finally:
            self._running -= 1
            caller = scope.get("scim.caller")
            if caller is not None:
                self._shares.leave(caller.tenant_id)

    async def _run(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        started = time.perf_counter()
        token = log.begin(request_id=answer.request_id)
        try:
            await self._app(scope, receive, answer.send)
        except Exception:  # noqa: BLE001 (the last resort: a client gets a SCIM error, the log the traceback)
            _log.exception("unexpected error")
            if answer.status == 0:
                await answer.error(500, "An unexpected error; the operator finds it in the log under this request id.")
        finally:
            self._log.add(_counted(scope, answer.status, time.perf_counter() - started))
            log.end(token)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        headers = scope["headers"]
        if len(headers) > MAX_HEADERS or sum([len(k) + len(v) for k, v in headers]) > MAX_HEADER_BYTES:
            return (
                431,
                f"The request has more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES} bytes of them.",
                "headers",
            )
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > MAX_TARGET:
            return 414, f"The address is longer than {MAX_TARGET} bytes; use POST …/.search instead.", "target"
        if self._running >= MAX_CONCURRENT and scope["path"] not in ALWAYS_ANSWERED:
            return 503, "The server has too much to do at the moment; repeat the request as it is.", "saturated"
        return None


class _Answer:
    """Adds the request id to the answer and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
        await self._send(message)

    async def error(self, status: int, detail: str) -> None:
        body = error_body(status, f"{detail} [{self.request_id}]")
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ID.fullmatch(value):
            return str(value.decode())
    return new_id()


def _normalise(scope: Scope) -> None:
    # Clients write /v2//Users and /Users/; a redirect would make some of them drop the token or the body.
    path = scope["path"]
    if "//" in path or (path.endswith("/") and path != "/"):
        scope["path"] = _SLASHES.sub("/", path).rstrip("/") or "/"


def _counted(scope: Scope, status: int, seconds: float) -> dict[str, Any]:
    """What the log says of an answer that has been counted."""
    route = getattr(scope.get("route"), "path", "-")
    metrics.request_seconds(scope["method"], route, status).observe(seconds)
    fields = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(seconds * 1000, 2)}
    if "scim.log" in scope:
        fields |= scope["scim.log"]
    query = scope.get("query_string")
    if query:
        fields["query"] = log.mask_query(query.decode("latin-1"))
    return fields
