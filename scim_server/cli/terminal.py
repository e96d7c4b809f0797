"""How the command line speaks: tables and JSON on stdout, one clear line on stderr, and the way into async code."""

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scim_server import log
from scim_server.app import Parts, open_deployment
from scim_server.clock import new_id, now_ms
from scim_server.protocol.date_time import from_unix_ms
from scim_server.protocol.errors import ScimError
from scim_server.protocol.schema_json import DeclarationError
from scim_server.sessions.registry import StoreConfigError
from scim_server.settings import Settings, SettingsError
from scim_server.storage.access import TenantRow, tenant_named
from scim_server.storage.schema import SchemaRefused, missing_file, pending
from scim_server.usecases.access import Caller
from scim_server.usecases.options import OptionError, TenantOptions

Result = TypeVar("Result")


class Failure(Exception):
    """Something the person at the terminal can act on; the text is the one line they see."""


def run_guarded(app: Callable[[], None]) -> NoReturn:
    """Run the command line; expected failures end in one line and exit code 1."""
    if any("\udc80" <= letter <= "\udcff" for letter in "".join(sys.argv)):  # how Python keeps what it cannot decode
        say("An argument is not UTF-8: set the terminal to it, and LC_ALL to C.UTF-8 for example.")
        sys.exit(2)
    try:
        app()
    except SettingsError as problem:
        say("The configuration cannot be used:", *(f"  {line}" for line in problem.problems))
    except DeclarationError as problem:
        say("These options cannot be set:", *(f"  {line}" for line in problem.problems))
    except StoreConfigError as problem:
        say(*problem.problems)
    except (Failure, OptionError, SchemaRefused) as problem:
        say(str(problem))
    except ScimError as problem:
        say(problem.detail)
    except KeyboardInterrupt:
        sys.exit(130)
    else:
        sys.exit(0)
    sys.exit(1)


def say(*lines: str) -> None:
    """Lines on stderr."""
    for line in lines:
        print(log.mask(line), file=sys.stderr)


def load_settings() -> Settings:
    """The settings, with logging set up for a person: warnings only."""
    settings = Settings.load()
    log.configure("warning")
    return settings


def with_deployment(work: Callable[[Parts], Awaitable[Result]]) -> Result:
    """Open the deployment, do the work, deliver what it left, close."""

    async def run() -> Result:
        settings = load_settings()
        if (file := missing_file(settings.database_url)) is not None:
            raise Failure(
                f"There is no database {file}: run this where the server runs, or set SCIM_DATABASE_URL as it does;"
                " scim-server migrate makes a new one."
            )
        missing = await pending(settings.database_url)
        if missing:
            raise Failure("The database schema is not up to date; run: scim-server migrate")
        async with open_deployment(settings) as parts:
            return await work(parts)

    return asyncio.run(run())


async def find_tenant(parts: Parts, name: str) -> TenantRow:
    """The tenant of this name."""
    tenant = await tenant_named(parts.deployment.database, name)
    if tenant is None:
        raise Failure(f"There is no tenant {name!r}; scim-server tenant list shows all.")
    return tenant


async def operator(parts: Parts, tenant_name: str) -> Caller:
    """The person at the terminal, acting for a tenant with full rights."""
    tenant = await find_tenant(parts, tenant_name)
    return Caller(
        tenant_id=tenant.id,
        tenant=tenant.name,
        options=TenantOptions.read(tenant.options),
        actor=actor(),
        scope="scim",
        request_id=new_id(),
    )


def actor() -> str:
    """Who is at the terminal, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container may run under a number that has no name
        return f"cli:{os.getuid()}"


def stamp() -> dict[str, Any]:
    """Actor, change id and time of an administrative write."""
    return {"actor": actor(), "change_id": new_id(), "now": now_ms()}


def moment(milliseconds: int | None) -> str:
    """A time for people, "" for none."""
    return "" if milliseconds is None else from_unix_ms(milliseconds)


def show(rows: Sequence[Mapping[str, Any]], as_json: bool, columns: Sequence[str]) -> None:
    """A listing: JSON array, or a table with these columns."""
    if as_json:
        print(orjson.dumps(list(rows), option=orjson.OPT_INDENT_2).decode())
        return
    if not rows:
        say("Nothing to list.")
        return
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text("" if row.get(name) is None else str(row[name])) for name in columns))
    # A pipe has no width: nothing is folded or cut for it.
    Console(width=None if sys.stdout.isatty() else 10_000, soft_wrap=True, highlight=False).print(table)


TENANT = typer.Option("default", "--tenant", help="The tenant's name.")
AS_JSON = typer.Option(False, "--json", help="Print JSON instead of a table.")
