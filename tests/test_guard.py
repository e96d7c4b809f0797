"""The guard: its decision, its policy while the gate cannot be read, its middleware, the race it closes."""

import asyncio
import itertools
import logging
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import redis
import redis.asyncio
from chaos.machine import ROUNDS

from scim_server import guard as guard_module
from scim_server.guard import (
    OPEN,
    TABLES,
    ASGIGuard,
    AsyncGuard,
    DjangoGuard,
    Gate,
    Guard,
    RedisGates,
    Session,
    SqlGates,
    WSGIGuard,
    allows,
)

GATE_UPSERT = """
    INSERT INTO scim_gate (subject, epoch, denied, not_before) VALUES (?, ?, ?, ?)
    ON CONFLICT (subject) DO UPDATE
        SET epoch = excluded.epoch, denied = excluded.denied, not_before = excluded.not_before"""


# --- the decision -------------------------------------------------------------------------------------------


def test_marker_is_read_as_text_and_as_bytes() -> None:
    assert Gate.parse("1700000000123:1:1700000000100") == Gate(1700000000123, True, 1700000000100)
    assert Gate.parse(b"7:0:5") == Gate(7, False, 5)
    assert Gate.parse(None) is OPEN


@pytest.mark.parametrize("marker", ["", "1", "1:0", "1:2:3", "1:0:3:4", "x:0:1", "-1:0:1", "1:0:1\n", "١:0:1"])
def test_what_is_no_marker_is_refused(marker: str) -> None:
    with pytest.raises(ValueError, match="gate marker"):
        Gate.parse(marker)


@pytest.mark.parametrize(
    ("marker", "epoch", "started_ms", "allowed"),
    [
        (None, 0, None, True),  # never deactivated
        (None, None, None, True),
        ("50:1:50", 50, None, False),  # denied: whatever the session says
        ("50:1:50", 99, 99, False),
        ("60:0:60", 50, None, False),  # came back; this session is from before
        ("60:0:60", 60, None, True),  # … and this one from after
        ("60:0:60", 60, 10, True),  # the epoch wins over a clock that is behind
        ("60:0:60", None, 59, False),
        ("60:0:60", None, 60, False),  # a JWT's iat has a grain of 1 s: the same instant is too early
        ("60:0:60", None, 61, True),
        ("60:0:60", None, None, False),  # knows nothing of itself: older than any gate
    ],
)
def test_allows(marker: str | None, epoch: int | None, started_ms: int | None, allowed: bool) -> None:
    assert allows(Gate.parse(marker), epoch, started_ms) is allowed


# --- the policy ---------------------------------------------------------------------------------------------


def broken(_: str) -> str:
    raise ConnectionError("store is down")


def test_an_unreachable_store_lets_sessions_go_on() -> None:
    guard = Guard(broken)
    epoch = guard.begin("s")
    assert guard.confirm("s", epoch)
    assert guard.check("s", epoch)
    assert guard.check("s", 17)


def test_fail_closed_refuses_while_the_store_is_unreachable() -> None:
    guard = Guard(broken, fail_closed=True)
    assert not guard.confirm("s", guard.begin("s"))
    assert not guard.check("s", 17)


def test_a_login_begun_during_an_outage_is_refused_if_the_gate_then_turns_out_lifted() -> None:
    answers: Iterator[Any] = iter([None, "60:0:60"])
    guard = Guard(lambda _: next(answers))
    assert not guard.confirm("s", guard.begin("s"))


def test_only_the_named_errors_count_as_unreachable() -> None:
    guard = Guard(broken, unreachable=(TimeoutError,))
    with pytest.raises(ConnectionError):
        guard.check("s", 0)


def test_an_outage_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    down = True

    def read(_: str) -> None:
        if down:
            raise TimeoutError

    guard = Guard(read)
    with caplog.at_level(logging.WARNING, "scim.guard"):
        for _ in range(3):
            guard.check("s", 0)
        down = False
        for _ in range(3):
            guard.check("s", 0)
    assert [r.getMessage() for r in caplog.records] == [
        "gate store fails (TimeoutError()): unread gates count as open",
        "gate store answers again",
    ]


def test_heartbeat_is_sent_at_most_once_per_period() -> None:
    beats: list[int] = []
    patient = Guard(lambda _: None, beat=beats.append, beat_every=3600)
    for _ in range(5):
        patient.check("s", 0)
    assert len(beats) == 1
    assert beats[0] > 1_600_000_000_000

    eager = Guard(lambda _: None, beat=beats.append, beat_every=0)
    for _ in range(5):
        eager.check("s", 0)
    assert len(beats) == 6


