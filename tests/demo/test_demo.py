"""The demo as a person starts it: whole, in real processes, and with nothing left behind."""

import io
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis

from scim_server.clock import new_id
from scim_server.demo import run, stage
from scim_server.demo.processes import Child, DemoError, free_port
from scim_server.demo.roster import departments, people
from scim_server.demo.story import Cut


def test_roster_is_twenty_people_in_three_groups() -> None:
    staff = people(new_id)
    assert len({person.user_name for person in staff}) == len({person.subject for person in staff}) == 20
    assert {name: len(members) for name, members in departments(staff).items()} == {
        "CRM Sales": 8,
        "CRM Support": 8,
        "CRM Managers": 4,
    }
    assert all(person.user_name.isascii() for person in staff)


def assert_the_story_was_told(told: str) -> None:
    rows = [re.split(r"  +", line) for line in told.splitlines() if re.match(r"\S+ \S+ +(PATCH|PUT|DELETE) ", line)]
    assert [row[1] for row in rows] == ["PATCH 200", "PUT 200", "DELETE 204"]
    for row in rows:
        assert row[3].startswith("done; sessions=1; dur="), told
        assert row[4] == "200 -> 401", told
    assert "All 3 sessions ended" in told
    assert "New logins of the three are refused" in told


@pytest.mark.parametrize(
    ("change", "ended"),
    [
        ({}, True),
        ({"receipt": 'pending; stores="crm"', "first_after": 200}, True),  # promised less, and came a little later
        ({"first_after": 200}, False),  # "done" was not true when it was said
        ({"first_after": 200, "cut_ms": None}, False),
        ({"before": 401}, False),  # was never logged in: proves nothing
        ({"relogin": 303}, False),
    ],
)
def test_what_counts_as_cut_off(change: dict[str, Any], ended: bool) -> None:
    cut = Cut(people(new_id)[0], "PATCH", 200, 200, "done; sessions=1; dur=1", 2.0, 401, 3.0, 403)
    assert replace(cut, **change).ended is ended


def leftovers(tmp_path: Path) -> list[str]:
    return [entry.name for entry in tmp_path.iterdir()] + [
        str(child.cmdline()) for child in psutil.Process().children() if "scim_server" in child.cmdline()
    ]


def test_once_with_sessions_in_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    out = io.StringIO()
    assert run(once=True, out=out) == 0, out.getvalue()
    assert_the_story_was_told(out.getvalue())
    assert "20 users and 3 groups" in out.getvalue()
    assert leftovers(tmp_path) == []


def test_once_with_sessions_in_redis_leaves_redis_as_it_was(redis_url: str) -> None:
    out = io.StringIO()
    assert run(once=True, redis_url=redis_url, out=out) == 0, out.getvalue()
    assert_the_story_was_told(out.getvalue())
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys() == []


def test_an_unreachable_redis_is_said_in_one_line() -> None:
    out = io.StringIO()
    assert run(once=True, redis_url=f"redis://127.0.0.1:{free_port()}/0", out=out) == 1
    assert "The Redis given with --redis cannot be used" in out.getvalue()


def test_a_program_that_dies_at_start_is_quoted(tmp_path: Path) -> None:
    dying = [sys.executable, "-c", "raise SystemExit('the disk is full')"]
    child = Child("The example", dying, {}, tmp_path / "log")
    with pytest.raises(DemoError, match=r"The example ended with exit status 1\.\n  \| the disk is full"):
        child.wait_until_ready(f"http://127.0.0.1:{free_port()}/")
    child.stop()


def test_children_do_not_inherit_settings_of_the_persons_own_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCIM_DATABASE_URL", "sqlite:///precious.db")
    log = tmp_path / "log"
    child = Child("The example", [sys.executable, "-c", "import os; print(os.environ)"], {"SCIM_PORT": "1"}, log)
    with pytest.raises(DemoError, match="exit status 0"):
        child.wait_until_ready(f"http://127.0.0.1:{free_port()}/")
    child.stop()
    assert "precious" not in log.read_text()
    assert "SCIM_PORT" in log.read_text()


@pytest.fixture
def interactive(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", "from scim_server.demo import run; raise SystemExit(run(once=False))"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(stage.__file__).parents[2])},
    )
    yield process
    if process.poll() is None:
        process.terminate()
        process.wait(60)
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize("stopped_by", [signal.SIGINT, signal.SIGTERM])
def test_interactive_demo(interactive: subprocess.Popen[str], stopped_by: signal.Signals, tmp_path: Path) -> None:
    assert interactive.stdout is not None
    told = ""
    while "Ctrl-C ends the demo" not in told:
        line = interactive.stdout.readline()
        assert line, told
        told += line
    assert told.count("\n") < 48  # two screens

    crm_url = found(r"CRM +(http://\S+)", told)
    user_name, password = found(r"log in as +(\S+)", told), found(r"password (\S+)", told)
    with httpx.Client(base_url=crm_url, timeout=30) as browser:
        assert browser.post("/login", data={"userName": user_name, "password": password}).status_code == 303
        assert browser.get("/api/me").status_code == 200
        answer = paste(found(r"(?ms)^(curl .*?)\n\n", told))
        assert answer.status_code == 200
        assert answer.headers["session-termination"].startswith("done; sessions=1; dur=")
        assert browser.get("/api/me").status_code == 401

    children = psutil.Process(interactive.pid).children(recursive=True)
    assert len(children) >= 2
    interactive.send_signal(stopped_by)
    assert interactive.wait(60) == 0
    assert not any(child.is_running() for child in children)
    assert list(tmp_path.iterdir()) == []


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def paste(command: str) -> httpx.Response:
    """What the shell and curl would do with it, on a machine that need not have curl."""
    curl, include, dash_x, method, url, *options = shlex.split(command.replace("\\\n", ""))
    assert (curl, include, dash_x) == ("curl", "-i", "-X")
    assert options[::2] == ["-H", "-H", "-d"]
    *headers, body = options[1::2]
    return httpx.request(
        method, url, headers=dict(header.split(": ", 1) for header in headers), content=body, timeout=30
    )
