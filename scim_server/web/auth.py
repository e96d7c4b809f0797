"""Who is calling: the Authorization header (RFC 6750 §2.1). Runs inside the matched route, never by path prefix, so
that no spelling of an address can get past it."""

from starlette.requests import Request

from scim_server import log
from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.errors import NotFound, Unauthorized
from scim_server.usecases import tenant_types
from scim_server.usecases.access import Caller
from scim_server.web.site import request_id, site_of

_HOW = "Send the header 'Authorization: Bearer <token>' with a token of this tenant."


async def authenticate(request: Request) -> Caller:
    """The caller. Raises Unauthorized for a missing, broken, unknown or expired token, and TooManyRequests when its
    tenant has had its share. Once a request: the outermost layer counts the caller out again."""
    header = request.headers.get("authorization")
    if header is None:
        raise Unauthorized(f"There is no Authorization header. {_HOW}")
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized(f"The Authorization header is not a bearer token. {_HOW}")
    site = site_of(request)
    caller = await site.authenticator.caller(token, request_id(request), site.deployment.now())
    log.bind(tenant=caller.tenant, actor=caller.actor)
    request.scope["scim.shares"].enter(caller.tenant_id)
    request.scope["scim.caller"] = caller
    return caller


async def reader(request: Request) -> Caller:
    """A caller who may read."""
    caller = await authenticate(request)
    caller.require("scim", "scim:read")
    return caller


async def writer(request: Request) -> Caller:
    """A caller who may write now. Raises Forbidden, or TooManyRequests while the tenant is frozen."""
    caller = await authenticate(request)
    caller.require_write(site_of(request).deployment.now())
    return caller


def served_type(request: Request, caller: Caller, rt: ResourceType) -> ResourceType:
    """The resource type of an address as the caller's tenant has it. Raises NotFound."""
    served = tenant_types.type_of(site_of(request).deployment.resource_types, caller.options, rt.name)
    if served is None:
        raise NotFound(f"This tenant has no resource type {rt.name}; see /ResourceTypes.")
    return served
