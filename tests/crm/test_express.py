"""The example of the Express guard with express-session and connect-redis, behind a real SCIM server."""

import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import redis
from crm.parts import ROOT, Entra, Start

from scim_server.demo.processes import free_port

pytestmark = pytest.mark.crm

SUBJECT = "ext-ann"
STORE = """
[[session_stores]]
name = "express"
kind = "redis"
url = "{url}"
subject = "{{externalId}}"
session_key = "sess:{{sid}}"
index_key = "scim:idx:{{tenant}}:{{subject}}"
gate_key = "scim:gate:{{tenant}}:{{subject}}"
"""


def test_a_leaver_is_cut_off_and_comes_back(
    redis_url: str, node_modules: Path, start: Start, provisioned: Callable[[str], Entra], tmp_path: Path
) -> None:
    for source in (ROOT / "examples" / "guards" / "express").glob("*.mjs"):
        shutil.copy(source, tmp_path)
    (tmp_path / "node_modules").symlink_to(node_modules)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"PORT": str(port), "REDIS_URL": redis_url}
    start("express", ["node", str(tmp_path / "example.mjs")], settings, f"{url}/healthz")
    entra = provisioned(STORE.format(url=redis_url))
    user_id = entra.create(SUBJECT, "ann@crm.example")

    with (
        httpx.Client(base_url=url) as before,
        httpx.Client(base_url=url) as after,
        redis.Redis.from_url(redis_url) as db,
    ):
        assert before.post("/login", json={"subject": SUBJECT}).status_code == 200
        assert before.get("/me").json() == {"subject": SUBJECT, "epoch": 0}
        [session] = db.keys("sess:*")
        record = db.get(session)
        cookie = {"Cookie": f"connect.sid={before.cookies['connect.sid']}"}
        assert entra.set_active(user_id, active=False).startswith("done; sessions=1;")
        assert before.get("/me").status_code == 401
        assert db.keys("sess:*") == []
        assert after.post("/login", json={"subject": SUBJECT}).status_code == 403
        assert db.keys("sess:*") == []

        entra.set_active(user_id, active=True)
        db.set(session, record)  # a request in flight writes the dead session back
        assert httpx.get(f"{url}/me", headers=cookie).status_code == 401
        assert db.keys("sess:*") == []
        assert after.post("/login", json={"subject": SUBJECT}).status_code == 200
        assert after.get("/me").json()["epoch"] > 1_700_000_000_000
