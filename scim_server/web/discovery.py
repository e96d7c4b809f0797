"""What this server can do, and the schemas it enforces (RFC 7644 §4). Read-only; filters are refused with 403."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from scim_server.protocol import bulk, cursor, discovery
from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.errors import Forbidden, NotFound
from scim_server.protocol.paging import DEFAULT_COUNT, MAX_RESULTS
from scim_server.protocol.schemas import GROUP_URN
from scim_server.usecases.access import Caller
from scim_server.web.auth import authenticate
from scim_server.web.reply import json_answer
from scim_server.web.site import base_url, site_of


async def service_provider_config(request: Request) -> Response:
    """GET /ServiceProviderConfig"""
    caller = await visitor(request)
    config = discovery.service_provider_config(
        base_url(request),
        max_results=MAX_RESULTS,
        default_results=DEFAULT_COUNT,
        cursor_timeout_s=cursor.LIFETIME_S,
        bulk_max_operations=bulk.MAX_OPERATIONS,
        bulk_max_payload_size=bulk.MAX_PAYLOAD_BYTES,
        change_password=caller is not None and caller.options.passwords == "hash",
    )
    return json_answer(config)


async def schemas(request: Request) -> Response:
    """GET /Schemas"""
    caller = await visitor(request)
    return _list(_schemas(request, caller))


async def schema(request: Request) -> Response:
    """GET /Schemas/{urn}"""
    caller = await visitor(request)
    return _one(_schemas(request, caller), request.path_params["id"], "schema")


async def resource_types(request: Request) -> Response:
    """GET /ResourceTypes"""
    caller = await visitor(request)
    return _list(_resource_types(request, caller))


async def resource_type(request: Request) -> Response:
    """GET /ResourceTypes/{name}"""
    caller = await visitor(request)
    return _one(_resource_types(request, caller), request.path_params["id"], "resource type")


async def visitor(request: Request) -> Caller | None:
    """Who looks at discovery; None for nobody in particular, where no token is needed. Raises Forbidden."""
    if "filter" in request.query_params:
        raise Forbidden("Discovery cannot be filtered (RFC 7644 §4); leave the filter out.")
    if site_of(request).discovery_auth or "authorization" in request.headers:
        return await authenticate(request)
    return None


def _schemas(request: Request, caller: Caller | None) -> list[dict[str, Any]]:
    hidden = ("password",) if caller is not None and caller.options.profile == "entra" else ()
    base = base_url(request)
    known: dict[str, Any] = {}
    for rt in _types(request, caller):
        for one in (rt.schema, *(extension for extension, _ in rt.extensions)):
            known[one.id] = one
    unique = {GROUP_URN: ("displayName",)} if caller is not None and caller.options.unique_group_names else {}
    return [discovery.schema(one, base, without=hidden, unique=unique.get(one.id, ())) for one in known.values()]


def _resource_types(request: Request, caller: Caller | None) -> list[dict[str, Any]]:
    base = base_url(request)
    return [discovery.resource_type(rt, base) for rt in _types(request, caller)]


def _types(request: Request, caller: Caller | None) -> tuple[ResourceType, ...]:
    deployment = site_of(request).deployment
    return deployment.resource_types if caller is None else deployment.types_of(caller.options)


def _list(entries: list[dict[str, Any]]) -> Response:
    return json_answer(
        {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": len(entries),
            "startIndex": 1,
            "itemsPerPage": len(entries),
            "Resources": entries,
        }
    )


def _one(entries: list[dict[str, Any]], wanted: str, what: str) -> Response:
    for entry in entries:
        if entry["id"].lower() == wanted.lower():
            return json_answer(entry)
    raise NotFound(f"No {what} has this id; the list without an id names all.")
