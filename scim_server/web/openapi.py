"""GET /openapi.json: the route table and the schemas as an OpenAPI 3.1 document, for tools that read those.

Made from what is served: an address or attribute that is not in here does not exist. SCIM's own description of itself
is web/discovery.py.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from scim_server.protocol.attributes import COMMON, Attribute, ResourceType
from scim_server.web import bulk, discovery, me, operator, queries, resources
from scim_server.web.address import Address
from scim_server.web.discovery import visitor
from scim_server.web.reply import MEDIA_TYPE
from scim_server.web.site import BASE_PATH, base_url, site_of

_TYPES: Mapping[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "reference": {"type": "string"},
    "binary": {"type": "string", "contentEncoding": "base64"},
    "dateTime": {"type": "string", "format": "date-time"},
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int64"},
    "decimal": {"type": "number"},
}
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_PROJECTION = ("attributes", "excludedAttributes")
_QUERY: Mapping[str, dict[str, Any]] = {
    "filter": _TEXT,
    "sortBy": _TEXT,
    "sortOrder": {"type": "string", "enum": ["ascending", "descending"]},
    "startIndex": {"type": "integer"},
    "count": {"type": "integer"},
    "cursor": _TEXT,
}
_OPERATION = {"op": _TEXT, "path": _TEXT, "value": {}}
_BULK_OPERATION = {
    "method": {"type": "string", "enum": ["POST", "PUT", "PATCH", "DELETE"]},
    "path": _TEXT,
    "bulkId": _TEXT,
    "version": _TEXT,
    "data": {},
}


def _object(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), **({"required": list(required)} if required else {})}


def _listed(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "array", "items": _object(properties, *required)}


_MESSAGES: Mapping[str, dict[str, Any]] = {
    "SearchRequest": _object({"schemas": _TEXTS, "attributes": _TEXTS, "excludedAttributes": _TEXTS, **_QUERY}),
    "PatchOp": _object({"schemas": _TEXTS, "Operations": _listed(_OPERATION, "op")}, "Operations"),
    "BulkRequest": _object(
        {
            "schemas": _TEXTS,
            "failOnErrors": {"type": "integer", "minimum": 1},
            "Operations": _listed(_BULK_OPERATION, "method", "path"),
        },
        "Operations",
    ),
    "BulkResponse": _object(
        {"schemas": _TEXTS, "Operations": _listed({**_BULK_OPERATION, "location": _TEXT, "status": _TEXT})}
    ),
    "ListResponse": _object(
        {
            "schemas": _TEXTS,
            "totalResults": {"type": "integer"},
            "startIndex": {"type": "integer"},
            "itemsPerPage": {"type": "integer"},
            "previousCursor": _TEXT,
            "nextCursor": _TEXT,
            "Resources": {"type": "array", "items": {"type": "object"}},
        },
        "schemas",
        "totalResults",
    ),
    "Revocation": _object(
        {"userName": _TEXT, "externalId": _TEXT, "id": _TEXT, "deactivate": {"type": "boolean"}, "kinds": _TEXTS},
    ),
    "Error": _object({"schemas": _TEXTS, "status": _TEXT, "scimType": _TEXT, "detail": _TEXT}, "schemas", "status"),
}


async def get(request: Request) -> Response:
    """GET /openapi.json"""
    caller = await visitor(request)
    routes = [route for route in request.app.routes if isinstance(route, Address)]
    addresses = [route for route in routes if me.me not in route.by_method.values()]
    host = base_url(request).removesuffix(BASE_PATH)
    deployment = site_of(request).deployment
    types = deployment.resource_types if caller is None else deployment.types_of(caller.options)
    return Response(orjson.dumps(document(addresses, types, host)), media_type="application/json")


def document(addresses: Iterable[Address], types: Iterable[ResourceType], server: str) -> dict[str, Any]:
    """The whole document; `server` is the site's address without a path."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "scim-server", "version": "2.0"},
        "servers": [{"url": server}],
        "security": [{"bearer": []}],
        "paths": {address.path: _path_item(address) for address in addresses},
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {**_MESSAGES, **{rt.name: _resource(rt) for rt in types}},
        },
    }


