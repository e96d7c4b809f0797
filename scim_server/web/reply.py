"""Answers: the ONLY place where a ScimError becomes HTTP (RFC 7644 §3.12), and where media type and headers are set."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from scim_server.protocol.errors import MethodNotAllowed, NotFound, ScimError
from scim_server.usecases.change import Receipt
from scim_server.web.site import request_id

_log = logging.getLogger(__name__)
MEDIA_TYPE = "application/scim+json"
ERROR_URN = "urn:ietf:params:scim:api:messages:2.0:Error"
# Answers carry personal data: nobody between client and server keeps them, no browser guesses their type.
_ALWAYS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_WITHOUT_BODY = (204, 304)


class _Answer(Response):
    """Starlette's response with the headers that all answers share encoded beforehand."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        self.raw_headers = [*_ALWAYS]
        if self.status_code not in _WITHOUT_BODY:
            self.raw_headers.append((b"content-length", b"%d" % len(self.body)))
        if self.media_type is not None:
            self.raw_headers.append((b"content-type", self.media_type.encode()))
        for name, value in (headers or {}).items():
            self.raw_headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))


def json_answer(content: bytes | Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` as it is when bytes, else rendered."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return _Answer(body, status, headers, MEDIA_TYPE)


def empty_answer(status: int = 204, headers: Mapping[str, str] | None = None) -> Response:
    """An answer without a body."""
    return _Answer(b"", status, headers)


def termination(receipt: Receipt | None) -> dict[str, str]:
    """The header that says what became of the sessions of those who lost access; none where nobody did."""
    return {} if receipt is None else {"Session-Termination": receipt.header()}


def error_body(status: int, detail: str, scim_type: str | None = None) -> bytes:
    """A SCIM Error message; `status` goes out as text (RFC 7644 §3.12)."""
    body: dict[str, Any] = {"schemas": [ERROR_URN], "status": str(status)}
    if scim_type:
        body["scimType"] = scim_type
    return orjson.dumps({**body, "detail": detail})


def scim_error(request: Request, problem: Exception) -> Response:
    """Starlette's exception handler for ScimError. The request id at the end lets an administrator who reads the
    identity provider's log find the request in ours."""
    assert isinstance(problem, ScimError)
    headers = dict(problem.headers)
    if problem.status >= 500:  # the client learns what to do, the operator why
        _log.warning("%s %r", problem.detail, problem.__cause__)
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="scim"'
    detail = f"{problem.detail} [{request_id(request)}]" if problem.status != 404 else problem.detail
    return json_answer(error_body(problem.status, detail, problem.scim_type), problem.status, headers)


def http_error(request: Request, problem: Exception) -> Response:
    """Starlette's own 404 and 405 as SCIM errors."""
    assert isinstance(problem, HTTPException)
    if problem.status_code == 405:
        allowed = ", ".join(sorted((problem.headers or {}).get("Allow", "").split(", ")))
        return scim_error(
            request,
            MethodNotAllowed(f"{request.method} is not possible here; use one of {allowed}.", {"Allow": allowed}),
        )
    return scim_error(request, NotFound("Nothing is at this address; SCIM resources are below /scim/v2."))


def unexpected(request: Request, _: Exception) -> Response:
    """What a client is told of an error that nobody foresaw; the traceback is in the log."""
    detail = f"An unexpected error; the operator finds it in the log under this request id. [{request_id(request)}]"
    return json_answer(error_body(500, detail), 500)
