"""One bench per way to keep sessions: a store as an operator configures it, and the CRM's hands and eyes."""

import pickle
import sqlite3
from pathlib import Path
from typing import Any, ClassVar, Protocol

import asyncpg
from redis.asyncio import Redis
from sessions import crm_functions

from scim_server.sessions.port import Action, Delivery, Gate, SessionStore
from scim_server.sessions.registry import open_store, read_stores
from scim_server.sessions.sql import gate_tables

TENANT = "acme"


def make_store(**entry: Any) -> SessionStore:
    """A store from one `[[session_stores]]` entry. Redis is given time: the test machine may be busy."""
    if entry["kind"] == "redis":
        entry = {"connect_timeout_ms": 2000, "timeout_ms": 2000, **entry}
    (settings,) = read_stores([{"name": "crm", **entry}])
    return open_store(settings)


def delivery(
    subject: str, epoch: int, action: Action = "terminate", denied: bool | None = None, **more: Any
) -> Delivery:
    """A terminate is denied and a lift is not, unless said otherwise."""
    gate = Gate(epoch, action == "terminate" if denied is None else denied, not_before=epoch)
    given = {"id": f"{subject}-{epoch}-{action}", "type": "user.deactivated", "timestamp": epoch, **more}
    return Delivery(tenant=TENANT, subject=subject, action=action, gate=gate, **given)


class Bench(Protocol):
    """A store and the CRM that shares its sessions with it."""

    store: SessionStore

    async def log_in(self, subject: str, *sids: str) -> None:
        """What the CRM writes at a login, once for each session id."""

    async def alive(self, subject: str) -> set[str]:
        """The ids of the subject's session records."""

    async def gate(self, subject: str) -> str | None:
        """The gate as its marker text."""

    async def aclose(self) -> None:
        """Give back connections."""


class RedisBench:
    """Sessions `sess:<sid>` with a companion `tok:<sid>`, and an index that is a SET or a ZSET."""

    entry: ClassVar[dict[str, Any]] = {
        "session_key": ["sess:{sid}", "tok:{sid}"],
        "index_key": "scim:idx:{tenant}:{subject}",
        "gate_key": "scim:gate:{tenant}:{subject}",
    }
    sorted_index = False

    def __init__(self, url: str, **more: Any) -> None:
        self.redis: Any = Redis.from_url(url)
        self.store = make_store(kind="redis", url=url, **{**self.entry, **more})

    async def log_in(self, subject: str, *sids: str) -> None:
        for sid in sids:
            await self.redis.set(f"sess:{sid}", f"{{}}{subject}")
            await self.redis.set(f"tok:{sid}", "token")
            index = f"scim:idx:{TENANT}:{subject}"
            await (self.redis.zadd(index, {sid: 1}) if self.sorted_index else self.redis.sadd(index, sid))

    async def alive(self, subject: str) -> set[str]:
        keys = [key async for key in self.redis.scan_iter("sess:*")]
        keys += [key async for key in self.redis.scan_iter("tok:*")]
        values = {key.decode(): await self.redis.get(key) for key in keys}
        mine = {key.partition(":")[2] for key, value in values.items() if value == f"{{}}{subject}".encode()}
        return mine | {
            key.partition(":")[2] for key in values if key.startswith("tok:") and f"sess:{key[4:]}" not in values
        }

    async def gate(self, subject: str) -> str | None:
        value = await self.redis.get(f"scim:gate:{TENANT}:{subject}")
        return value.decode() if value else None

    async def aclose(self) -> None:
        await self.store.aclose()
        await self.redis.aclose()


class RedisSortedIndexBench(RedisBench):
    """The index is a ZSET."""

    sorted_index = True


class RedisClusterBench(RedisBench):
    """The path that a Redis Cluster needs, on a server that runs as one."""

    def __init__(self, url: str) -> None:
        super().__init__(url, cluster=True)


class RedisKeyScanBench(RedisBench):
    """No index: the subject is in the session's key."""

    entry: ClassVar = {"session_key": "s:{subject}|{sid}", "gate_key": "scim:gate:{tenant}:{subject}"}

    async def log_in(self, subject: str, *sids: str) -> None:
        for sid in sids:
            await self.redis.set(f"s:{subject}|{sid}", "{}")

    async def alive(self, subject: str) -> set[str]:
        keys = [key.decode() async for key in self.redis.scan_iter("s:*")]
        return {key.rpartition("|")[2] for key in keys if key.rpartition("|")[0] == f"s:{subject}"}


