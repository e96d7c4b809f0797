"""`serve`, `migrate` and `demo`: starting things."""

import asyncio
import os
import socket
import sys
import time
from typing import Annotated

import typer

from scim_server.cli.terminal import Failure, load_settings, say
from scim_server.protocol.errors import Unavailable
from scim_server.settings import Settings, unknown_variables
from scim_server.storage import schema

WAIT_FOR_DATABASE_S = 30


def demo(
    once: Annotated[bool, typer.Option("--once", help="Run the whole story, print the result, exit.")] = False,
    redis: Annotated[str | None, typer.Option(help="Keep the CRM's sessions in this Redis instead of SQLite.")] = None,
) -> None:
    """The main job, embedded: this server, an example CRM and an identity provider."""
    from scim_server.demo import run

    raise typer.Exit(run(once=once, redis_url=redis))


def migrate() -> None:
    """Bring the database schema to the newest version."""
    settings = load_settings()
    say(f"The schema is at {asyncio.run(schema.migrate(settings.database_url))}.")


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port to listen on.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; more than one needs Postgres.")] = 1,
) -> None:
    """Run the server."""
    settings = Settings.load()
    for name in unknown_variables(os.environ):
        say(f"{name} is not a setting and has no effect; docs/operations.md lists those that are.")
    if workers > 1 and settings.is_sqlite:
        say("SQLite serves one process; use Postgres (SCIM_DATABASE_URL) for --workers above 1.")
        raise typer.Exit(2)
    _prepare_schema(settings)
    address = [host or settings.host, str(settings.port if port is None else port)]
    _try_to_listen(*address)
    os.execv(sys.executable, [sys.executable, "-m", "scim_server.server", *address, str(workers)])  # noqa: S606


def _try_to_listen(host: str, port: str) -> None:
    """The server says no more than an error number in its log when the port is taken."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as problem:
        raise Failure(f"Cannot listen on {host}:{port} ({problem.strerror}); see --host and --port.") from None


def _prepare_schema(settings: Settings) -> None:
    """Migrate an empty or SQLite database; an outdated Postgres schema is the operator's decision."""
    url = settings.database_url
    deadline = time.monotonic() + WAIT_FOR_DATABASE_S
    while True:
        try:
            missing = asyncio.run(schema.pending(url))
            if missing and (settings.is_sqlite or asyncio.run(schema.is_empty(url))):
                asyncio.run(schema.migrate(url))
                return
        except Unavailable as problem:
            if time.monotonic() > deadline:
                raise
            say(f"{problem.detail}; trying again for {deadline - time.monotonic():.0f} seconds.")
            time.sleep(1)
            continue
        if missing:
            raise Failure("The database schema is older than this release; run: scim-server migrate")
        return
