"""`scim-server serve` as a process of its own: it starts, refuses and stops as an operator expects."""

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson
import pytest
from services.processes import free_port, kill_tree

TOKEN = "an-operator-s-token-of-40-characters-xyz"
PATIENCE_S = 60


class Served:
    """A running server: its address and its process."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process = process
        self.port = port
        self.base = f"http://127.0.0.1:{port}/scim/v2"
        self.headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/scim+json"}

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=30).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"the server did not start: {self.process.poll()}")

    def stop(self) -> tuple[int, str]:
        """Exit code after SIGTERM, and all that was said on stderr."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, said


def serve(folder: Path, *arguments: str, **settings: str) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCIM_")}
    return subprocess.Popen(
        [sys.executable, "-m", "scim_server", "serve", *arguments],
        cwd=folder,
        env={**kept, **{f"SCIM_{name.upper()}": value for name, value in settings.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def serving(folder: Path, *arguments: str, **settings: str) -> Iterator[Served]:
    port = free_port()
    process = serve(folder, "--port", str(port), *arguments, token=TOKEN, **settings)
    try:
        served = Served(process, port)
        served.wait_until_ready()
        yield served
    finally:
        if process.poll() is None:
            kill_tree(process.pid)  # a worker that outlived its parent would keep the pipes open
            process.communicate()


def exchange(port: int, sent: bytes) -> bytes:
    """What comes back for these bytes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_it_serves_stops_and_remembers(tmp_path: Path) -> None:
    with serving(tmp_path, database_url=f"sqlite:///{tmp_path}/scim.db") as served:
        made = httpx.post(
            f"{served.base}/Users", headers=served.headers, json={"userName": "u", "password": "s3cret-pw"}
        )
        assert made.status_code == 201
        assert made.headers["Content-Type"] == "application/scim+json"
        assert "server" not in made.headers
        address = made.json()["meta"]["location"]
        assert address.startswith(f"http://127.0.0.1:{served.port}/scim/v2/Users/")

        large = httpx.post(f"{served.base}/Users", headers=served.headers, content=b"{" + b" " * 4_000_000)
        assert large.status_code == 413
        assert large.json()["status"] == "413"
        for path in ("/scim%2Fv2%2FUsers", "//scim/v2//Users/", "/scim/v2/Users%2F"):
            assert httpx.get(f"http://127.0.0.1:{served.port}{path}").status_code == 401
        assert httpx.get(f"{served.base}/Users?attributes=" + "a" * 20_000, headers=served.headers).status_code == 414
        for what in (b"\x16\x03\x01\x02\x00", b"GET /scim/v2/Users?x=" + b"a" * 70_000 + b" HTTP/1.1"):
            said_to = exchange(served.port, what + b"\r\n\r\n")
            assert said_to.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/scim+json\r\n")
            assert orjson.loads(said_to.partition(b"\r\n\r\n")[2])["status"] == "400"

        code, said = served.stop()
        assert code == 0
        assert TOKEN not in said
        assert "s3cret-pw" not in said
    with serving(tmp_path, database_url=f"sqlite:///{tmp_path}/scim.db") as served:
        found = httpx.get(f"{served.base}/Users", headers=served.headers)
        assert found.json()["totalResults"] == 1
        assert served.stop()[0] == 0


def test_clients_that_vanish_leave_no_traceback(tmp_path: Path) -> None:
    with serving(tmp_path, database_url=f"sqlite:///{tmp_path}/scim.db", log_level="warning") as served:
        ask = f"GET /scim/v2/Users HTTP/1.1\r\nHost: scim.test\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", served.port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no goodbye
                client.sendall(ask.encode() * 3)
        assert httpx.get(f"{served.base}/Users", headers=served.headers).status_code == 200
        code, said = served.stop()
    assert (code, "Traceback" in said) == (0, False), said[:2_000]


def test_two_workers_share_a_postgres_that_they_migrate(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving(tmp_path, "--workers", "2", database_url=postgres_url) as served:
        answers = [
            httpx.post(f"{served.base}/Users", headers=served.headers, json={"userName": f"u{number}"})
            for number in range(20)
        ]
        assert {answer.status_code for answer in answers} == {201}
        found = httpx.get(f"{served.base}/Users?count=0", headers=served.headers)
        assert found.json()["totalResults"] == 20
        assert len(list(tmp_path.glob("scim-metrics-*/*.db"))) > 1
        assert served.stop()[0] == 0
    assert list(tmp_path.iterdir()) == []


def test_sqlite_refuses_a_second_worker(tmp_path: Path) -> None:
    process = serve(tmp_path, "--workers", "2", database_url=f"sqlite:///{tmp_path}/scim.db")
    said = process.communicate(timeout=PATIENCE_S)[1]

    assert process.returncode == 2
    assert "Postgres" in said
    assert "Traceback" not in said


def test_a_port_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    process = serve(tmp_path, "--port", "65536", database_url=f"sqlite:///{tmp_path}/scim.db")
    said = process.communicate(timeout=PATIENCE_S)[1]

    assert process.returncode == 2
    assert "65535" in said


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = serve(tmp_path, "--port", port, database_url=f"sqlite:///{tmp_path}/scim.db")
        said = process.communicate(timeout=PATIENCE_S)[1]

    assert process.returncode == 1
    assert said.splitlines() == [f"Cannot listen on 127.0.0.1:{port} (Address already in use); see --host and --port."]


def command(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "scim_server", *arguments], cwd=folder,
        env={**os.environ, "SCIM_DATABASE_URL": "sqlite:///scim.db"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "scim.db"
    file.write_bytes(b"no database at all " * 200)
    done = command(tmp_path, "status")

    assert done.returncode == 1
    assert done.stderr == f"The database file {file} cannot be used: file is not a database\n"


def test_a_command_in_the_wrong_folder_makes_no_database(tmp_path: Path) -> None:
    done = command(tmp_path, "user", "deactivate", "ada@example.com")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"There is no database {tmp_path}/scim.db" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_all_faults_of_the_configuration_are_said_at_once(tmp_path: Path) -> None:
    process = serve(
        tmp_path, database_url="mysql://x", port="99999", log_level="loud", token="x" * 31, public_url="scim.example"
    )
    said = process.communicate(timeout=PATIENCE_S)[1]

    assert process.returncode == 1
    for name in ("SCIM_DATABASE_URL", "SCIM_PORT", "SCIM_LOG_LEVEL", "SCIM_TOKEN", "SCIM_PUBLIC_URL"):
        assert name in said
    assert "x" * 31 not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("token", ["", "x" * 31])
def test_a_weak_bootstrap_token_is_refused(tmp_path: Path, token: str) -> None:
    process = serve(tmp_path, database_url=f"sqlite:///{tmp_path}/scim.db", token=token)
    said = process.communicate(timeout=PATIENCE_S)[1]

    assert process.returncode == 1
    assert "SCIM_TOKEN" in said
