"""The example CRM as its own process, asked over HTTP; the server's part is played on its session store."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import redis

CRM = Path(__file__).parents[2] / "examples" / "crm" / "app.py"
USERS = [
    {"userName": f"{name}@crm.example", "subject": f"ext-{name}", "displayName": name.title()}
    for name in ("ann", "bob", "cem")
]
UPSERT = "INSERT OR REPLACE INTO scim_gate (subject, epoch, denied, not_before) VALUES (?, ?, ?, ?)"


@dataclass
class Crm:
    """A running CRM; `gate` writes a marker and `end` deletes a subject's sessions, as the SCIM server would."""

    url: str
    gate: Callable[[str, int, int], object]
    end: Callable[[str], object]
    sessions: Callable[[str], int]
    guard_seen: Callable[[], int]

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)


@pytest.fixture(params=["sqlite", "redis"])
def crm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Crm]:
    users = tmp_path / "users.json"
    users.write_text(json.dumps(USERS))
    settings = {"CRM_DATABASE": str(tmp_path / "crm.db"), "CRM_USERS": str(users)}
    if request.param == "redis":
        settings["CRM_REDIS_URL"] = request.getfixturevalue("redis_url")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        settings["CRM_PORT"] = str(probe.getsockname()[1])
    root = str(CRM.parents[2])
    process = subprocess.Popen([sys.executable, str(CRM)], env=os.environ | settings | {"PYTHONPATH": root})
    try:
        url = f"http://127.0.0.1:{settings['CRM_PORT']}"
        wait_until_up(url, process)
        if request.param == "redis":
            yield from redis_crm(url, settings["CRM_REDIS_URL"])
        else:
            yield from sqlite_crm(url, settings["CRM_DATABASE"])
    finally:
        process.terminate()
        process.wait(60)


def wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{url}/healthz")
            return
        except httpx.TransportError:
            time.sleep(0.02)
    pytest.fail("the CRM did not start")


def sqlite_crm(url: str, path: str) -> Iterator[Crm]:
    db = sqlite3.connect(path, isolation_level=None, timeout=10)
    yield Crm(
        url,
        gate=lambda subject, epoch, denied: db.execute(UPSERT, (subject, epoch, denied, epoch)),
        end=lambda subject: db.execute("DELETE FROM user_sessions WHERE subject = ?", (subject,)),
        sessions=lambda subject: len(
            db.execute("SELECT sid FROM user_sessions WHERE subject = ?", (subject,)).fetchall()
        ),
        guard_seen=lambda: db.execute("SELECT seen_ms FROM scim_guard WHERE name = 'default'").fetchone()[0],
    )
    db.close()


def redis_crm(url: str, redis_url: str) -> Iterator[Crm]:
    client = redis.Redis.from_url(redis_url, decode_responses=True)

    def sids(subject: str) -> list[str]:
        return [str(sid) for sid in client.smembers(f"scim:idx:default:{subject}")]

    def end(subject: str) -> None:
        for sid in sids(subject):
            client.unlink(f"sess:{sid}")

    yield Crm(
        url,
        gate=lambda subject, epoch, denied: client.set(f"scim:gate:default:{subject}", f"{epoch}:{denied}:{epoch}"),
        end=end,
        sessions=lambda subject: sum(client.exists(f"sess:{sid}") for sid in sids(subject)),
        guard_seen=lambda: int(client.get("scim:guard:default") or 0),
    )
    client.close()


def log_in(browser: httpx.Client, name: str, password: str = "crm-demo") -> int:
    form = {"userName": f"{name}@crm.example", "password": password}
    return browser.post("/login", data=form).status_code


def test_login_home_api_and_logout(crm: Crm) -> None:
    with crm.browser() as browser:
        assert browser.get("/api/me").status_code == 401
        assert browser.get("/").headers["location"] == "/login"
        assert "ann@crm.example" in browser.get("/login").text
        assert log_in(browser, "ANN") == 303
        assert browser.get("/api/me").json() == {"userName": "ann@crm.example", "subject": "ext-ann"}
        page = browser.get("/").text
        assert "Françoise Marchand" in page
        assert "ann@crm.example" in page
        assert crm.sessions("ext-ann") == 1
        assert browser.post("/logout").headers["location"] == "/login"
        assert browser.get("/api/me").status_code == 401
        assert crm.sessions("ext-ann") == 0


def test_wrong_password_and_unknown_user_are_refused_alike(crm: Crm) -> None:
    with crm.browser() as browser:
        assert log_in(browser, "ann", "guess") == 401
        assert log_in(browser, "nobody") == 401
        assert "crm_session" not in browser.cookies
    assert crm.sessions("ext-ann") == 0


def test_deleting_the_sessions_ends_them_and_the_gate_refuses_the_next_login(crm: Crm) -> None:
    with crm.browser() as browser, crm.browser() as phone, crm.browser() as colleague:
        assert [log_in(browser, "ann"), log_in(phone, "ann"), log_in(colleague, "bob")] == [303, 303, 303]
        assert crm.sessions("ext-ann") == 2
        crm.gate("ext-ann", 9, 1)
        crm.end("ext-ann")
        assert [client.get("/api/me").status_code for client in (browser, phone, colleague)] == [401, 401, 200]
        assert log_in(browser, "ann") == 403
        assert crm.sessions("ext-ann") == 0
        assert browser.get("/api/me").status_code == 401


def test_a_session_that_comes_back_after_the_cut_is_refused_by_the_guard_and_removed(crm: Crm) -> None:
    with crm.browser() as browser:
        log_in(browser, "ann")
        crm.gate("ext-ann", 9, 1)  # … and nobody deletes the session
        assert crm.sessions("ext-ann") == 1
        assert browser.get("/api/me").status_code == 401
        assert crm.sessions("ext-ann") == 0
        assert browser.get("/").headers["location"] == "/login"


def test_after_reactivation_a_new_login_works_and_the_old_session_stays_dead(crm: Crm) -> None:
    with crm.browser() as old, crm.browser() as new:
        log_in(old, "ann")
        crm.gate("ext-ann", 20, 0)
        assert log_in(new, "ann") == 303
        assert [old.get("/api/me").status_code, new.get("/api/me").status_code] == [401, 200]


def test_the_guard_leaves_its_sign_of_life(crm: Crm) -> None:
    with crm.browser() as browser:
        log_in(browser, "ann")
    assert crm.guard_seen() > 1_600_000_000_000
