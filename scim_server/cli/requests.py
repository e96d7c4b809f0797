"""`request show`: why a request did what it did, by the id that ends every error message."""

from typing import Annotated, Any

import orjson
import typer

from scim_server.app import Parts
from scim_server.cli.terminal import TENANT, Failure, operator, with_deployment
from scim_server.usecases import exchanges

app = typer.Typer(no_args_is_help=True)


@app.callback()
def requests() -> None:
    """Requests as sent, as meant, and what came of them."""


@app.command()
def show(request_id: Annotated[str, typer.Argument(help="The X-Request-Id.")], tenant: str = TENANT) -> None:
    """One request, masked: as sent, as meant, quirks, changes, receipt. JSON."""

    async def work(parts: Parts) -> list[dict[str, Any]]:
        return await exchanges.explain(parts.deployment, await operator(parts, tenant), request_id)

    found = with_deployment(work)
    if not found:
        raise Failure(f"Nothing is kept of a request {request_id} of tenant {tenant}.")
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
