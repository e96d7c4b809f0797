"""The conformance kit: our server meets every MUST, and two servers with faults are found out, with proof.

The kit runs as a person runs it, by its command line; servers are real processes or real sockets.
"""

import ast
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

import conformance
from conformance.__main__ import main
from conformance.checks import REQUIREMENTS
from scim_server.demo.processes import Child, free_port

TOKEN = "conformance-token-of-the-default-tenant"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
NOBODY = "http://127.0.0.1:1"
CONFIG = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"

STORE = """
[[session_stores]]
name = "crm"
kind = "sql"
url = "sqlite:///{database}"
subject = "{{externalId}}"
statements = ["DELETE FROM user_sessions WHERE user_id = :subject"]
"""

PROBE = """
import sqlite3, sys
database, verb, user_name, subject, identifier = sys.argv[1:]
with sqlite3.connect(database, timeout=10) as crm:
    if verb == "open":
        crm.execute("INSERT INTO user_sessions VALUES (?)", [subject])
    elif not crm.execute("SELECT 1 FROM user_sessions WHERE user_id = ?", [subject]).fetchone():
        sys.exit(1)
"""


@dataclass
class Judged:
    """What the kit returned, printed and wrote."""

    exit_status: int
    printed: str
    written: str

    def of(self, verdict: str, level: str = "") -> list[str]:
        """The ids of requirements with this verdict."""
        found = json.loads(self.written)["requirements"]
        return [one["id"] for one in found if one["verdict"] == verdict and level in ("", one["level"])]


def judge(url: str, folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> Judged:
    """Runs the kit."""
    written = folder / "verdicts.json"
    exit_status = main([url, "--json", str(written), *arguments])
    return Judged(exit_status, capsys.readouterr().out, written.read_text())


@dataclass
class OurServer:
    """`scim-server serve` with two tenants and a CRM's session table."""

    url: str
    other_token: str
    probe: str


@pytest.fixture(scope="module")
def our_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OurServer]:
    folder, port = tmp_path_factory.mktemp("kit"), free_port()
    crm, config, probe = folder / "crm.db", folder / "scim-server.toml", folder / "probe.py"
    with sqlite3.connect(crm) as database:
        database.execute("CREATE TABLE user_sessions (user_id TEXT)")
    config.write_text(STORE.format(database=crm))
    probe.write_text(PROBE)
    settings = {
        "SCIM_DATABASE_URL": f"sqlite:///{folder}/scim.db",
        "SCIM_CONFIG": str(config),
        "SCIM_TOKEN": TOKEN,
        "SCIM_PORT": str(port),
    }
    child = Child("The server", [sys.executable, "-m", "scim_server", "serve"], settings, folder / "log")
    try:
        child.wait_until_ready(f"http://127.0.0.1:{port}/livez")
        run_command(settings, "tenant", "create", "other")
        other_token = run_command(settings, "token", "issue", "--tenant", "other", "--name", "kit")
        command = shlex.join([sys.executable, str(probe), str(crm)])
        yield OurServer(f"http://127.0.0.1:{port}/scim/v2", other_token, command)
    finally:
        child.stop()


