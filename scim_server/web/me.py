"""/Me (RFC 7644 §3.11): an alias that this server has nobody to give for."""

from starlette.requests import Request
from starlette.responses import Response

from scim_server.protocol.errors import NotImplementedHere
from scim_server.web.auth import authenticate


async def me(request: Request) -> Response:
    """Any method on /Me"""
    await authenticate(request)
    raise NotImplementedHere("A token stands for a tenant and not for a user: address the user as /Users/<id>.")
