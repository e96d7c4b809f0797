"""The CRM's half of a cut: reads the gate that the SCIM server writes, and says whether a session may go on.

One file, standard library only: a CRM imports it (`scim_server.guard`) or copies it. It decides, and ends
nothing itself. A gate is one text per subject (the key under which the CRM files a person's sessions):
`"<epoch>:<denied 0|1>:<not_before_ms>"`. The server writes it before it deletes sessions; so a CRM that looks
again *after* creating a session cannot miss a deactivation, however the two interleave.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, NamedTuple

__all__ = [
    "OPEN",
    "TABLES",
    "ASGIGuard",
    "AsyncGuard",
    "DjangoGuard",
    "Gate",
    "Guard",
    "RedisGates",
    "Session",
    "SqlGates",
    "WSGIGuard",
    "allows",
]

TABLES = (
    "CREATE TABLE IF NOT EXISTS scim_gate (subject VARCHAR(320) PRIMARY KEY,"
    " epoch BIGINT NOT NULL, denied SMALLINT NOT NULL, not_before BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS scim_guard (name VARCHAR(255) PRIMARY KEY, seen_ms BIGINT NOT NULL)",
)
"""For gates in SQL: the server writes the first table, the guard's heartbeat the second."""

Marker = str | bytes | None
"""A gate as stored; None = there is none."""

_MARKER = re.compile(r"([0-9]{1,19}):([01]):([0-9]{1,19})")
_log = logging.getLogger("scim.guard")


# --- the decision -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Gate:
    """A subject's standing. `epoch` only ever grows; `denied` ends all sessions; `not_before` is unix ms."""

    epoch: int
    denied: bool
    not_before: int

    @classmethod
    def parse(cls, marker: Marker) -> "Gate":
        """None is OPEN: never deactivated. Raise ValueError for anything that is not a marker."""
        if marker is None:
            return OPEN
        found = _MARKER.fullmatch(marker.decode("ascii") if isinstance(marker, bytes) else marker)
        if found is None:
            raise ValueError("a gate marker reads <epoch>:<denied 0|1>:<not_before_ms>")
        return cls(int(found[1]), found[2] == "1", int(found[3]))


OPEN = Gate(epoch=0, denied=False, not_before=0)
_SHUT = Gate(epoch=0, denied=True, not_before=0)


def allows(gate: Gate, session_epoch: int | None = None, session_started_ms: int | None = None) -> bool:
    """Whether a session may go on.

    `session_epoch` is what `begin` returned at its login. Where none was kept (a JWT), `session_started_ms`
    decides (`iat * 1000`). A session that knows neither is taken to be older than any gate.
    """
    if gate.denied:
        return False
    if session_epoch is not None:  # never mixed with the time: two machines' clocks need not agree
        return session_epoch >= gate.epoch
    if session_started_ms is not None:
        return session_started_ms > gate.not_before
    return gate.epoch == 0


# --- the guard, for blocking and for asyncio code -----------------------------------------------------------


