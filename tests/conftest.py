"""What every test may ask for: a real Postgres, a real Redis, asyncio, and no way off this machine.

A service that cannot be had fails the tests that need it, in one line; nothing is skipped.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import pytest
from anyio._backends._asyncio import TestRunner
from hypothesis import settings
from services import MissingService
from services.loopback import stay_on_loopback
from services.postgres import PostgresServer
from services.redis import RedisServer

import scim_server.storage.postgres

Service = TypeVar("Service", PostgresServer, RedisServer)

PATIENCE_AS_SHIPPED_S = scim_server.storage.postgres.PATIENCE_S

settings.register_profile("default", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=10_000, print_blob=True)
settings.load_profile("default")


def _quiet_farewell(
    runner: TestRunner,
    loop: asyncio.AbstractEventLoop,
    context: dict[str, Any],
    handle: Callable[..., None] = TestRunner._exception_handler,
) -> None:
    # asyncpg leaves this future unread when a connection is given up while it is being made, as a listener does
    # whose database is dropped; whichever test runs when it is collected would fail for it.
    if str(context.get("exception")) != "unexpected connection_lost() call":
        handle(runner, loop, context)


TestRunner._exception_handler = _quiet_farewell  # type: ignore[method-assign,assignment]


def pytest_sessionstart() -> None:
    """Before the first test: from here on, only loopback."""
    stay_on_loopback()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests measured and gave to `record_property` (texts only: they cross processes)."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def patience() -> None:
    """A crowd on a busy machine waits longer for its turn than the product has anybody wait."""
    scim_server.storage.postgres.PATIENCE_S = 40.0


@pytest.fixture
def patience_as_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of a Postgres that is away."""
    monkeypatch.setattr("scim_server.storage.postgres.PATIENCE_S", PATIENCE_AS_SHIPPED_S)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The Postgres of this test process. Make databases in it; to stop or freeze one, ask for `own_postgres`."""
    if url := os.environ.get("SCIM_TEST_DATABASE_URL"):
        yield PostgresServer.external(url)
    else:
        yield from _own(PostgresServer.launch)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A Postgres that this module's tests may stop, kill and freeze; they leave it running."""
    yield from _own(PostgresServer.launch)


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database that is dropped afterwards."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The Redis of this test process. To stop or freeze one, ask for `own_redis`."""
    if url := os.environ.get("SCIM_TEST_REDIS_URL"):
        yield RedisServer.external(_database_of_this_worker(url))
    else:
        yield from _own(RedisServer.launch)


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    """A Redis (append-only file) that this module's tests may stop, kill and freeze; they leave it running."""
    yield from _own(partial(RedisServer.launch, appendonly=True))


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty Redis database."""
    redis_server.flush()
    return redis_server.url


def _own(launch: Callable[[], Service]) -> Iterator[Service]:
    try:
        server = launch()
    except MissingService as missing:
        reason = str(missing)
    else:
        yield server
        server.discard()
        return
    pytest.fail(reason, pytrace=False)


def _database_of_this_worker(url: str) -> str:
    """Parallel workers share a borrowed Redis: each takes a database number of its own."""
    number = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    return urlunsplit(urlsplit(url)._replace(path=f"/{number}")) if number else url
