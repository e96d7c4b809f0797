"""Where the example CRM keeps things: its directory of users and contacts, and its sessions, in SQLite or in Redis.

Each session store brings the guard that reads the gates lying beside its sessions. The layouts are the ones that
the SCIM server's `session_stores` are configured with; see README.md.
"""

import json
import sqlite3
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import redis.asyncio

from scim_server.guard import TABLES, AsyncGuard, RedisGates, SqlGates

LIFETIME_S = 8 * 3600


@dataclass(frozen=True, slots=True)
class User:
    """`subject` is the key of this person's sessions: the externalId that the identity provider provisions."""

    user_name: str
    subject: str
    display_name: str


@dataclass(frozen=True, slots=True)
class StoredSession:
    """`epoch` is what the guard gave when this login began."""

    subject: str
    user_name: str
    epoch: int


class Sessions(Protocol):
    """A session store and its guard. `create` returns when session and index entry are both readable."""

    guard: AsyncGuard

    async def create(self, sid: str, session: StoredSession) -> None:
        """Store it for LIFETIME_S seconds."""

    async def load(self, sid: str) -> StoredSession | None:
        """None if it is unknown, deleted or expired."""

    async def delete(self, sid: str) -> None:
        """Forget it; unknown ids are fine."""

    async def aclose(self) -> None:
        """Give back connections."""


class Directory:
    """The CRM's own users and contacts."""

    def __init__(self, path: str, users: Path | None) -> None:
        """`users` is a JSON list of `{"userName", "subject", "displayName"}`, taken over at start."""
        self._db = _open(path)
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS crm_users"
            " (user_name TEXT PRIMARY KEY COLLATE NOCASE, subject TEXT NOT NULL UNIQUE, display_name TEXT NOT NULL)"
        )
        self._db.execute("CREATE TABLE IF NOT EXISTS contacts (name TEXT PRIMARY KEY, company TEXT, stage TEXT)")
        self._db.executemany("INSERT OR IGNORE INTO contacts VALUES (?, ?, ?)", _CONTACTS)
        if users is not None:
            self._db.executemany(
                "INSERT OR REPLACE INTO crm_users VALUES (:userName, :subject, :displayName)",
                json.loads(users.read_text()),
            )

    def find(self, user_name: str) -> User | None:
        """By userName in any case."""
        row = self._db.execute("SELECT * FROM crm_users WHERE user_name = ?", (user_name,)).fetchone()
        return None if row is None else User(*row)

    def user_names(self) -> list[str]:
        """For the login form; a real CRM would not tell."""
        return [name for (name,) in self._db.execute("SELECT user_name FROM crm_users ORDER BY user_name")]

    def contacts(self) -> list[tuple[str, str, str]]:
        """(name, company, stage)."""
        return self._db.execute("SELECT name, company, stage FROM contacts ORDER BY name").fetchall()

    def close(self) -> None:
        """Close the database."""
        self._db.close()


class SqliteSessions:
    """A table with an index on the subject. Every statement commits by itself, so the guard's second look is honest."""

    def __init__(self, path: str) -> None:
        self._db = _open(path)
        for statement in (*_SESSION_TABLE, *TABLES):
            self._db.execute(statement)
        gates = SqlGates(lambda: self._db)
        self.guard = AsyncGuard(gates.read, beat=gates.beat)

    async def create(self, sid: str, session: StoredSession) -> None:
        """See Sessions. Expired rows leave on the way."""
        self._db.execute("DELETE FROM user_sessions WHERE expires_at <= ?", (time.time(),))
        row = (sid, session.subject, session.user_name, session.epoch, time.time() + LIFETIME_S)
        self._db.execute("INSERT INTO user_sessions VALUES (?, ?, ?, ?, ?)", row)

    async def load(self, sid: str) -> StoredSession | None:
        """See Sessions."""
        row = self._db.execute(
            "SELECT subject, user_name, epoch FROM user_sessions WHERE sid = ? AND expires_at > ?",
            (sid, time.time()),
        ).fetchone()
        return None if row is None else StoredSession(*row)

    async def delete(self, sid: str) -> None:
        """See Sessions."""
        self._db.execute("DELETE FROM user_sessions WHERE sid = ?", (sid,))

    async def aclose(self) -> None:
        """See Sessions."""
        self._db.close()


class RedisSessions:
    """`sess:{sid}` holds the session; the SET `scim:idx:{tenant}:{subject}` lists a person's sids."""

    def __init__(self, url: str, tenant: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(url, decode_responses=True, socket_timeout=1)
        self._tenant = tenant
        gates = RedisGates(self._redis, tenant=tenant)
        self.guard = AsyncGuard(gates.read, beat=gates.beat)

    async def create(self, sid: str, session: StoredSession) -> None:
        """See Sessions."""
        index = self._index(session.subject)
        async with self._redis.pipeline(transaction=True) as steps:
            steps.sadd(index, sid)
            steps.expire(index, LIFETIME_S)
            steps.set(f"sess:{sid}", json.dumps(asdict(session)), ex=LIFETIME_S)
            await steps.execute()

    async def load(self, sid: str) -> StoredSession | None:
        """See Sessions."""
        text = await self._redis.get(f"sess:{sid}")
        return None if text is None else StoredSession(**json.loads(text))

    async def delete(self, sid: str) -> None:
        """See Sessions."""
        session = await self.load(sid)
        await self._redis.unlink(f"sess:{sid}")
        if session is not None:
            await self._redis.srem(self._index(session.subject), sid)

    async def aclose(self) -> None:
        """See Sessions."""
        await self._redis.aclose()

    def _index(self, subject: str) -> str:
        return f"scim:idx:{self._tenant}:{subject}"


def _open(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=5)  # None: autocommit
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    return db


_SESSION_TABLE = (
    "CREATE TABLE IF NOT EXISTS user_sessions (sid TEXT PRIMARY KEY, subject TEXT NOT NULL,"
    " user_name TEXT NOT NULL, epoch INTEGER NOT NULL, expires_at REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS user_sessions_subject ON user_sessions (subject)",
)

_CONTACTS = [
    ("Astrid Lindqvist", "Nordhamn Logistics", "Negotiation"),
    ("Bilal Haddad", "Haddad & Sons", "Proposal sent"),
    ("Carmen Ortega", "Solaria Energy", "Customer"),
    ("Daniel Okafor", "Lagos Fresh Foods", "First call"),
    ("Elif Yıldız", "Bosphorus Textiles", "Customer"),
    ("Françoise Marchand", "Atelier Marchand", "Renewal due"),
]
