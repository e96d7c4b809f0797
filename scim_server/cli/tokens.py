"""`token …`: bearer tokens. A token's text is printed once, alone on stdout, so that it can be piped."""

from typing import Annotated

import typer

from scim_server.app import Parts
from scim_server.cli.tenants import duration_ms
from scim_server.cli.terminal import AS_JSON, TENANT, Failure, find_tenant, moment, say, show, stamp, with_deployment
from scim_server.clock import now_ms
from scim_server.storage.access import TokenRow, tenants, tokens
from scim_server.usecases import access

app = typer.Typer(no_args_is_help=True)
Expiry = Annotated[str, typer.Option("--expires-in", help="Such as 365d.")]
TokenId = Annotated[str, typer.Argument(help="The id: the middle part of scim_<id>_<secret>.")]


@app.command()
def issue(
    name: Annotated[str, typer.Option("--name", help="Who will use it, such as entra.")],
    tenant: str = TENANT,
    scope: Annotated[str, typer.Option(help=" | ".join(access.SCOPES))] = "scim",
    expires_in: Expiry = "365d",
) -> None:
    """Make a token and print it; it cannot be shown again."""
    if scope not in access.SCOPES:
        say(f"--scope must be one of {', '.join(access.SCOPES)}.")
        raise typer.Exit(2)
    expires = now_ms() + duration_ms(expires_in)

    async def work(parts: Parts) -> str:
        owner = await find_tenant(parts, tenant)
        return await access.issue_token(parts.deployment.database, owner, name, scope, expires=expires, **stamp())

    print(with_deployment(work))
    say(f"Valid until {moment(expires)}. Warnings come 30, 7 and 1 days before.")


@app.command("list")
def list_(as_json: bool = AS_JSON) -> None:
    """All tokens, without their secrets."""

    async def work(parts: Parts) -> list[dict[str, object]]:
        database = parts.deployment.database
        names = {tenant.id: tenant.name for tenant in await tenants(database)}
        return [
            {
                "id": token.id,
                "tenant": names.get(token.tenant_id, "?"),
                "name": token.name,
                "scope": token.scope,
                "expires": moment(token.expires),
                "last_used": moment(token.last_used),
                "revoked": moment(token.revoked),
            }
            for token in await tokens(database)
        ]

    columns = ("id", "tenant", "name", "scope", "expires", "last_used", "revoked")
    show(with_deployment(work), as_json, columns)


@app.command()
def revoke(token_id: TokenId) -> None:
    """Make a token worthless, everywhere within a second."""

    async def work(parts: Parts) -> None:
        await access.revoke_token(parts.deployment.database, await _find(parts, token_id), **stamp())

    with_deployment(work)
    say(f"Token {token_id} is revoked.")


@app.command()
def rotate(token_id: TokenId, expires_in: Expiry = "365d") -> None:
    """Make a successor of the same tenant, name and scope and print it; the old token stays valid until revoked."""
    expires = now_ms() + duration_ms(expires_in)

    async def work(parts: Parts) -> str:
        database = parts.deployment.database
        old = await _find(parts, token_id)
        owner = next(tenant for tenant in await tenants(database) if tenant.id == old.tenant_id)
        return await access.issue_token(database, owner, old.name, old.scope, expires=expires, **stamp())

    print(with_deployment(work))
    say(f"Change the identity provider over to it, then: scim-server token revoke {token_id}")


async def _find(parts: Parts, token_id: str) -> TokenRow:
    for token in await tokens(parts.deployment.database):
        if token.id == token_id:
            return token
    raise Failure(f"There is no token {token_id}; scim-server token list shows all.")
