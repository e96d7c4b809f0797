"""`outbox …`: messages on their way to session stores, and those that were given up."""

import typer

from scim_server.app import Parts
from scim_server.cli.terminal import AS_JSON, moment, show, with_deployment
from scim_server.storage.outbox import listing

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(as_json: bool = AS_JSON) -> None:
    """What is on its way or was refused, oldest first."""

    async def work(parts: Parts) -> list[dict[str, object]]:
        return [
            {
                "id": entry.id,
                "tenant": entry.tenant,
                "store": entry.store,
                "type": entry.type,
                "state": entry.state,
                "created": moment(entry.created),
                "attempts": entry.attempts,
                "error": entry.error,
            }
            for entry in await listing(parts.deployment.database)
        ]

    columns = ("id", "tenant", "store", "type", "state", "created", "attempts", "error")
    show(with_deployment(work), as_json, columns)