class _Policy:
    """What both guards share: how to read, what holds while that fails, and when the heart beats.

    `read_gate(subject)` returns the marker or None. `beat(unix_ms)` leaves a sign of life for the server, at
    most every `beat_every` seconds and only after a gate was read, so that a receipt's `guard=seen` holds.
    While reading fails (with any of `unreachable`, a broken marker included) the CRM works on, unless
    `fail_closed`. Give the store's client a short timeout: the guard has none of its own.
    """

    def __init__(
        self,
        read_gate: Callable[[str], Any],
        *,
        beat: Callable[[int], Any] | None = None,
        beat_every: float = 10.0,
        fail_closed: bool = False,
        unreachable: tuple[type[Exception], ...] = (Exception,),
    ) -> None:
        self._read_gate = read_gate
        self._beat = beat
        self._beat_every = beat_every
        self._next_beat = 0.0
        self._unread = _SHUT if fail_closed else OPEN
        self._unreachable = unreachable
        self._failing = False

    def _beat_now(self) -> Any:
        now = time.monotonic()
        if self._beat is None or now < self._next_beat:
            return None
        self._next_beat = now + self._beat_every
        return self._beat(time.time_ns() // 1_000_000)  # noqa: TID251 - this file stands alone

    def _note(self, problem: Exception | None) -> None:
        if problem is not None and not self._failing:
            _log.warning("gate store fails (%r): unread gates count as %s", problem, self._standing())
        elif problem is None and self._failing:
            _log.warning("gate store answers again")
        self._failing = problem is not None

    def _standing(self) -> str:
        return "denied" if self._unread.denied else "open"


class Guard(_Policy):
    """For blocking code. The three calls of a login:

    epoch = guard.begin(subject)            # once the subject is known, before the password is checked
    sid = sessions.create(subject, epoch)   # stored, indexed, committed; the session keeps the epoch
    if not guard.confirm(subject, epoch):   # deactivated meanwhile
        sessions.delete(sid)                # and refuse
    """

    def begin(self, subject: str) -> int:
        """The epoch to keep in the session that this login may create."""
        return self._gate(subject).epoch

    def confirm(self, subject: str, epoch: int) -> bool:
        """Call after the session is created. False: delete it and refuse the login."""
        return allows(self._gate(subject), epoch)

    def check(self, subject: str, epoch: int | None = None, started_ms: int | None = None) -> bool:
        """Call on each request. False: the session is over, even if its record is still (or again) there."""
        return allows(self._gate(subject), epoch, started_ms)

    def _gate(self, subject: str) -> Gate:
        gate = self._unread
        try:
            gate = Gate.parse(self._read_gate(subject))
            self._beat_now()
            self._note(None)
        except self._unreachable as problem:
            self._note(problem)
        return gate


class AsyncGuard(_Policy):
    """The same for asyncio. `read_gate` and `beat` may be plain functions if their store answers at once."""

    async def begin(self, subject: str) -> int:
        """The epoch to keep in the session that this login may create."""
        return (await self._gate(subject)).epoch

    async def confirm(self, subject: str, epoch: int) -> bool:
        """Call after the session is created. False: delete it and refuse the login."""
        return allows(await self._gate(subject), epoch)

    async def check(self, subject: str, epoch: int | None = None, started_ms: int | None = None) -> bool:
        """Call on each request. False: the session is over, even if its record is still (or again) there."""
        return allows(await self._gate(subject), epoch, started_ms)

    async def _gate(self, subject: str) -> Gate:
        gate = self._unread
        try:
            gate = Gate.parse(await _settled(self._read_gate(subject)))
            await _settled(self._beat_now())
            self._note(None)
        except self._unreachable as problem:
            self._note(problem)
        return gate


async def _settled(value: Any) -> Any:
    return await value if isawaitable(value) else value


# --- where gates are kept -----------------------------------------------------------------------------------


class RedisGates:
    """Gates in Redis: `Guard(gates.read, beat=gates.beat)`, or AsyncGuard when `client` is redis.asyncio's.

    `gate_key` is the session store's template of the same name, filled with what the CRM calls the subject.
    """

    def __init__(
        self,
        client: Any,
        *,
        tenant: str = "default",
        gate_key: str = "scim:gate:{tenant}:{subject}",
        guard_key: str = "scim:guard:{tenant}",
    ) -> None:
        self._client = client
        self._tenant = tenant
        self._gate_key = gate_key
        self._guard_key = guard_key.format(tenant=tenant)

    def read(self, subject: str) -> Any:
        """The marker, or an awaitable of it: whatever the client's GET gives."""
        return self._client.get(self._gate_key.format(tenant=self._tenant, subject=subject))

    def beat(self, now_ms: int) -> Any:
        """Leave the sign of life."""
        return self._client.set(self._guard_key, now_ms)


class SqlGates:
    """Gates in the tables of TABLES, over any DB-API driver.

    `connect()` gives a connection in autocommit mode that this thread may use: inside a longer transaction a
    repeatable read would show yesterday's gate. `parameter` is the driver's placeholder: "?" or "%s".
    """

    def __init__(self, connect: Callable[[], Any], *, name: str = "default", parameter: str = "?") -> None:
        self._connect = connect
        self._name = name
        self._parameter = parameter

    def read(self, subject: str) -> str | None:
        """The row as a marker."""
        cursor = self._run("SELECT epoch, denied, not_before FROM scim_gate WHERE subject = ?", subject)
        row = cursor.fetchone()
        cursor.close()
        return None if row is None else f"{row[0]}:{int(row[1])}:{row[2]}"

    def beat(self, now_ms: int) -> None:
        """Leave the sign of life, in words that every SQL database understands."""
        if self._run("UPDATE scim_guard SET seen_ms = ? WHERE name = ?", now_ms, self._name).rowcount == 0:
            self._run("INSERT INTO scim_guard (seen_ms, name) VALUES (?, ?)", now_ms, self._name)

    def _run(self, statement: str, *values: str | int) -> Any:
        cursor = self._connect().cursor()
        cursor.execute(statement.replace("?", self._parameter), values)
        return cursor


# --- middleware ---------------------------------------------------------------------------------------------


class Session(NamedTuple):
    """What a request's session says of itself; the arguments of `check`."""

    subject: str
    epoch: int | None = None
    started_ms: int | None = None


Scope = Mapping[str, Any]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
WSGIApp = Callable[[Any, Any], Iterable[bytes]]

_ENDED = b"This session has ended. Sign in again.\n"


async def _refuse_asgi(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": _ENDED})


def _refuse_wsgi(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("401 Unauthorized", [("Content-Type", "text/plain"), ("Cache-Control", "no-store")])
    return [_ENDED]


class ASGIGuard:
    """Checks each request and WebSocket handshake; put it inside the middleware that loads the session.

    `identify(scope)` returns the Session, or None for nobody; it may be async. `refuse` is the app that
    answers a dead session, a bare 401 by default.
    """

    def __init__(
        self,
        app: ASGIApp,
        guard: AsyncGuard,
        identify: Callable[[Scope], Session | Awaitable[Session | None] | None],
        refuse: ASGIApp = _refuse_asgi,
    ) -> None:
        self._app = app
        self._guard = guard
        self._identify = identify
        self._refuse = refuse

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI 3."""
        session = await _settled(self._identify(scope)) if scope["type"] in ("http", "websocket") else None
        dead = session is not None and not await self._guard.check(*session)
        await (self._refuse if dead else self._app)(scope, receive, send)


class WSGIGuard:
    """The same for WSGI (Flask: `app.wsgi_app = WSGIGuard(app.wsgi_app, guard, identify)`)."""

    def __init__(
        self,
        app: WSGIApp,
        guard: Guard,
        identify: Callable[[Any], Session | None],
        refuse: WSGIApp = _refuse_wsgi,
    ) -> None:
        self._app = app
        self._guard = guard
        self._identify = identify
        self._refuse = refuse

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """PEP 3333."""
        session = self._identify(environ)
        dead = session is not None and not self._guard.check(*session)
        return (self._refuse if dead else self._app)(environ, start_response)


class DjangoGuard:
    """Subclass it, set `guard`, write `refuse`, and name it in MIDDLEWARE after AuthenticationMiddleware.

    The login view keeps `guard.begin(...)` in `request.session["scim_epoch"]` and calls
    `request.session.save()` before `guard.confirm(...)`.
    """

    sync_capable = True
    async_capable = False
    guard: Guard

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response

    def __call__(self, request: Any) -> Any:
        """A dead session is flushed before `refuse` answers."""
        session = self.identify(request)
        if session is None or self.guard.check(*session):
            return self._get_response(request)
        request.session.flush()
        return self.refuse(request)

    def identify(self, request: Any) -> Session | None:
        """The subject is the user name; override it if the server's template says otherwise."""
        if not request.user.is_authenticated:
            return None
        return Session(request.user.get_username(), request.session.get("scim_epoch"))

    def refuse(self, request: Any) -> Any:
        """The answer to a request of a dead session, such as `redirect("login")`."""
        raise NotImplementedError
