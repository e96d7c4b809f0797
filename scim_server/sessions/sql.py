"""Sessions in a SQL database: the gate is committed first, then the statements run in a transaction of their own.

Not in one transaction: a login that commits its session between our snapshot and our commit would see no gate, and
we would not see its session. The databases are in sql_postgres, sql_sqlite and sql_mysql.
"""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Final
from urllib.parse import quote

from scim_server import guard
from scim_server.clock import new_id, now_ms
from scim_server.sessions.config import SqlSettings
from scim_server.sessions.port import (
    CANARIES,
    Delivery,
    Done,
    Finding,
    Gate,
    Outcome,
    Refused,
    Retry,
    StoreUnreachable,
    Trial,
    unfit,
)
from scim_server.sessions.sql_database import Rejected, Runner, SqlDatabase, Unanswered, Unconvertible
from scim_server.sessions.sql_statement import Statement

_GATE_QUERY: Final = Statement.parse("SELECT epoch, denied FROM scim_gate WHERE subject = :subject")
_HEARTBEAT: Final = Statement.parse("SELECT seen_ms FROM scim_guard WHERE name = :tenant")
_FORGET: Final = Statement.parse("DELETE FROM scim_gate WHERE subject = :subject")
_HEARTBEAT_MS: Final = 60_000
Apply = Callable[[str, str, Gate | None, bool], Awaitable[Done]]


def gate_tables() -> str:
    """The DDL of the default gate: `scim_gate`, which we write, and `scim_guard`, the heartbeat of the CRM's guard."""
    return ";\n".join(guard.TABLES) + ";\n"


