"""The command line. Results go to stdout (tables, or JSON with --json), everything else to stderr.

Exit codes: 0 done, 1 failed with one clear line, 2 usage. Each verb does its work through the same use cases as HTTP.
"""

from typing import Annotated

import typer

from scim_server import __version__
from scim_server.cli import amends, outbox, people, reindex, requests, serve, stores, tenants, tokens
from scim_server.cli.terminal import run_guarded

app = typer.Typer(
    name="scim-server",
    help=__doc__.splitlines()[0] if __doc__ else None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"scim-server {__version__}")
        raise typer.Exit


@app.callback()
def scim_server(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """A SCIM 2.0 server that ends a leaver's CRM sessions before it answers."""


app.command()(serve.demo)
app.command()(serve.serve)
app.command()(serve.migrate)
app.command()(reindex.reindex)
app.command()(stores.status)
app.add_typer(tenants.app, name="tenant", help="Customers and their options.")
app.add_typer(tokens.app, name="token", help="Bearer tokens of the identity providers.")
app.add_typer(people.app, name="user", help="Cut one person off, or let them in again.")
app.add_typer(stores.app, name="sessions", help="The CRM's session stores.")
app.add_typer(outbox.app, name="outbox", help="Messages on their way to session stores.")
app.add_typer(amends.brake, name="brake", help="Kills that the mass brake holds.")
app.add_typer(amends.undo, name="deactivations", help="Who lost access, and how to undo it.")
app.command()(amends.receipt)
app.add_typer(requests.app, name="request", help="Why a request did what it did.")


def main() -> None:
    """The console script."""
    run_guarded(app)
