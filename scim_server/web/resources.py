"""The endpoints of every resource type (RFC 7644 §3.2-§3.6): read the request, call the use case, render the answer.

The same functions serve /Users, /Groups and configured types; `rt` is bound by the route table.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from scim_server.protocol import patch as patching
from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.etag import versions
from scim_server.protocol.quirks import straighten_patch, straighten_resource
from scim_server.usecases import provisioning, queries
from scim_server.usecases.access import Caller
from scim_server.usecases.membership import is_id
from scim_server.usecases.provisioning import IfMatch, Written
from scim_server.usecases.queries import Members, Stored
from scim_server.web.auth import reader, served_type, writer
from scim_server.web.body import read_json
from scim_server.web.reply import empty_answer, json_answer, termination
from scim_server.web.representation import View, view_of
from scim_server.web.site import meant, note, site_of


async def get(request: Request, rt: ResourceType) -> Response:
    """GET /Users/{id}"""
    caller = await reader(request)
    rt = served_type(request, caller, rt)
    view = view_of(request, rt)
    shows_groups = rt.name == "User" and view.plan.keeps("groups")
    stored = await queries.get(_deployment(request), caller, rt, request.path_params["id"], groups=shows_groups)
    headers = view.headers(stored)
    # A user's version does not move with the groups it is in, so it proves nothing while they are shown.
    if not shows_groups and _is_known(request.headers.get("if-none-match"), stored.version):
        return empty_answer(304, headers)
    members = await _members(request, caller, view, stored)
    return json_answer(view.body(stored, members), 200, headers)


async def create(request: Request, rt: ResourceType) -> Response:
    """POST /Users"""
    caller = await writer(request)
    rt = served_type(request, caller, rt)
    view = view_of(request, rt)
    body, quirks = straighten_resource(await read_json(request), rt)
    meant(request, body)
    written = await provisioning.create(_deployment(request), caller, rt, body)
    note(request, quirks=(*quirks, *written.quirks), ignored=written.ignored)
    return await _answer(request, caller, view, written, 201)


async def replace(request: Request, rt: ResourceType) -> Response:
    """PUT /Users/{id}"""
    caller = await writer(request)
    rt = served_type(request, caller, rt)
    view = view_of(request, rt)
    body, quirks = straighten_resource(await read_json(request), rt)
    meant(request, body)
    written = await provisioning.replace_resource(
        _deployment(request), caller, rt, _id(request, rt), body, _if_match(request)
    )
    note(request, quirks=(*quirks, *written.quirks), ignored=written.ignored)
    return await _answer(request, caller, view, written)


async def patch(request: Request, rt: ResourceType) -> Response:
    """PATCH /Users/{id}"""
    caller = await writer(request)
    rt = served_type(request, caller, rt)
    view = view_of(request, rt)
    resource_id = _id(request, rt)
    body, quirks = straighten_patch(await read_json(request), rt)
    meant(request, body)
    operations = patching.parse(body, rt, caller.options.strictness)
    written = await provisioning.patch(_deployment(request), caller, rt, resource_id, operations, _if_match(request))
    note(request, quirks=(*quirks, *written.quirks), ignored=written.ignored)
    if rt.name != "Group":
        return await _answer(request, caller, view, written)
    return await _answer_group_patch(request, caller, view, written)


async def delete(request: Request, rt: ResourceType) -> Response:
    """DELETE /Users/{id}"""
    caller = await writer(request)
    rt = served_type(request, caller, rt)
    written = await provisioning.delete(_deployment(request), caller, rt, _id(request, rt), _if_match(request))
    return empty_answer(204, termination(written.receipt))


def _deployment(request: Request) -> Any:
    return site_of(request).deployment


def _id(request: Request, rt: ResourceType) -> str:
    resource_id = str(request.path_params["id"]).lower()
    if not is_id(resource_id):
        raise provisioning.unknown(rt.name)
    return resource_id


async def _members(request: Request, caller: Caller, view: View, stored: Stored) -> Members | None:
    if view.rt.name != "Group" or not view.plan.keeps("members"):
        return None
    if stored.members is not None:
        return stored.members
    return await queries.members(_deployment(request), caller, stored.id)


async def _answer(request: Request, caller: Caller, view: View, written: Written, status: int = 200) -> Response:
    stored = written.resource
    headers = {**view.headers(stored), **view.applied(), **termination(written.receipt)}
    if view.returns == "minimal":
        return empty_answer(201 if status == 201 else 204, headers)
    members = await _members(request, caller, view, stored)
    return json_answer(view.body(stored, members), status, headers)


async def _answer_group_patch(request: Request, caller: Caller, view: View, written: Written) -> Response:
    """200 with the group while it is small or the client asked to see it, else 204: a client that adds one member to
    100,000 does not want them back."""
    asked = view.returns or "attributes" in request.query_params or "excludedAttributes" in request.query_params
    wish = "always" if asked else caller.options.group_patch_body
    if wish == "auto" and view.plan.keeps("members"):
        members = written.resource.members
        if members is None:
            members = await queries.few_members(_deployment(request), caller, written.resource.id)
        if members is not None:
            headers = {**view.headers(written.resource), **termination(written.receipt)}
            return json_answer(view.body(written.resource, members), 200, headers)
        wish = "never"
    if wish == "never":
        return empty_answer(204, {**view.headers(written.resource), **termination(written.receipt)})
    return await _answer(request, caller, view, written)


def _if_match(request: Request) -> IfMatch:
    return versions(request.headers.get("if-match"))


def _is_known(if_none_match: str | None, version: int) -> bool:
    known = versions(if_none_match)
    return if_none_match is not None and (known is None or version in known)
