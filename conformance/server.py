"""The server under test as the checks see it: what it offers, requests to it, and people to try things on.

Everything made here has a name that begins with the run's tag, so that a run finds only its own.
"""

import itertools
from collections.abc import Callable
from functools import cached_property
from typing import Any

from conformance.client import Answer, Client, Exchange, Json, Skip
from conformance.sessions import SessionProbe

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
UNKNOWN_ID = "00000000-dead-4bad-8bad-000000000000"


class Server:
    """`other` speaks with the token of another tenant. `tag` begins every name and must be new to the server."""

    def __init__(self, client: Client, other: Client | None, probe: SessionProbe | None, tag: str) -> None:
        self.client = client
        self.other = other
        self.probe = probe
        self.tag = tag
        self._numbers = itertools.count(1)

    @cached_property
    def config(self) -> Json:
        """ServiceProviderConfig; {} when there is none."""
        answer = self.client.send("GET", "/ServiceProviderConfig")
        return answer.body if answer.status == 200 else {}

    @cached_property
    def resource_types(self) -> list[Json]:
        """/ResourceTypes; [] when there are none."""
        answer = self.client.send("GET", "/ResourceTypes")
        return answer.resources if answer.status == 200 else []

    @cached_property
    def people(self) -> dict[str, Json]:
        """Three users with different values, for filters: ada, bob (inactive, no title) and cyd."""
        return {
            "ada": self.user(
                f"{self.tag}-f-ada",
                externalId=f"{self.tag}-Xa",
                title="Engineer",
                name={"givenName": "Ada", "familyName": "Byron"},
                emails=[
                    {"value": f"ada-{self.tag}@work.example", "type": "work"},
                    {"value": f"ada-{self.tag}@home.example", "type": "home"},
                ],
                **({"schemas": [USER, ENTERPRISE], ENTERPRISE: {"department": self.tag}} if self._enterprise else {}),
            ),
            "bob": self.user(f"{self.tag}-f-bob", active=False, name={"givenName": "Bob", "familyName": "Codd"}),
            "cyd": self.user(f"{self.tag}-f-cyd", title='Senior "C" \\ λ', name={"familyName": "Dijkstra"}),
        }

    @cached_property
    def crowd(self) -> list[str]:
        """The ids of five users in the order of their userNames; the last has no familyName. For pages and sorting."""
        families = [{"familyName": name} for name in ("alpha", "Bravo", "charlie", "Delta")]
        named = [self.user(f"{self.tag}-p-{n}", name=name)["id"] for n, name in enumerate(families)]
        return [*named, self.user(f"{self.tag}-p-9")["id"]]

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """Since `forget_exchanges`; those of the other tenant after this one's."""
        return (*self.client.exchanges, *(self.other.exchanges if self.other else ()))

    def forget_exchanges(self) -> None:
        """Begins a new requirement."""
        self.client.exchanges.clear()
        if self.other:
            self.other.exchanges.clear()

    def lacks(self, feature: str) -> str | None:
        """Why what needs this feature is skipped; None when it is not."""
        return FEATURES[feature](self)

    def name(self) -> str:
        """A userName or displayName that is nobody's."""
        return f"{self.tag}-{next(self._numbers)}"

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """See Client.send."""
        return self.client.send(method, path, body, **options)

    def get(self, path: str, /, **query: Any) -> Answer:
        """GET with this query."""
        return self.client.send("GET", path, query=query)

    def found(self, endpoint: str = "/Users", /, **query: Any) -> Answer:
        """GET that must give a ListResponse."""
        return self.get(endpoint, **query).is_list()

    def post_user(self, user_name: str | None = None, /, **attributes: Any) -> Answer:
        """POST /Users, whatever comes of it."""
        body = {"schemas": [USER], "userName": user_name or self.name(), **attributes}
        return self.send("POST", "/Users", body)

    def user(self, user_name: str | None = None, /, **attributes: Any) -> Json:
        """A new user, active unless the attributes say otherwise, as the answer shows it."""
        answer = self.post_user(user_name, **{"active": True, **attributes}).has_status(201)
        return dict(answer.expect(bool(answer.body.get("id")), "the answer shows the new id").body)

    def group(self, *members: Json, **attributes: Any) -> Json:
        """A new group of these users."""
        listed = [{"value": member["id"]} for member in members]
        body = {"schemas": [GROUP], "displayName": self.name(), "members": listed, **attributes}
        answer = self.send("POST", "/Groups", body).has_status(201)
        return dict(answer.expect(bool(answer.body.get("id")), "the answer shows the new id").body)

    def patch(self, resource: Json, *operations: Json, **options: Any) -> Answer:
        """PATCH with these operations, whatever comes of it."""
        return self.send("PATCH", at(resource), {"schemas": [PATCH], "Operations": list(operations)}, **options)

    def changed(self, resource: Json, *operations: Json) -> Answer:
        """A PATCH that must succeed, and what GET shows afterwards."""
        self.patch(resource, *operations).has_status(200, 204)
        return self.read(resource)

    def read(self, resource: Json) -> Answer:
        """GET of a resource that must be there."""
        return self.get(at(resource)).has_status(200)

    @property
    def _enterprise(self) -> bool:
        return self.lacks("enterprise") is None


def at(resource: Json) -> str:
    """Its path."""
    return f"{'/Groups' if GROUP in resource['schemas'] else '/Users'}/{resource['id']}"


def member_ids(answer: Answer) -> set[str]:
    """Who the group has."""
    return {str(member.get("value")) for member in answer.body.get("members") or []}


def require(condition: bool, otherwise: str) -> None:
    """Skips a requirement that does not apply."""
    if not condition:
        raise Skip(otherwise)


def _says_no(name: str) -> Callable[[Server], str | None]:
    def lacking(server: Server) -> str | None:
        said = server.config.get(name)
        refused = isinstance(said, dict) and said.get("supported") is False
        return f"ServiceProviderConfig says {name}.supported false" if refused else None

    return lacking


def _no_cursor(server: Server) -> str | None:
    said = server.config.get("pagination")
    offered = isinstance(said, dict) and said.get("cursor") is True
    return None if offered else "ServiceProviderConfig does not say pagination.cursor true"


def _no_groups(server: Server) -> str | None:
    known = [one.get("endpoint", "").strip("/") for one in server.resource_types]
    return "ResourceTypes has no Groups" if known and "Groups" not in known else None


def _no_enterprise(server: Server) -> str | None:
    extensions = [one.get("schema") for kind in server.resource_types for one in kind.get("schemaExtensions") or []]
    return None if ENTERPRISE in extensions else "ResourceTypes does not give User the enterprise extension"


FEATURES: dict[str, Callable[[Server], str | None]] = {
    **{name: _says_no(name) for name in ("patch", "bulk", "filter", "sort", "etag")},
    "cursor": _no_cursor,
    "groups": _no_groups,
    "enterprise": _no_enterprise,
    "token": lambda server: None if server.client.token else "no token was given",
    "other": lambda server: None if server.other else "needs --other-token",
    "probe": lambda server: None if server.probe else "needs --session-probe",
}
