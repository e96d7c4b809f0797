"""Child processes: started in their own process group, awaited with a deadline, always ended.

A child's output goes to a file, so that no pipe fills up and its last lines can be shown if it dies.
"""

import os
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

READY_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0


class DemoError(Exception):
    """The demo cannot go on; the text says why and is meant for the person who started it."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Child:
    """One running program. The environment is this process's, without its SCIM_* and CRM_*, plus `settings`."""

    def __init__(self, name: str, command: list[str], settings: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._log = log
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SCIM_", "CRM_"))}
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own two programs
                command,
                env=inherited | dict(settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C is for the demo, which then stops its children in order
            )

    def wait_until_ready(self, url: str) -> None:
        """Return when `url` answers 200. Raise DemoError when the child dies, or after READY_WITHIN_S seconds."""
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                if httpx.get(url, timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise DemoError(f"{self.name} was not ready after {READY_WITHIN_S:.0f} s.\n{self._last_lines()}")

    def check_alive(self) -> None:
        """Raise DemoError with its last words if it ended by itself."""
        status = self._process.poll()
        if status is not None:
            raise DemoError(f"{self.name} ended with exit status {status}.\n{self._last_lines()}")

    def stop(self) -> None:
        """End it: politely, then not. A second Ctrl-C means: at once."""
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.kill()
            self._process.wait()

    def _last_lines(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join(f"  | {line}" for line in lines) or "  | (it said nothing)"
