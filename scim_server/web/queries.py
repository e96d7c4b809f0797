"""Lists (RFC 7644 §3.4.2, §3.4.3, RFC 9865): of one resource type or, at the root, of all; by GET or POST.

The same functions serve /Users, /Groups, configured types and the root; `types` is bound by the route table.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.errors import InvalidSyntax, InvalidValue
from scim_server.protocol.paging import CursorPage, cursor_response, list_response, parse_cursor_page, parse_page
from scim_server.usecases import queries
from scim_server.usecases.access import Caller
from scim_server.usecases.queries import Listing
from scim_server.web.auth import reader, served_type
from scim_server.web.body import in_any_case, read_json
from scim_server.web.reply import json_answer
from scim_server.web.representation import view_of
from scim_server.web.site import site_of

Types = Sequence[ResourceType]
# Read in any case: a filter that is overlooked would be answered with everybody.
_PARAMETERS = ("filter", "sortBy", "sortOrder", "startIndex", "count", "cursor", "attributes", "excludedAttributes")


async def get(request: Request, types: Types) -> Response:
    """GET /Users?filter=…&startIndex=…&count=…"""
    # Each name once, the last one, as everywhere; a plain dict, because most names that are asked for are missing.
    query = dict(parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True))
    return await _answer(request, await reader(request), types, query)


async def post(request: Request, types: Types) -> Response:
    """POST /Users/.search: the query in the body, where no proxy logs it."""
    caller = await reader(request)
    body = await read_json(request)
    if not isinstance(body, dict):
        raise InvalidSyntax("A SearchRequest is a JSON object.")
    return await _answer(request, caller, types, body)


async def _answer(request: Request, caller: Caller, types: Types, query: Mapping[str, Any]) -> Response:
    query = in_any_case(query, _PARAMETERS)
    if len(types) == 1:
        served: Types = (served_type(request, caller, types[0]),)
    else:
        served = site_of(request).deployment.types_of(caller.options)
    views = {rt: view_of(request, rt, query) for rt in served}
    asked = _listing(query)
    listed = await queries.search(
        site_of(request).deployment,
        caller,
        served,
        asked,
        groups=any(rt.name == "User" and view.plan.keeps("groups") for rt, view in views.items()),
        with_members=any(rt.name == "Group" and view.plan.keeps("members") for rt, view in views.items()),
    )
    texts = [views[rt].text(stored, listed.members.get(stored.id)) for rt, stored in listed.resources]
    if isinstance(asked.page, CursorPage):
        return json_answer(cursor_response(texts, listed.total, listed.previous, listed.following))
    return json_answer(list_response(texts, listed.total, asked.page.start_index))


def _listing(query: Mapping[str, Any]) -> Listing:
    cursor, count = query.get("cursor"), query.get("count")
    if cursor is not None and not isinstance(cursor, str):
        raise InvalidValue("cursor must be a text.")
    return Listing(
        filter=_text(query, "filter"),
        sort_by=_text(query, "sortBy"),
        descending=(_text(query, "sortOrder") or "").lower() == "descending",
        page=parse_page(query.get("startIndex"), count) if cursor is None else parse_cursor_page(cursor, count),
    )


def _text(query: Mapping[str, Any], name: str) -> str | None:
    value = query.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidValue(f"{name} must be a text.")
    return value or None
