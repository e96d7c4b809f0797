"""Settings: environment variables SCIM_*, then a TOML file, then defaults. All faults are reported together.

Only cli.py and app.py know this module; everything below gets plain values. Secrets stand in the file as
"${ENV_NAME}" or as a `*_file` key whose file holds the value.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.schema_json import DeclarationError
from scim_server.protocol.schema_json import load as load_types
from scim_server.protocol.schemas import GROUP, USER
from scim_server.sessions.config import SessionStoreSettings, SqlSettings
from scim_server.sessions.registry import StoreConfigError, read_stores

DEFAULT_FILE = "scim-server.toml"
PREFIX = "SCIM_"
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_DATABASES = ("sqlite:///", "postgresql://", "postgres://", "postgresql+asyncpg://")


class SettingsError(Exception):
    """Configuration that cannot be used. `problems` has one line for each fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(BaseModel):
    """What one deployment is configured with. Each field is the environment variable SCIM_<FIELD> and the lower-case
    key in the TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: Annotated[str, Field(description="sqlite:///file.db or postgresql://user:pw@host:5432/db")] = (
        "sqlite:///scim-server.db"
    )
    database_pool_size: Annotated[int, Field(ge=1, le=200, description="Postgres connections per worker")] = 10
    listen_url: Annotated[
        str | None,
        Field(description="Direct Postgres address for wake-ups when database_url leads to pgbouncer; - for none"),
    ] = None
    public_url: Annotated[
        str | None, Field(description="Address clients use, e.g. https://scim.example.com; else the request's")
    ] = None
    host: Annotated[str, Field(description="Address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on")] = 8080
    admin_port: Annotated[int | None, Field(ge=0, le=65535, description="Port of its own for health and metrics")] = (
        None
    )
    token: Annotated[str | None, Field(description="Bootstrap token of the tenant default, 32 characters or more")] = (
        None
    )
    log_level: Annotated[str, Field(description="debug | info | warning | error")] = "info"
    discovery_auth: Annotated[
        bool, Field(description="Whether /Schemas, /ResourceTypes and /ServiceProviderConfig need a token")
    ] = False
    schemas: Annotated[
        tuple[str, ...], Field(description="JSON files with schemas of your own (RFC 7643 §7); commas between them")
    ] = ()
    resource_types: Annotated[
        tuple[str, ...],
        Field(description="JSON files with resource types of your own (RFC 7643 §6); either list takes both"),
    ] = ()
    schemas_dir: Annotated[str | None, Field(description="Folder of which every .json file is read like these")] = None
    session_stores: Annotated[
        tuple[SessionStoreSettings, ...], Field(description="[[session_stores]] tables; see docs/session-stores.md")
    ] = ()

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if not value.startswith(_DATABASES):
            raise ValueError("write sqlite:///file.db or postgresql://user:password@host:5432/database")
        return value

    @field_validator("token")
    @classmethod
    def _strong_token(cls, value: str | None) -> str | None:
        if value is not None and len(value) < 32:
            raise ValueError("has fewer than 32 characters; use one from `scim-server token issue`")
        return value

    @field_validator("public_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("must begin with https:// (or http:// for tests)")
        return value.rstrip("/") if value else None

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.lower() not in ("debug", "info", "warning", "error"):
            raise ValueError("must be debug, info, warning or error")
        return value.lower()

    @field_validator("schemas", "resource_types", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @cached_property
    def served_types(self) -> tuple[ResourceType, ...]:
        """User, Group and what is declared beside them. Raises DeclarationError with every fault of every file."""
        files = [Path(name) for name in (*self.schemas, *self.resource_types)]
        problems: list[str] = []
        if self.schemas_dir is not None:
            folder = Path(self.schemas_dir)
            files += sorted(folder.glob("*.json"))
            if not folder.is_dir():
                problems.append(f"SCIM_SCHEMAS_DIR: there is no folder {folder}")
        contents = {str(path): _json(path, problems) for path in files}
        if problems:
            raise DeclarationError(problems)
        return load_types(contents, (USER, GROUP))

    @property
    def is_sqlite(self) -> bool:
        """Whether the embedded database is used."""
        return self.database_url.startswith("sqlite")

    def strangers(self) -> list[str]:
        """What is wrong with stores that are to be in this server's own database, and are not."""
        return [
            f'session store "{store.name}": same_commit needs the database of SCIM_DATABASE_URL: write the same host, '
            "port and database, or the same file, without {tenant}"
            for store in self.session_stores
            if isinstance(store, SqlSettings) and store.same_commit and not store.joins(self.database_url)
        ]

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read all sources. Raises SettingsError with every fault of every source."""
        problems: list[str] = []
        given = _from_file(environment, problems)
        given |= _from_environment(environment, problems)
        try:
            stores = read_stores(given.pop("session_stores", []))
        except StoreConfigError as fault:
            problems += fault.problems
            stores = []
        try:
            settings = cls.model_validate({**given, "session_stores": tuple(stores)})
            assert settings.served_types
            problems += settings.strangers()
        except DeclarationError as fault:
            problems += fault.problems
        except ValidationError as faults:
            problems += [_line(fault) for fault in faults.errors(include_url=False, include_input=False)]
        if problems:
            raise SettingsError(problems)
        return settings


def _line(fault: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{name}: is not a setting; see docs/operations.md for the list"
    return f"{PREFIX}{name.upper()}: {fault['msg'].removeprefix('Value error, ')}"


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Names that look like settings and are none, such as SCIM_TOKNE. Not a fault: others may share the prefix."""
    known = {f"{PREFIX}{name.upper()}{end}" for name in Settings.model_fields for end in ("", "_FILE")}
    known.add(f"{PREFIX}CONFIG")
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    known = set(Settings.model_fields) - {"session_stores"}
    found: dict[str, Any] = {}
    for name, value in environment.items():
        if not name.startswith(PREFIX) or name == f"{PREFIX}CONFIG" or name.startswith(f"{PREFIX}TEST_"):
            continue
        key = name.removeprefix(PREFIX).lower()
        if key.endswith("_file") and key.removesuffix("_file") in known:
            found[key.removesuffix("_file")] = _read_secret(Path(value), name, problems)
        elif key in known:
            if value == "" and key == "token":
                problems.append("SCIM_TOKEN: is set but empty; unset it or give it 32 characters or more")
            elif value != "":
                found[key] = value
    return found


