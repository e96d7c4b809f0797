"""From `[[session_stores]]` entries to open stores. The only place that knows every kind.

An adapter and its library are imported when a store of that kind is opened, so that a server pays for, and needs
installed, only what it uses.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scim_server.sessions.config import (
    PythonSettings,
    RedisSettings,
    SessionStoreSettings,
    SqlSettings,
    WebhookSettings,
)
from scim_server.sessions.port import SessionStore

_ENTRY: TypeAdapter[SessionStoreSettings] = TypeAdapter(SessionStoreSettings)


class StoreConfigError(ValueError):
    """Entries that cannot be used. `problems` has one line for each fault, with the store's name and what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def read_stores(entries: Iterable[Mapping[str, Any]]) -> list[SessionStoreSettings]:
    """Check all entries. Raise StoreConfigError with every fault of every entry."""
    stores: list[SessionStoreSettings] = []
    problems: list[str] = []
    names: Counter[Any] = Counter()
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise StoreConfigError(["session_stores: write [[session_stores]], in double brackets, above each store"])
    for number, entry in enumerate(entries, 1):
        label = f'session store "{entry["name"]}"' if entry.get("name") else f"session store number {number}"
        names[entry.get("name")] += 1
        try:
            stores.append(_ENTRY.validate_python(dict(entry)))
        except ValidationError as faults:
            problems += [f"{label}: {line}" for line in _lines(faults)]
    problems += [
        f'session store "{name}": {count} stores have this name; give each its own'
        for name, count in names.items()
        if name and count > 1
    ]
    if problems:
        raise StoreConfigError(problems)
    return stores


def open_store(config: SessionStoreSettings) -> SessionStore:
    """The store, not yet connected. Raise StoreConfigError when a library it needs is not installed."""
    match config:
        case RedisSettings():
            from scim_server.sessions.redis import RedisStore

            return RedisStore(config)
        case SqlSettings():
            return _open_sql(config)
        case WebhookSettings():
            from scim_server.sessions.webhook import WebhookStore

            return WebhookStore(config)
        case PythonSettings():
            from scim_server.sessions.python import PythonStore

            return PythonStore(config)


def _open_sql(config: SqlSettings) -> SessionStore:
    from scim_server.sessions.sql import SqlStore

    scheme = config.url.text.partition(":")[0]
    if scheme == "sqlite":
        from scim_server.sessions.sql_sqlite import SqliteDatabase

        return SqlStore(config, SqliteDatabase)
    if scheme in ("postgresql", "postgres"):
        from scim_server.sessions.sql_postgres import PostgresDatabase

        return SqlStore(config, PostgresDatabase)
    try:
        from scim_server.sessions.sql_mysql import MysqlDatabase
    except ImportError:
        raise StoreConfigError(
            [f'session store "{config.name}": MySQL and MariaDB need aiomysql: pip install "scim-server[mysql]"']
        ) from None
    return SqlStore(config, MysqlDatabase)


def _lines(faults: ValidationError) -> Iterable[str]:
    for fault in faults.errors(include_url=False, include_input=False, include_context=False):
        place = ".".join(str(step) for step in _place(fault["loc"]))
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "is not a setting of this kind of store: remove it or correct its spelling"
        elif fault["type"] == "missing":
            message = "is missing"
        elif fault["type"].startswith("union_tag"):
            message = 'kind must be "redis", "sql", "webhook" or "python"'
        yield f"{place}: {message}" if place else message


def _place(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    kinds = ("redis", "sql", "webhook", "python")
    return location[1:] if location[:1] and location[0] in kinds else location
