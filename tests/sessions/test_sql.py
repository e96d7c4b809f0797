"""What is SQL's own: column types, rights, locks, presets, plans. The common behaviour is in test_every_store."""

import asyncio
import os
import sqlite3
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic, time_ns
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from services.postgres import PostgresServer
from services.processes import free_port
from sessions.session_benches import TENANT, PostgresBench, SqliteBench, delivery, make_store

from scim_server import guard
from scim_server.sessions import sql_postgres
from scim_server.sessions.port import Done, Gate, Refused, Retry, SessionStore, StoreUnreachable


@pytest.fixture
async def bench(postgres_url: str) -> AsyncIterator[PostgresBench]:
    made = await PostgresBench(postgres_url).prepared()
    yield made
    await made.aclose()


@pytest.fixture
async def crm(postgres_url: str) -> AsyncIterator[Any]:
    """The CRM's own connection."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@pytest.fixture
async def opened() -> AsyncIterator[list[SessionStore]]:
    """Stores to close after the test."""
    stores: list[SessionStore] = []
    yield stores
    for store in stores:
        await store.aclose()


# --- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "subject"),
    [
        ("integer", "42"),
        ("bigint", "-9000000000"),
        ("smallint", "7"),
        ("uuid", "0190163D-8694-739B-AEA5-966C26F8AD91"),
        ("varchar(40)", "ann"),
        ("char(5)", "ann"),
        ("numeric", "12.50"),
        ("bytea", "ann"),
    ],
)
async def test_the_subject_takes_the_columns_type(
    column: str, subject: str, postgres_url: str, crm: Any, opened: list[SessionStore]
) -> None:
    await crm.execute(f"CREATE TABLE s (u {column})")
    await crm.execute(f"INSERT INTO s VALUES ('{subject}'::{column})")
    opened.append(_store(postgres_url, "DELETE FROM s WHERE u = :subject"))
    assert await opened[0].deliver(delivery(subject, 10)) == Done(sessions=1)


@pytest.mark.parametrize(("column", "subject"), [("integer", "ann"), ("uuid", "ann"), ("integer", "99999999999")])
async def test_a_subject_that_no_column_value_can_equal_needs_a_person(
    column: str, subject: str, postgres_url: str, crm: Any, opened: list[SessionStore]
) -> None:
    await crm.execute(f"CREATE TABLE s (u {column})")
    opened.append(_store(postgres_url, "DELETE FROM s WHERE u = :subject"))
    outcome = await opened[0].deliver(delivery(subject, 10))
    assert isinstance(outcome, Refused)
    assert "column" in outcome.why or "value" in outcome.why
    assert await opened[0].deliver(delivery("42" if column == "integer" else str(uuid.UUID(int=1)), 10)) == Done()


async def test_every_parameter_is_bound(postgres_url: str, crm: Any, opened: list[SessionStore]) -> None:
    await crm.execute("CREATE TABLE log (s text, t text, e bigint, d boolean, ms bigint, at timestamptz)")
    statement = "INSERT INTO log (s, t, e, d, ms) VALUES (:subject, :tenant, :epoch, :denied, :not_before)"
    second = "UPDATE log SET at = :not_before WHERE s = :subject"
    opened.append(_store(postgres_url, statement, second))
    await opened[0].deliver(delivery("it's %s $1 :x", 1_795_000_000_123))
    row = await crm.fetchrow("SELECT s, t, e, d, ms, extract(epoch FROM at)::text FROM log")
    expected = ("it's %s $1 :x", TENANT, 1_795_000_000_123, True, 1_795_000_000_123, "1795000000.123000")
    assert tuple(row) == expected


# --- faults that need a person, and faults that pass ---------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM nowhere WHERE u = :subject", "table does not exist"),
        ("DELETE FROM s WHERE nothing = :subject", "column does not exist"),
        ("DELETE FROM s WHERE WHERE u = :subject", "refuses the statement"),
    ],
)
async def test_a_wrong_statement_needs_a_person(
    statement: str, says: str, postgres_url: str, crm: Any, opened: list[SessionStore]
) -> None:
    await crm.execute("CREATE TABLE s (u text)")
    opened.append(_store(postgres_url, statement))
    outcome = await opened[0].deliver(delivery("ann", 10))
    assert isinstance(outcome, Refused)
    assert says in outcome.why


@pytest.mark.parametrize("statement", ["DELETE FROM nowhere WHERE u = :subject", "DELETE FROM WHERE u = :subject"])
async def test_a_wrong_statement_needs_a_person_on_sqlite_too(
    statement: str, tmp_path: Path, opened: list[SessionStore]
) -> None:
    bench = SqliteBench(tmp_path / "crm.db")
    opened += [bench.store, _store(bench.url, statement)]
    assert isinstance(await opened[1].deliver(delivery("ann", 10)), Refused)


async def test_the_grants_that_the_check_prints_are_enough(
    bench: PostgresBench, postgres_url: str, crm: Any, opened: list[SessionStore]
) -> None:
    role = f"crm_{uuid.uuid4().hex[:8]}"
    await crm.execute(f"CREATE ROLE {role} LOGIN")
    address = urlsplit(postgres_url)
    url = urlunsplit(address._replace(netloc=f"{role}@{address.hostname}:{address.port}"))
    opened.append(PostgresBench(url).store)
    try:
        outcome = await opened[0].deliver(delivery("ann", 10))
        assert isinstance(outcome, Refused)
        assert "GRANT" in outcome.why
        line = next(f.hint for f in await bench.store.check(TENANT) if "rights" in f.what)
        grants = line.replace(f"TO {address.username};", f"TO {role};")
        assert grants.count(role) == 3
        await crm.execute(grants)
        assert await opened[0].deliver(delivery("ann", 10)) == Done()
        assert [finding for finding in await opened[0].check(TENANT) if not finding.ok] == []
    finally:
        await crm.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_dead_server_is_told_at_once_and_without_the_password(opened: list[SessionStore]) -> None:
    opened.append(
        _store(f"postgresql://crm:hidden-word@127.0.0.1:{free_port()}/crm", "DELETE FROM s WHERE u = :subject")
    )
    started = monotonic()
    outcome = await opened[0].deliver(delivery("ann", 10))
    assert monotonic() - started < 2
    assert isinstance(outcome, Retry)
    assert "hidden-word" not in outcome.why + repr(opened[0]._settings)  # type: ignore[attr-defined]
    with pytest.raises(StoreUnreachable):
        await opened[0].fingerprint()


async def test_a_row_that_is_locked_is_left_at_the_callers_word(bench: PostgresBench, crm: Any) -> None:
    await bench.log_in("ann", "s1")
    async with crm.transaction():
        await crm.execute("SELECT * FROM user_sessions FOR UPDATE")
        started = monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await bench.store.deliver(delivery("ann", 10))
        assert monotonic() - started < 2
    assert isinstance(await bench.store.deliver(delivery("ann", 10)), Done)
    assert await bench.alive("ann") == set()


async def test_a_hung_server_is_left_at_the_callers_word_and_serves_the_next(own_postgres: PostgresServer) -> None:
    url = own_postgres.create_database()
    bench = await PostgresBench(url).prepared()
    assert await bench.store.deliver(delivery("warm", 10)) == Done()
    own_postgres.pause()
    try:
        for _ in range(3):
            started = monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await bench.store.deliver(delivery("ann", 10))
            assert monotonic() - started < 2
    finally:
        own_postgres.resume()
    outcomes = await asyncio.gather(*(bench.store.deliver(delivery(f"u{n}", 10)) for n in range(20)))
    assert outcomes == [Done()] * 20
    await bench.aclose()
    own_postgres.drop_database(url)


class PoolOfADeadServer:
    """What asyncpg's pool does when the server is killed while a connection is given back."""

    async def release(self, connection: Any) -> None:
        raise asyncpg.InternalClientError("PoolConnectionHolder.release() called on a free connection holder")


