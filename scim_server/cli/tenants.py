"""`tenant …`: customers and their options."""

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from scim_server.app import Parts
from scim_server.cli.terminal import AS_JSON, Failure, find_tenant, moment, operator, say, show, stamp, with_deployment
from scim_server.clock import new_id, now_ms
from scim_server.storage.access import TenantRow, tenants
from scim_server.usecases import access, access_groups
from scim_server.usecases.options import OPTIONS, TenantOptions
from scim_server.usecases.reindex import outdated

app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The tenant's name.")]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_ACCESS = {"access_groups", "protected_accounts"}  # who has access hangs on these
SHOWN = 60  # characters of a value; --json has all
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@app.command()
def create(name: Name) -> None:
    """Make a tenant; nothing happens if it exists."""
    if not _NAME.fullmatch(name):
        raise Failure("A tenant's name has letters, digits, dots, dashes and underscores, at most 63.")

    async def work(parts: Parts) -> None:
        await access.create_tenant(parts.deployment.database, name, new_id=new_id(), **stamp())
        await outdated(parts.deployment)  # which takes note of what is empty

    with_deployment(work)
    say(f"Tenant {name} is there. Next: scim-server token issue --tenant {name} --name entra")


@app.command("list")
def list_(as_json: bool = AS_JSON) -> None:
    """All tenants."""

    async def work(parts: Parts) -> list[TenantRow]:
        return await tenants(parts.deployment.database)

    show([_row(tenant) for tenant in with_deployment(work)], as_json, ("name", "created", "frozen_until"))


@app.command("show")
def show_(name: Name, as_json: bool = AS_JSON) -> None:
    """One tenant with all its options."""

    async def work(parts: Parts) -> TenantRow:
        return await find_tenant(parts, name)

    tenant = with_deployment(work)
    options = TenantOptions.read(tenant.options)
    rows = [{"option": o.name, "value": getattr(options, o.name), "values": o.values} for o in OPTIONS]
    if as_json:
        show([{**_row(tenant), "options": {row["option"]: row["value"] for row in rows}}], True, ())
    else:
        show([_row(tenant)], False, ("name", "created", "frozen_until"))
        print()
        show([{**row, "value": _as_set(row["value"])} for row in rows], False, ("option", "value", "values"))


@app.command("set")
def set_(
    name: Name, assignments: Annotated[list[str], typer.Argument(help="key=value; key= for the default.")]
) -> None:
    """Set options of a tenant; key=@FILE takes the value from a file."""

    async def work(parts: Parts) -> tuple[int, int, bool]:
        deployment, tenant = parts.deployment, await find_tenant(parts, name)
        given = [_with_contents(assignment) for assignment in assignments]
        await access.set_options(deployment.database, tenant, given, deployment.resource_types, **stamp())
        if not {assignment.partition("=")[0].strip() for assignment in assignments} & _ACCESS:
            return 0, 0, any(each.tenant.name == name for each in await outdated(deployment))
        # By now no request is decided by the options of before.
        await asyncio.sleep(access.CACHE_MS / 1000)
        lost, gained = await access_groups.reconcile(parts.deployment, await operator(parts, name))
        return lost, gained, any(each.tenant.name == name for each in await outdated(deployment))

    lost, gained, stale = with_deployment(work)
    say(f"Tenant {name} is changed; running servers know within a second.")
    if lost or gained:
        say(f"By the access groups {lost} users lost access and {gained} got it.")
    if stale:
        say(f"Who is stored already is found by the old rules until you run: scim-server reindex --tenant {name}")


@app.command()
def freeze(
    name: Name, for_: Annotated[str, typer.Option("--for", help="How long, such as 30m or 2h.")] = "30m"
) -> None:
    """Answer the tenant's writes with 429 and Retry-After: identity providers wait instead of failing."""
    until = now_ms() + duration_ms(for_)

    async def work(parts: Parts) -> None:
        await access.freeze(parts.deployment.database, await find_tenant(parts, name), until, **stamp())

    with_deployment(work)
    say(f"Tenant {name} is frozen until {moment(until)}.")


@app.command()
def thaw(name: Name) -> None:
    """End a freeze."""

    async def work(parts: Parts) -> None:
        await access.freeze(parts.deployment.database, await find_tenant(parts, name), None, **stamp())

    with_deployment(work)
    say(f"Tenant {name} accepts writes again.")


def duration_ms(text: str) -> int:
    """Milliseconds of "30m", "2h", "365d" or "90s"."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    if not found:
        raise Failure(f"{text!r} is not a duration; write for example 30m, 2h or 365d.")
    return int(found[1]) * _UNITS[found[2]] * 1000


def _with_contents(assignment: str) -> str:
    """`key=@file` with what is in the file."""
    key, _, value = assignment.partition("=")
    if not value.startswith("@"):
        return assignment
    try:
        return f"{key}={Path(value[1:]).read_text('utf-8')}"
    except (OSError, UnicodeDecodeError) as fault:
        raise Failure(f"{value[1:]} cannot be read: {fault}") from fault


def _as_set(value: Any) -> str:
    """An option's value as `tenant set` takes it."""
    if isinstance(value, tuple):
        return ",".join(value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _row(tenant: TenantRow) -> dict[str, Any]:
    return {"name": tenant.name, "created": moment(tenant.created), "frozen_until": moment(tenant.frozen_until)}
