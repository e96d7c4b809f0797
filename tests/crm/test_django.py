"""The Django site of examples/django, connected as its README says, driven by Entra-shaped calls."""

import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from crm.parts import ROOT, Entra, Start, eventually

from scim_server.demo.processes import free_port

pytestmark = pytest.mark.crm

SITE = ROOT / "examples" / "django"
TENANT = "default"
NAME, SUBJECT = "ann@crm.example", "6f1c0d6e-8f3c-4d52-9d0c-1d0f3c1f8a11"
STORES = """
[[session_stores]]
name = "django"
kind = "sql"
url = "sqlite:///{database}"
subject = "{{externalId}}"
statements = ["DELETE FROM crm_session WHERE subject = :subject"]
gate_statement = "default"

[[session_stores]]
name = "accounts"
kind = "webhook"
url = "{url}/hooks/scim"
subject = "{{externalId}}"
secret = "{secret}"
"""


@dataclass(frozen=True)
class Site:
    """The running CRM and its database."""

    url: str
    database: Path
    entra: Entra

    def log_in(self) -> httpx.Client | None:
        browser = httpx.Client(base_url=self.url, timeout=10)
        browser.get("/login")
        form = {"username": NAME, "password": "crm-demo", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        if browser.post("/login", data=form).status_code == 302:
            return browser
        browser.close()
        return None

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.database) as database:
            return database.execute(sql).fetchall()

    def put_back(self, record: tuple[object, ...]) -> None:
        """As a backup or a request in flight would."""
        with sqlite3.connect(self.database) as database:
            database.execute("INSERT OR REPLACE INTO crm_session VALUES (?, ?, ?, ?)", record)

    def wait_for_account(self, active: int) -> None:
        eventually(lambda: self.rows("SELECT username, is_active FROM auth_user") == [(NAME, active)])


@pytest.fixture
def site(start: Start, provisioned: Callable[[str], Entra], django_python: Path, secret: str, tmp_path: Path) -> Site:
    database, port = tmp_path / "crm.db", free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "CRM_DATABASE": str(database),
        "CRM_TENANT": TENANT,
        "CRM_WEBHOOK_SECRET": secret,
        "PYTHONPATH": f"{SITE}:{ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run([django_python, SITE / "manage.py", "migrate", "-v0"], env=settings, check=True)
    serve = [str(django_python), "-m", "waitress", "--listen", f"127.0.0.1:{port}", "crm.wsgi:application"]
    start("django", serve, settings, f"{url}/login")
    return Site(url, database, provisioned(STORES.format(database=database, url=url, secret=secret)))


def test_a_leaver_is_cut_off_and_comes_back(site: Site) -> None:
    checked = site.entra.command("sessions", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    user_id = site.entra.create(SUBJECT, NAME)
    site.wait_for_account(active=1)
    before = site.log_in()
    assert before is not None
    assert before.get("/").json() == {"userName": NAME}
    cookie = {"Cookie": f"sessionid={before.cookies['sessionid']}"}
    [record] = site.rows("SELECT session_key, session_data, expire_date, subject FROM crm_session")

    receipt = site.entra.set_active(user_id, active=False)
    assert receipt.startswith("done; sessions=1;")
    assert before.get("/").status_code == 401
    assert site.rows("SELECT * FROM crm_session") == []
    assert site.rows(f"SELECT denied FROM scim_gate WHERE subject = '{SUBJECT}'") == [(1,)]
    assert site.log_in() is None
    site.wait_for_account(active=0)

    site.entra.set_active(user_id, active=True)
    site.wait_for_account(active=1)
    site.put_back(record)
    assert httpx.get(site.url, headers=cookie).headers["location"] == "/login"
    assert site.rows("SELECT * FROM crm_session") == []
    after = site.log_in()
    assert after is not None
    assert after.get("/").status_code == 200
    before.close()
    after.close()


def test_deleted_and_provisioned_again_under_the_same_key(site: Site) -> None:
    user_id = site.entra.create(SUBJECT, NAME)
    site.wait_for_account(active=1)
    before = site.log_in()
    assert before is not None
    assert site.entra.delete(user_id).startswith("done; sessions=1;")
    assert before.get("/").status_code == 401
    site.wait_for_account(active=0)
    site.entra.create(SUBJECT, NAME)
    site.wait_for_account(active=1)
    after = site.log_in()
    assert after is not None
    assert after.get("/").status_code == 200
    assert site.rows("SELECT count(*) FROM auth_user") == [(1,)]
    before.close()
    after.close()


def test_the_steps_of_the_developers_guide(site: Site) -> None:
    """The table in section 4 of docs/crm.md, line by line, with the commands it names."""

    def run(*words: str) -> str:
        done = site.entra.command(*words, "--tenant", TENANT, NAME)
        assert done.returncode == 0, done.stderr
        return done.stdout

    site.entra.create(SUBJECT, NAME)
    site.wait_for_account(active=1)
    one, two = site.log_in(), site.log_in()
    assert one is not None
    assert two is not None
    assert "done; sessions=2" in run("sessions", "revoke")
    assert (one.get("/").status_code, two.get("/").status_code) == (401, 401)
    three = site.log_in()
    assert three is not None
    cookie = {"Cookie": f"sessionid={three.cookies['sessionid']}"}
    [record] = site.rows("SELECT session_key, session_data, expire_date, subject FROM crm_session")

    assert "done; sessions=1" in run("user", "deactivate")
    assert three.get("/").status_code == 401
    assert site.log_in() is None
    site.put_back(record)
    assert httpx.get(site.url, headers=cookie).headers["location"] == "/login"

    run("user", "reactivate")
    site.wait_for_account(active=1)
    site.put_back(record)
    assert httpx.get(site.url, headers=cookie).headers["location"] == "/login"
    four = site.log_in()
    assert four is not None
    site.entra.server.stop()
    assert four.get("/").status_code == 200
    five = site.log_in()
    assert five is not None
    for browser in (one, two, three, four, five):
        browser.close()


def test_the_server_sees_the_guard(site: Site) -> None:
    user_id = site.entra.create(SUBJECT, NAME)
    site.wait_for_account(active=1)
    browser = site.log_in()
    assert browser is not None
    [(name, seen)] = site.rows("SELECT name, seen_ms FROM scim_guard")
    assert name == "default"
    assert isinstance(seen, int)
    assert seen > 1_700_000_000_000
    browser.close()
    assert "done" in site.entra.set_active(user_id, active=False)


def test_a_message_without_the_signature_changes_nothing(site: Site) -> None:
    forged = httpx.post(f"{site.url}/hooks/scim", json={"type": "user.created", "data": {}})
    assert forged.status_code == 401
    assert site.rows("SELECT count(*) FROM auth_user") == [(0,)]