def _json(path: Path, problems: list[str]) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as fault:
        problems.append(f"{path}: cannot be read: {fault}")
        return None


def _from_file(environment: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    named = environment.get(f"{PREFIX}CONFIG")
    path = Path(named or DEFAULT_FILE)
    if not path.exists():
        if named:
            problems.append(f"SCIM_CONFIG: there is no file {named}")
        return {}
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as fault:
        problems.append(f"{path.name}: cannot be read: {fault}")
        return {}
    resolved: dict[str, Any] = _resolved(raw, environment, path.parent, problems)
    for key in ("schemas", "resource_types"):
        if isinstance(resolved.get(key), list):
            resolved[key] = [str(path.parent / str(name)) for name in resolved[key]]
    if isinstance(resolved.get("schemas_dir"), str):
        resolved["schemas_dir"] = str(path.parent / resolved["schemas_dir"])
    return resolved


def _resolved(value: Any, environment: Mapping[str, str], folder: Path, problems: list[str]) -> Any:
    """References to the environment and `*_file` keys replaced by what they stand for."""
    if isinstance(value, str):
        return _REFERENCE.sub(lambda found: _variable(found[1], environment, problems), value)
    if isinstance(value, list):
        return [_resolved(item, environment, folder, problems) for item in value]
    if not isinstance(value, dict):
        return value
    out: dict[str, Any] = {}
    for key, item in value.items():
        if key.endswith("_file") and isinstance(item, str):
            out[key.removesuffix("_file")] = _read_secret(folder / item, key, problems)
        else:
            out[key] = _resolved(item, environment, folder, problems)
    return out


def _variable(name: str, environment: Mapping[str, str], problems: list[str]) -> str:
    if not environment.get(name):
        problems.append(f"${{{name}}}: the environment variable is not set")
    return environment.get(name, "")


def _read_secret(path: Path, key: str, problems: list[str]) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        problems.append(f"{key}: cannot be read: {fault.__class__.__name__}")
        return ""