# --- addresses ---------------------------------------------------------------------------------------------------


def _path_item(address: Address) -> dict[str, Any]:
    item: dict[str, Any] = {method.lower(): _operation(each) for method, each in address.by_method.items()}
    if "{id}" in address.path:
        item["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": _TEXT}]
    return item


def _operation(endpoint: Any) -> dict[str, Any]:
    endpoint = inspect.unwrap(endpoint)
    function, rt = endpoint, None
    if isinstance(endpoint, partial):
        function, rt = endpoint.func, endpoint.keywords.get("rt")
    takes = rt.name if rt and function in (resources.create, resources.replace) else _TAKES.get(function)
    answers = rt.name if rt else _ANSWERS.get(function)
    status = {resources.create: "201", resources.delete: "204"}.get(function, "200")
    described: dict[str, Any] = {
        "operationId": _operation_id(function, rt.name if rt else _types_of(endpoint)),
        "summary": (function.__doc__ or "").partition("\n")[0].strip(),
        "responses": {status: _answer(None if status == "204" else answers), "default": _answer("Error")},
    }
    if rt and function is resources.create:
        described["responses"][status]["links"] = {
            each.__name__: {"operationId": _operation_id(each, rt.name), "parameters": {"id": "$response.body#/id"}}
            for each in (resources.get, resources.replace, resources.patch, resources.delete)
        }
    if takes:
        described["requestBody"] = {"required": True, "content": _content(takes)}
    names = {queries.get: (*_QUERY, *_PROJECTION)}.get(function, _PROJECTION if rt and status != "204" else ())
    described["parameters"] = [{"name": name, "in": "query", "schema": _QUERY.get(name, _TEXT)} for name in names]
    if function in (resources.replace, resources.patch, resources.delete):
        described["parameters"].append({"name": "If-Match", "in": "header", "schema": _TEXT})
    return described


def _operation_id(function: Any, name: str) -> str:
    module = function.__module__.rpartition(".")[2]
    return f"{module}-{function.__name__}-{name}".removesuffix("-")


def _types_of(endpoint: Any) -> str:
    types: Sequence[ResourceType] = endpoint.keywords.get("types", ()) if isinstance(endpoint, partial) else ()
    return types[0].name if len(types) == 1 else ""


_TAKES: Mapping[Any, str] = {
    resources.patch: "PatchOp",
    queries.post: "SearchRequest",
    bulk.post: "BulkRequest",
    operator.revoke: "Revocation",
}
_ANSWERS: Mapping[Any, str] = {
    queries.get: "ListResponse",
    queries.post: "ListResponse",
    bulk.post: "BulkResponse",
    discovery.schemas: "ListResponse",
    discovery.resource_types: "ListResponse",
}


def _answer(name: str | None) -> dict[str, Any]:
    return {"description": name or "Done", **({"content": _content(name)} if name else {})}


def _content(name: str) -> dict[str, Any]:
    return {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{name}"}}}


# --- resources ---------------------------------------------------------------------------------------------------


def _resource(rt: ResourceType) -> dict[str, Any]:
    described = _attributes((*COMMON, *rt.schema.attributes))
    for schema, required in rt.extensions:
        described["properties"][schema.id] = _attributes(schema.attributes)
        if required:
            described.setdefault("required", []).append(schema.id)
    return described


def _attributes(attributes: Iterable[Attribute]) -> dict[str, Any]:
    listed = list(attributes)
    required = [each.name for each in listed if each.required and each.mutability != "readOnly"]
    return _object({each.name: _attribute(each) for each in listed}, *required)


def _attribute(attribute: Attribute) -> dict[str, Any]:
    one = _attributes(attribute.sub_attributes) if attribute.type == "complex" else _TYPES[attribute.type]
    described: dict[str, Any] = {"type": "array", "items": one} if attribute.multi_valued else dict(one)
    if attribute.description:
        described["description"] = attribute.description
    if attribute.mutability == "readOnly":
        described["readOnly"] = True
    if attribute.returned == "never":
        described["writeOnly"] = True
    return described
