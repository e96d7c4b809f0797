"""Sessions in Redis: gate, index and session records in one round trip on a single server, step by step on a
cluster, where one script cannot reach the keys of all nodes. Written gate first, so both are equally safe.

Sessions that no index names are found by redis_scan; `check` is in redis_check. Nothing read here is decoded.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

import orjson
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import BlockingConnectionPool, parse_url
from redis.asyncio.retry import Retry as DriverRetry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ClusterCrossSlotError,
    MovedError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from scim_server.clock import new_id, now_ms
from scim_server.sessions.config import RedisSettings
from scim_server.sessions.port import (
    Delivery,
    Done,
    Finding,
    Gate,
    Outcome,
    Refused,
    Retry,
    SessionInfo,
    StoreUnreachable,
    Trial,
    session_info,
    unfit,
)
from scim_server.sessions.redis_check import check_store, try_canary
from scim_server.sessions.redis_keys import (
    ENDED,
    KEPT_MS,
    Wanted,
    ended_key,
    pieces,
    rendered,
    session_id,
    session_keys,
)
from scim_server.sessions.redis_scan import SharedScan

_SCRIPT: Final = Path(__file__).with_name("terminate.lua").read_bytes()
_SCRIPT_SHA: Final = hashlib.sha1(_SCRIPT, usedforsecurity=False).hexdigest()
_HEARTBEAT_MS: Final = 60_000
_CHUNK: Final = 100  # milliseconds of work: requests wait for no longer
_CONNECTIONS: Final = 16  # a burst waits for one of them: that is sooner than a hundred handshakes at once
_NO_RIGHTS: Final = (
    "NOPERM",
    "this user has no permissions",
    "user executing the script can't",
    "can't access at least",
)

Client = Any
"""redis.asyncio.Redis or RedisCluster: their annotations promise awaitables that may not be, so they are of no use."""


class _Server(NamedTuple):
    client: Client
    sentinels: Sequence[Client]
    scan: SharedScan


class _NoDatabase(RedisError):
    """The driver would quietly take database 0 for any path that is no number."""


class _Ended(NamedTuple):
    stale: bool
    sessions: int
    heartbeat: bytes | None


class RedisStore:
    """A `redis` store. A `url` with {tenant} makes one client per tenant, at its first use."""

    kind = "redis"
    inline = True
    events = False

    def __init__(self, settings: RedisSettings) -> None:
        self.name = settings.name
        self.settings = settings
        self.per_tenant = bool(settings.url.names())
        self._servers: dict[str, _Server] = {}

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Gate, then sessions. A delivery that comes after a newer gate let the subject in again ends nothing."""
        if delivery.action == "notify":
            return Done()
        if why := unfit(delivery.subject):
            return Refused(why)
        wanted = Wanted(delivery.tenant, delivery.subject)
        try:
            ended = await self._apply(delivery.id, wanted, delivery.gate, delivery.action == "terminate")
        except (RedisError, OSError) as problem:
            return self._outcome(problem)
        return Done(ended.sessions, _fresh(ended.heartbeat))

    async def assert_gates(self, tenant: str, gates: Sequence[tuple[str, Gate]]) -> Outcome:
        """Pipelined; where sessions must be looked for, one walk serves all denied subjects."""
        todo = [(Wanted(tenant, subject), gate) for subject, gate in gates if not unfit(subject)]
        try:
            return Done(await self._assert_all(tenant, todo))
        except (RedisError, OSError) as problem:
            return self._outcome(problem)

    async def beat(self, tenant: str, raised: str, value: int, other: str) -> int | None:
        """Under `gate_key`. Raise StoreUnreachable."""
        if self.settings.gate_key is None:
            return None
        keys = [rendered(self.settings.gate_key, Wanted(tenant, name)) for name in (raised, other)]
        async with self._answering():
            client = self.client(tenant)
            await client.set(keys[0], str(Gate(value, False, 0)), px=self._ttl_ms)
            return _epoch(await client.get(keys[1]))

    async def canary(self, tenant: str) -> Trial | None:
        """Writes a session as the CRM would, ends it and looks; None where sessions must be looked for."""
        if self.settings.finds_by == "scan":
            return None
        try:
            return await try_canary(self, self.client(tenant), tenant)
        except (RedisError, OSError) as problem:
            outcome = self._outcome(problem)
            return Trial(0.0, outcome.why) if isinstance(outcome, Retry) else None  # without the right to, no trial

    async def check(self, tenant: str) -> list[Finding]:
        """Ends a canary's session and says what it took, what rights it needs and whether the index is filled."""
        try:
            return await check_store(self, self.client(tenant), tenant)
        except (RedisError, OSError) as problem:
            return [Finding(False, f"{self.name}: {self._outcome(problem).why}")]

    async def show(self, tenant: str, subject: str) -> list[SessionInfo]:
        """Only records that exist. Raise StoreUnreachable."""
        wanted = Wanted(tenant, subject)
        async with self._answering():
            client = self.client(tenant)
            if self.settings.hash_key:
                return [session_info("session", sid) for sid in sorted(await self._find(new_id(), wanted))]
            sids = sorted(await self._sids(client, wanted, new_id()))
            async with client.pipeline(transaction=False) as pipe:
                for key in session_keys(self.settings.session_key[:1], wanted, sids)[0]:
                    pipe.pttl(key)
                left = await pipe.execute()
        return [
            session_info("session", sid, None if ms < 0 else ms // 1000)
            for sid, ms in zip(sids, left, strict=True)
            if ms != -2  # -2: the index outlived the record
        ]

    async def fingerprint(self) -> str | None:
        """Run and replication ids of every server in use; None before the first use of a `url` with {tenant}."""
        async with self._answering():
            if not self._servers and not self.settings.url.names():
                self.client("")
            found = [await self._identity(server.client) for server in self._servers.values()]
        return " ".join(sorted(found)) or None

    async def aclose(self) -> None:
        """Give back connections; break off walks."""
        for server in self._servers.values():
            await server.scan.aclose()
            for client in (server.client, *server.sentinels):
                await client.aclose()
        self._servers.clear()

    @property
    def _ttl_ms(self) -> int:
        return self.settings.max_session_days * 86_400_000

    def client(self, tenant: str) -> Client:
        """The client that serves a tenant."""
        return self._server(tenant).client

    # --- one delivery ---------------------------------------------------------------------------------------

    async def _apply(self, ticket: str, wanted: Wanted, gate: Gate | None, ending: bool) -> _Ended:
        client = self.client(wanted.tenant)
        scripted = not self.settings.cluster and self.settings.finds_by != "scan"
        keys, order = self._order(wanted, gate, ending=ending and scripted)
        ended = await _run(client, keys, order) if keys else _Ended(False, 0, None)
        if ending and not scripted and not ended.stale:
            count = await self._end_stepwise(client, wanted, ticket, denied=bool(gate and gate.denied))
            ended = ended._replace(sessions=count)
        if self.settings.cluster and self.settings.gate_key:
            heartbeat = await client.get(rendered(self.settings.guard_key, wanted))
            ended = ended._replace(heartbeat=heartbeat)
        return ended

    def _order(self, wanted: Wanted, gate: Gate | None, *, ending: bool) -> tuple[list[str], dict[str, Any]]:
        """KEYS and ARGV[1] of terminate.lua. On a cluster the gate alone: all keys must lie on one node."""
        settings = self.settings
        named: dict[str, str] = {}
        if settings.gate_key and gate:
            named["gate"] = rendered(settings.gate_key, wanted)
            if not settings.cluster:
                named["guard"] = rendered(settings.guard_key, wanted)
        if settings.index_key and ending:
            named["index"] = rendered(settings.index_key, wanted)
            if gate and gate.denied:  # who is still welcome is killed once: there is no echo
                named["ended"] = ended_key(settings.index_key, wanted)
        fixed = ending and settings.finds_by == "key"
        keys = [pieces(template, wanted) for template in settings.session_key]
        order = {
            "names": list(named),
            "value": str(gate),
            "epoch": gate.epoch if gate else 0,
            "denied": int(gate.denied) if gate else 0,
            "ttl": self._ttl_ms,
            "ending": ending,
            "fixed": fixed,
            "keys": keys,
            "kept": KEPT_MS,
        }
        return [*named.values(), *(text for texts in keys if fixed for text in texts)], order

    async def _end_stepwise(self, client: Client, wanted: Wanted, ticket: str, *, denied: bool) -> int:
        if self.settings.finds_by == "index":
            return await self._end_indexed(client, wanted, denied=denied)
        return await self._delete(client, wanted, await self._sids(client, wanted, ticket))

    async def _end_indexed(self, client: Client, wanted: Wanted, *, denied: bool) -> int:
        index, kind, members = await self._index(client, wanted)
        kept = f"{index}{ENDED}"
        earlier = await client.smembers(kept) if denied else ()
        ended = await self._delete(client, wanted, [session_id(member) for member in (*members, *earlier)])
        if members and denied:
            await client.sadd(kept, *members)
            await client.pexpire(kept, KEPT_MS)
        if members:  # those that were read, not the key: a login may have added one since
            await (client.srem if kind == b"set" else client.zrem)(index, *members)
        return ended

    async def _delete(self, client: Client, wanted: Wanted, sids: Sequence[bytes]) -> int:
        """How many session records were there; companions do not count."""
        if not sids:
            return 0
        async with client.pipeline(transaction=False) as pipe:
            for template in self.settings.hash_key:
                pipe.hdel(rendered(template, wanted), *sids)
            first, *others = session_keys(self.settings.session_key, wanted, sids) or ([],)
            for key in (*first, *(key for keys in others for key in keys)):
                pipe.execute_command("UNLINK", key)  # a cluster pipeline's own unlink() is not for pipelines
            counts: list[int] = await pipe.execute()
        return sum(counts[: len(first) or 1])

    async def _sids(self, client: Client, wanted: Wanted, ticket: str) -> list[bytes]:
        match self.settings.finds_by:
            case "index":
                return [session_id(member) for member in (await self._index(client, wanted))[2]]
            case "key":
                return [b""]
            case "scan":
                return await self._find(ticket, wanted)

    async def _index(self, client: Client, wanted: Wanted) -> tuple[str, bytes, list[bytes]]:
        assert self.settings.index_key is not None
        index = rendered(self.settings.index_key, wanted)
        kind = await client.type(index)
        if kind == b"none":
            return index, kind, []
        members = await (client.zrange(index, 0, -1) if kind == b"zset" else client.smembers(index))
        return index, kind, list(members)

    async def _find(self, ticket: str, wanted: Wanted) -> list[bytes]:
        found = await self._server(wanted.tenant).scan.find(ticket, [wanted])
        return list(found[wanted])

    # --- many gates -----------------------------------------------------------------------------------------

    async def _assert_all(self, tenant: str, todo: Sequence[tuple[Wanted, Gate]]) -> int:
        ended = 0
        client = self.client(tenant)
        denied: list[Wanted] = []
        for start in range(0, len(todo), _CHUNK):
            chunk = todo[start : start + _CHUNK]
            if self.settings.cluster:
                for wanted, gate in chunk:
                    ended += (await self._apply(new_id(), wanted, gate, gate.denied)).sessions
                continue
            answers = await self._assert_chunk(client, chunk)
            ended += sum(answer.sessions for answer in answers)
            denied += [
                wanted
                for (wanted, gate), answer in zip(chunk, answers, strict=True)
                if gate.denied and not answer.stale
            ]
        if denied and not self.settings.cluster and self.settings.finds_by == "scan":
            for wanted, sids in (await self._server(tenant).scan.find(new_id(), denied)).items():
                ended += await self._delete(client, wanted, list(sids))
        return ended

    async def _assert_chunk(self, client: Client, chunk: Sequence[tuple[Wanted, Gate]]) -> list[_Ended]:
        scripted = self.settings.finds_by != "scan"
        orders = [self._order(wanted, gate, ending=gate.denied and scripted) for wanted, gate in chunk]
        orders = [(keys, order) for keys, order in orders]
        if not all(keys for keys, _ in orders):
            return [await _run(client, keys, order) if keys else _Ended(False, 0, None) for keys, order in orders]
        first, *others = orders
        answers = [await _run(client, *first)]  # teaches the server the script if need be
        async with client.pipeline(transaction=False) as pipe:
            for keys, order in others:
                pipe.evalsha(_SCRIPT_SHA, len(keys), *keys, orjson.dumps(order))
            return answers + [_ended(raw) for raw in await pipe.execute()]

    # --- the server -----------------------------------------------------------------------------------------

    def _server(self, tenant: str) -> _Server:
        url = self.settings.url.render({"tenant": quote(tenant, safe="")}) or ""
        server = self._servers.get(url)
        if server is None:
            client, sentinels = _connect(self.settings, url)
            server = self._servers[url] = _Server(client, sentinels, SharedScan(self.settings, client))
        return server

    async def _identity(self, client: Client) -> str:
        if not self.settings.cluster:
            return _ids(await client.info())
        nodes = await client.info(target_nodes=RedisCluster.PRIMARIES)
        return " ".join(sorted(_ids(node) for node in nodes.values()))

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        try:
            yield
        except (RedisError, OSError) as problem:
            raise StoreUnreachable(f"{self.name}: {self._outcome(problem).why}") from None

    def _outcome(self, problem: RedisError | OSError) -> Retry | Refused:
        """Never quotes the driver beyond the error's code word: its texts may hold commands, keys and addresses."""
        code = str(problem).partition(" ")[0] if isinstance(problem, ResponseError) else ""
        match problem:
            case ResponseError() if any(sign in str(problem) for sign in _NO_RIGHTS):
                return Refused("the Redis user lacks rights: `sessions check` prints the ACL line it needs")
            case _NoDatabase():
                return Refused("the database in the store's url is not a number: write redis://host:port/0")
            case MovedError() | ClusterCrossSlotError():
                return Refused("this is a Redis Cluster: set cluster = true")
            case ResponseError() if "WRONGTYPE" in str(problem):
                return Refused("a key holds another type than it should: check index_key, gate_key and session_key")
            case AuthenticationError():
                return Retry("Redis refuses the user or password: correct the store's url")
            case ResponseError() if "read only replica" in str(problem):
                return Retry("this Redis is a replica, which takes no writes: correct the url, or use sentinels")
            case ResponseError() if "used memory >" in str(problem):
                return Retry("Redis is full (maxmemory) and takes no writes: give it memory")
            case RedisClusterException():
                return Retry("no cluster node answers, or this is no Redis Cluster: check url and cluster")
            case ResponseError():
                return Retry(f"Redis answers {code if code.isupper() else 'with an error'}")
            case _ if "timeout" in type(problem).__name__.lower() or "Timeout" in str(problem):
                limit = f"{self.settings.connect_timeout_ms} ms to connect, {self.settings.timeout_ms} ms to answer"
                return Retry(f"Redis does not answer in time ({limit})")
        return Retry("Redis cannot be reached, or the connection broke")


def _connect(settings: RedisSettings, url: str) -> tuple[Client, Sequence[Client]]:
    """The client and, if there are any, those of the sentinels that it asks for the master."""
    address = urlsplit(url)
    if address.scheme != "unix" and not address.path.strip("/").isdigit() and address.path.strip("/"):
        raise _NoDatabase
    options: dict[str, Any] = {
        "socket_connect_timeout": settings.connect_timeout_ms / 1000,
        "socket_timeout": settings.timeout_ms / 1000,
        "retry": DriverRetry(NoBackoff(), 0),  # ours are durable and spread out; the driver's cost seconds
        "protocol": 2,
        "driver_info": None,  # a connection that says who it is needs more round trips and rights
    }
    if settings.cluster:
        return RedisCluster.from_url(url, **options), ()
    if not settings.sentinels:
        pool = BlockingConnectionPool.from_url(url, max_connections=_CONNECTIONS, timeout=None, **options)
        return Redis.from_pool(pool), ()
    nodes = [(host, int(port)) for host, _, port in (node.rpartition(":") for node in settings.sentinels)]
    master: dict[str, Any] = {name: value for name, value in parse_url(url).items() if name not in ("host", "port")}
    secure = master.pop("connection_class", None) is not None
    sentinel = Sentinel(nodes, sentinel_kwargs=options, **options)  # type: ignore[no-untyped-call]
    return sentinel.master_for(settings.service or "", ssl=secure, **master), sentinel.sentinels


async def _run(client: Client, keys: Sequence[str], order: dict[str, Any]) -> _Ended:
    text = orjson.dumps(order)
    try:
        raw = await client.evalsha(_SCRIPT_SHA, len(keys), *keys, text)
    except NoScriptError:
        raw = await client.eval(_SCRIPT, len(keys), *keys, text)
    return _ended(raw)


def _ended(raw: list[Any]) -> _Ended:
    stale, sessions, *heartbeat = raw
    return _Ended(bool(stale), sessions, heartbeat[0] if heartbeat else None)


def _fresh(heartbeat: bytes | None) -> bool:
    return bool(heartbeat and heartbeat.isdigit() and now_ms() - int(heartbeat) < _HEARTBEAT_MS)


def _epoch(marker: bytes | None) -> int:
    epoch = (marker or b"").partition(b":")[0]
    return int(epoch) if epoch.isdigit() else 0


def _ids(info: dict[str, Any]) -> str:
    return f"{info.get('run_id')}/{info.get('master_replid')}"
