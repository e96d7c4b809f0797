"""A stored resource as SCIM JSON (RFC 7643 §3): id and meta added, members and groups put in, the stored document
spliced in undecoded where nothing has to be left out of it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from starlette.requests import Request

from scim_server.protocol import projection
from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.date_time import from_unix_ms
from scim_server.protocol.errors import InvalidValue
from scim_server.protocol.etag import etag
from scim_server.protocol.projection import Plan
from scim_server.usecases.queries import Members, Stored
from scim_server.web.site import base_url

_NOTHING: Mapping[str, Any] = {}
_RETURN = re.compile(r"(?:^|[,;])\s*return\s*=\s*\"?(minimal|representation)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class View:
    """How a request's answer shows resources of a type. Made before anything is written, so that an unusable Host
    header or list of attributes is refused while nothing has happened yet."""

    base: str
    rt: ResourceType
    plan: Plan
    returns: str | None = None  # minimal | representation, where the client prefers one (RFC 7240 §4.2)

    def applied(self) -> dict[str, str]:
        """What the answer to a write says of the client's preference."""
        return {} if self.returns is None else {"Preference-Applied": f"return={self.returns}"}

    def headers(self, stored: Stored) -> dict[str, str]:
        """ETag and Location."""
        return {"ETag": etag(stored.version), "Location": location(self.base, self.rt, stored.id)}

    def text(self, stored: Stored, members: Members | None = None) -> str:
        """The resource as JSON text."""
        return render(self.base, self.rt, stored, self.plan, members)

    def body(self, stored: Stored, members: Members | None = None) -> bytes:
        """The resource as an answer's body."""
        return self.text(stored, members).encode()


def view_of(request: Request, rt: ResourceType, query: Mapping[str, Any] | None = None) -> View:
    """The view that the query string, or another `query`, asks for. Raises InvalidValue."""
    if query is None:
        query = request.query_params if request.scope["query_string"] else _NOTHING
    plan = projection.plan(rt, _names(query, "attributes"), _names(query, "excludedAttributes"))
    preferences = [value for name, value in request.scope["headers"] if name == b"prefer"]
    preference = _RETURN.search(b",".join(preferences).decode("latin-1")) if preferences else None
    return View(base_url(request), rt, plan, preference and preference[1].lower())


def location(base: str, rt: ResourceType, resource_id: str) -> str:
    """The address of a resource."""
    return f"{base}{rt.endpoint}/{resource_id}"


def render(base: str, rt: ResourceType, stored: Stored, plan: Plan, members: Members | None = None) -> str:
    """One resource as JSON text. `members` None: the group's members are not shown."""
    before, behind = _meta(base, rt)
    created = from_unix_ms(stored.created)
    modified = created if stored.modified == stored.created else from_unix_ms(stored.modified)
    # Ids, times and versions need no escaping.
    text = (
        f'{{"id":"{stored.id}",{before}"created":"{created}","lastModified":"{modified}",'
        f'{behind}{stored.id}","version":"W/\\"{stored.version}\\""}}'
    )
    if stored.groups and stored.groups != "[]":
        text += _groups(base, stored.groups)
    if members is not None:
        text += ',"members":' + _json(
            {"value": member, "$ref": f"{base}/{kind}s/{member}", "type": kind, **_display(display)}
            for member, kind, display in members
        )
    text = f"{text},{stored.doc[1:]}"
    return text if plan.tree is None else orjson.dumps(plan.apply(orjson.loads(text))).decode()


@lru_cache(maxsize=1024)
def _meta(base: str, rt: ResourceType) -> tuple[str, str]:
    """Of the text of meta what all resources of a type share: its beginning, and the location up to the id."""
    kind, place = orjson.dumps(rt.name).decode(), orjson.dumps(location(base, rt, "")).decode()
    return f'"meta":{{"resourceType":{kind},', f'"location":{place[:-1]}'


@lru_cache(maxsize=256)
def _groups(base: str, stored: str) -> str:
    """Users of a page tend to be in the same few sets of groups."""
    return ',"groups":' + _json(
        {"value": group, "$ref": f"{base}/Groups/{group}", "type": "direct", **_display(display)}
        for group, display in orjson.loads(stored)
    )


def _json(values: Iterable[dict[str, str]]) -> str:
    return orjson.dumps(list(values)).decode()


def _display(display: str | None) -> dict[str, str]:
    return {} if display is None else {"display": display}


def _names(query: Mapping[str, Any], name: str) -> str | list[str] | None:
    value = query.get(name)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise InvalidValue(f"{name} must be a list of attribute names.")
