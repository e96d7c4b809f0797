"""Each kind of database, opened, without a server in front."""

from collections.abc import AsyncIterator

import pytest
from web.serving import database_url

from scim_server.app import open_database
from scim_server.settings import Settings
from scim_server.storage.database import Database

__all__ = ["database", "database_url"]


@pytest.fixture(scope="session")
async def database(database_url: str) -> AsyncIterator[Database]:
    """Each kind of database."""
    opened = await open_database(Settings(database_url=database_url))
    yield opened
    await opened.aclose()
