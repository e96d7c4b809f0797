"""Health and metrics on a port of their own, so that the public one shows nothing but SCIM.

Every worker process listens on it (SO_REUSEPORT); whichever answers speaks for all, because metrics are shared.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.applications import Starlette

from scim_server.web.routes import admin_routes
from scim_server.web.site import Site


@contextlib.asynccontextmanager
async def admin_server(site: Site, host: str, port: int) -> AsyncIterator[int]:
    """Serve until the block ends; gives the port (a free one for port 0)."""
    app = Starlette(routes=admin_routes())
    app.state.site = site
    listener = _listener(host, port)
    server = _Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False, lifespan="off"))
    task = asyncio.create_task(server.serve(sockets=[listener]), name="admin server")
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        listener.close()


class _Server(uvicorn.Server):
    """A second server in the process leaves the signals to the first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    return listener
