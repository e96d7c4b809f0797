"""`brake …`, `deactivations …` and `receipt …`: what many lost at once, what undoes it, and the proof for one."""

from typing import Annotated, Any

import orjson
import typer

from scim_server.app import Parts
from scim_server.cli.tenants import duration_ms
from scim_server.cli.terminal import AS_JSON, TENANT, Failure, moment, operator, say, show, with_deployment
from scim_server.clock import now_ms
from scim_server.storage import deactivations
from scim_server.usecases import amends, operations, receipts
from scim_server.usecases.membership import is_id

brake = typer.Typer(no_args_is_help=True)
undo = typer.Typer(no_args_is_help=True)
Who = Annotated[str | None, typer.Option("--user", help="Only this user: id, userName or externalId.")]
Since = Annotated[str, typer.Option("--since", help="How far back, such as 2h.")]


@brake.command("list")
def list_held(tenant: str = TENANT, as_json: bool = AS_JSON) -> None:
    """Whose kills the mass brake holds."""

    async def work(parts: Parts) -> list[dict[str, Any]]:
        caller = await operator(parts, tenant)
        return [
            {
                "user": user_id,
                "userName": str(waiting[0].data.get("userName", "")),
                "stores": ",".join(sorted({one.store for one in waiting})),
                "since": moment(waiting[0].created),
            }
            for user_id, waiting in (await amends.held(parts.deployment, caller)).items()
        ]

    show(with_deployment(work), as_json, ("user", "userName", "stores", "since"))


@brake.command()
def approve(tenant: str = TENANT, user: Who = None) -> None:
    """End the sessions that are held: of everybody, or of one person."""

    async def work(parts: Parts) -> list[str]:
        caller = await operator(parts, tenant)
        lines: list[str] = []
        for user_id in await _chosen(parts, tenant, user):
            receipt = await amends.approve(parts.deployment, caller, user_id)
            lines.append(f"{user_id}  {receipt.header() if receipt else 'not held any more'}")
        return lines

    for line in with_deployment(work):
        print(line)


@brake.command()
def reject(tenant: str = TENANT, user: Who = None) -> None:
    """Give back access to whom the brake holds; their sessions never noticed."""

    async def work(parts: Parts) -> list[str]:
        caller = await operator(parts, tenant)
        lines: list[str] = []
        for user_id in await _chosen(parts, tenant, user):
            undone = await amends.reject(parts.deployment, caller, user_id)
            lines.append(f"{user_id}  {undone.result if undone else 'not held any more'}")
        return lines

    for line in with_deployment(work):
        print(line)


@undo.command("list")
def list_lost(tenant: str = TENANT, since: Since = "24h", as_json: bool = AS_JSON) -> None:
    """Who lost access, latest first."""
    start = now_ms() - duration_ms(since)

    async def work(parts: Parts) -> list[dict[str, Any]]:
        caller = await operator(parts, tenant)
        return [
            {
                "at": moment(loss.at),
                "user": loss.resource_id,
                "userName": loss.user_name,
                "how": loss.how,
                "actor": loss.actor,
                "undone": moment(loss.undone),
            }
            for loss in await deactivations.listing(parts.deployment.database, caller.tenant_id, start)
        ]

    show(with_deployment(work), as_json, ("at", "user", "userName", "how", "actor", "undone"))


@undo.command("undo")
def undo_(
    tenant: str = TENANT,
    since: Since = "2h",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this actor did, as `list` names it.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Give access back to everybody who lost it: users, gates, memberships."""
    start = now_ms() - duration_ms(since)

    async def work(parts: Parts) -> list[dict[str, Any]]:
        caller = await operator(parts, tenant)
        done = await amends.undo(parts.deployment, caller, start, dry_run=dry_run, actor=actor)
        return [{"user": one.resource_id, "userName": one.user_name, "result": one.result} for one in done]

    rows = with_deployment(work)
    show(rows, as_json, ("user", "userName", "result"))
    say("1 user." if len(rows) == 1 else f"{len(rows)} users.")


def receipt(
    user: Annotated[str | None, typer.Option("--user", help="id, userName or externalId.")] = None,
    request: Annotated[str | None, typer.Option("--request", help="X-Request-Id of a request.")] = None,
    tenant: str = TENANT,
) -> None:
    """What became of kills: when, by whom, which store confirmed when, how many sessions. JSON."""
    if (user is None) == (request is None):
        say("Name either --user or --request.")
        raise typer.Exit(2)

    async def work(parts: Parts) -> list[dict[str, Any]]:
        caller = await operator(parts, tenant)
        if request is not None:
            return await receipts.of_request(parts.deployment, caller, request)
        assert user is not None
        found = await operations.find_user(parts.deployment, caller, user)
        user_id = found.id if found else user.lower()  # of a deleted user there is nothing but the id
        proof = await receipts.of_user(parts.deployment, caller, user_id) if is_id(user_id) else []
        if found is None and not proof:
            raise Failure(f"Tenant {tenant} has no user with the id, userName or externalId {user!r}.")
        return proof

    print(orjson.dumps(with_deployment(work), option=orjson.OPT_INDENT_2).decode())


async def _chosen(parts: Parts, tenant: str, user: str | None) -> list[str]:
    """The id of one user, or of everybody who is held. A deleted user can be named by id only."""
    caller = await operator(parts, tenant)
    if user is None:
        return list(await amends.held(parts.deployment, caller))
    found = await operations.find_user(parts.deployment, caller, user)
    if found is not None:
        return [found.id]
    if user in await amends.held(parts.deployment, caller):
        return [user]
    raise Failure(f"Tenant {tenant} has no user with the id, userName or externalId {user!r}.")
