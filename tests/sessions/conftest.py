"""A Redis that runs as a cluster of one: it has all slots, and refuses what crosses them as any cluster does."""

import subprocess
import tempfile
from collections.abc import Iterator
from time import monotonic

import pytest
from redis import Redis
from redis.exceptions import RedisError
from services.processes import free_port
from services.redis import find_binary


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[str]:
    """Its URL."""
    port = next(port for port in iter(free_port, 0) if port < 50_000)  # its bus takes the port 10,000 above
    with tempfile.TemporaryDirectory() as home:
        options = ["--port", str(port), "--cluster-enabled", "yes", "--dir", home, "--save", "", "--bind", "127.0.0.1"]
        process = subprocess.Popen([find_binary(), *options], stdout=subprocess.DEVNULL)
        try:
            with Redis(port=port) as client:
                _form(client)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def redis_cluster_url(redis_cluster: str) -> str:
    """The URL of the cluster, emptied."""
    with Redis.from_url(redis_cluster) as client:
        client.flushall()
    return redis_cluster


def _form(client: Redis) -> None:
    """Give it all slots and wait until it takes writes."""
    deadline = monotonic() + 60
    slots: tuple[int, ...] = tuple(range(16384))
    while monotonic() < deadline:
        try:
            if slots:
                client.execute_command("CLUSTER ADDSLOTS", *slots)  # type: ignore[no-untyped-call]
                slots = ()
            if client.set("ready", "1"):
                return
        except RedisError:
            continue
    raise RuntimeError("the Redis cluster does not form")
