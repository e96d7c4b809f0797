"""The CRM's side of a session store: what it writes at a login and what it still finds, at once.

Blocking on purpose: nothing of the server in the same event loop runs between an answer and the look after it.
"""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from scim_server.sessions.sql import gate_tables

SUBJECT = "{externalId}"
PATIENT: dict[str, Any] = {"budget_ms": 2_000, "connect_timeout_ms": 5_000, "timeout_ms": 5_000}
"""For tests of what happens, not of how long a store may take: a busy machine is slower than any budget."""
AS_SHIPPED: dict[str, Any] = {"budget_ms": 150, "connect_timeout_ms": 50, "timeout_ms": 100}
"""For tests of stores that die and hang: what a `redis` store has when nothing is said."""


class Crm(Protocol):
    """A CRM and the `[[session_stores]]` entry that leads to its sessions."""

    entry: dict[str, Any]

    def log_in(self, subject: str, sessions: int = 3) -> None:
        """So many logins."""

    def alive(self, *subjects: str) -> int:
        """Session records that exist, of all these people together."""

    def gate(self, subject: str) -> tuple[int, bool, int] | None:
        """Epoch, denied, not before."""


class RedisCrm:
    """Sessions `<name>:s:<subject>.<n>`, an index, a gate. `name` keeps two of them in one Redis apart."""

    def __init__(self, url: str, name: str = "crm", tenant: str = "default", **more: Any) -> None:
        self._redis = Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 0), socket_timeout=10)
        self._name, self._tenant = name, tenant
        self.entry = {
            "name": name,
            "kind": "redis",
            "url": url,
            "subject": SUBJECT,
            "session_key": f"{name}:s:{{sid}}",
            "index_key": f"{name}:i:{{tenant}}:{{subject}}",
            "gate_key": f"{name}:g:{{tenant}}:{{subject}}",
            **PATIENT,
            **more,
        }

    def log_in(self, subject: str, sessions: int = 3) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            for number in range(sessions):
                pipe.set(f"{self._name}:s:{subject}.{number}", "{}")
                pipe.sadd(f"{self._name}:i:{self._tenant}:{subject}", f"{subject}.{number}")
            pipe.execute()

    def alive(self, *subjects: str) -> int:
        with self._redis.pipeline(transaction=False) as pipe:
            for subject in subjects:
                for number in range(5):
                    pipe.exists(f"{self._name}:s:{subject}.{number}")
            return sum(pipe.execute())

    def gate(self, subject: str) -> tuple[int, bool, int] | None:
        marker = self._redis.get(f"{self._name}:g:{self._tenant}:{subject}")
        if marker is None:
            return None
        epoch, denied, not_before = str(marker).split(":")
        return int(epoch), denied == "1", int(not_before)

    def close(self) -> None:
        """Give back the connection."""
        self._redis.close()


class SqlCrm:
    """A table `user_sessions` and the default gate in a SQLite file."""

    def __init__(self, path: Path, name: str = "crm", **more: Any) -> None:
        self._path = path
        self.entry = {
            "name": name,
            "kind": "sql",
            "url": f"sqlite:///{path}",
            "subject": SUBJECT,
            "statements": ["DELETE FROM user_sessions WHERE subject = :subject"],
            "gate_statement": "default",
            "budget_ms": PATIENT["budget_ms"],
            **more,
        }
        with self._connected() as connection:
            connection.executescript(
                gate_tables()
                + "PRAGMA journal_mode = wal; CREATE TABLE user_sessions (sid TEXT PRIMARY KEY, subject TEXT NOT NULL);"
                + "CREATE INDEX user_sessions_subject ON user_sessions (subject);"
            )

    def log_in(self, subject: str, sessions: int = 3) -> None:
        with self._connected() as connection:
            rows = [(f"{subject}.{number}", subject) for number in range(sessions)]
            connection.executemany("INSERT OR REPLACE INTO user_sessions VALUES (?, ?)", rows)

    def run(self, sql: str) -> None:
        """Any statements."""
        with self._connected() as connection:
            connection.executescript(sql)

    def alive(self, *subjects: str) -> int:
        with self._connected() as connection:
            query = "SELECT count(*) FROM user_sessions WHERE subject IN (SELECT value FROM json_each(?))"
            return int(connection.execute(query, [json.dumps(subjects)]).fetchone()[0])

    def gate(self, subject: str) -> tuple[int, bool, int] | None:
        with self._connected() as connection:
            query = "SELECT epoch, denied, not_before FROM scim_gate WHERE subject = ?"
            row = connection.execute(query, [subject]).fetchone()
        return row and (int(row[0]), bool(row[1]), int(row[2]))

    def close(self) -> None:
        """Nothing is kept open."""

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=10)
        try:
            with connection:
                yield connection
        finally:
            connection.close()


class PostgresCrm:
    """The same tables in a Postgres database. In a thread of its own: the event loop of the tests may be running."""

    def __init__(self, url: str, name: str = "crm", **more: Any) -> None:
        self._url = url
        self._thread = ThreadPoolExecutor(1)
        self.entry = {
            "name": name,
            "kind": "sql",
            "url": url,
            "subject": SUBJECT,
            "statements": ["DELETE FROM user_sessions WHERE subject = :subject"],
            "gate_statement": "default",
            "budget_ms": PATIENT["budget_ms"],
            **more,
        }
        self.run(
            gate_tables()
            + "CREATE TABLE user_sessions (sid TEXT PRIMARY KEY, subject TEXT NOT NULL);"
            + "CREATE INDEX user_sessions_subject ON user_sessions (subject);"
        )

    def log_in(self, subject: str, sessions: int = 3) -> None:
        for number in range(sessions):
            self.run("INSERT INTO user_sessions VALUES ($1, $2)", f"{subject}.{number}", subject)

    def alive(self, *subjects: str) -> int:
        return int(self.run("SELECT count(*) FROM user_sessions WHERE subject = ANY($1::text[])", list(subjects))[0][0])

    def gate(self, subject: str) -> tuple[int, bool, int] | None:
        rows = self.run("SELECT epoch, denied, not_before FROM scim_gate WHERE subject = $1", subject)
        return (int(rows[0][0]), bool(rows[0][1]), int(rows[0][2])) if rows else None

    def run(self, sql: str, *values: Any) -> list[Any]:
        """Any statement; the rows it returns."""
        return self._thread.submit(lambda: asyncio.run(self._once(sql, *values))).result()

    def close(self) -> None:
        """Give back the thread."""
        self._thread.shutdown()

    async def _once(self, sql: str, *values: Any) -> list[Any]:
        connection = await asyncpg.connect(self._url)
        try:
            return list(await connection.fetch(sql, *values)) if values else [await connection.execute(sql)]
        finally:
            await connection.close()
