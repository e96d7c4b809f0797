"""Discovery: what a server says about itself (RFC 7643 §5 to §8, RFC 7644 §4), and /Me (RFC 7644 §3.11)."""

from functools import partial
from typing import Any

from conformance.client import Json
from conformance.requirement import MUST, SHOULD, Chapter
from conformance.server import USER, Server, require

CONFIG = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
TYPES = {"string", "boolean", "decimal", "integer", "dateTime", "binary", "reference", "complex"}
CHARACTERISTICS: dict[str, set[Any]] = {
    "type": TYPES,
    "mutability": {"readOnly", "readWrite", "immutable", "writeOnly", None},
    "returned": {"always", "never", "default", "request", None},
    "uniqueness": {"none", "server", "global", None},
    "multiValued": {True, False, None},
    "required": {True, False, None},
    "caseExact": {True, False, None},
}

requirements = Chapter()


@requirements("rfc7644-4", MUST)
def service_provider_config(server: Server) -> None:
    """GET /ServiceProviderConfig returns the configuration, with its schema."""
    body = server.get("/ServiceProviderConfig").has_status(200)
    body.expect(CONFIG in body.body.get("schemas", []), f'"schemas" has {CONFIG}')


FEATURES: dict[str, dict[str, type]] = {
    "patch": {"supported": bool},
    "bulk": {"supported": bool, "maxOperations": int, "maxPayloadSize": int},
    "filter": {"supported": bool, "maxResults": int},
    "changePassword": {"supported": bool},
    "sort": {"supported": bool},
    "etag": {"supported": bool},
}


def _announces(feature: str, parts: dict[str, type], server: Server) -> None:
    answer = server.get("/ServiceProviderConfig").has_status(200)
    said = answer.body.get(feature, {})
    for name, kind in parts.items():
        answer.expect(type(said.get(name)) is kind, f"{feature}.{name} is there and of type {kind.__name__}")


for _feature, _parts in FEATURES.items():
    _says = f"ServiceProviderConfig says of {_feature}: {', '.join(_parts)}."
    requirements.add(f"rfc7643-5-announces-{_feature.lower()}", MUST, _says, partial(_announces, _feature, _parts))


@requirements("rfc7643-5", MUST)
def announces_authentication_schemes(server: Server) -> None:
    """ServiceProviderConfig lists authenticationSchemes, each with type, name and description."""
    answer = server.get("/ServiceProviderConfig").has_status(200)
    schemes = answer.body.get("authenticationSchemes")
    answer.expect(isinstance(schemes, list), "authenticationSchemes is a list")
    complete = all(scheme.get(name) for scheme in schemes for name in ("type", "name", "description"))
    answer.expect(complete, "every scheme has type, name and description")


def _lists(endpoint: str, server: Server) -> None:
    answer = server.found(endpoint)
    body = answer.body
    answer.expect(body["totalResults"] == len(answer.resources) > 0, "totalResults counts the Resources")


def _needs_no_paging(endpoint: str, server: Server) -> None:
    everything = server.found(endpoint)
    answer = server.found(endpoint, count=1, startIndex=2, sortBy="id")
    answer.expect(len(answer.resources) == len(everything.resources), "all are returned, whatever count says")


def _refuses_a_filter(endpoint: str, server: Server) -> None:
    server.get(endpoint, filter='name eq "User"').is_error(403)


for _endpoint in ("/Schemas", "/ResourceTypes"):
    _name = _endpoint.strip("/").lower()
    requirements.add(
        f"rfc7644-4-{_name}", MUST, f"GET {_endpoint} returns all in a ListResponse.", partial(_lists, _endpoint)
    )
    _says = f"GET {_endpoint} ignores paging and sorting."
    requirements.add(f"rfc7644-4-{_name}-ignores-paging", MUST, _says, partial(_needs_no_paging, _endpoint))
    _says = f"GET {_endpoint} with a filter is answered 403."
    requirements.add(f"rfc7644-4-{_name}-filter", SHOULD, _says, partial(_refuses_a_filter, _endpoint))


@requirements("rfc7643-6", MUST)
def resource_types_are_complete(server: Server) -> None:
    """Every resource type has name, endpoint and schema, and required on each schema extension."""
    answer = server.found("/ResourceTypes")
    for kind in answer.resources:
        complete = all(isinstance(kind.get(name), str) for name in ("name", "endpoint", "schema"))
        answer.expect(complete, "name, endpoint and schema are texts")
        for extension in kind.get("schemaExtensions") or []:
            stated = isinstance(extension.get("schema"), str) and type(extension.get("required")) is bool
            answer.expect(stated, "each schemaExtension has schema and required")


