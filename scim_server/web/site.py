"""What every endpoint can reach: the deployment, who may call, and how this site is addressed."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from starlette.requests import Request

from scim_server.protocol.errors import InvalidValue
from scim_server.usecases.access import Authenticator
from scim_server.usecases.deployment import Deployment
from scim_server.usecases.exchanges import Recorder

BASE_PATH = "/scim/v2"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_HOST = re.compile(r"[A-Za-z0-9._-]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Health:
    """The state of one dependency as /readyz names it; `needed` False: the server works on without it."""

    name: str
    ok: bool
    needed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """One running server as the web layer sees it."""

    deployment: Deployment
    authenticator: Authenticator
    health: Callable[[], Awaitable[list[Health]]]
    recorder: Recorder
    public_url: str | None = None
    discovery_auth: bool = False


def site_of(request: Request) -> Site:
    """The site this request came to."""
    return cast(Site, request.app.state.site)


def base_url(request: Request) -> str:
    """Where clients reach /scim/v2: the configured address, or the one the request was sent to."""
    configured = site_of(request).public_url
    if configured is not None:
        return configured + BASE_PATH
    return _base_at(request.scope["scheme"], request.headers.get("host", _own_address(request)))


def _own_address(request: Request) -> str:
    """Where an HTTP/1.0 client, which need not send Host, has reached us."""
    host, port = request.scope.get("server") or ("", None)
    return f"{host}:{port}" if port else host


@lru_cache(maxsize=256)
def _base_at(scheme: str, host: str) -> str:
    if not _HOST.fullmatch(host):
        raise InvalidValue("The Host header is not a host name; the operator can set SCIM_PUBLIC_URL instead.")
    return f"{scheme}://{host}{BASE_PATH}"


def note(request: Request, **fields: Any) -> None:
    """Add fields to the request's line in the access log."""
    request.scope.setdefault("scim.log", {}).update({k: v for k, v in fields.items() if v})


def meant(request: Request, body: Any) -> Any:
    """Remember what a body was taken to mean, for who asks later; gives the body."""
    request.scope["scim.meant"] = body
    return body


def asked_request_id(request: Request) -> str:
    """The request id in the address; "", which no request has, where that cannot be one."""
    asked = str(request.path_params["id"])
    return asked if _REQUEST_ID.fullmatch(asked) else ""


def request_id(request: Request) -> str:
    """The id that is in the answer's X-Request-Id, in every log line and in the audit."""
    return cast(str, request.scope.get("scim.request_id", "-"))
