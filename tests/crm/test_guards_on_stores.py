"""The Node and PHP guards on real Redis, MariaDB, Postgres and SQLite, through the clients that CRMs use.

The server's part is played by the store's own adapter, so both sides of a gate meet.
"""

import shutil
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from crm.parts import GATES, ROOT, Asked, asking, write
from services.postgres import PostgresServer
from services.redis import RedisServer

pytestmark = pytest.mark.crm

HERE = Path(__file__).parent
GUARD = ROOT / "examples" / "guards" / "express" / "scim-guard.mjs"


def node(client: str, address: str, modules: Path, home: Path) -> list[str]:
    (home / "node_modules").symlink_to(modules)
    shutil.copy(GUARD, home)
    shutil.copy(HERE / "node_gates.mjs", home)
    return ["node", str(home / "node_gates.mjs"), client, address]


def php(client: str, address: str) -> list[str]:
    return ["php", str(HERE / "php_gates.php"), client, address]


def follow_a_leaver(ask: Asked, entry: dict[str, Any]) -> None:
    """One story for every client: never deactivated, cut off, let in again."""
    now = int(time.time() * 1000)
    assert ask("open", "begin", "ann") == 0
    assert ask("open", "check", "ann", 0) is True
    assert write(entry, "ann", now, denied=True), "the server did not see the guard"
    assert ask("open", "check", "ann", 0) is False
    assert ask("open", "confirm", "ann", 0) is False
    assert ask("open", "begin", "ann") == now
    assert ask("open", "check", "bob", 0) is True
    write(entry, "ann", now + 5, denied=False)
    assert ask("open", "check", "ann", 0) is False
    assert ask("open", "check", "ann", now) is False
    assert ask("open", "begin", "ann") == now + 5
    assert ask("open", "confirm", "ann", now + 5) is True


def redis_entry(url: str) -> dict[str, Any]:
    return {
        "kind": "redis",
        "url": url,
        "session_key": "sess:{sid}",
        "index_key": "scim:idx:{tenant}:{subject}",
        "gate_key": "scim:gate:{tenant}:{subject}",
    }


def sql_entry(url: str) -> dict[str, Any]:
    return {"kind": "sql", "url": url, "gate_statement": "default"}


@pytest.mark.parametrize("client", ["redis", "ioredis"])
def test_node_on_redis(client: str, redis_url: str, node_modules: Path, tmp_path: Path) -> None:
    with asking(node(client, redis_url, node_modules, tmp_path)) as ask:
        follow_a_leaver(ask, redis_entry(redis_url))


@pytest.mark.parametrize("client", ["phpredis", "predis"])
def test_php_on_redis(client: str, redis_url: str) -> None:
    with asking(php(client, redis_url)) as ask:
        follow_a_leaver(ask, redis_entry(redis_url))


def test_node_on_mariadb(mariadb: Any, node_modules: Path, tmp_path: Path) -> None:
    url = f"mysql://root@127.0.0.1:{mariadb.port}/{mariadb.create_database(*GATES)}"
    with asking(node("mysql2", url, node_modules, tmp_path)) as ask:
        follow_a_leaver(ask, sql_entry(url))


def test_php_on_mariadb(mariadb: Any) -> None:
    database = mariadb.create_database(*GATES)
    with asking(php("pdo", f"mysql:host=127.0.0.1;port={mariadb.port};dbname={database} root")) as ask:
        follow_a_leaver(ask, sql_entry(f"mysql://root@127.0.0.1:{mariadb.port}/{database}"))


def test_node_on_postgres(postgres: PostgresServer, postgres_url: str, node_modules: Path, tmp_path: Path) -> None:
    make = ["node", "--input-type=module", "-e"]
    script = f"""import pg from "pg"; import {{ TABLES }} from "./scim-guard.mjs";
        const client = new pg.Client({postgres_url!r}); await client.connect();
        for (const table of TABLES) await client.query(table); await client.end();"""
    command = node("pg", postgres_url, node_modules, tmp_path)
    subprocess.run([*make, script], cwd=tmp_path, check=True)
    with asking(command) as ask:
        follow_a_leaver(ask, sql_entry(postgres_url))


def test_php_on_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "crm.db"
    with sqlite3.connect(path) as database:
        for table in GATES:
            database.execute(table)
    with asking(php("pdo", f"sqlite:{path}")) as ask:
        follow_a_leaver(ask, sql_entry(f"sqlite:///{path}"))


@pytest.mark.parametrize("language", ["redis", "ioredis", "phpredis", "predis"])
def test_while_redis_is_away_the_crm_works_on_unless_told_otherwise(
    language: str, node_modules: Path, tmp_path: Path
) -> None:
    server = RedisServer.launch()
    is_php = language.startswith(("php", "predis"))
    command = php(language, server.url) if is_php else node(language, server.url, node_modules, tmp_path)
    with asking(command) as ask:
        assert ask("open", "check", "ann", 0) is True
        with redis.Redis.from_url(server.url) as client:
            client.set("scim:gate:acme:ann", "50:1:50")
        assert ask("open", "check", "ann", 0) is False
        server.kill9()
        assert ask("open", "check", "ann", 0) is True
        assert ask("closed", "check", "ann", 0) is False
        server.start()
    server.discard()
