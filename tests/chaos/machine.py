"""What chaos needs: a database of each kind, and how many rounds of it (few in `make test`, many in `make chaos`)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from services.postgres import PostgresServer
from termination.conftest import migrate

ROUNDS = int(os.environ.get("SCIM_CHAOS_ROUNDS", "20"))


def migrated_url(request: pytest.FixtureRequest, tmp_path: Path, server: str = "postgres") -> Iterator[str]:
    """For a fixture with the parameters sqlite and postgres: a migrated database, if of Postgres then in `server`."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/scim.db"
        migrate(url)
        yield url
        return
    postgres: PostgresServer = request.getfixturevalue(server)
    url = postgres.create_database()
    migrate(url)
    yield url
    postgres.drop_database(url)
