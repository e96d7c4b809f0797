"""`reindex`: what resources are found by, made anew after schemas changed."""

from typing import Annotated

import typer

from scim_server.app import Parts
from scim_server.cli.terminal import Failure, find_tenant, say, with_deployment
from scim_server.usecases.reindex import Progress, outdated
from scim_server.usecases.reindex import reindex as run

SHOWN = 20


def reindex(
    tenant: Annotated[str | None, typer.Option("--tenant", help="This one only; else all.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also what seems to be up to date.")] = False,
) -> None:
    """Make indexes anew where schemas changed; goes on where it was stopped, and may run beside servers."""

    async def work(parts: Parts) -> list[str]:
        if tenant is not None:
            await find_tenant(parts, tenant)
        clashes: list[str] = []
        for each in await outdated(parts.deployment, everything=force):
            if tenant in (None, each.tenant.name):
                what, progress = f"{each.tenant.name}/{each.rt.name}", Progress()
                async for progress in run(parts.deployment, each):
                    say(f"{what}: {progress.seen} looked at, {progress.written} written")
                clashes += [f"{what}/{resource_id}" for resource_id in progress.clashes]
        return clashes

    clashes = with_deployment(work)
    if clashes:
        shown = [f"  {each}" for each in clashes[:SHOWN]]
        raise Failure(
            "\n".join(
                [f"{len(clashes)} share a value that is unique now; change or delete them, then run it again:", *shown]
            )
        )
    say("All indexes are up to date.")