async def test_a_connection_that_dies_while_it_is_given_back_is_nobodys_error() -> None:
    pool: Any = PoolOfADeadServer()
    acquired = asyncio.get_running_loop().create_future()
    acquired.set_result(None)
    await sql_postgres._give_back(pool, acquired)


async def test_a_restart_shows_in_the_fingerprint_and_is_survived(own_postgres: PostgresServer) -> None:
    url = own_postgres.create_database()
    bench = await PostgresBench(url).prepared()
    before = await bench.store.fingerprint()
    assert before
    assert before == await bench.store.fingerprint()
    own_postgres.restart("immediate")
    outcomes = [await bench.store.deliver(delivery("ann", 10)) for _ in range(2)]
    assert outcomes[-1] == Done()
    assert await bench.store.fingerprint() != before
    await bench.aclose()
    own_postgres.drop_database(url)


async def test_a_locked_sqlite_file_is_given_up_in_time_while_others_go_on(
    tmp_path: Path, opened: list[SessionStore]
) -> None:
    bench = SqliteBench(tmp_path / "crm.db")
    opened += [bench.store, _store(bench.url, "DELETE FROM user_sessions WHERE user_id = :subject", timeout_ms=500)]
    with _locked(bench.path):
        delivering = asyncio.create_task(opened[1].deliver(delivery("ann", 10)))
        ticks = 0
        while not delivering.done():
            await asyncio.sleep(0.005)
            ticks += 1
        assert isinstance(delivering.result(), Retry)
        assert ticks > 5
    assert await opened[1].deliver(delivery("ann", 10)) == Done()


