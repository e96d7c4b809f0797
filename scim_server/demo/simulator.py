"""An identity provider, as far as a SCIM server can tell: it sends what Microsoft Entra ID sends.

A matching query before every create, capitalised operations, booleans as text, no User-Agent, one request per
member. Owns no users (roster.py) and reads no answers beyond ids and statuses.
"""

from types import TracebackType
from typing import Any, Final
from urllib.parse import urlencode

import httpx

from scim_server.demo.processes import DemoError
from scim_server.demo.roster import Person

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTRA_GROUP = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

DEACTIVATION: Final = {
    "schemas": [PATCH_OP],
    "Operations": [{"op": "Replace", "path": "active", "value": "False"}],
}


class EntraSimulator:
    """Pushes to one SCIM base URL with one token. Raises DemoError for an answer nobody expects."""

    def __init__(self, base_url: str, token: str) -> None:
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/scim+json; charset=utf-8",
            "Accept": "application/scim+json",
        }
        self._client = httpx.Client(base_url=base_url, headers=headers, timeout=30)
        del self._client.headers["user-agent"]

    def __enter__(self) -> "EntraSimulator":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def provision(self, person: Person) -> str:
        """The SCIM id of the person's user, made if no user has this externalId."""
        found = self._match("Users", {}, f'externalId eq "{person.subject}"')
        return found or self._create("Users", user_body(person))

    def provision_group(self, name: str, external_id: str, member_ids: list[str]) -> str:
        """The SCIM id of the group, with these members added one by one."""
        found = self._match("Groups", {"excludedAttributes": "members"}, f'displayName eq "{name}"')
        body = {
            "schemas": [GROUP, ENTRA_GROUP],
            "externalId": external_id,
            "displayName": name,
            "meta": {"resourceType": "Group"},
        }
        group_id = found or self._create("Groups", body)
        for member_id in member_ids:
            addition = {"op": "Add", "path": "members", "value": [{"$ref": None, "value": member_id}]}
            patch = {"schemas": [PATCH_OP], "Operations": [addition]}
            self._send("PATCH", f"Groups/{group_id}", patch, expect=(200, 204))
        return group_id

    def deactivate_by_patch(self, person: Person, user_id: str) -> httpx.Response:
        """What Entra does when somebody loses their assignment."""
        return self._send("PATCH", f"Users/{user_id}", DEACTIVATION, expect=(200, 204))

    def deactivate_by_put(self, person: Person, user_id: str) -> httpx.Response:
        """What providers do that replace the whole user."""
        return self._send("PUT", f"Users/{user_id}", user_body(person) | {"active": "False"}, expect=(200,))

    def delete(self, person: Person, user_id: str) -> httpx.Response:
        """What Entra does thirty days later, or at once when an admin purges the account."""
        return self._send("DELETE", f"Users/{user_id}", None, expect=(204,))

    def _match(self, endpoint: str, parameters: dict[str, str], condition: str) -> str | None:
        query = urlencode({**parameters, "filter": condition})  # "+" for spaces, as Entra writes them
        listed = self._send("GET", f"{endpoint}?{query}", None, expect=(200,)).json()
        return next((str(resource["id"]) for resource in listed["Resources"]), None)

    def _create(self, endpoint: str, body: dict[str, Any]) -> str:
        return str(self._send("POST", endpoint, body, expect=(201,)).json()["id"])

    def _send(self, method: str, path: str, body: dict[str, Any] | None, expect: tuple[int, ...]) -> httpx.Response:
        answer = self._client.request(method, path, json=body)
        if answer.status_code not in expect:
            raise DemoError(f"{method} {path} was answered {answer.status_code}: {answer.text[:500]}")
        return answer


def user_body(person: Person) -> dict[str, Any]:
    """A user as Entra creates it with the default mapping."""
    return {
        "schemas": [USER, ENTERPRISE],
        "externalId": person.subject,
        "userName": person.user_name,
        "active": "True",
        "displayName": person.display_name,
        "emails": [{"primary": True, "type": "work", "value": person.user_name}],
        "meta": {"resourceType": "User"},
        "name": {
            "formatted": person.display_name,
            "familyName": person.family,
            "givenName": person.given,
        },
        "roles": [],
        ENTERPRISE: {"department": person.department},
    }
