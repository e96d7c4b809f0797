"""Brings a database's schema to the newest version (Alembic), and says whether it is there.

Versions are the files of migrations/, which ride in the wheel. NNNN_pre_* are safe while the previous release still
runs, NNNN_post_* once it is gone.
"""

from collections.abc import Callable
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DatabaseError, DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from scim_server.protocol.errors import Unavailable
from scim_server.storage.postgres import plain_url
from scim_server.storage.sqlite import connect, sqlite_path

_PACKAGED = Path(__file__).parent.parent / "_migrations"
_IN_REPOSITORY = Path(__file__).parent.parent.parent / "migrations"
_LOCK = 0x5C1A  # one migration at a time


class SchemaRefused(Exception):
    """The database refused a statement, and will again until a person changes something; the text says why."""


async def migrate(url: str) -> str:
    """Run what is missing; the version reached. Safe to call from several processes at once."""
    head = _scripts().get_current_head() or ""
    await _with_connection(url, _upgrade)
    return head


async def pending(url: str) -> list[str]:
    """Versions that have not run yet, oldest first; empty when the schema is current. An empty database misses all."""
    found: list[str] = []
    await _with_connection(url, lambda connection: found.extend(_missing(connection)))
    return found


def missing_file(url: str) -> Path | None:
    """The file of a SQLite database that nobody has made yet: to look into it would make it."""
    path = sqlite_path(url).absolute() if url.startswith("sqlite") else None
    return path if path and not path.exists() else None


async def is_empty(url: str) -> bool:
    """Whether no version has ever run."""
    current: list[str | None] = []
    await _with_connection(url, lambda connection: current.append(_context(connection).get_current_revision()))
    return current[0] is None


async def _with_connection(url: str, work: Callable[[Connection], None]) -> None:
    if url.startswith("sqlite"):
        file = create_engine("sqlite://", creator=lambda: connect(sqlite_path(url)), poolclass=NullPool)
        try:
            with file.begin() as connection:
                work(connection)
        except DatabaseError as problem:
            path = sqlite_path(url).absolute()
            raise Unavailable(f"The database file {path} cannot be used: {problem.orig}") from problem
        return
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(plain_url(url), timeout=5), poolclass=NullPool
    )
    try:
        async with engine.begin() as asynchronous:
            await asynchronous.run_sync(work)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
        raise Unavailable(f"The database cannot be reached: {problem}") from problem
    except DBAPIError as problem:
        cause = problem.orig and problem.orig.__cause__
        if isinstance(cause, asyncpg.LockNotAvailableError):
            raise Unavailable("Others use the tables that are to change") from problem
        raise SchemaRefused(f"The database refuses to work on its schema: {cause or problem.orig}") from problem
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        for limit in ("statement_timeout", "lock_timeout"):  # of the role's: another migration may take its time
            connection.execute(text(f"SET LOCAL {limit} = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _missing(connection: Connection) -> list[str]:
    current = _context(connection).get_current_revision()
    scripts = _scripts()
    known = [script.revision for script in scripts.walk_revisions()]
    if current is not None and current not in known:
        return []  # a newer release has been here; expand/contract keeps its schema usable for this one
    return [script.revision for script in scripts.iterate_revisions("head", current or "base")][::-1]


def _context(connection: Connection) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"version_table": "schema_version"})


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    folder = _PACKAGED if _PACKAGED.is_dir() else _IN_REPOSITORY
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config