def test_no_heartbeat_without_a_gate_that_was_read() -> None:
    beats: list[int] = []
    Guard(broken, beat=beats.append, beat_every=0).check("s", 0)
    assert beats == []


def test_a_failing_heartbeat_changes_no_decision() -> None:
    def beat(_: int) -> None:
        raise PermissionError

    guard = Guard(lambda _: "9:1:9", beat=beat, beat_every=0)
    assert not guard.check("s", 9)


async def test_async_guard_takes_plain_and_async_functions() -> None:
    async def read(_: str) -> bytes:
        return b"9:0:9"

    for reader in (read, lambda _: "9:0:9"):
        guard = AsyncGuard(reader)
        assert await guard.begin("s") == 9
        assert await guard.confirm("s", 9)
        assert await guard.check("s", None, 10)
        assert not await guard.check("s", 8)


def test_the_file_works_alone(tmp_path: Path) -> None:
    copy = tmp_path / "copied_guard.py"
    copy.write_text(Path(guard_module.__file__).read_text())
    probe = "from copied_guard import Guard; print(Guard(lambda subject: '9:1:9').check('s', 9))"
    command = [sys.executable, "-S", "-c", probe]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


# --- ready stores -------------------------------------------------------------------------------------------


@pytest.fixture
def crm_db(tmp_path: Path) -> Path:
    path = tmp_path / "crm.db"
    with open_db(path) as db:
        for statement in (
            *TABLES,
            "CREATE TABLE user_sessions (sid TEXT PRIMARY KEY, subject TEXT, epoch INTEGER)",
        ):
            db.execute(statement)
    db.close()
    return path


