"""attributes and excludedAttributes (RFC 7644 §3.9), on every operation that returns a resource."""

from collections.abc import Callable
from functools import partial
from typing import Any

from conformance.client import Answer, Json
from conformance.requirement import MUST, Chapter
from conformance.server import ENTERPRISE, PATCH, SEARCH, USER, Server, at

requirements = Chapter()

WHOLE: Json = {"displayName": "Ada", "title": "Boss", "name": {"givenName": "Ada", "familyName": "Byron"}}

# name: (says, query, paths that are there, paths that are not)
SHOWN: dict[str, tuple[str, dict[str, str], str, str]] = {
    "one": ("attributes names what is returned", {"attributes": "title"}, "id title", "displayName name"),
    "several": ("names are separated by commas", {"attributes": "title,displayName"}, "title displayName", "name"),
    "sub-attribute": (
        "attributes takes sub-attributes",
        {"attributes": "name.givenName"},
        "name.givenName",
        "title name.familyName",
    ),
    "name-case": ("names are case-insensitive", {"attributes": "TITLE"}, "title", "displayName"),
    "urn": ("attributes takes full names", {"attributes": f"{USER}:title"}, "title", "displayName"),
    "excluded": ("excludedAttributes leaves out", {"excludedAttributes": "title,name"}, "id displayName", "title name"),
    "excluded-sub-attribute": (
        "excludedAttributes takes sub-attributes",
        {"excludedAttributes": "name.givenName"},
        "title name.familyName",
        "name.givenName",
    ),
    "excluded-always": (
        "what is returned always cannot be left out",
        {"excludedAttributes": "id,title"},
        "id",
        "title",
    ),
}


def _shows(query: dict[str, str], there: str, absent: str, server: Server) -> None:
    expect(server.get(at(server.user(**WHOLE)), **query).has_status(200), there, absent)


def expect(answer: Answer, there: str, absent: str) -> None:
    """The resource of the answer, or the only one in its list, has these paths and lacks those."""
    body = answer.resources[0] if "Resources" in answer.body else answer.body
    for path in there.split():
        answer.expect(_value(body, path) is not None, f"{path} is there")
    for path in absent.split():
        answer.expect(_value(body, path) is None, f"{path} is left out")


def _value(body: Any, path: str) -> Any:
    for key in path.split("."):
        body = body.get(key) if isinstance(body, dict) else None
    return body


for _name, (_says, _query, _there, _absent) in SHOWN.items():
    _check = partial(_shows, _query, _there, _absent)
    requirements.add(f"rfc7644-3.9-{_name}", MUST, f"Projection: {_says}.", _check)


def _on_post(server: Server) -> Answer:
    body = {"schemas": [USER], "userName": server.name(), **WHOLE}
    return server.send("POST", "/Users", body, query={"attributes": "title"}).has_status(201)


def _on_put(server: Server) -> Answer:
    user = server.user()
    body = {"schemas": [USER], "userName": user["userName"], **WHOLE}
    return server.send("PUT", at(user), body, query={"attributes": "title"}).has_status(200)


def _on_patch(server: Server) -> Answer:
    user = server.user(**WHOLE)
    body = {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "title", "value": "Chief"}]}
    return server.send("PATCH", at(user), body, query={"attributes": "title"}).has_status(200)


def _on_list(server: Server) -> Answer:
    name = server.user(**WHOLE)["userName"]
    return server.found(filter=f'userName eq "{name}"', attributes="title")


def _on_search(server: Server) -> Answer:
    name = server.user(**WHOLE)["userName"]
    body = {"schemas": [SEARCH], "filter": f'userName eq "{name}"', "attributes": ["title"]}
    return server.send("POST", "/Users/.search", body).is_list()


ON: dict[str, tuple[Callable[[Server], Answer], tuple[str, ...]]] = {
    "post": (_on_post, ()),
    "put": (_on_put, ()),
    "patch": (_on_patch, ("patch",)),
    "list": (_on_list, ("filter",)),
    "search": (_on_search, ("filter",)),
}


def _also_on(send: Callable[[Server], Answer], server: Server) -> None:
    expect(send(server), "id title", "displayName name")


for _name, (_send, _needs) in ON.items():
    requirements.add(
        f"rfc7644-3.9-on-{_name}",
        MUST,
        f"Projection: attributes is honoured on {_name}.",
        partial(_also_on, _send),
        needs=_needs,
        declinable=_name == "search",
    )


@requirements("rfc7644-3.9", MUST, needs=("enterprise",))
def extension(server: Server) -> None:
    """Projection: an extension attribute is named by its URN."""
    user = server.user(schemas=[USER, ENTERPRISE], title="Boss", **{ENTERPRISE: {"department": "R&D", "division": "X"}})
    answer = server.get(at(user), attributes=f"{ENTERPRISE}:department").has_status(200)
    answer.shows({ENTERPRISE: {"department": "R&D", "division": None}, "title": None})


@requirements("rfc7643-7", MUST)
def never_is_never(server: Server) -> None:
    """What is returned never is not returned when it is asked for."""
    answer = server.get(at(server.user()), attributes="password,userName").has_status(200)
    expect(answer, "userName", "password")
