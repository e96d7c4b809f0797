"""`scim-server serve` as a process of its own, which may be killed at any moment and started again."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from services.processes import free_port

READY_WITHIN_S = 60.0
TOKEN = "a-token-for-tests-of-forty-characters-xx"


class ServerProcess:
    """One server on a port that it keeps over restarts."""

    def __init__(self, home: Path, database_url: str, entries: Sequence[dict[str, Any]], name: str = "server") -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = home / f"{name}.log"
        config = home / f"{name}.toml"
        config.write_text("".join(toml_of(entry) for entry in entries))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SCIM_")}
        self._environment = kept | {
            "SCIM_CONFIG": str(config),
            "SCIM_DATABASE_URL": database_url,
            "SCIM_PORT": self.url.rpartition(":")[2],
            "SCIM_TOKEN": TOKEN,
            "SCIM_LOG_LEVEL": "warning",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it is ready."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Return at once."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scim_server", "serve"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        """Ask until it answers."""
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                if httpx.get(f"{self.url}/livez", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.02)  # a process that starts gives no other signal

    def kill9(self) -> None:
        """SIGKILL: no goodbye, no flush."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self) -> httpx.AsyncClient:
        """An identity provider's connection to it."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.AsyncClient(base_url=f"{self.url}/scim/v2", headers=headers, timeout=30)


def toml_of(entry: dict[str, Any]) -> str:
    """One `[[session_stores]]` entry; a JSON text, number or list of texts is one in TOML, too."""
    return "[[session_stores]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in entry.items())