def open_db(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")
    return db


def test_sql_gates(crm_db: Path) -> None:
    db = open_db(crm_db)
    gates = SqlGates(lambda: db, name="acme")
    guard = Guard(gates.read, beat=gates.beat, beat_every=0)
    assert guard.begin("s") == 0
    db.execute(GATE_UPSERT, ("s", 9, True, 9))
    assert gates.read("s") == "9:1:9"
    assert not guard.check("s", 0)
    seen = db.execute("SELECT name, seen_ms FROM scim_guard").fetchall()
    assert len(seen) == 1
    assert seen[0][0] == "acme"
    db.close()


def test_sql_gates_speaks_the_drivers_placeholder() -> None:
    said: list[tuple[str, tuple[Any, ...]]] = []

    class Cursor:
        rowcount = 1

        def execute(self, statement: str, values: tuple[Any, ...]) -> None:
            said.append((statement, values))

    SqlGates(lambda: SimpleNamespace(cursor=Cursor), parameter="%s").beat(5)
    assert said == [("UPDATE scim_guard SET seen_ms = %s WHERE name = %s", (5, "default"))]


def test_redis_gates(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        gates = RedisGates(client, tenant="guard-test")
        guard = Guard(gates.read, beat=gates.beat)
        client.set("scim:gate:guard-test:s", "9:0:9")
        assert guard.begin("s") == 9
        assert not guard.check("s", 8)
        assert int(client.get("scim:guard:guard-test") or 0) > 1_600_000_000_000
        client.delete("scim:gate:guard-test:s", "scim:guard:guard-test")


async def test_redis_gates_with_the_asyncio_client_and_a_cluster_key(redis_url: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        gates = RedisGates(client, tenant="guard-test", gate_key="gate:{{{tenant}:{subject}}}")
        guard = AsyncGuard(gates.read, beat=gates.beat)
        await client.set("gate:{guard-test:s}", "9:1:9")
        assert not await guard.check("s", 9)
        assert await client.exists("scim:guard:guard-test") == 1
        await client.delete("gate:{guard-test:s}", "scim:guard:guard-test")


# --- the race: every interleaving ---------------------------------------------------------------------------
#
# A login is begin, create, confirm-and-maybe-delete; the server writes the gate, lists the sessions, deletes
# the listed. All 20 orders of these 3 + 3 steps are tried.

ORDERS = sorted(set(itertools.permutations("LLLSSS")))


def survives(order: tuple[str, ...], login: list[Callable[[], Any]], server: list[Callable[[], Any]]) -> None:
    steps = {"L": iter(login), "S": iter(server)}
    for who in order:
        next(steps[who])()


@pytest.mark.parametrize("order", ORDERS, ids="".join)
def test_no_order_of_login_and_deactivation_leaves_a_session_in_sqlite(order: tuple[str, ...], crm_db: Path) -> None:
    db, server_db = open_db(crm_db), open_db(crm_db)
    guard = Guard(SqlGates(lambda: db).read)
    epoch: list[int] = []
    listed: list[tuple[str]] = []

    def confirm() -> None:
        if not guard.confirm("s", epoch[0]):
            db.execute("DELETE FROM user_sessions WHERE sid = 'x'")

    login = [
        lambda: epoch.append(guard.begin("s")),
        lambda: db.execute("INSERT INTO user_sessions VALUES ('x', 's', ?)", epoch),
        confirm,
    ]
    server = [
        lambda: server_db.execute(GATE_UPSERT, ("s", 9, 1, 9)),
        lambda: listed.extend(server_db.execute("SELECT sid FROM user_sessions WHERE subject = 's'")),
        lambda: server_db.executemany("DELETE FROM user_sessions WHERE sid = ?", listed),
    ]
    survives(order, login, server)
    assert db.execute("SELECT count(*) FROM user_sessions").fetchone() == (0,)
    db.close()
    server_db.close()


@pytest.mark.parametrize("order", ORDERS, ids="".join)
def test_no_order_of_login_and_deactivation_leaves_a_session_in_redis(order: tuple[str, ...], redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.delete("r:sess:x", "r:idx:s", "r:gate:s")
        guard = Guard(RedisGates(client, tenant="s", gate_key="r:gate:{tenant}").read)
        epoch: list[int] = []
        listed: list[Any] = []

        def create() -> None:
            client.sadd("r:idx:s", "x")
            client.set("r:sess:x", epoch[0])

        def confirm() -> None:
            if not guard.confirm("s", epoch[0]):
                client.delete("r:sess:x")

        login: list[Any] = [lambda: epoch.append(guard.begin("s")), create, confirm]
        server: list[Any] = [
            lambda: client.set("r:gate:s", "9:1:9"),
            lambda: listed.extend(client.smembers("r:idx:s")),
            lambda: [client.unlink(b"r:sess:" + sid) for sid in listed],
        ]
        survives(order, login, server)
        assert client.exists("r:sess:x") == 0
        client.delete("r:idx:s", "r:gate:s")


def test_without_the_second_look_a_session_survives(crm_db: Path) -> None:
    """The control: the same stage, with a CRM that looks only before it creates."""
    db = open_db(crm_db)
    guard = Guard(SqlGates(lambda: db).read)
    epoch = guard.begin("s")
    db.execute(GATE_UPSERT, ("s", 9, 1, 9))
    db.execute("DELETE FROM user_sessions WHERE subject = 's'")
    db.execute("INSERT INTO user_sessions VALUES ('x', 's', ?)", (epoch,))
    assert db.execute("SELECT count(*) FROM user_sessions").fetchone() == (1,)
    assert not guard.check("s", epoch)  # … but is dead at its next request
    db.close()


# --- the race: many at once ---------------------------------------------------------------------------------


@pytest.mark.chaos
def test_no_session_survives_concurrent_logins_in_sqlite(crm_db: Path) -> None:
    subjects = [f"s{n}" for n in range(4 * ROUNDS)]
    local = threading.local()
    opened: list[sqlite3.Connection] = []

    def db() -> sqlite3.Connection:
        if not hasattr(local, "db"):
            local.db = open_db(crm_db)
            opened.append(local.db)
        connection: sqlite3.Connection = local.db
        return connection

    guard = Guard(SqlGates(db).read)

    def log_in(sid: str, subject: str) -> None:
        epoch = guard.begin(subject)
        db().execute("INSERT INTO user_sessions VALUES (?, ?, ?)", (sid, subject, epoch))
        if not guard.confirm(subject, epoch):
            db().execute("DELETE FROM user_sessions WHERE sid = ?", (sid,))

    def deactivate(_: str, subject: str) -> None:
        db().execute(GATE_UPSERT, (subject, 9, 1, 9))
        db().execute("DELETE FROM user_sessions WHERE subject = ?", (subject,))

    jobs: list[tuple[Callable[[str, str], None], str, str]] = [
        *((log_in, f"{subject}-{n}", subject) for subject in subjects for n in range(6)),
        *((deactivate, "", subject) for subject in subjects),
    ]
    random.Random(7).shuffle(jobs)
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(job, sid, subject) for job, sid, subject in jobs]
    for future in done:
        future.result()
    assert db().execute("SELECT count(*) FROM user_sessions").fetchone() == (0,)
    assert not any(guard.check(subject, 0) for subject in subjects)
    for connection in opened:
        connection.close()


@pytest.mark.chaos
async def test_no_session_survives_concurrent_logins_in_redis(redis_url: str) -> None:
    subjects = [f"s{n}" for n in range(10 * ROUNDS)]
    chance = random.Random(7)
    async with redis.asyncio.Redis.from_url(redis_url, max_connections=200) as client:
        guard = AsyncGuard(RedisGates(client, tenant="race", gate_key="r:gate:{tenant}:{subject}").read)

        async def log_in(sid: str, subject: str) -> bool:
            epoch = await guard.begin(subject)
            await client.sadd(f"r:idx:{subject}", sid)
            await client.set(f"r:sess:{sid}", epoch)
            if await guard.confirm(subject, epoch):
                return True
            await client.delete(f"r:sess:{sid}")
            return False

        async def deactivate(subject: str) -> None:
            for _ in range(chance.randrange(5)):  # so that it meets the logins at any of their steps
                await client.ping()
            await client.set(f"r:gate:race:{subject}", "9:1:9")
            sids: Any = await client.smembers(f"r:idx:{subject}")
            if sids:
                await client.unlink(*(f"r:sess:{sid.decode()}" for sid in sids))

        async def storm(subject: str) -> list[Any]:
            logins = (log_in(f"{subject}-{n}", subject) for n in range(4))
            return await asyncio.gather(*logins, deactivate(subject))

        outcomes: list[Any] = []
        for batch in range(0, len(subjects), 20):
            for outcome in await asyncio.gather(*(storm(s) for s in subjects[batch : batch + 20])):
                outcomes.extend(outcome)
        alive = [key async for key in client.scan_iter("r:sess:*")]
        assert alive == []
        assert True in outcomes  # some were let in and then ended by the delete,
        assert False in outcomes  # others were caught by the second look
        async for key in client.scan_iter("r:*"):
            await client.delete(key)


# --- middleware ---------------------------------------------------------------------------------------------

DENIED = {"leaver": "9:1:9"}


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def who(scope: Any) -> Session | None:
    names = [value.decode() for key, value in scope["headers"] if key == b"x-user"]
    return Session(names[0], 0) if names else None


@pytest.mark.parametrize(("user", "status"), [(None, 200), ("stayer", 200), ("leaver", 401)])
async def test_asgi_guard(user: str | None, status: int) -> None:
    app = ASGIGuard(hello, AsyncGuard(DENIED.get), who)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://crm") as client:
        answer = await client.get("/", headers={"x-user": user} if user else {})
    assert answer.status_code == status


async def test_asgi_guard_closes_a_websocket_handshake_and_passes_lifespan_on() -> None:
    sent: list[Any] = []
    passed: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    async def send(message: Any) -> None:
        sent.append(message)

    async def identify(_: Any) -> Session:
        return Session("leaver", 0)

    app = ASGIGuard(inner, AsyncGuard(DENIED.get), identify)
    await app({"type": "websocket"}, None, send)
    await app({"type": "lifespan"}, None, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert passed == ["lifespan"]


@pytest.mark.parametrize(("user", "status"), [("", 200), ("stayer", 200), ("leaver", 401)])
def test_wsgi_guard(user: str, status: int) -> None:
    def inner(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"hello"]

    def identify(environ: Any) -> Session | None:
        name = environ.get("HTTP_X_USER")
        return Session(name, 0) if name else None

    app = WSGIGuard(inner, Guard(DENIED.get), identify)
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://crm") as client:
        assert client.get("/", headers={"x-user": user} if user else {}).status_code == status


@pytest.mark.parametrize(("user", "answer"), [("", "page"), ("stayer", "page"), ("leaver", "signed out")])
def test_django_guard(user: str, answer: str) -> None:
    class CrmGuard(DjangoGuard):
        guard = Guard(DENIED.get)

        def refuse(self, request: Any) -> str:
            return "signed out"

    class DjangoSession(dict[str, Any]):
        flush = dict.clear

    request = SimpleNamespace(
        user=SimpleNamespace(is_authenticated=bool(user), get_username=lambda: user),
        session=DjangoSession(scim_epoch=0),
    )
    assert CrmGuard(lambda _: "page")(request) == answer
    assert bool(request.session) is (answer == "page")