class SqlStore:
    """A `sql` store. `connect(url, timeout_ms)` makes its database; with {tenant} in the url one per tenant."""

    kind = "sql"
    inline = True
    events = False

    def __init__(self, settings: SqlSettings, connect: Callable[[str, int], SqlDatabase]) -> None:
        self.name = settings.name
        self._settings = settings
        self._connect = connect
        self._databases: dict[str, SqlDatabase] = {}
        self._default_gate = settings.gate_statement == "default"
        self._gate_query = settings.gate_query or (_GATE_QUERY if self._default_gate else None)
        self.per_tenant = bool(settings.url.names())

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Gate, then sessions. A delivery that comes after a newer gate let the subject in again ends nothing."""
        return await self._deliver(delivery, self._apply)

    async def deliver_within(self, connection: Any, delivery: Delivery) -> Outcome:
        """The same on a connection of the server's own to this database, inside its transaction, without a look at the
        guard. After anything but Done the caller has to roll back."""

        async def apply(tenant: str, subject: str, gate: Gate | None, ending: bool) -> Done:
            runner = self._database(tenant).within(connection)
            return Done(await self._bring_in_line(runner, _values(tenant, subject, gate), gate, ending))

        return await self._deliver(delivery, apply)

    async def assert_gates(self, tenant: str, gates: Sequence[tuple[str, Gate]]) -> Outcome:
        """One after the other: a database that restarts has lost nothing it confirmed, so this is rare. A subject that
        is not of the column's type has no sessions, and keeps none of the others waiting."""
        ended = 0
        try:
            for subject, gate in gates:
                if unfit(subject):
                    continue
                try:
                    ended += (await self._apply(tenant, subject, gate, gate.denied)).sessions
                except Unconvertible:
                    continue
        except Unanswered as problem:
            return Retry(str(problem))
        except Rejected as problem:
            return Refused(str(problem))
        return Done(ended)

    async def beat(self, tenant: str, raised: str, value: int, other: str) -> int | None:
        """Needs a gate that can be read back and takes any text as its subject. Raise StoreUnreachable."""
        database = self._database(tenant)
        statement = self._gate_statement(database)
        if statement is None or self._gate_query is None:
            return None
        try:
            await database.execute([statement], _values(tenant, raised, Gate(value, False, 0)))
            if not await database.fetch(self._gate_query, _values(tenant, raised, None)):
                return None  # a statement that only updates
            rows = await database.fetch(self._gate_query, _values(tenant, other, None))
        except Unconvertible:
            return None
        except (Unanswered, Rejected) as problem:
            raise StoreUnreachable(f"{self.name}: {problem}") from None
        return int(rows[0][0]) if rows else 0

    async def canary(self, tenant: str) -> Trial | None:
        """Gate and statements for a subject without sessions: we do not know how the CRM would write one."""
        started = perf_counter()
        for canary in CANARIES:
            try:
                await self._apply(tenant, canary, Gate(now_ms(), True, 0), ending=True)
            except Unconvertible:
                continue
            except (Unanswered, Rejected) as problem:
                return Trial(perf_counter() - started, str(problem))
            return Trial(perf_counter() - started)
        return None

    async def check(self, tenant: str) -> list[Finding]:
        """Runs the statements for a subject that nobody has, and asks how the database would find a session."""
        canaries = _canaries(new_id())
        for canary in canaries:
            try:
                return await self._prove(tenant, canary)
            except Unconvertible as problem:
                if canary == canaries[-1]:
                    return [Finding(False, f"{self.name}: {problem}")]
            except (Unanswered, Rejected) as problem:
                return [Finding(False, f"{self.name}: {problem}")]
        return []

    async def show(self, tenant: str, subject: str) -> None:
        """None: statements end sessions, they do not name them."""

    async def fingerprint(self) -> str | None:
        """Of every database in use. Raise StoreUnreachable."""
        if not self._databases and not self._settings.url.names():
            self._database("")
        try:
            found = [await database.fingerprint() for database in self._databases.values()]
        except (Unanswered, Rejected) as problem:
            raise StoreUnreachable(f"{self.name}: {problem}") from None
        return " ".join(sorted(one for one in found if one)) or None

    async def aclose(self) -> None:
        """Give back connections."""
        for database in self._databases.values():
            await database.aclose()
        self._databases.clear()

    async def _deliver(self, delivery: Delivery, apply: Apply) -> Outcome:
        if delivery.action == "notify":
            return Done()
        if why := unfit(delivery.subject):
            return Refused(why)
        try:
            return await apply(delivery.tenant, delivery.subject, delivery.gate, delivery.action == "terminate")
        except Unanswered as problem:
            return Retry(str(problem))
        except Rejected as problem:
            return Refused(str(problem))

    async def _apply(self, tenant: str, subject: str, gate: Gate | None, ending: bool) -> Done:
        database = self._database(tenant)
        values = _values(tenant, subject, gate)
        ended = await self._bring_in_line(database, values, gate, ending)
        return Done(ended, await self._guard_seen(database, values))

    async def _bring_in_line(self, database: Runner, values: dict[str, Any], gate: Gate | None, ending: bool) -> int:
        stale = gate is not None and await self._write_gate(database, gate, values)
        # A revocation changes nobody's standing: whom the CRM itself shut out it must not let in.
        follow = gate is not None and (gate.denied or not ending)
        users = self._settings.user_statements if follow else ()
        statements = (*users, *(self._settings.statements if ending else ()))
        if stale or not statements:
            return 0
        changed = sum(await database.execute(statements, values))
        return changed if ending else 0

    async def _write_gate(self, database: Runner, gate: Gate, values: dict[str, Any]) -> bool:
        """Whether the stored gate is newer and lets the subject in: what it has now are newer sessions."""
        statement = self._gate_statement(database)
        if statement is None or (await database.execute([statement], values))[0]:
            return False
        if self._gate_query is None:
            return False
        rows = await database.fetch(self._gate_query, values)
        if not rows:
            return False
        epoch, denied = int(rows[0][0]), bool(int(rows[0][1]))
        return not denied and (epoch > gate.epoch or (epoch == gate.epoch and gate.denied))

    def _gate_statement(self, database: Runner) -> Statement | None:
        if self._settings.gate_statement == "default":
            return database.dialect.gate
        return self._settings.gate_statement

    async def _guard_seen(self, database: SqlDatabase, values: dict[str, Any]) -> bool:
        if not self._default_gate:
            return False
        try:
            rows = await database.fetch(_HEARTBEAT, values)
        except Rejected:  # no such table: a gate that nobody reads
            return False
        return bool(rows) and now_ms() - int(rows[0][0]) < _HEARTBEAT_MS

    async def _prove(self, tenant: str, canary: str) -> list[Finding]:
        gate = Gate(epoch=1, denied=True, not_before=0)
        values = _values(tenant, canary, gate)
        database = self._database(tenant)
        gate_statement = self._gate_statement(database)
        own = (*self._settings.user_statements, *self._settings.statements)
        statements = [*([gate_statement] if gate_statement else []), *own]
        findings: list[Finding] = []
        for statement in own:
            if table := await database.unindexed(statement, values):
                what = f"{self.name}: no index helps {statement.text[:60]!r}, every kill reads all of {table}"
                findings.append(Finding(False, what, "CREATE INDEX on the column compared with :subject"))
        started = perf_counter()
        try:
            await self._apply(tenant, canary, gate, ending=True)
            took_ms = (perf_counter() - started) * 1000
        finally:
            left = await self._forget(database, values)
        findings.append(Finding(True, f"{self.name}: gate and statements ran in {took_ms:.1f} ms"))
        if rights := await database.rights([*statements, *([_HEARTBEAT] if self._default_gate else [])]):
            findings.append(Finding(True, f"{self.name}: rights needed", rights))
        return findings + left

    async def _forget(self, database: SqlDatabase, values: dict[str, Any]) -> list[Finding]:
        if not self._default_gate:
            return []
        try:
            await database.execute([_FORGET], values)
        except Rejected:
            hint = "harmless; grant DELETE on scim_gate if it should go"
            return [Finding(True, f"{self.name}: the canary's row stays in scim_gate", hint)]
        return []

    def _database(self, tenant: str) -> SqlDatabase:
        url = self._settings.url.render({"tenant": quote(tenant, safe="")}) or ""
        database = self._databases.get(url)
        if database is None:
            database = self._databases[url] = self._connect(url, self._settings.timeout_ms)
        return database


def _values(tenant: str, subject: str, gate: Gate | None) -> dict[str, Any]:
    gate = gate or Gate(0, False, 0)
    return {
        "subject": subject,
        "tenant": tenant,
        "epoch": gate.epoch,
        "denied": gate.denied,
        "not_before": gate.not_before,
    }


def _canaries(unique: str) -> tuple[str, str, str]:
    """Subjects that nobody has, for columns of text, uuid and (any size of) integer."""
    return f"scim-check-{unique}", unique, str(-1 - int(unique[-4:], 16) % 30_000)
