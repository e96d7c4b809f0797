"""The servlet filter in a real Tomcat, on gates in a real MariaDB that the server's adapter writes."""

import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from crm.parts import GATES, ROOT, Start, write

from scim_server.demo.processes import free_port

pytestmark = pytest.mark.crm

HERE = Path(__file__).parent
JARS = "/usr/share/java"


def test_a_leaver_is_cut_off_and_comes_back(mariadb: Any, start: Start, tmp_path: Path) -> None:
    names = (
        "tomcat10-embed-core",
        "jakarta-servlet-api",
        "mariadb-java-client",
        "jakarta-annotation-api",
        "slf4j-api",
    )
    libraries = ":".join(f"{JARS}/{name}.jar" for name in names)
    sources = [*sorted((ROOT / "examples" / "guards" / "spring").glob("*.java")), HERE / "Crm.java"]
    subprocess.run(["javac", "-d", tmp_path, "-cp", libraries, *sources], check=True)
    database, port = mariadb.create_database(*GATES), free_port()
    url = f"http://127.0.0.1:{port}"
    jdbc = f"jdbc:mariadb://127.0.0.1:{mariadb.port}/{database}?user=root"
    (home := tmp_path / "tomcat").mkdir()
    start("tomcat", ["java", "-cp", f"{tmp_path}:{libraries}", "Crm", str(port), jdbc, str(home)], {}, url)
    entry = {"kind": "sql", "url": f"mysql://root@127.0.0.1:{mariadb.port}/{database}", "gate_statement": "default"}
    now = int(time.time() * 1000)

    with httpx.Client(base_url=url) as before, httpx.Client(base_url=url) as after:
        assert before.get("/", params={"login": "ann"}).text == "ann\n"
        assert before.get("/").text == "ann\n"
        write(entry, "ann", now, denied=True)
        assert before.get("/").status_code == 401
        assert before.get("/").text == "null\n"  # the filter has invalidated it
        assert after.get("/", params={"login": "ann"}).status_code == 403
        write(entry, "ann", now + 5, denied=False)
        assert after.get("/", params={"login": "ann"}).text == "ann\n"
        assert after.get("/").text == "ann\n"
        write(entry, "ann", now + 10, denied=False)
        assert after.get("/").status_code == 401