@requirements("rfc7643-6", MUST)
def endpoints_of_resource_types_answer(server: Server) -> None:
    """Each endpoint that a resource type names returns a ListResponse."""
    require(bool(server.resource_types), "the server has no /ResourceTypes")
    for kind in server.resource_types:
        server.found("/" + kind["endpoint"].strip("/"), count=1)


@requirements("rfc7643-7", MUST)
def schemas_of_resource_types_exist(server: Server) -> None:
    """Each schema and extension that a resource type names is among /Schemas."""
    answer = server.found("/Schemas")
    for kind in server.resource_types:
        for schema in (kind["schema"], *(one["schema"] for one in kind.get("schemaExtensions") or [])):
            answer.expect(schema in answer.ids, f"{schema} is listed")


@requirements("rfc7643-7", MUST)
def attribute_definitions_are_valid(server: Server) -> None:
    """Every attribute definition has a name and a type, and its characteristics are those of RFC 7643."""
    answer = server.found("/Schemas")
    for schema in answer.resources:
        for attribute in _attributes(schema):
            answer.expect(isinstance(attribute.get("name"), str), "every attribute has a name")
            for characteristic, allowed in CHARACTERISTICS.items():
                said = attribute.get(characteristic)
                known = said in allowed
                answer.expect(known, f"{attribute['name']}: {characteristic} {said!r} is one of {allowed}")


def _attributes(schema: Json) -> list[Json]:
    """All attributes of a schema and, behind each, its sub-attributes."""
    listed: list[Json] = []
    for attribute in schema["attributes"]:
        listed += [attribute, *(attribute.get("subAttributes") or [])]
    return listed


@requirements("rfc7643-4.1.1", MUST)
def user_name_is_declared_required_and_unique(server: Server) -> None:
    """/Schemas declares userName required, and unique on the server or beyond."""
    answer = server.found("/Schemas")
    users = next((one for one in answer.resources if one.get("id") == USER), None)
    answer.expect(users is not None, f"{USER} is listed")
    assert users is not None
    declared: Json = next((one for one in users["attributes"] if one["name"].lower() == "username"), {})
    answer.expect(declared.get("required") is True, "userName is required")
    answer.expect(declared.get("uniqueness") in ("server", "global"), "userName is unique")


@requirements("rfc7644-4", SHOULD)
def one_schema_by_its_urn(server: Server) -> None:
    """GET /Schemas/{URN} returns that schema."""
    server.get(f"/Schemas/{USER}").has_status(200).shows({"id": USER})


@requirements("rfc7644-4", SHOULD)
def one_resource_type_by_its_name(server: Server) -> None:
    """GET /ResourceTypes/User returns that resource type."""
    server.get("/ResourceTypes/User").has_status(200).shows({"name": "User", "schema": USER})


@requirements("rfc7644-4", MUST)
def unknown_schema(server: Server) -> None:
    """GET of a schema that does not exist is answered 404."""
    server.get("/Schemas/urn:example:nothing").is_error(404)


@requirements("rfc7643-3.1", SHOULD)
def discovery_has_meta(server: Server) -> None:
    """Discovery resources have meta.resourceType and meta.location."""
    answer = server.get("/ServiceProviderConfig").has_status(200)
    meta = answer.body.get("meta", {})
    answer.expect(meta.get("resourceType") == "ServiceProviderConfig", "meta.resourceType names the type")
    answer.expect(str(meta.get("location", "")).endswith("/ServiceProviderConfig"), "meta.location is its address")


@requirements("rfc7644-4", SHOULD)
def discovery_is_read_only(server: Server) -> None:
    """Discovery resources cannot be written: 405, 403 or 404."""
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        server.send(method, "/ServiceProviderConfig", {"schemas": [CONFIG]}).has_status(403, 404, 405, 501)


@requirements("rfc7644-3.11", MUST)
def me(server: Server) -> None:
    """GET /Me returns the caller, redirects there (308), or is answered 501, or 404 when no user is the caller."""
    answer = server.get("/Me").has_status(200, 308, 404, 501)
    if answer.status == 200:
        answer.expect(bool(answer.body.get("id")), "the caller is shown with an id")
    elif answer.status == 308:
        answer.expect(bool(answer.header("Location")), "Location leads to the caller")
    else:
        answer.is_error(answer.status)
