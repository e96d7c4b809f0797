"""The parts that the tests of foreign CRMs play: an identity provider, the server's adapter, a person who asks."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from scim_server.demo.processes import Child
from scim_server.sessions.port import Delivery, Done, Gate
from scim_server.sessions.registry import open_store, read_stores

ROOT = Path(__file__).parents[2]
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

GATES = (
    "CREATE TABLE scim_gate (subject VARCHAR(320) PRIMARY KEY,"
    " epoch BIGINT NOT NULL, denied SMALLINT NOT NULL, not_before BIGINT NOT NULL)",
    "CREATE TABLE scim_guard (name VARCHAR(255) PRIMARY KEY, seen_ms BIGINT NOT NULL)",
)
"""As scim_server.guard.TABLES has them; MySQL 8 and MariaDB print a note for IF NOT EXISTS."""

Start = Callable[..., Child]
"""(name, command, settings, url): starts a program and returns when the URL answers."""


@dataclass(frozen=True)
class Entra:
    """Provisions as Microsoft Entra ID does: its bodies, its spelling, its order. `command` runs scim-server."""

    http: httpx.Client
    command: Callable[..., subprocess.CompletedProcess[str]]
    server: Child

    def create(self, external_id: str, user_name: str) -> str:
        """Looks first, then creates; the id."""
        found = self.http.get("/Users", params={"filter": f'userName eq "{user_name}"'})
        assert found.json()["totalResults"] == 0, found.text
        body = {
            "schemas": [USER, ENTERPRISE],
            "externalId": external_id,
            "userName": user_name,
            "active": True,
            "displayName": user_name.partition("@")[0].title(),
            "emails": [{"primary": True, "type": "work", "value": user_name}],
            "meta": {"resourceType": "User"},
            "name": {"formatted": "Given Family", "familyName": "Family", "givenName": "Given"},
            ENTERPRISE: {"employeeNumber": "17"},
        }
        created = self.http.post("/Users", json=body)
        assert created.status_code == 201, created.text
        return str(created.json()["id"])

    def set_active(self, user_id: str, active: bool) -> str:
        """A PATCH with a capital R and a boolean in quotes; the Session-Termination header, "" if there is none."""
        operation = {"op": "Replace", "path": "active", "value": str(active)}
        answer = self.http.patch(f"/Users/{user_id}", json={"schemas": [PATCH_OP], "Operations": [operation]})
        assert answer.status_code == 200, answer.text
        return str(answer.headers.get("session-termination", ""))

    def delete(self, user_id: str) -> str:
        """A DELETE; its Session-Termination header."""
        answer = self.http.delete(f"/Users/{user_id}")
        assert answer.status_code == 204, answer.text
        return str(answer.headers.get("session-termination", ""))


class Asked:
    """A program that answers each line, a JSON array, with a line of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, *question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the program has ended"
        return json.loads(answer)


@contextmanager
def asking(command: list[str]) -> Iterator[Asked]:
    """Runs the program for as long as it is asked."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        try:
            yield Asked(process)
        finally:
            process.kill()


def write(entry: dict[str, Any], subject: str, epoch: int, denied: bool) -> bool:
    """Terminate or lift through the server's own adapter; whether it saw the guard's sign of life."""

    async def deliver() -> Any:
        [config] = read_stores([{"name": "crm", "subject": "{id}", **entry}])
        store = open_store(config)
        try:
            gate = Gate(epoch, denied, epoch)
            action = "terminate" if denied else "lift"
            return await store.deliver(
                Delivery("d", "acme", subject, action, gate, "user.deactivated", epoch)  # type: ignore[arg-type]
            )
        finally:
            await store.aclose()

    outcome = asyncio.run(deliver())
    assert isinstance(outcome, Done), outcome
    return outcome.guard_seen


def eventually(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Returns when `holds()`: other processes have no signal to wait for."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
