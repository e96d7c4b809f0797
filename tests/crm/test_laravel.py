"""The Laravel middleware on Laravel's own classes and tables; the server's part is played by the preset's adapter."""

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from crm.parts import GATES, Asked, asking, write

pytestmark = pytest.mark.crm

TABLES = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, password TEXT, remember_token TEXT)",
    "CREATE TABLE sessions (id TEXT PRIMARY KEY, user_id INTEGER, ip_address TEXT, user_agent TEXT, payload TEXT,"
    " last_activity INTEGER)",
    "CREATE INDEX sessions_user_id_index ON sessions (user_id)",
)


@dataclass(frozen=True)
class Laravel:
    """`ask("login"|"visit", sid)` answers [status, sid, sessions of users, remember tokens]."""

    ask: Asked
    path: Path

    def stand(self, epoch: int, denied: bool) -> None:
        entry = {"kind": "sql", "preset": "laravel", "url": f"sqlite:///{self.path}", "gate_statement": "default"}
        write(entry, "42", epoch, denied)


@pytest.fixture
def laravel(tmp_path: Path) -> Iterator[Laravel]:
    path = tmp_path / "crm.db"
    password = subprocess.check_output(["php", "-r", 'echo password_hash("secret", PASSWORD_BCRYPT, ["cost" => 4]);'])
    with sqlite3.connect(path) as database:
        for table in (*GATES, *TABLES):
            database.execute(table)
        database.execute("INSERT INTO users VALUES (42, 'ann@crm.example', ?, '')", (password.decode(),))
    with asking(["php", str(Path(__file__).with_name("laravel.php")), str(path)]) as ask:
        yield Laravel(ask, path)


def test_a_leaver_is_cut_off_and_comes_back(laravel: Laravel) -> None:
    now = int(time.time() * 1000)
    status, sid, sessions, remembered = laravel.ask("login", None)
    assert (status, sessions, remembered) == (200, 1, 1)
    assert laravel.ask("visit", sid)[0] == 200
    with sqlite3.connect(laravel.path) as database:
        [record] = database.execute("SELECT * FROM sessions WHERE id = ?", (sid,)).fetchall()

    laravel.stand(now, denied=True)
    assert laravel.ask("visit", sid)[0] == 401
    status, _, sessions, remembered = laravel.ask("login", None)
    assert (status, sessions) == (403, 0)

    laravel.stand(now + 5, denied=False)
    with sqlite3.connect(laravel.path) as database:  # a request in flight writes the dead session back
        database.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?)", record)
    status, fresh, sessions, _ = laravel.ask("visit", sid)
    assert (status, sessions) == (401, 0)
    assert fresh != sid
    status, sid, *_ = laravel.ask("login", None)
    assert status == 200
    assert laravel.ask("visit", sid)[0] == 200


def test_a_page_is_sent_to_the_login(laravel: Laravel) -> None:
    _, sid, *_ = laravel.ask("login", None)
    with sqlite3.connect(laravel.path) as database:
        database.execute("INSERT INTO scim_gate VALUES ('42', 9, 1, 9)")
    assert laravel.ask("visit", sid, False)[0] == 302
