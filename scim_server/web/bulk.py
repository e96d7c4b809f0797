"""POST /Bulk (RFC 7644 §3.7): the limits, and what became of each operation as JSON."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from scim_server.protocol import bulk as messages
from scim_server.protocol.etag import etag
from scim_server.usecases import bulk
from scim_server.usecases.bulk import Outcome
from scim_server.web.auth import writer
from scim_server.web.body import read_json
from scim_server.web.reply import error_body, json_answer, termination
from scim_server.web.representation import location
from scim_server.web.site import base_url, note, request_id, site_of


async def post(request: Request) -> Response:
    """POST /Bulk"""
    caller, base = await writer(request), base_url(request)
    wanted = messages.parse(await read_json(request, messages.MAX_PAYLOAD_BYTES))
    deployment = site_of(request).deployment
    done = await bulk.run(deployment, caller, deployment.types_of(caller.options), wanted)
    note(request, operations=len(wanted.operations), failed=sum(each.problem is not None for each in done.outcomes))
    body = {
        "schemas": [messages.BULK_RESPONSE_URN],
        "Operations": [_operation(each, base, request_id(request)) for each in done.outcomes],
    }
    return json_answer(body, 200, termination(done.receipt))


def _operation(outcome: Outcome, base: str, request: str) -> dict[str, Any]:
    operation = outcome.operation
    rendered: dict[str, Any] = {"method": operation.method, "status": str(outcome.status)}
    if operation.bulk_id is not None:
        rendered["bulkId"] = operation.bulk_id
    if outcome.rt is not None and outcome.resource_id is not None:
        rendered["location"] = location(base, outcome.rt, outcome.resource_id)
    if outcome.version is not None:
        rendered["version"] = etag(outcome.version)
    if outcome.problem is not None:
        problem = outcome.problem
        detail = f"{problem.detail} [{request}]"
        rendered["response"] = orjson.Fragment(error_body(problem.status, detail, problem.scim_type))
    return rendered
