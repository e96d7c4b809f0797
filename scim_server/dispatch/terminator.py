"""Delivers committed messages to the session stores at once, within a budget, before the request is answered.

It never raises and never waits longer than the budget: what it cannot confirm is the worker's. An attempt goes on
when the client disconnects. Unlike the worker it does not probe a store whose breaker is open.
"""

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from scim_server.clock import now_ms
from scim_server.dispatch.breaker import Breaker
from scim_server.dispatch.retry import echo_delay_ms, settlement
from scim_server.dispatch.tally import Tally
from scim_server.protocol.errors import ScimError
from scim_server.sessions.port import Delivery, Done, Gate, Outcome, Refused, Retry, SessionStore
from scim_server.storage.change import Queued
from scim_server.storage.database import Database
from scim_server.storage.echoes import Echoed, settle_echoes
from scim_server.storage.outbox import Claimed, Settlement, settle, silences
from scim_server.usecases.deployment import Delivered

BUDGET_S = 0.150
IN_FLIGHT = 64  # at most for requests, of all stores; the worker has batches
SHARE = 8  # at most of one store: its connections are few, and more would only wait there
SESSION_DAYS = 32
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Line:
    """One store with what this process knows of it. `budget_s` bounds an inline attempt, `http` its retries; `slots`
    keep a store that hangs from holding up requests to the others; `session_days` is how long a session may live."""

    store: SessionStore
    breaker: Breaker = field(default_factory=Breaker)
    budget_s: float = BUDGET_S
    http: bool = False
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SHARE))
    session_days: int = SESSION_DAYS
    tally: Tally = field(default_factory=Tally)