async def test_a_missing_sqlite_file_is_not_made(tmp_path: Path, opened: list[SessionStore]) -> None:
    opened.append(_store(f"sqlite:///{tmp_path}/crm.db", "DELETE FROM s WHERE u = :subject"))
    assert isinstance(await opened[0].deliver(delivery("ann", 10)), Retry)
    assert not os.listdir(tmp_path)


# --- gates --------------------------------------------------------------------------------------------------


async def test_the_gate_is_visible_before_the_sessions_are_looked_for(bench: PostgresBench, crm: Any) -> None:
    """A login that does not see the gate has committed its session before the delete looks."""
    await bench.log_in("ann", "s1")
    async with crm.transaction():
        await crm.execute("SELECT * FROM user_sessions FOR UPDATE")
        delivering = asyncio.create_task(bench.store.deliver(delivery("ann", 10)))
        while await bench.gate("ann") is None:
            assert not delivering.done()
    assert await delivering == Done(sessions=1)


async def test_a_gate_of_ones_own_with_a_query_spares_newer_logins(
    postgres_url: str, crm: Any, opened: list[SessionStore]
) -> None:
    await crm.execute("CREATE TABLE gates (who text PRIMARY KEY, epoch bigint, shut boolean); CREATE TABLE s (u text)")
    gate = (
        "INSERT INTO gates VALUES (:subject, :epoch, :denied) ON CONFLICT (who) DO UPDATE SET"
        " epoch = excluded.epoch, shut = excluded.shut WHERE excluded.epoch > gates.epoch"
    )
    query = "SELECT epoch, shut FROM gates WHERE who = :subject"
    opened.append(_store(postgres_url, "DELETE FROM s WHERE u = :subject", gate_statement=gate, gate_query=query))
    await opened[0].deliver(delivery("ann", 11, "lift"))
    await crm.execute("INSERT INTO s VALUES ('ann')")
    assert await opened[0].deliver(delivery("ann", 10)) == Done(sessions=0)
    assert await opened[0].deliver(delivery("ann", 12)) == Done(sessions=1)


