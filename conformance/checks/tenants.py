"""Tenants do not see each other (RFC 7644 §6): the kit's two tokens are of two tenants. Needs --other-token."""

from functools import partial

from conformance.client import Client
from conformance.requirement import MUST, Chapter
from conformance.server import GROUP, PATCH, UNKNOWN_ID, USER, Server, at

requirements = Chapter(needs=("other",))


def stranger(server: Server) -> Client:
    """The other tenant's client."""
    assert server.other is not None  # what needs "other" is skipped without it
    return server.other


REQUESTS: dict[str, tuple[str, object]] = {
    "get": ("GET", None),
    "put": ("PUT", {"schemas": [USER], "userName": "taken-over"}),
    "patch": ("PATCH", {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "active", "value": False}]}),
    "delete": ("DELETE", None),
}


def _foreign(method: str, body: object, server: Server) -> None:
    user = server.user()
    unknown = stranger(server).send(method, f"/Users/{UNKNOWN_ID}", body)
    answer = stranger(server).send(method, at(user), body).is_error(404)
    same = answer.body.get("scimType") == unknown.body.get("scimType") and answer.status == unknown.status
    answer.expect(same, "the answer is that for an unknown id")
    server.read(user).shows({"userName": user["userName"], "active": True})


for _name, (_method, _body) in REQUESTS.items():
    _says = f"{_method} of another tenant's user is answered as an unknown id, and changes nothing."
    requirements.add(f"tenant-{_name}", MUST, _says, partial(_foreign, _method, _body))


@requirements("tenant", MUST, needs=("filter",))
def lists(server: Server) -> None:
    """Another tenant's users are in no list."""
    user = server.user()
    answer = stranger(server).send("GET", "/Users", query={"filter": f'id eq "{user["id"]}"'}).is_list()
    answer.expect(answer.body["totalResults"] == 0, "nothing is found")


@requirements("tenant", MUST)
def names(server: Server) -> None:
    """A userName that another tenant uses is free."""
    user = server.user()
    stranger(server).send("POST", "/Users", {"schemas": [USER], "userName": user["userName"]}).has_status(201)


@requirements("tenant", MUST, needs=("groups",))
def members(server: Server) -> None:
    """Another tenant's user does not become a member by its id."""
    user = server.user()
    body = {"schemas": [GROUP], "displayName": server.name(), "members": [{"value": user["id"]}]}
    stranger(server).send("POST", "/Groups", body)
    server.read(user).shows({"groups": None})