def slots(stores: int) -> asyncio.Semaphore:
    """The share of one of so many stores in what may be in flight."""
    return asyncio.Semaphore(max(1, min(SHARE, IN_FLIGHT // stores)))


class Terminator:
    """Delivers now, or leaves it to the worker."""

    def __init__(self, database: Database, lines: Mapping[str, Line]) -> None:
        self._database = database
        self._lines = lines
        self._running: set[asyncio.Task[Delivered]] = set()

    async def deliver_now(self, tenant: str, messages: Sequence[Queued]) -> Delivered:
        """Try each message of an inline store once; shielded from the cancellation of the caller."""
        task = asyncio.create_task(self._deliver(tenant, messages))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait for attempts under way, at shutdown."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _deliver(self, tenant: str, messages: Sequence[Queued]) -> Delivered:
        started = time.perf_counter()
        first: dict[tuple[str, str], str] = {}  # what else the change says of a subject comes after it, from the worker
        for message in messages:
            key = message.store, message.subject
            first[key] = min(message.id, first.get(key, message.id))
        now = [m for m in messages if first[m.store, m.subject] == m.id and self._is_for_now(m)]
        outcomes = dict(
            zip((m.id for m in now), await asyncio.gather(*(self._try(tenant, m) for m in now)), strict=True)
        )
        elapsed = (time.perf_counter() - started) * 1000
        await self._settle([m for m in now if m.ended is None], outcomes)
        await self._settle_second_looks([m for m in now if m.ended is not None], outcomes)
        outcomes |= {m.id: self._in_commit(m, outcomes.get(m.id)) for m in messages if m.ended is not None}
        if any(not isinstance(outcomes.get(m.id), Done) for m in messages if not m.held):
            await self._database.wake()
        return Delivered(outcomes, elapsed)

    def _is_for_now(self, message: Queued) -> bool:
        line = self._lines.get(message.store)
        if line is None or not line.store.inline or message.held or message.blocked:
            return False
        if message.ended is not None and message.action == "lift":
            return False  # a kill that the commit did is looked after once more: a login may have been under way
        return not line.breaker.is_open

    async def _try(self, tenant: str, message: Queued) -> Outcome:
        line = self._lines[message.store]
        succeeded = line.breaker.successes
        try:
            if tenant in await silent(self._database, line):
                return switched_off(message.store)
        except ScimError as problem:
            return Retry(problem.detail)
        try:
            async with asyncio.timeout(line.budget_s), line.slots:
                if line.breaker.is_open:  # while this waited for its slot
                    return Retry("the store does not answer")
                outcome = await attempt(line, delivery_of(tenant, message), message.ended or 0)
        except TimeoutError:
            outcome = Retry(f"no answer within {line.budget_s * 1000:.0f} ms")
        failed = isinstance(outcome, Retry)
        # Where others succeeded meanwhile, it was our own crowd that took the budget, or the trouble is this subject's.
        if not failed or line.breaker.successes == succeeded:
            line.breaker.record(success=not failed)
        return outcome

    async def _settle(self, messages: Sequence[Queued], outcomes: Mapping[str, Outcome]) -> None:
        settlements = [
            settlement(
                message.id,
                outcomes[message.id],
                attempts=0,
                tried_ms=0,
                http=self._lines[message.store].http,
                jitter=random.random(),  # noqa: S311 (spreads load, hides nothing)
            )
            for message in messages
        ]
        await record(self._database, settlements)

    async def _settle_second_looks(self, kills: Sequence[Queued], outcomes: Mapping[str, Outcome]) -> None:
        """They are echoes that came early. Of one that failed the echo is due already."""
        done = ((kill, outcome) for kill in kills if isinstance(outcome := outcomes[kill.id], Done))
        echoed = [
            Echoed(
                kill.id,
                echoes=0,
                sessions=outcome.sessions - (kill.ended or 0),
                delay_ms=None if outcome.guard_seen or not kill.denied else echo_delay_ms(0),
                guard_seen=outcome.guard_seen,
            )
            for kill, outcome in done
        ]
        try:
            await settle_echoes(self._database, echoed)
        except ScimError as problem:
            _log.warning("could not settle %d second looks: %s", len(echoed), problem.detail)

    def _in_commit(self, message: Queued, second_look: Outcome | None) -> Outcome:
        """What the commit did is done, whatever came of the look after it."""
        done = Done(message.ended or 0)
        line = self._lines.get(message.store)
        if isinstance(second_look, Done):
            return second_look
        if message.action == "terminate" and line is not None:
            line.tally.count(message.store, done, waited_ms=0, finds_sessions=True)
        return done


async def attempt(line: Line, delivery: Delivery, ended: int = 0) -> Outcome:
    """Deliver once and count it, with what the commit `ended` before. Raises nothing but cancellation and what the
    caller's time limit makes of it."""
    try:
        outcome = await line.store.deliver(delivery)
        if isinstance(outcome, Done) and ended:
            outcome = replace(outcome, sessions=outcome.sessions + ended)
    except (asyncio.CancelledError, TimeoutError):
        raise
    except Exception:  # noqa: BLE001 (a fault in one adapter must cost neither an answer nor the worker)
        _log.exception("session store %s failed in a way its adapter does not know", line.store.name)
        outcome = Retry("the store's adapter failed; the log has the traceback")
    if delivery.action == "terminate":
        waited_ms = now_ms() - delivery.timestamp
        line.tally.count(line.store.name, outcome, waited_ms=waited_ms, finds_sessions=not line.http)
    return outcome


async def record(database: Database, settlements: Sequence[Settlement]) -> None:
    """Settle; when the database is away the rows stay due and are delivered once more, which does no harm."""
    try:
        await settle(database, settlements)
    except ScimError as problem:
        _log.warning("could not settle %d deliveries: %s", len(settlements), problem.detail)


async def silent(database: Database, line: Line) -> Set[str]:
    """Names of tenants whose receiver wants no more messages; only HTTP has a word for that. Raises Unavailable."""
    return {one.tenant for one in await silences(database) if one.store == line.store.name} if line.http else set()


def switched_off(store: str) -> Refused:
    """What becomes of a message to a receiver that answered 410 Gone before."""
    return Refused(f"not sent, after a 410 Gone: scim-server outbox replay --store {store} switches it on")


def delivery_of(tenant: str, message: Queued | Claimed) -> Delivery:
    """An outbox row as the store sees it."""
    gate = None
    data = {"tenant": tenant, **message.data}
    if message.epoch is not None:
        gate = Gate(message.epoch, bool(message.denied), message.not_before or 0)
        data |= {"epoch": gate.epoch, "not_before": gate.not_before}
    timestamp = message.created if isinstance(message, Claimed) else message.not_before or 0
    return Delivery(message.id, tenant, message.subject, message.action, gate, message.type, timestamp, data)
