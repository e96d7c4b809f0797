"""What the tests of foreign CRMs ask for: programs, a SCIM server of their own, MariaDB, what prepare.sh installed."""

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from crm.parts import ROOT, Entra, Start
from services import MissingService

from scim_server.demo.processes import Child, free_port

PREPARED = ROOT / "build" / "crm"
TOKEN = "a-token-of-at-least-32-characters"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program that serves HTTP on the port in its settings; ends it after the test."""
    children: list[Child] = []

    def started(name: str, command: list[str], settings: dict[str, str], url: str) -> Child:
        child = Child(name, command, settings, tmp_path / f"{name}.log")
        children.append(child)
        child.wait_until_ready(url)
        return child

    yield started
    for child in reversed(children):
        child.stop()


@pytest.fixture
def provisioned(start: Start, tmp_path: Path) -> Iterator[Callable[[str], Entra]]:
    """A SCIM server with these `[[session_stores]]`, and Entra in front of it."""
    clients: list[httpx.Client] = []

    def serve(stores: str) -> Entra:
        config = tmp_path / "scim-server.toml"
        config.write_text(stores)
        port = str(free_port())
        settings = {
            "SCIM_CONFIG": str(config),
            "SCIM_DATABASE_URL": f"sqlite:///{tmp_path / 'scim-server.db'}",
            "SCIM_PORT": port,
            "SCIM_TOKEN": TOKEN,
            "SCIM_LOG_LEVEL": "warning",
        }

        def command(*words: str) -> subprocess.CompletedProcess[str]:
            program = [sys.executable, "-m", "scim_server", *words]
            return subprocess.run(program, env=settings, capture_output=True, text=True, check=False, cwd=ROOT)

        url = f"http://127.0.0.1:{port}"
        server = start("scim-server", [sys.executable, "-m", "scim_server", "serve"], settings, f"{url}/readyz")
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/scim+json; charset=utf-8"}
        clients.append(httpx.Client(base_url=f"{url}/scim/v2", headers=headers, timeout=30))
        return Entra(clients[-1], command, server)

    yield serve
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Any]:
    """The MariaDB of this test process."""
    try:
        from services.mariadb import MariadbServer

        server = MariadbServer.launch()
    except MissingService as missing:
        reason = str(missing)
    else:
        yield server
        server.discard()
        return
    pytest.fail(reason, pytrace=False)


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The modules of package.json."""
    return prepared("node/node_modules")


@pytest.fixture(scope="session")
def django_python() -> Path:
    """A Python that has Django."""
    return prepared("django/bin/python")


@pytest.fixture
def secret() -> str:
    """A webhook secret, as Standard Webhooks writes it."""
    return "whsec_" + secrets.token_urlsafe(24).replace("-", "A").replace("_", "B")


def prepared(name: str) -> Path:
    """Something that prepare.sh has put there."""
    path = PREPARED / name
    if not path.exists():
        pytest.fail(f"{path.relative_to(ROOT)} is missing: run make test-crm", pytrace=False)
    return path
