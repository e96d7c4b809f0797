"""A real MariaDB for the tests: runs the installed server in a temporary folder, makes databases.

Needs mariadbd and mariadb-install-db (apt install mariadb-server-core mariadb-client-core); it starts no service.
"""

import atexit
import itertools
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import pymysql  # type: ignore[import-untyped]

from services import MissingService, processes

START_SECONDS = 30.0


class MariadbServer:
    """One MariaDB server on a random loopback port, where `root` needs no password."""

    def __init__(self, home: Path, port: int) -> None:
        self.port = port
        self._home = home
        self._serial = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def launch(cls) -> Self:
        """A fresh server of our own. Raises MissingService when it is not installed."""
        program = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
        if program is None or shutil.which("mariadb-install-db") is None:
            raise MissingService("no MariaDB for the tests: apt install mariadb-server-core mariadb-client-core")
        home = Path(tempfile.mkdtemp(prefix="scim-mariadb-", dir="/tmp"))
        server = cls(home, processes.free_port())
        atexit.register(server.discard)
        server._start(program)
        return server

    def connect(self, database: str | None = None) -> Any:
        """A connection of pymysql as root, in autocommit mode."""
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True)

    def create_database(self, *statements: str) -> str:
        """Makes a database with these tables; returns its name."""
        name = f"scim_test_{next(self._serial)}"
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            cursor.execute(f"USE {name}")
            for statement in statements:
                cursor.execute(statement)
        return name

    def discard(self) -> None:
        """Ends the server in whatever state it is and deletes its files; may be called again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    def _start(self, program: str) -> None:
        user = processes.unprivileged()
        if user:
            shutil.chown(self._home, user.pw_uid, user.pw_gid)
        account: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        data = ["--no-defaults", f"--datadir={self._home / 'data'}"]
        made = subprocess.run(
            ["mariadb-install-db", *data, "--auth-root-authentication-method=normal", "--skip-test-db"],
            capture_output=True,
            text=True,
            check=False,
            cwd=self._home,
            **account,
        )
        if made.returncode != 0:
            raise RuntimeError(f"mariadb-install-db failed: {made.stdout}{made.stderr}")
        options = [f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self._home / 'socket'}"]
        options += ["--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", f"--pid-file={self._home / 'pid'}"]
        with (self._home / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, *data, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._home, **account
            )
        self._wait_until_ready(self._process)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect().close()
                return
            except pymysql.err.OperationalError as refusal:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"mariadbd: {(self._home / 'log').read_text()}") from refusal
                time.sleep(0.05)  # no portable signal of readiness
