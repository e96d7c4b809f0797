"""The servers under measurement as child processes, and what the operating system knows of them (Linux: /proc)."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOKEN = "benchmark-token-of-more-than-32-characters"
READY_WITHIN_S = 30.0
_TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Server:
    """A server on loopback; `pid` is its only process."""

    name: str
    port: int
    pid: int

    def cpu_us(self) -> float:
        """Processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_US

    def rss_mb(self) -> float:
        """Resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE / 1_000_000


@contextmanager
def product(database_url: str, folder: Path, stores: str = "") -> Iterator[Server]:
    """scim-server as `serve` runs it, its log in `folder`; `stores` is TOML."""
    config = folder / "scim-server.toml"
    config.write_text(stores)
    settings = {"SCIM_DATABASE_URL": database_url, "SCIM_TOKEN": TOKEN, "SCIM_CONFIG": str(config)}
    port = _free_port()
    command = [sys.executable, "-m", "scim_server", "serve", "--port", str(port)]
    with _running("product", command, settings, port, folder) as server:
        yield server


@contextmanager
def ceiling(database_url: str, folder: Path) -> Iterator[Server]:
    """The bare server."""
    port = _free_port()
    settings = {"CEILING_DATABASE_URL": database_url, "CEILING_PORT": str(port)}
    with _running("ceiling", [sys.executable, "-m", "benchmarks.ceiling"], settings, port, folder) as server:
        yield server


@contextmanager
def _running(name: str, command: list[str], settings: Mapping[str, str], port: int, folder: Path) -> Iterator[Server]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SCIM_")}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, env={**inherited, **settings}, stdout=log, stderr=log)
    try:
        _wait_until_ready(process, port, folder / f"{name}.log")
        yield Server(name, port, process.pid)
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