class RedisValueScanBench(RedisBench):
    """No index: the subject is in the session's pickle, as Django keeps it."""

    entry: ClassVar = {"preset": "django-cache", "gate_key": "scim:gate:{tenant}:{subject}"}
    prefix = ":1:django.contrib.sessions.cache"

    async def log_in(self, subject: str, *sids: str) -> None:
        for sid in sids:
            await self.redis.set(f"{self.prefix}{sid}", self.record(subject))

    async def alive(self, subject: str) -> set[str]:
        keys = [key async for key in self.redis.scan_iter(f"{self.prefix}*")]
        records = {key.decode().removeprefix(self.prefix): await self.redis.get(key) for key in keys}
        return {sid for sid, record in records.items() if record == self.record(subject)}

    def record(self, subject: str) -> bytes:
        return pickle.dumps({"_auth_user_id": subject, "_auth_user_backend": "x"}, protocol=5)


class RedisHashBench(RedisBench):
    """All sessions are fields of one hash, as Frappe keeps them."""

    entry: ClassVar = {"preset": "frappe", "gate_key": "scim:gate:{tenant}:{subject}"}

    async def log_in(self, subject: str, *sids: str) -> None:
        for sid in sids:
            await self.redis.hset(f"{TENANT}|session", sid, pickle.dumps({"sid": sid, "user": subject}))

    async def alive(self, subject: str) -> set[str]:
        fields = await self.redis.hgetall(f"{TENANT}|session")
        return {
            sid.decode()
            for sid, record in fields.items()
            if record == pickle.dumps({"sid": sid.decode(), "user": subject})
        }


class PythonBench:
    """Sessions and gates in the CRM's memory; `function` of crm_functions ends them."""

    def __init__(self, function: str) -> None:
        crm_functions.forget_all()
        self.store = make_store(kind="python", function=f"sessions.crm_functions:{function}")

    async def log_in(self, subject: str, *sids: str) -> None:
        crm_functions.SESSIONS.setdefault(subject, set()).update(sids)

    async def alive(self, subject: str) -> set[str]:
        return set(crm_functions.SESSIONS.get(subject, ()))

    async def gate(self, subject: str) -> str | None:
        gate = crm_functions.GATES.get(subject)
        return str(gate) if gate else None

    async def aclose(self) -> None:
        await self.store.aclose()


class SqlBench:
    """A table `user_sessions` and the default gate."""

    TABLES = gate_tables() + (
        "CREATE TABLE user_sessions (sid TEXT PRIMARY KEY, user_id TEXT NOT NULL);"
        "CREATE INDEX user_sessions_user ON user_sessions (user_id);"
    )

    def __init__(self, url: str, **more: Any) -> None:
        self.url = url
        entry = {"statements": ["DELETE FROM user_sessions WHERE user_id = :subject"], "gate_statement": "default"}
        self.store = make_store(kind="sql", url=url, **{**entry, **more})

    async def log_in(self, subject: str, *sids: str) -> None:
        for sid in sids:
            await self._run("INSERT INTO user_sessions (sid, user_id) VALUES ($1, $2)", sid, subject)

    async def alive(self, subject: str) -> set[str]:
        return {row[0] for row in await self._run("SELECT sid FROM user_sessions WHERE user_id = $1", subject)}

    async def gate(self, subject: str) -> str | None:
        rows = await self._run("SELECT epoch, denied, not_before FROM scim_gate WHERE subject = $1", subject)
        return ":".join(map(str, rows[0])) if rows else None

    async def aclose(self) -> None:
        await self.store.aclose()

    async def _run(self, statement: str, *values: str) -> list[Any]:
        raise NotImplementedError


class PostgresBench(SqlBench):
    """On Postgres."""

    async def prepared(self) -> "PostgresBench":
        await self._run(self.TABLES)
        return self

    async def _run(self, statement: str, *values: str) -> list[Any]:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetch(statement, *values) if values else [await connection.execute(statement)]
        finally:
            await connection.close()


class SqliteBench(SqlBench):
    """On a SQLite file."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"sqlite:///{path}")
        self.path = path
        connection = sqlite3.connect(path)
        connection.executescript(self.TABLES)
        connection.close()

    async def _run(self, statement: str, *values: str) -> list[Any]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(statement, {str(n): value for n, value in enumerate(values, 1)}).fetchall()
        finally:
            connection.close()