def run_command(settings: Mapping[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "scim_server", *arguments]
    ended = subprocess.run(command, env=os.environ | dict(settings), capture_output=True, text=True, check=True)
    return ended.stdout.strip()


def test_our_server_meets_every_must(our_server: OurServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = ["--token", TOKEN, "--other-token", our_server.other_token]
    judged = judge(our_server.url, tmp_path, capsys, *tokens, "--session-probe", our_server.probe)
    # A user's version does not move with `groups`, so a 304 could hide a change (docs/http.md).
    assert judged.of("FAIL") == ["rfc7644-3.14-not-modified"], judged.printed
    assert judged.of("SKIP") == []
    assert judged.exit_status == 0
    assert len(judged.of("PASS", "MUST")) > 200
    assert TOKEN not in judged.printed + judged.written
    assert our_server.other_token not in judged.printed + judged.written
    for token in (TOKEN, our_server.other_token):
        left = httpx.get(f"{our_server.url}/?count=0", headers={"Authorization": f"Bearer {token}"})
        assert left.json()["totalResults"] == 0


def test_only_what_is_asked_for(our_server: OurServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged = judge(our_server.url, tmp_path, capsys, "--token", TOKEN, "--only", "rfc7644-3.6-deleted")
    assert judged.exit_status == 0
    assert judged.of("PASS") == [one.id for one in REQUIREMENTS if one.id.startswith("rfc7644-3.6-deleted")]


class Plain(BaseHTTPRequestHandler):
    """Users in memory: create, read, replace, delete, find by userName: a part of SCIM, done right."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes; each answer would wait 40 ms
    users: ClassVar[dict[str, dict[str, Any]]]

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def parse_request(self) -> bool:
        """Every request, before its method is called."""
        if not super().parse_request():
            return False
        if self.is_known(self.headers["Authorization"]):
            return True
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.refuse(401, "who are you?")
        return False

    def is_known(self, authorization: str | None) -> bool:
        """Whether this is the token."""
        return authorization == f"Bearer {TOKEN}"

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path == "/ServiceProviderConfig":
            offered = {name: {"supported": False} for name in ("patch", "bulk", "sort", "etag", "changePassword")}
            self.answer(200, {"schemas": [CONFIG], "filter": {"supported": True, "maxResults": 100}, **offered})
        elif path == "/Users":
            found = self.matching(query.get("filter", [""])[0])
            self.answer(200, {"schemas": [LIST], "totalResults": len(found), "Resources": found})
        elif user := self.users.get(path.removeprefix("/Users/")):
            self.answer(200, user)
        else:
            self.refuse(404, "no such resource")

    def do_POST(self) -> None:
        body = self.body()
        if urlsplit(self.path).path != "/Users":
            self.refuse(404, "no such endpoint")
            return
        if not body.get("userName"):
            self.refuse(400, "no userName", "invalidValue")
            return
        if any(user.get("userName") == body["userName"] for user in self.users.values()):
            self.refuse(409, "taken", "uniqueness")
            return
        user = self.stored(body) | {"id": uuid.uuid4().hex}
        user["meta"] = {"resourceType": "User", "location": f"http://{self.headers['Host']}/Users/{user['id']}"}
        self.users[user["id"]] = user
        self.answer(201, user)

    def do_PUT(self) -> None:
        identifier, body = self.path.removeprefix("/Users/"), self.body()
        if not body.get("userName"):
            self.refuse(400, "no userName", "invalidValue")
        elif known := self.users.get(identifier):
            self.users[identifier] = self.stored(body) | {"id": known["id"], "meta": known["meta"]}
            self.answer(200, self.users[identifier])
        else:
            self.refuse(404, "no such resource")

    def do_DELETE(self) -> None:
        if self.users.pop(self.path.removeprefix("/Users/"), None):
            self.answer(204, None)
        else:
            self.refuse(404, "no such resource")

    def matching(self, expression: str) -> list[dict[str, Any]]:
        """Whom `userName eq "…"` finds."""
        wanted = expression.removeprefix("userName eq ").strip('"')
        return [user for user in self.users.values() if not expression or user.get("userName") == wanted]

    def stored(self, body: dict[str, Any]) -> dict[str, Any]:
        """What is kept of a body."""
        return {name: value for name, value in body.items() if name not in ("id", "meta", "groups", "password")}

    def body(self) -> dict[str, Any]:
        """The JSON object that was sent; {} when it was none."""
        try:
            found = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def refuse(self, status: int, detail: str, scim_type: str | None = None) -> None:
        said = {"schemas": [ERROR], "status": str(status), "detail": detail}
        self.answer(status, said | ({"scimType": scim_type} if scim_type else {}))

    def answer(self, status: int, body: dict[str, Any] | None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/scim+json")
        self.send_header("Content-Length", str(len(content)))
        if status == 201 and body:
            self.send_header("Location", body["meta"]["location"])
        self.end_headers()
        self.wfile.write(content)


class Talkative(Plain):
    """Asks nobody for a token, gives passwords back, keeps what is read-only, and creates by PUT."""

    def is_known(self, authorization: str | None) -> bool:
        return True

    def stored(self, body: dict[str, Any]) -> dict[str, Any]:
        return dict(body)

    def do_PUT(self) -> None:
        identifier, body = self.path.removeprefix("/Users/"), self.body()
        self.users.setdefault(identifier, {"meta": {}}).update(body | {"id": identifier})
        self.answer(200, self.users[identifier])


class Undead(Plain):
    """Says that it deletes, ignores filters, and has errors of its own make."""

    def do_DELETE(self) -> None:
        self.answer(204, None)

    def matching(self, expression: str) -> list[dict[str, Any]]:
        return list(self.users.values())

    def refuse(self, status: int, detail: str, scim_type: str | None = None) -> None:
        self.answer(status, {"error": detail})


FAULTS = {
    Talkative: {
        "rfc7644-3.12-no-token",
        "rfc7644-3.12-wrong-token",
        "rfc7644-3.12-no-scheme",
        "rfc7644-3.12-unknown-id-put",
        "rfc7643-4.1.1-password-is-never-returned",
        "rfc7643-4.1.2-groups-are-read-only",
        "rfc7644-3.5.1-put-does-not-create",
    },
    Undead: {
        "rfc7644-3.6-deleted-is-gone",
        "rfc7644-3.6-deleted-is-not-found",
        "rfc7644-3.6-deleted-name-is-free",
        "rfc7644-3.12-unknown-id-get",
        "rfc7644-3.3-duplicate-user-name",
        "rfc7644-3.4.2.2-no-match",
    },
}


@contextmanager
def listening(handler: type[Plain]) -> Iterator[str]:
    """The URL of a server that has these answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"users": {}}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("handler", FAULTS)
def test_faults_are_found(handler: type[Plain], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(handler) as url:
        judged = judge(url, tmp_path, capsys, "--token", TOKEN)
    assert judged.exit_status == 1
    assert FAULTS[handler] <= set(judged.of("FAIL", "MUST"))


def test_faults_that_are_not_there_are_not_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(Plain) as url:
        judged = judge(url, tmp_path, capsys, "--token", TOKEN)
    assert set.union(*FAULTS.values()) <= set(judged.of("PASS"))
    assert {one.id for one in REQUIREMENTS if "patch" in one.needs} <= set(judged.of("SKIP"))


def test_a_failure_shows_the_exchange_that_proves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(Undead) as url:
        judged = judge(url, tmp_path, capsys, "--token", TOKEN, "--only", "rfc7644-3.6-deleted-is-gone")
    printed = [line.strip() for line in judged.printed.splitlines()]
    assert "expected: the status is 404" in printed
    assert f"> GET {url}/Users/" in judged.printed
    assert "> Authorization: Bearer ***" in printed
    assert "< 200" in printed
    (requirement,) = json.loads(judged.written)["requirements"]
    assert [one["method"] for one in requirement["exchanges"]] == ["POST", "DELETE", "GET"]
    assert requirement["shown"] == requirement["exchanges"][-1]


@pytest.mark.parametrize(
    "arguments", [[], ["http://127.0.0.1:1"], ["http://127.0.0.1:1", "--only", "no-such-requirement"]]
)
def test_nothing_to_judge(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_requirement_is_one_sentence_under_its_own_id() -> None:
    assert len({one.id for one in REQUIREMENTS}) == len(REQUIREMENTS)
    assert [one.id for one in REQUIREMENTS if not re.fullmatch(r"[^ ].*[^ ]\.", one.says)] == []


def test_the_kit_knows_nothing_of_our_server() -> None:
    imported: set[str] = set()
    for path in Path(conformance.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or ".")
    foreign = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert foreign == {"conformance", "httpx"}
