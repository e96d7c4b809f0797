"""`outbox …`: messages on their way to session stores, and those that were given up."""

from typing import Annotated
from uuid import UUID

import typer

from scim_server.app import Parts
from scim_server.cli.tenants import duration_ms
from scim_server.cli.terminal import AS_JSON, Failure, moment, show, with_deployment
from scim_server.clock import now_ms
from scim_server.storage import outbox
from scim_server.storage.outbox import listing

app = typer.Typer(no_args_is_help=True)
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Messages; none given: all.")]
Store = Annotated[str | None, typer.Option("--store", help="Only of this session store.")]
Since = Annotated[str | None, typer.Option("--since", help="Only what was made in the last 2h, 3d, …")]


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


@app.command()
def retry(ids: Ids = None, store: Store = None) -> None:
    """Make waiting messages due now instead of at their next attempt."""
    chosen = _checked(ids)

    async def work(parts: Parts) -> int:
        database = parts.deployment.database
        count = await outbox.retry(database, store=store, ids=chosen)
        await database.wake()
        return count

    print(f"Due now: {with_deployment(work)}; a running server delivers them.")


@app.command()
def replay(ids: Ids = None, store: Store = None, since: Since = None) -> None:
    """Send again what an endpoint refused (410 Gone), or did not take for three days."""
    chosen = _checked(ids)
    after = 0 if since is None else now_ms() - duration_ms(since)

    async def work(parts: Parts) -> int:
        database = parts.deployment.database
        count = await outbox.replay(database, store=store, ids=chosen, since=after)
        await database.wake()
        return count

    print(f"On their way again: {with_deployment(work)}; a running server delivers them.")


def _checked(ids: list[str] | None) -> list[str]:
    """Message ids as the database writes them."""
    try:
        return [str(UUID(one)) for one in ids or ()]
    except ValueError:
        raise Failure("An ID is one that `scim-server outbox list` shows.") from None
