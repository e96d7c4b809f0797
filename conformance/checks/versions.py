"""Versions and preconditions (RFC 7644 §3.14, RFC 7643 §3.1)."""

from collections.abc import Callable
from functools import partial

from conformance.checks.patch import op
from conformance.client import Answer, Json
from conformance.requirement import MUST, SHOULD, Chapter
from conformance.server import USER, Server, at

requirements = Chapter(needs=("etag",))

STALE = 'W/"a-version-that-never-was"'


def _put(server: Server, user: Json, if_match: str) -> Answer:
    body = {"schemas": [USER], "userName": user["userName"], "title": "Chief"}
    return server.send("PUT", at(user), body, If_Match=if_match)


def _patch(server: Server, user: Json, if_match: str) -> Answer:
    return server.patch(user, op("replace", "title", "Chief"), If_Match=if_match)


def _delete(server: Server, user: Json, if_match: str) -> Answer:
    return server.send("DELETE", at(user), If_Match=if_match)


WRITES: dict[str, tuple[Callable[[Server, Json, str], Answer], tuple[str, ...]]] = {
    "put": (_put, ()),
    "patch": (_patch, ("patch",)),
    "delete": (_delete, ()),
}


def _version(answer: Answer) -> str:
    version = answer.body.get("meta", {}).get("version")
    answer.expect(isinstance(version, str) and bool(version), "meta.version is there")
    return str(version)


@requirements("rfc7644-3.14", MUST)
def etag_is_the_version(server: Server) -> None:
    """The header ETag has what meta.version has, after POST and GET."""
    made = server.post_user().has_status(201)
    for answer in (made, server.read(made.body)):
        answer.expect(answer.header("ETag") == _version(answer), "ETag is meta.version")


@requirements("rfc7644-3.14", MUST)
def version_changes(server: Server) -> None:
    """A change changes the version."""
    user = server.user()
    before = _version(server.read(user))
    _put(server, user, before).has_status(200)
    answer = server.read(user)
    answer.expect(_version(answer) != before, "the version is another one")


@requirements("rfc7644-3.14", SHOULD)
def not_modified(server: Server) -> None:
    """GET with If-None-Match of the current version is answered 304."""
    user = server.user()
    version = _version(server.read(user))
    server.send("GET", at(user), If_None_Match=version).has_status(304)


@requirements("rfc7644-3.14", MUST)
def modified(server: Server) -> None:
    """GET with If-None-Match of a version that is not the current one returns the resource."""
    user = server.user()
    version = _version(server.read(user))
    _put(server, user, version).has_status(200)
    server.send("GET", at(user), If_None_Match=version).has_status(200).shows({"title": "Chief"})


def _stale(write: Callable[[Server, Json, str], Answer], server: Server) -> None:
    user = server.user(title="Boss")
    write(server, user, STALE).is_error(412)
    server.read(user).shows({"title": "Boss"})


def _current(write: Callable[[Server, Json, str], Answer], server: Server) -> None:
    user = server.user(title="Boss")
    write(server, user, _version(server.read(user))).has_status(200, 204)


for _name, (_write, _needs) in WRITES.items():
    _says = f"{_name.upper()} with If-Match of another version is answered 412 and changes nothing."
    requirements.add(f"rfc7644-3.14-stale-{_name}", MUST, _says, partial(_stale, _write), needs=_needs)
    _says = f"{_name.upper()} with If-Match of the current version succeeds."
    requirements.add(f"rfc7644-3.14-current-{_name}", MUST, _says, partial(_current, _write), needs=_needs)


@requirements("rfc7644-3.14", SHOULD)
def any_version(server: Server) -> None:
    """If-Match: * matches whatever exists."""
    _put(server, server.user(), "*").has_status(200)
