"""A MySQL server that accepts connections and says nothing: the store's own time is all that anybody waits."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from scim_server.sessions.sql_database import Unanswered
from scim_server.sessions.sql_mysql import MysqlDatabase
from scim_server.sessions.sql_statement import Statement


@pytest.fixture
async def silent() -> AsyncIterator[int]:
    """The port of the server."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    for writer in writers:
        writer.close()
    server.close()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the driver leaves its socket to the collector
async def test_a_server_that_says_nothing_is_given_up_after_the_stores_own_time(silent: int) -> None:
    database = MysqlDatabase(f"mysql://crm:secret@127.0.0.1:{silent}/crm", timeout_ms=200)
    async with asyncio.timeout(40):
        with pytest.raises(Unanswered, match="does not answer within 200 ms"):
            await database.fetch(Statement.parse("SELECT 1"), {})
    await database.aclose()
