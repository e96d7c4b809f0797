"""The demo's stage: a temporary directory, the server and the CRM on free ports, one session store between them.

Owns what is started and what must be gone afterwards. Knows nothing of what is then played on it.
"""

import json
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

import scim_server
from scim_server.demo.processes import Child, DemoError, free_port
from scim_server.demo.roster import Person

PASSWORD = "crm-demo"  # noqa: S105 - everybody's password in the example CRM
_TENANT = "default"
_PACKAGE = Path(scim_server.__file__).parent

# Budgets for a laptop that has other things to do: what it really took is in the receipt.
_SQLITE_STORE = """
[[session_stores]]
name = "crm"
kind = "sql"
url = {url}
subject = "{{externalId}}"
statements = ["DELETE FROM user_sessions WHERE subject = :subject"]
gate_statement = "default"
budget_ms = 2000
"""

_REDIS_STORE = """
[[session_stores]]
name = "crm"
kind = "redis"
url = {url}
subject = "{{externalId}}"
session_key = "sess:{{sid}}"
index_key = "scim:idx:{{tenant}}:{{subject}}"
gate_key = "scim:gate:{{tenant}}:{{subject}}"
budget_ms = 2000
connect_timeout_ms = 1000
timeout_ms = 1000
"""

_SENTINELS = "scim:gate::scim-sentinel-*"


@dataclass(frozen=True, slots=True)
class Stage:
    """Both programs are up. `scim_url` is the SCIM base URL, `store` says where the CRM keeps its sessions."""

    scim_url: str
    token: str
    crm_url: str
    store: str
    children: tuple[Child, ...]

    def check_alive(self) -> None:
        """Raise DemoError if one of the programs has ended."""
        for child in self.children:
            child.check_alive()


@contextmanager
def set_up(staff: list[Person], redis_url: str | None, port: int, crm_port: int) -> Iterator[Stage]:
    """Start everything, and leave nothing behind. Port 0 = any free one. Raise DemoError."""
    with ExitStack() as undo:
        if redis_url:
            others = _reach(redis_url)
            undo.callback(_forget, redis_url, staff, others)
        home = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="scim-demo-")))
        # The CRM first: it makes the tables that the server's session store writes to.
        crm_url, crm = _start_crm(home, staff, redis_url, crm_port or free_port())
        undo.callback(crm.stop)
        crm.wait_until_ready(f"{crm_url}/healthz")
        token = secrets.token_urlsafe(32)
        server_url, server = _start_server(home, token, redis_url, port or free_port())
        undo.callback(server.stop)
        server.wait_until_ready(f"{server_url}/readyz")
        store = "Redis" if redis_url else "a SQLite table"
        yield Stage(f"{server_url}/scim/v2", token, crm_url, store, (crm, server))


def _start_crm(home: Path, staff: list[Person], redis_url: str | None, port: int) -> tuple[str, Child]:
    users = home / "users.json"
    known = [{"userName": p.user_name, "subject": p.subject, "displayName": p.display_name} for p in staff]
    users.write_text(json.dumps(known))
    settings = {
        "CRM_PORT": str(port),
        "CRM_DATABASE": str(home / "crm.db"),
        "CRM_USERS": str(users),
        "CRM_PASSWORD": PASSWORD,
        "CRM_TENANT": _TENANT,
        "PYTHONPATH": str(_PACKAGE.parent),
    }
    if redis_url:
        settings["CRM_REDIS_URL"] = redis_url
    command = [sys.executable, str(_crm_program())]
    return f"http://127.0.0.1:{port}", Child("The example CRM", command, settings, home / "crm.log")


def _start_server(home: Path, token: str, redis_url: str | None, port: int) -> tuple[str, Child]:
    store, url = (_REDIS_STORE, redis_url) if redis_url else (_SQLITE_STORE, f"sqlite:///{home / 'crm.db'}")
    config = home / "scim-server.toml"
    config.write_text(store.format(url=json.dumps(url)))
    settings = {
        "SCIM_CONFIG": str(config),
        "SCIM_DATABASE_URL": f"sqlite:///{home / 'scim-server.db'}",
        "SCIM_HOST": "127.0.0.1",
        "SCIM_PORT": str(port),
        "SCIM_TOKEN": token,
        "SCIM_LOG_LEVEL": "warning",
        "PYTHONPATH": str(_PACKAGE.parent),
    }
    command = [sys.executable, "-m", "scim_server", "serve"]
    return f"http://127.0.0.1:{port}", Child("The SCIM server", command, settings, home / "server.log")


def _crm_program() -> Path:
    """Inside an installed wheel, or beside the package in a checkout."""
    for place in (_PACKAGE / "_examples" / "crm", _PACKAGE.parent / "examples" / "crm"):
        if (place / "app.py").is_file():
            return place / "app.py"
    raise DemoError("The example CRM is not part of this installation: it belongs in scim_server/_examples/crm.")


def _reach(redis_url: str) -> set[str]:
    """The sentinels of other servers that are there."""
    try:
        with redis.Redis.from_url(redis_url, decode_responses=True, socket_connect_timeout=2) as client:
            return {*client.scan_iter(_SENTINELS, count=1000)}
    except (redis.RedisError, ValueError) as problem:
        raise DemoError(f"The Redis given with --redis cannot be used: {problem}") from None


def _forget(redis_url: str, staff: list[Person], others: set[str]) -> None:
    """Remove what the demo wrote to a Redis that outlives it."""
    try:
        with redis.Redis.from_url(redis_url, decode_responses=True) as client:
            for person in staff:
                index = f"scim:idx:{_TENANT}:{person.subject}"
                sessions = [f"sess:{sid}" for sid in client.smembers(index)]
                client.unlink(index, f"{index}:ended", f"scim:gate:{_TENANT}:{person.subject}", *sessions)
            ours = {*client.scan_iter(_SENTINELS, count=1000)} - others
            client.unlink(f"scim:guard:{_TENANT}", *ours)
    except redis.RedisError:
        pass  # gone while the demo ran: then there is nothing to remove
