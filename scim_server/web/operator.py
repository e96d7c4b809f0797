"""Beyond SCIM: cut one person off with one call, read receipts, follow the event feed."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from scim_server.events.model import KINDS, Credential
from scim_server.protocol.errors import InvalidSyntax, InvalidValue, NotFound
from scim_server.usecases import operations, receipts
from scim_server.usecases.access import Caller
from scim_server.usecases.membership import is_id
from scim_server.usecases.queries import Stored
from scim_server.web.auth import authenticate, reader
from scim_server.web.body import in_any_case, read_json
from scim_server.web.reply import json_answer
from scim_server.web.site import asked_request_id, request_id, site_of

MAX_EVENTS = 1_000
MAX_WAIT_S = 60
TERMINATION = "Session-Termination"
_NAMES = ("id", "userName", "externalId")


async def revoke(request: Request) -> Response:
    """POST /scim/v2/.revoke {"userName" | "externalId" | "id": "…", "deactivate": true | false, "kinds": ["session"]}:
    end every session of one user, or what else lets them in of these `kinds`, and, unless `deactivate` is true, keep
    the account. Answers with the receipt."""
    caller = await authenticate(request)
    caller.require("scim", "scim:revoke")
    body = await read_json(request)
    if not isinstance(body, dict):
        raise InvalidSyntax("The body must be a JSON object with userName, externalId or id.")
    # A `Deactivate` that is overlooked would leave the account open.
    body = in_any_case(body, (*_NAMES, "deactivate", "kinds"))
    deactivate = body.get("deactivate", False)
    if not isinstance(deactivate, bool):
        raise InvalidValue("deactivate must be true or false.")
    kinds = _kinds(body, deactivate)
    user = await _named(request, caller, body)
    deployment = site_of(request).deployment
    receipt = await operations.cut_off(deployment, caller, user) if deactivate else None
    if receipt is None:
        receipt = await operations.revoke(deployment, caller, user, kinds)
    header = receipt.header()
    answer: dict[str, Any] = {
        "user": {"id": user.id, "userName": orjson.loads(user.doc).get("userName")},
        "deactivated": deactivate,
        "termination": header,
        "requestId": request_id(request),
        "receipts": await receipts.of_request(deployment, caller, request_id(request)),
    }
    return json_answer(answer, 200, {TERMINATION: header})


async def receipt(request: Request) -> Response:
    """GET /receipts/{request id}: what became of the kills of one request."""
    caller = await reader(request)
    found = await receipts.of_request(site_of(request).deployment, caller, asked_request_id(request))
    if not found:
        raise NotFound("No write of this tenant has this request id.")
    return json_answer({"receipts": found})


async def user_receipts(request: Request) -> Response:
    """GET /receipts?userName=…: the latest receipts of one user, by userName, externalId or id."""
    caller, deployment = await reader(request), site_of(request).deployment
    user_id = request.query_params.get("id", "").lower()
    found = await receipts.of_user(deployment, caller, user_id) if is_id(user_id) else []
    if not found:  # of a deleted user there is nothing but the id
        user = await _named(request, caller, dict(request.query_params))
        found = await receipts.of_user(deployment, caller, user.id)
    return json_answer({"receipts": found})


async def events(request: Request) -> Response:
    """GET /events?after=<cursor>&limit=100&wait=30: the feed, oldest first; `wait` seconds for the first event."""
    caller = await reader(request)
    limit = _number(request, "limit", 100, 1, MAX_EVENTS)
    wait = _number(request, "wait", 0, 0, MAX_WAIT_S)
    after = request.query_params.get("after", "")
    batch = await receipts.read_feed(site_of(request).deployment, caller, after, limit, wait)
    return json_answer({"events": batch.events, "cursor": batch.cursor})


def _kinds(body: dict[str, Any], deactivate: bool) -> tuple[Credential, ...]:
    given = body.get("kinds")
    if given is None:
        return KINDS
    known = ", ".join(KINDS)
    if not isinstance(given, list) or not given or not all(kind in KINDS for kind in given):
        raise InvalidValue(f"kinds must be a list of some of {known}.")
    if deactivate:
        raise InvalidValue("A deactivation ends every kind of credential: leave kinds out, or deactivate.")
    return tuple(kind for kind in KINDS if kind in given)


async def _named(request: Request, caller: Caller, given: dict[str, Any]) -> Stored:
    names = {name: given[name] for name in _NAMES if given.get(name) is not None}
    if len(names) != 1:
        raise InvalidValue("Name one user by exactly one of id, userName or externalId.")
    ((attribute, value),) = names.items()
    if not isinstance(value, str) or not value:
        raise InvalidValue(f"{attribute} must be a text.")
    user = await operations.find_user_by(site_of(request).deployment, caller, attribute, value)
    if user is None and attribute == "externalId":
        raise NotFound("No user of this tenant has this externalId, or more than one has: name one by userName or id.")
    if user is None:
        raise NotFound(f"No user of this tenant has this {attribute}.")
    return user


def _number(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidValue(f"{name} must be a whole number from {least} to {most}.")
    return min(max(int(text), least), most)
