"""A stored resource as SCIM JSON (RFC 7643 §3): id and meta added, members and groups put in, the stored document
spliced in undecoded where nothing has to be left out of it.
"""

from typing import Any

import orjson

from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.date_time import from_unix_ms
from scim_server.protocol.projection import Plan
from scim_server.usecases.queries import Members, Stored


def etag(version: int) -> str:
    """The weak entity tag of a version (RFC 7644 §3.14)."""
    return f'W/"{version}"'


def location(base: str, rt: ResourceType, resource_id: str) -> str:
    """The address of a resource."""
    return f"{base}{rt.endpoint}/{resource_id}"


def render(base: str, rt: ResourceType, stored: Stored, plan: Plan, members: Members | None = None) -> str:
    """One resource as JSON text. `members` None: the group's members are not shown."""
    around = _surroundings(base, rt, stored, members)
    if plan.tree is None:
        return orjson.dumps(around)[:-1].decode() + "," + stored.doc[1:]
    return orjson.dumps(plan.apply({**orjson.loads(stored.doc), **around})).decode()


def _surroundings(base: str, rt: ResourceType, stored: Stored, members: Members | None) -> dict[str, Any]:
    out: dict[str, Any] = {
        "id": stored.id,
        "meta": {
            "resourceType": rt.name,
            "created": from_unix_ms(stored.created),
            "lastModified": from_unix_ms(stored.modified),
            "location": location(base, rt, stored.id),
            "version": etag(stored.version),
        },
    }
    if stored.groups and stored.groups != "[]":
        out["groups"] = [
            {"value": group, "$ref": f"{base}/Groups/{group}", "type": "direct", **_display(display)}
            for group, display in orjson.loads(stored.groups)
        ]
    if members is not None:
        out["members"] = [
            {"value": member, "$ref": f"{base}/{kind}s/{member}", "type": kind, **_display(display)}
            for member, kind, display in members
        ]
    return out


def _display(display: str | None) -> dict[str, str]:
    return {} if display is None else {"display": display}