async def test_the_guards_heartbeat_is_reported_while_fresh(bench: PostgresBench) -> None:
    for age_ms, seen in ((1_000, True), (120_000, False)):
        beat = str(time_ns() // 1_000_000 - age_ms)
        await bench._run("DELETE FROM scim_guard WHERE name = $1", TENANT)
        await bench._run("INSERT INTO scim_guard VALUES ($1, $2::text::bigint)", TENANT, beat)
        assert await bench.store.deliver(delivery("ann", 10)) == Done(guard_seen=seen)


async def test_a_gate_without_a_guard_table_works(bench: PostgresBench, crm: Any) -> None:
    await crm.execute("DROP TABLE scim_guard")
    assert await bench.store.deliver(delivery("ann", 10)) == Done()


# --- the check ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["text", "integer", "smallint", "uuid"])
async def test_the_check_finds_a_canary_that_fits_and_a_missing_index(
    column: str, postgres_url: str, crm: Any, opened: list[SessionStore]
) -> None:
    await crm.execute(f"CREATE TABLE s (u {column})")
    opened.append(_store(postgres_url, "DELETE FROM s WHERE u = :subject"))
    bad = [finding for finding in await opened[0].check(TENANT) if not finding.ok]
    assert ["CREATE INDEX" in finding.hint for finding in bad] == [True]
    await crm.execute("CREATE INDEX ON s (u)")
    assert [finding for finding in await opened[0].check(TENANT) if not finding.ok] == []


async def test_the_check_sees_a_missing_index_on_sqlite(tmp_path: Path, opened: list[SessionStore]) -> None:
    bench = SqliteBench(tmp_path / "crm.db")
    await bench._run("DROP INDEX user_sessions_user")
    opened.append(bench.store)
    bad = [finding for finding in await bench.store.check(TENANT) if not finding.ok]
    assert ["user_sessions" in finding.what for finding in bad] == [True]


# --- presets ------------------------------------------------------------------------------------------------

SCHEMAS = {
    "laravel": (
        "CREATE TABLE sessions (id varchar(255) PRIMARY KEY, user_id bigint, payload text);"
        "CREATE TABLE users (id bigint PRIMARY KEY, remember_token varchar(100));"
        "INSERT INTO users VALUES (42, 'remember'), (43, 'remember');"
        "INSERT INTO sessions VALUES ('a', 42, ''), ('b', 42, ''), ('c', 43, '')",
        "42",
        3,
    ),
    "spring-jdbc": (
        "CREATE TABLE SPRING_SESSION (PRIMARY_ID CHAR(36) PRIMARY KEY, PRINCIPAL_NAME VARCHAR(100));"
        "INSERT INTO SPRING_SESSION VALUES ('a', 'ann'), ('b', 'bob')",
        "ann",
        1,
    ),
    "espocrm": (
        "CREATE TABLE auth_token (id varchar(17) PRIMARY KEY, user_id varchar(17), is_active boolean);"
        "INSERT INTO auth_token VALUES ('a', 'ann', true), ('b', 'ann', false), ('c', 'bob', true)",
        "ann",
        1,
    ),
    "django-db": (
        "CREATE TABLE user_sessions_session (session_key varchar(40) PRIMARY KEY, user_id integer);"
        "INSERT INTO user_sessions_session VALUES ('a', 42), ('b', 43)",
        "42",
        1,
    ),
    "connect-pg-simple": (
        'CREATE TABLE "session" (sid varchar PRIMARY KEY, sess json, expire timestamp(6));'
        """INSERT INTO "session" VALUES ('a', '{"passport":{"user":"ann"}}'), ('b', '{"passport":{"user":"bob"}}')""",
        "ann",
        1,
    ),
    "twenty": (
        'CREATE SCHEMA core; CREATE TABLE core."appToken" ("userId" uuid, type text, "revokedAt" timestamptz);'
        """INSERT INTO core."appToken" VALUES ('00000000-0000-0000-0000-000000000001', 'REFRESH_TOKEN', NULL)""",
        "00000000-0000-0000-0000-000000000001",
        1,
    ),
}


@pytest.mark.parametrize("preset", SCHEMAS)
async def test_presets_fit_postgres(preset: str, postgres_url: str, crm: Any, opened: list[SessionStore]) -> None:
    schema, subject, ended = SCHEMAS[preset]
    await crm.execute(schema)
    opened.append(make_store(kind="sql", url=postgres_url, preset=preset))
    assert await opened[0].deliver(delivery(subject, 10)) == Done(sessions=ended)
    assert await opened[0].deliver(delivery(subject, 10)) == Done(sessions=0)


@pytest.mark.parametrize("preset", ["laravel", "spring-jdbc", "espocrm", "django-db"])
async def test_presets_fit_sqlite(preset: str, tmp_path: Path, opened: list[SessionStore]) -> None:
    schema, subject, ended = SCHEMAS[preset]
    connection = sqlite3.connect(tmp_path / "crm.db")
    connection.executescript(schema)
    connection.close()
    opened.append(make_store(kind="sql", url=f"sqlite:///{tmp_path}/crm.db", preset=preset))
    assert await opened[0].deliver(delivery(subject, 10)) == Done(sessions=ended)
    assert await opened[0].deliver(delivery(subject, 10)) == Done(sessions=0)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_the_users_row_follows_the_gate(
    database: str, postgres_url: str, tmp_path: Path, opened: list[SessionStore]
) -> None:
    url = postgres_url if database == "postgres" else f"sqlite:///{tmp_path}/crm.db"
    opened.append(make_store(kind="sql", url=url, preset="django-user", subject="{userName}"))
    crm = _store(url, "UPDATE auth_user SET username = username WHERE username = :subject AND is_active = TRUE")
    opened.append(crm)
    for statement in (
        *guard.TABLES,
        "CREATE TABLE auth_user (id integer PRIMARY KEY, username varchar(150) UNIQUE, is_active boolean)",
        "INSERT INTO auth_user VALUES (1, 'ann', TRUE), (2, 'bob', TRUE)",
    ):
        await _run(url, statement)

    async def active(name: str) -> bool:
        return await crm.deliver(delivery(name, 10)) == Done(sessions=1)

    assert all(finding.ok for finding in await opened[0].check(TENANT))
    assert await opened[0].deliver(delivery("ann", 10)) == Done(sessions=1)
    assert (await active("ann"), await active("bob")) == (False, True)
    assert await opened[0].deliver(delivery("ann", 10)) == Done(sessions=0)
    assert await opened[0].deliver(delivery("ann", 9, "lift")) == Done()  # late
    assert not await active("ann")
    assert await opened[0].deliver(delivery("ann", 11, "lift")) == Done()
    assert await opened[0].deliver(delivery("ann", 10)) == Done()  # late
    assert await active("ann")
    await _run(url, "UPDATE auth_user SET is_active = FALSE WHERE username = 'bob'")  # by the CRM's administrator
    assert await opened[0].deliver(delivery("bob", 10, denied=False)) == Done()  # `.revoke`: a stolen laptop
    assert not await active("bob")


async def test_each_tenant_may_have_its_own_database(tmp_path: Path, opened: list[SessionStore]) -> None:
    benches = {tenant: SqliteBench(tmp_path / f"{tenant}.db") for tenant in (TENANT, "other")}
    opened += [bench.store for bench in benches.values()]
    opened.append(_store(f"sqlite:///{tmp_path}/{{tenant}}.db", "DELETE FROM user_sessions WHERE user_id = :subject"))
    for bench in benches.values():
        await bench.log_in("ann", "s1")
    assert await opened[-1].deliver(delivery("ann", 10)) == Done(sessions=1)
    assert await benches["other"].alive("ann") == {"s1"}
    assert await opened[-1].assert_gates("other", [("ann", Gate(10, True, 10))]) == Done(sessions=1)


def _store(url: str, *statements: str, **more: Any) -> SessionStore:
    return make_store(kind="sql", url=url, statements=list(statements), **more)


async def _run(url: str, statement: str) -> None:
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
            file.execute(statement)
        file.close()
        return
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


class _locked:
    """Another process's write lock on a SQLite file."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)

    def __enter__(self) -> None:
        self._connection.execute("BEGIN EXCLUSIVE")

    def __exit__(self, *problem: object) -> None:
        self._connection.close()
