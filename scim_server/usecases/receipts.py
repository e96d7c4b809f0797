"""What a CRM or a person reads afterwards: the feed of events, and the receipt of a write."""

import asyncio
from dataclasses import dataclass
from typing import Any

from scim_server.protocol.date_time import from_unix_ms
from scim_server.protocol.errors import ExpiredCursor, InvalidCursor
from scim_server.storage import feed
from scim_server.storage.feed import Confirmation, WriteRecord
from scim_server.usecases.access import Caller
from scim_server.usecases.deployment import Deployment
from scim_server.usecases.membership import is_id

START = (0, "00000000-0000-0000-0000-000000000000")
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Batch:
    """A part of the feed; `cursor` is where the next one begins."""

    events: list[dict[str, Any]]
    cursor: str


async def read_feed(deployment: Deployment, caller: Caller, after: str, limit: int, wait_s: float) -> Batch:
    """Events after a cursor ("" = from the oldest kept), waiting up to `wait_s` for the first. Raises InvalidCursor,
    and ExpiredCursor where events may have been forgotten that the reader has not seen."""
    place = _place(after)
    if after and not await feed.has(deployment.database, caller.tenant_id, place):
        raise ExpiredCursor(
            "The events after this cursor are not all kept any more; read the users, begin without one."
        )
    deadline = asyncio.get_running_loop().time() + wait_s
    while True:
        found = await feed.entries(deployment.database, caller.tenant_id, place, limit)
        if found or asyncio.get_running_loop().time() >= deadline:
            break
        await asyncio.sleep(min(POLL_S, max(deadline - asyncio.get_running_loop().time(), 0)))
    events = [
        {"id": e.id, "type": e.type, "timestamp": from_unix_ms(e.at), "data": {"tenant": caller.tenant, **e.data}}
        for e in found
    ]
    cursor = f"{found[-1].position}.{found[-1].id}" if found else after
    return Batch(events, cursor)


def _place(cursor: str) -> tuple[int, str]:
    if not cursor:
        return START
    position, _, event_id = cursor.partition(".")
    if not (position.isascii() and position.isdigit() and len(position) < 19 and is_id(event_id)):
        raise InvalidCursor("The cursor is not one of this feed; begin without one.")
    return int(position), event_id.lower()


async def of_request(deployment: Deployment, caller: Caller, request_id: str) -> list[dict[str, Any]]:
    """The receipts of a request's writes; empty when it wrote nothing in this tenant."""
    return [_receipt(one) for one in await feed.of_request(deployment.database, caller.tenant_id, request_id)]


async def of_user(deployment: Deployment, caller: Caller, user_id: str, limit: int = 20) -> list[dict[str, Any]]:
    """The receipts of the latest writes that told stores something about one user, deleted or not, newest first."""
    return [_receipt(one) for one in await feed.of_user(deployment.database, caller.tenant_id, user_id, limit)]


def _receipt(record: WriteRecord) -> dict[str, Any]:
    return {
        "id": record.change_id,
        "requestId": record.request_id,
        "at": from_unix_ms(record.at),
        "actor": record.actor,
        "action": record.action,
        "resource": {"type": record.resource_type, "id": record.resource_id},
        "detail": dict(record.detail),
        "stores": [
            *(_confirmed(one) for one in record.confirmations),
            *({"store": name, "state": "unresolved"} for name in record.detail.get("unresolved", ())),
        ],
    }


def _confirmed(one: Confirmation) -> dict[str, Any]:
    out: dict[str, Any] = {"store": one.store, "user": one.resource_id, "type": one.type, "state": one.state}
    if one.kinds:
        out["kinds"] = list(one.kinds)
    out["attempts"] = one.attempts
    if one.confirmed is not None:
        out |= {
            "confirmed": from_unix_ms(one.confirmed),
            "timeToKillMs": max(one.confirmed - one.committed, 0),
            "sessions": one.sessions,
            # What the figure is worth: with a guard no login in flight can have slipped through.
            "guard": "seen" if one.guard_seen else "not seen",
        }
    if one.in_commit:
        out["level"] = "L4"
    if one.error:
        out["error"] = one.error
    return out
