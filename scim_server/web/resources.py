"""The endpoints of every resource type (RFC 7644 §3.2-§3.6): read the request, call the use case, render the answer.

The same functions serve /Users, /Groups and configured types; `rt` is bound by the route table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from scim_server.protocol import patch as patching
from scim_server.protocol import projection
from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.errors import InvalidValue
from scim_server.protocol.paging import list_response, parse_page
from scim_server.protocol.projection import Plan
from scim_server.protocol.quirks import straighten_patch, straighten_resource
from scim_server.usecases import provisioning, queries
from scim_server.usecases.access import Caller
from scim_server.usecases.provisioning import IfMatch, Written
from scim_server.usecases.queries import Members, Stored
from scim_server.web.auth import reader, writer
from scim_server.web.body import read_json
from scim_server.web.reply import empty_answer, json_answer
from scim_server.web.representation import etag, location, render
from scim_server.web.site import base_url, note, site_of

TERMINATION = "Session-Termination"


async def get(request: Request, rt: ResourceType) -> Response:
    """GET /Users/{id}"""
    caller = await reader(request)
    view = _view(request, rt)
    shows_groups = rt.name == "User" and view.plan.keeps("groups")
    stored = await queries.get(_deployment(request), caller, rt, request.path_params["id"], groups=shows_groups)
    headers = view.headers(stored)
    # A user's version does not move with the groups it is in, so it proves nothing while they are shown.
    if not shows_groups and _names(request.headers.get("if-none-match"), stored.version):
        return empty_answer(304, headers)
    members = await _members(request, caller, view, stored)
    return json_answer(view.body(stored, members), 200, headers)


async def list_(request: Request, rt: ResourceType) -> Response:
    """GET /Users?filter=…&startIndex=…&count=…"""
    return await search(request, rt, request.query_params)


async def post_search(request: Request, rt: ResourceType) -> Response:
    """POST /Users/.search (RFC 7644 §3.4.3): the query in the body, where no proxy logs it."""
    await reader(request)
    body = await read_json(request)
    if not isinstance(body, dict):
        raise InvalidValue("A SearchRequest is a JSON object.")
    return await search(request, rt, body)


async def search(request: Request, rt: ResourceType, query: Mapping[str, Any]) -> Response:
    """The list that the parameters of a query string or a SearchRequest ask for."""
    caller = await reader(request)
    view = _view(request, rt, query)
    window = parse_page(query.get("startIndex"), query.get("count"))
    page = await queries.search(
        _deployment(request),
        caller,
        rt,
        text=_text(query, "filter"),
        sort_by=_text(query, "sortBy"),
        descending=(_text(query, "sortOrder") or "").lower() == "descending",
        start_index=window.start_index,
        count=window.count,
        groups=rt.name == "User" and view.plan.keeps("groups"),
        with_members=rt.name == "Group" and view.plan.keeps("members"),
    )
    shown = page.members or {}
    texts = [view.text(stored, shown.get(stored.id)) for stored in page.found.resources]
    return json_answer(list_response(texts, page.found.total, window.start_index))


async def create(request: Request, rt: ResourceType) -> Response:
    """POST /Users"""
    caller, view = await writer(request), _view(request, rt)
    body, quirks = straighten_resource(await read_json(request), rt)
    written = await provisioning.create(_deployment(request), caller, rt, body)
    note(request, quirks=(*quirks, *written.quirks), ignored=written.ignored)
    return await _answer(request, caller, view, written, 201)


async def replace(request: Request, rt: ResourceType) -> Response:
    """PUT /Users/{id}"""
    caller, view = await writer(request), _view(request, rt)
    body, quirks = straighten_resource(await read_json(request), rt)
    written = await provisioning.replace_resource(
        _deployment(request), caller, rt, _id(request, rt), body, _if_match(request)
    )
    note(request, quirks=(*quirks, *written.quirks), ignored=written.ignored)
    return await _answer(request, caller, view, written)


async def patch(request: Request, rt: ResourceType) -> Response:
    """PATCH /Users/{id}"""
    caller, view = await writer(request), _view(request, rt)
    resource_id = _id(request, rt)
    body, quirks = straighten_patch(await read_json(request), rt)
    operations = patching.parse(body, rt, caller.options.strictness)
    written = await provisioning.patch(_deployment(request), caller, rt, resource_id, operations, _if_match(request))
    note(request, quirks=(*quirks, *written.quirks), ignored=written.ignored)
    if rt.name != "Group":
        return await _answer(request, caller, view, written)
    return await _answer_group_patch(request, caller, view, written)


async def delete(request: Request, rt: ResourceType) -> Response:
    """DELETE /Users/{id}"""
    caller = await writer(request)
    written = await provisioning.delete(_deployment(request), caller, rt, _id(request, rt), _if_match(request))
    return empty_answer(204, _receipt(written))


def _deployment(request: Request) -> Any:
    return site_of(request).deployment


def _id(request: Request, rt: ResourceType) -> str:
    resource_id = str(request.path_params["id"]).lower()
    if not provisioning.is_id(resource_id):
        raise provisioning.unknown(rt.name)
    return resource_id


def _text(query: Mapping[str, Any], name: str) -> str | None:
    value = query.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidValue(f"{name} must be a text.")
    return value or None


def _listed(query: Mapping[str, Any], name: str) -> str | list[str] | None:
    value = query.get(name)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise InvalidValue(f"{name} must be a list of attribute names.")


@dataclass(frozen=True, slots=True)
class _View:
    """How this request's answer shows resources. Made before anything is written, so that an unusable Host header or
    list of attributes is refused while nothing has happened yet."""

    base: str
    rt: ResourceType
    plan: Plan

    def headers(self, stored: Stored) -> dict[str, str]:
        return {"ETag": etag(stored.version), "Location": location(self.base, self.rt, stored.id)}

    def text(self, stored: Stored, members: Members | None) -> str:
        return render(self.base, self.rt, stored, self.plan, members)

    def body(self, stored: Stored, members: Members | None) -> bytes:
        return self.text(stored, members).encode()


def _view(request: Request, rt: ResourceType, query: Mapping[str, Any] | None = None) -> _View:
    query = request.query_params if query is None else query
    plan = projection.plan(rt, _listed(query, "attributes"), _listed(query, "excludedAttributes"))
    return _View(base_url(request), rt, plan)


async def _members(request: Request, caller: Caller, view: _View, stored: Stored) -> Members | None:
    if view.rt.name != "Group" or not view.plan.keeps("members"):
        return None
    return await queries.members(_deployment(request), caller, stored.id)


async def _answer(request: Request, caller: Caller, view: _View, written: Written, status: int = 200) -> Response:
    stored = written.resource
    if view.rt.name == "User" and view.plan.keeps("groups") and status != 201:
        stored = await queries.get(_deployment(request), caller, view.rt, stored.id, groups=True)
    members = await _members(request, caller, view, stored)
    return json_answer(view.body(stored, members), status, {**view.headers(stored), **_receipt(written)})


async def _answer_group_patch(request: Request, caller: Caller, view: _View, written: Written) -> Response:
    """200 with the group while it is small or the client asked for attributes, else 204: a client that adds one member
    to 100,000 does not want them back."""
    wish = caller.options.group_patch_body
    asked = "attributes" in request.query_params or "excludedAttributes" in request.query_params
    headers = {**view.headers(written.resource), **_receipt(written)}
    if wish == "never" and not asked:
        return empty_answer(204, headers)
    members: Members | None = None
    if view.plan.keeps("members"):
        if asked or wish == "always":
            members = await queries.members(_deployment(request), caller, written.resource.id)
        else:
            members = await queries.few_members(_deployment(request), caller, written.resource.id)
            if members is None:
                return empty_answer(204, headers)
    return json_answer(view.body(written.resource, members), 200, headers)


def _receipt(written: Written) -> dict[str, str]:
    return {} if written.receipt is None else {TERMINATION: written.receipt.header()}


def _if_match(request: Request) -> IfMatch:
    header = request.headers.get("if-match")
    if header is None or header.strip() == "*":
        return None
    return frozenset(_versions(header))


def _names(header: str | None, version: int) -> bool:
    return header is not None and (header.strip() == "*" or version in _versions(header))


def _versions(header: str) -> list[int]:
    tags = (tag.strip().removeprefix("W/").strip('"') for tag in header.split(","))
    return [int(tag) for tag in tags if tag.isascii() and tag.isdigit() and len(tag) < 10]
