"""Records every request that writes or tries to, and shows the record again."""

from functools import wraps

from starlette.requests import Request
from starlette.responses import Response

from scim_server import log
from scim_server.protocol.errors import NotFound, ScimError
from scim_server.usecases import exchanges
from scim_server.web.address import Endpoint
from scim_server.web.auth import reader
from scim_server.web.reply import json_answer
from scim_server.web.site import asked_request_id, site_of


def recorded(endpoint: Endpoint) -> Endpoint:
    """The endpoint, with a record of each request kept whatever comes of it."""

    @wraps(endpoint)
    async def recording(request: Request) -> Response:
        try:
            answer = await endpoint(request)
        except ScimError as problem:
            _record(request, problem.status, problem.detail)
            raise
        _record(request, answer.status_code, None)
        return answer

    return recording


def _record(request: Request, status: int, error: str | None) -> None:
    scope, site = request.scope, site_of(request)
    caller = scope.get("scim.caller")
    if caller is None:  # nobody whose tenant could read it
        return
    noted = scope.get("scim.log", {})
    sent = scope.get("scim.sent")
    site.recorder.record(
        caller,
        at=site.deployment.now(),
        method=request.method,
        path=scope["path"].replace("\0", "\ufffd"),  # no database takes a NUL
        status=status,
        error=error and log.mask(error),
        sent=sent,
        meant=scope.get("scim.meant", sent),
        quirks=tuple(noted.get("quirks", ())),
        ignored=tuple(noted.get("ignored", ())),
    )


async def show(request: Request) -> Response:
    """GET /requests/{id}: a request as sent, as meant, what it changed, and its receipt; by its X-Request-Id."""
    caller = await reader(request)
    found = await exchanges.explain(site_of(request).deployment, caller, asked_request_id(request))
    if not found:
        raise NotFound("No request of this tenant with this id is kept; they are forgotten after some days.")
    return json_answer({"requests": found})
