"""Authentication, media types and errors (RFC 7644 §2, §3.1, §3.8, §3.12)."""

from functools import partial

from conformance.client import SCIM_JSON
from conformance.requirement import MAY, MUST, SHOULD, Chapter
from conformance.server import PATCH, UNKNOWN_ID, USER, Server

requirements = Chapter()

STRANGERS: dict[str, tuple[str, str | None]] = {
    "no-token": ("no Authorization header", None),
    "wrong-token": ("an unknown bearer token", "Bearer 0000000000000000000000000000000000000000"),
    "no-scheme": ("an Authorization header without a scheme", "0000000000000000000000000000000000000000"),
    "wrong-scheme": ("an authentication scheme that is not offered", "Unheard-Of 00000000"),
}


def _stranger(authorization: str | None, server: Server) -> None:
    for path in ("/Users", f"/Users/{UNKNOWN_ID}"):
        server.send("GET", path, Authorization=authorization).is_error(401)
    body = {"schemas": [USER], "userName": server.name()}
    server.send("POST", "/Users", body, Authorization=authorization).is_error(401)


for _name, (_with, _header) in STRANGERS.items():
    requirements.add(
        f"rfc7644-3.12-{_name}",
        MUST,
        f"Requests with {_with} are answered 401 with a SCIM error.",
        partial(_stranger, _header),
        needs=("token",),
    )


@requirements("rfc7644-2", SHOULD, needs=("token",))
def www_authenticate(server: Server) -> None:
    """A 401 names the accepted schemes in WWW-Authenticate."""
    answer = server.send("GET", "/Users", Authorization=None).has_status(401)
    answer.expect(bool(answer.header("WWW-Authenticate")), "the header WWW-Authenticate is there")


UNKNOWN: dict[str, tuple[str, object]] = {
    "get": ("GET", None),
    "put": ("PUT", {"schemas": [USER], "userName": "nobody"}),
    "delete": ("DELETE", None),
}


def _unknown(method: str, body: object, server: Server) -> None:
    for identifier in (UNKNOWN_ID, "010101", "no such id"):
        server.send(method, f"/Users/{identifier.replace(' ', '%20')}", body).is_error(404)


for _name, (_method, _body) in UNKNOWN.items():
    _says = f"{_method} of an id that does not exist, in whatever form, is answered 404 with a SCIM error."
    requirements.add(f"rfc7644-3.12-unknown-id-{_name}", MUST, _says, partial(_unknown, _method, _body))


@requirements("rfc7644-3.12", MUST, needs=("patch",))
def unknown_id_patch(server: Server) -> None:
    """PATCH of an id that does not exist, in whatever form, is answered 404 with a SCIM error."""
    operation = {"op": "replace", "path": "active", "value": False}
    _unknown("PATCH", {"schemas": [PATCH], "Operations": [operation]}, server)


@requirements("rfc7644-3.12", SHOULD)
def unknown_endpoint(server: Server) -> None:
    """An endpoint that does not exist is answered 404 with a SCIM error."""
    server.get("/NoSuchThings").is_error(404)


@requirements("rfc7644-3.12", SHOULD)
def error_has_detail(server: Server) -> None:
    """An error's detail is a text for people."""
    answer = server.get(f"/Users/{UNKNOWN_ID}").has_status(404)
    answer.expect(isinstance(answer.body.get("detail"), str), "detail is a text")


BROKEN = {
    "truncated": '{"schemas": ["' + USER + '"], "userName": "x"',
    "not-json": "userName=x",
    "not-an-object": "[1, 2]",
}


def _broken(text: str, server: Server) -> None:
    server.send("POST", "/Users", text).is_error(400, "invalidSyntax")


for _name, _text in BROKEN.items():
    _says = f"A body that cannot be parsed ({_name}) is answered 400 invalidSyntax."
    requirements.add(f"rfc7644-3.12-body-{_name}", MUST, _says, partial(_broken, _text))


@requirements("rfc7644-3.1", MUST)
def answers_scim_json(server: Server) -> None:
    """Answers, errors included, have the media type application/scim+json."""
    made = server.post_user().has_status(201)
    for answer in (made, server.get("/Users", count=1), server.get(f"/Users/{UNKNOWN_ID}")):
        kind = answer.header("Content-Type").partition(";")[0].strip().lower()
        answer.expect(kind == SCIM_JSON, f"Content-Type is {SCIM_JSON}")


@requirements("rfc7644-3.1", MUST)
def accepts_charset(server: Server) -> None:
    """application/scim+json is accepted with charset=utf-8."""
    body = {"schemas": [USER], "userName": server.name()}
    server.send("POST", "/Users", body, Content_Type=f"{SCIM_JSON}; charset=utf-8").has_status(201)


@requirements("rfc7644-3.8", SHOULD)
def accepts_json(server: Server) -> None:
    """application/json is accepted for SCIM messages."""
    body = {"schemas": [USER], "userName": server.name()}
    server.send("POST", "/Users", body, Content_Type="application/json").has_status(201)


@requirements("rfc7644-3.8", SHOULD)
def accept_json(server: Server) -> None:
    """Accept: application/json gets an answer in JSON."""
    answer = server.send("GET", "/Users", Accept="application/json").is_list()
    answer.expect("json" in answer.header("Content-Type"), "Content-Type is JSON")


@requirements("rfc7644-3.1", SHOULD)
def refuses_other_media_types(server: Server) -> None:
    """A body of another media type is answered 415."""
    body = {"schemas": [USER], "userName": server.name()}
    server.send("POST", "/Users", body, Content_Type="text/plain").is_error(415)


@requirements("rfc7644-3.8", MUST)
def unicode_survives(server: Server) -> None:
    """Text is UTF-8: letters of any script come back as they were sent."""
    given = {"displayName": "Ξενοφών Žižka 山田 👩‍💻"}
    server.read(server.user(**given)).shows(given)


@requirements("rfc7644-3.12", MAY)
def wrong_method(server: Server) -> None:
    """A method that an endpoint does not have is answered 405 with a SCIM error."""
    server.send("DELETE", "/Users").is_error(405)
