"""What `sessions snippet` prints: Python's lines run on a real Redis, the other languages' parse (marked crm)."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

STORES = """
[[session_stores]]
name = "fast"
kind = "redis"
url = "{url}"
subject = "{{externalId}}"
session_key = "sess:{{sid}}"
index_key = "idx:{{{{{{tenant}}:{{subject}}}}}}"
gate_key = "gate'\\\\:{{{{{{tenant}}:{{subject}}}}}}"

[[session_stores]]
name = "table"
kind = "sql"
url = "sqlite:///crm.db"
tenant = "acme"
statements = ["DELETE FROM user_sessions WHERE user_id = :subject"]
gate_statement = "default"

[[session_stores]]
name = "gateless"
kind = "sql"
url = "sqlite:///crm.db"
statements = ["DELETE FROM user_sessions WHERE user_id = :subject"]

[[session_stores]]
name = "api"
kind = "webhook"
url = "https://crm.example/hooks"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""


def printed(folder: Path, *words: str, url: str = "redis://127.0.0.1/0") -> subprocess.CompletedProcess[str]:
    (folder / "scim-server.toml").write_text(STORES.format(url=url))
    command = [sys.executable, "-m", "scim_server", "sessions", "snippet", *words]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


class Sessions:
    """The CRM's."""

    def __init__(self) -> None:
        self.alive: set[str] = set()

    def create(self, subject: str, epoch: int) -> str:
        self.alive.add(sid := f"{subject}-{epoch}")
        return sid

    def delete(self, sid: str) -> None:
        self.alive.discard(sid)


def test_the_python_lines_run_with_the_keys_of_the_store(tmp_path: Path, redis_url: str) -> None:
    told = printed(tmp_path, "--store", "fast", "--lang", "python", "--tenant", "acme", url=redis_url)
    assert told.returncode == 0, told.stderr
    sessions = Sessions()
    with redis.Redis.from_url(redis_url) as client:
        crm: dict[str, Any] = {"redis": client, "sessions": sessions, "subject": "ann", "LIFETIME_S": 60}
        exec(told.stdout, crm)
        assert sessions.alive == {"ann-0"}
        assert client.smembers("idx:{acme:ann}") == {b"ann-0"}
        assert client.exists("scim:guard:acme")
        client.set("gate'\\:{acme:ann}", "7:1:7")
        exec(told.stdout, crm)
        assert sessions.alive == {"ann-0"}  # the login under epoch 7 was refused
        client.set("gate'\\:{acme:ann}", "8:0:8")
        crm["epoch"] = 0
        exec(told.stdout[told.stdout.index("# on each request") :], crm | {"sid": "ann-0"})
        assert sessions.alive == set()


def test_a_store_of_one_tenant_names_it(tmp_path: Path) -> None:
    assert 'name="acme"' in printed(tmp_path, "--store", "table", "--lang", "python").stdout


@pytest.mark.parametrize(
    ("store", "why"), [("gateless", "gate_statement"), ("api", "webhook"), ("nowhere", "no session store 'nowhere'")]
)
def test_a_store_without_a_gate_says_what_is_missing(store: str, why: str, tmp_path: Path) -> None:
    told = printed(tmp_path, "--store", store, "--lang", "php")
    assert (told.returncode, told.stdout) == (1, "")
    assert why in told.stderr
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.crm
@pytest.mark.parametrize("store", ["fast", "table"])
@pytest.mark.parametrize("language", ["node", "php", "java"])
def test_the_lines_of_other_languages_compile(store: str, language: str, tmp_path: Path) -> None:
    lines = printed(tmp_path, "--store", store, "--lang", language).stdout
    assert "@" not in lines
    if language == "node":
        check(["node", "--check", str(written(tmp_path / "crm.mjs", lines))])
    elif language == "php":
        check(["php", "-l", str(written(tmp_path / "crm.php", "<?php\n" + lines))])
    else:
        check_java(lines, tmp_path)


def check_java(lines: str, folder: Path) -> None:
    """Around the lines, what they take for granted: a template of Spring's shape, a data source, the CRM's sessions."""
    crm = """
        import jakarta.servlet.Filter; import jakarta.servlet.http.HttpServletRequest; import java.time.Duration;
        import javax.sql.DataSource; import scim.*;
        class Crm {
            static final Duration LIFETIME = Duration.ofHours(8);
            interface Values { String get(Object key); void set(String key, String value); }
            interface Sets { Long add(String key, String... members); }
            interface Template { Values opsForValue(); Sets opsForSet(); Boolean expire(String key, Duration after); }
            interface Sessions { String create(String subject, long epoch); void delete(String sid); }
            void lines(Template redis, DataSource dataSource, Sessions sessions, String subject) { @LINES@ }
        }"""
    guards = (Path(__file__).parents[2] / "examples" / "guards" / "spring").glob("*.java")
    source = written(folder / "Crm.java", re.sub("@LINES@", lambda _: lines, crm))
    jar = "/usr/share/java/jakarta-servlet-api.jar"
    check(["javac", "-d", str(folder), "-cp", jar, *map(str, guards), str(source)])


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def check(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
