"""`scim-server sessions check` for a `redis` store: a canary's session is written, ended and looked for.

What the CRM itself put there is only counted, in a sample of its keys.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Protocol

from redis.exceptions import RedisError

from scim_server.clock import new_id, now_ms
from scim_server.events.subject import Template
from scim_server.sessions.config import RedisSettings
from scim_server.sessions.port import Delivery, Done, Finding, Gate, Outcome, Trial
from scim_server.sessions.redis_keys import ENDED, Wanted, key_shape, match_pattern, rendered, session_keys
from scim_server.sessions.redis_values import ENCODINGS

_SAMPLE = 2000
_CANARY_TTL_MS = 60_000


class _Store(Protocol):
    name: str
    settings: RedisSettings

    async def deliver(self, delivery: Delivery) -> Outcome: ...


async def check_store(store: _Store, client: Any, tenant: str) -> list[Finding]:
    """Raise RedisError or OSError for what keeps it from going on; it cleans up behind itself even then."""
    settings = store.settings
    canary = _Canary(settings, Wanted(tenant, f"scim-check-{new_id()}"), Gate(epoch=1, denied=True, not_before=0))
    findings = [Finding(True, f"{store.name}: rights needed", _rights(settings, tenant))]
    async with canary.planted(client):
        started = perf_counter()
        outcome = await store.deliver(canary.delivery())
        took_ms = (perf_counter() - started) * 1000
        if not isinstance(outcome, Done):
            return [*findings, Finding(False, f"{store.name}: a canary session was not ended: {outcome.why}")]
        findings += await canary.verdict(client, store.name, outcome)
    findings.append(_speed(store.name, settings, took_ms))
    if settings.index_key:
        findings.append(await _index_filled(client, store.name, settings))
    return findings


async def try_canary(store: _Store, client: Any, tenant: str) -> Trial:
    """End a canary's session, as often as one likes: it is always the same subject's. Raise as `check_store` does."""
    canary = _Canary(store.settings, Wanted(tenant, "scim-canary"), Gate(now_ms(), denied=True, not_before=0))
    async with canary.planted(client):
        started = perf_counter()
        outcome = await store.deliver(canary.delivery())
        seconds = perf_counter() - started
        if not isinstance(outcome, Done):
            return Trial(seconds, outcome.why)
        faults = [finding for finding in await canary.verdict(client, store.name, outcome) if not finding.ok]
    return Trial(seconds, f"{faults[0].what} {faults[0].hint}".strip() if faults else None)


class _Canary:
    """A subject that nobody has, with one session."""

    def __init__(self, settings: RedisSettings, wanted: Wanted, standing: Gate) -> None:
        self._settings = settings
        self._wanted = wanted
        self._standing = standing
        self._sid = new_id().encode()
        self._keys = [keys[0] for keys in session_keys(settings.session_key, wanted, [self._sid])]
        self._hashes: list[str] = [rendered(template, wanted) for template in settings.hash_key]
        self._index = settings.index_key and rendered(settings.index_key, wanted)
        self._gate = settings.gate_key and rendered(settings.gate_key, wanted)

    @asynccontextmanager
    async def planted(self, client: Any) -> AsyncIterator[None]:
        record = b"".join(_record(template, self._wanted) for template in self._settings.value_contains)
        try:
            for key in self._keys:
                await client.set(key, record, px=_CANARY_TTL_MS)
            for name in self._hashes:
                await client.hset(name, self._sid, record)
            if self._index:
                await client.sadd(self._index, self._sid)
            yield
        finally:
            await self._removed(client)

    def delivery(self) -> Delivery:
        return Delivery(new_id(), *self._wanted, "terminate", self._standing, "scim.check", 0)

    async def verdict(self, client: Any, name: str, outcome: Done) -> list[Finding]:
        records = [bool(await client.exists(key)) for key in self._keys]
        records += [bool(await client.hexists(key, self._sid)) for key in self._hashes]
        left = any(records)
        findings = [
            Finding(not left and outcome.sessions == 1, f"{name}: a canary session was ended")
            if not left
            else Finding(False, f"{name}: the canary session is still there", "check session_key and value_contains")
        ]
        if self._gate:
            written = await client.get(self._gate) == str(self._standing).encode()
            findings.append(Finding(written, f"{name}: the gate was written before the session ended"))
        return findings

    async def _removed(self, client: Any) -> None:
        try:
            for key in self._keys:
                await client.unlink(key)
            for name in filter(None, (self._index, self._index and self._index + ENDED, self._gate)):
                await client.unlink(name)
            for name in self._hashes:
                await client.hdel(name, self._sid)
        except RedisError:
            return  # the reason is being reported already, and all but the gate expires


def _record(template: Template, wanted: Wanted) -> bytes:
    texts = (
        literal.encode()
        + (wanted.tenant.encode() if name == "tenant" else ENCODINGS[name](wanted.subject)[0] if name else b"")
        for literal, name in template.parts
    )
    return b"".join(texts)


def _speed(name: str, settings: RedisSettings, took_ms: float) -> Finding:
    what = f"{name}: ending a session took {took_ms:.1f} ms"
    if settings.finds_by == "scan":
        return Finding(True, f"{what}, by looking through all keys", "let the CRM fill an index and set index_key")
    if took_ms > settings.timeout_ms / 2:
        return Finding(True, what, f"close to timeout_ms = {settings.timeout_ms}: raise it, or move closer")
    return Finding(True, what)


async def _index_filled(client: Any, name: str, settings: RedisSettings) -> Finding:
    assert settings.index_key is not None
    keys = await _sample(client, settings)
    indexes = _matching(settings.index_key, keys)
    sessions = _matching(settings.session_key[0], keys)
    what = f"{name}: of {len(keys)} keys looked at, {sessions} are sessions and {indexes} are indexes"
    if sessions and not indexes:
        return Finding(
            False, what, "the CRM does not fill the index, or index_key is wrong: no kill would find a session"
        )
    return Finding(True, what)


async def _sample(client: Any, settings: RedisSettings) -> list[bytes]:
    if not settings.cluster:
        return list((await client.scan(0, count=_SAMPLE))[1])
    found: list[bytes] = []
    for node in client.get_primaries():
        found += (await client.scan(0, count=_SAMPLE, target_nodes=[node]))[1]
    return found


def _matching(template: Template, keys: list[bytes]) -> int:
    shape = key_shape(template)
    return sum(1 for key in keys if shape.fullmatch(key))


def _rights(settings: RedisSettings, tenant: str) -> str:
    """The least that works, as an ACL line. SADD, SET of sessions and EXISTS are only for this check
    and the canary."""
    templates = [*settings.session_key, *settings.hash_key]
    if settings.index_key:
        templates.append(settings.index_key)
    if settings.gate_key:
        templates += [settings.gate_key, settings.guard_key]
    patterns = [match_pattern(template) for template in templates]
    if settings.index_key and not match_pattern(settings.index_key).endswith("*"):
        patterns.append(match_pattern(settings.index_key) + ENDED)
    keys = " ".join(f"~{_quoted(pattern)}" for pattern in dict.fromkeys(patterns))
    commands = ["get", "set", "unlink", "exists", "pttl", "info", "ping", "eval", "evalsha", "scan"]
    if settings.index_key:
        commands += ["type", "smembers", "zrange", "sadd", "pexpire"]
    if settings.hash_key:
        commands += ["hscan", "hset", "hdel", "hexists"]
    elif settings.value_contains:
        commands.append("mget")
    if settings.cluster:
        commands += ["srem", "zrem", "cluster|slots", "cluster|nodes", "cluster|shards", "readonly", "command"]
    else:
        commands.append("select")
    allowed = " ".join(f"+{command}" for command in commands)
    return f"ACL SETUSER scim-server on >PASSWORD resetkeys {keys} resetchannels -@all {allowed}"


def _quoted(pattern: str) -> str:
    return re.sub(r"\s", "?", pattern)
