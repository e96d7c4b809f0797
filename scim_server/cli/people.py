"""`user …`: one person, named by id, userName or externalId, through the same write path as SCIM."""

from typing import Annotated

import typer

from scim_server.app import Parts
from scim_server.cli.terminal import AS_JSON, TENANT, Failure, operator, say, show, with_deployment
from scim_server.usecases import lookalikes, operations
from scim_server.usecases.change import Receipt

app = typer.Typer(no_args_is_help=True)
User = Annotated[str, typer.Argument(help="id, userName or externalId.")]


@app.command()
def deactivate(
    user: User,
    tenant: str = TENANT,
    override: Annotated[bool, typer.Option("--override", help="Even a protected recovery account.")] = False,
) -> None:
    """End a person's sessions and access now."""
    _set_active(user, tenant, False, override)


@app.command()
def reactivate(user: User, tenant: str = TENANT) -> None:
    """Let a person sign in again; old sessions stay dead."""
    _set_active(user, tenant, True, False)


@app.command("lookalikes")
def lookalikes_(
    tenant: str = TENANT,
    attribute: Annotated[str, typer.Option(help="Such as userName, externalId or emails.value.")] = "userName",
    as_json: bool = AS_JSON,
) -> None:
    """Users whose names differ only by case, width or accents."""

    async def work(parts: Parts) -> list[dict[str, str]]:
        caller = await operator(parts, tenant)
        found = await lookalikes.find(parts.deployment, caller, attribute)
        return [{"looks like": one.skeleton, "value": one.value, "user": one.user_id} for one in found]

    show(with_deployment(work), as_json, ("looks like", "value", "user"))


def _set_active(user: str, tenant: str, active: bool, override: bool) -> None:
    async def work(parts: Parts) -> tuple[bool, Receipt | None]:
        caller = (await operator(parts, tenant))._replace(override=override)
        found = await operations.find_user(parts.deployment, caller, user)
        if found is None:
            raise Failure(f"Tenant {tenant} has no user with the id, userName or externalId {user!r}.")
        if not active:
            receipt = await operations.cut_off(parts.deployment, caller, found)
            # Somebody inactive may be in all the same: their sessions are looked for once more.
            return True, receipt or await operations.revoke(parts.deployment, caller, found)
        written = await operations.set_active(parts.deployment, caller, found, True)
        return written.changed, written.receipt

    changed, receipt = with_deployment(work)
    state = "active" if active else "inactive"
    if not changed:
        say(f"{user} was active already; nothing was done.")
    else:
        say(f"{user} is {state}.")
    if receipt is not None:
        print(f"Session-Termination: {receipt.header()}")
