"""What Okta sends, from its catalogue apps and from custom ones, and what it needs back."""

from conformance.checks.patch import op
from conformance.requirement import Chapter, Level
from conformance.server import UNKNOWN_ID, USER, Server, at, member_ids

OKTA = Level.OKTA

requirements = Chapter()


@requirements("okta", OKTA)
def unknown_user_is_an_empty_list(server: Server) -> None:
    """userName eq of nobody, with startIndex and count, is 200 with an empty list."""
    answer = server.found(filter=f'userName eq "{server.tag}-nobody"', startIndex=1, count=100)
    answer.shows({"totalResults": 0}).expect(answer.body.get("Resources", []) == [], "Resources is []")


@requirements("okta", OKTA)
def user_name_without_case(server: Server) -> None:
    """userName eq finds a name in other case, and returns it as it is stored."""
    user = server.user()
    answer = server.found(filter=f'userName eq "{user["userName"].upper()}"')
    answer.expect([one["userName"] for one in answer.resources] == [user["userName"]], "the user is found")


@requirements("okta", OKTA)
def duplicate(server: Server) -> None:
    """POST of a userName that exists is answered 409 with a SCIM error."""
    server.post_user(server.user()["userName"]).is_error(409)


@requirements("okta", OKTA)
def pathless_active(server: Server) -> None:
    """PATCH replace {"active": …} without a path deactivates and activates."""
    user = server.user()
    for active in (False, True):
        server.changed(user, op("replace", None, {"active": active})).shows({"active": active})


@requirements("okta", OKTA)
def put_deactivates(server: Server) -> None:
    """PUT of the user as it was read, with active false, deactivates; with active true, activates."""
    user = server.user(name={"givenName": "Ada", "familyName": "Byron"})
    for active in (False, True):
        body = server.read(user).body | {"active": active, "groups": []}
        server.send("PUT", at(user), body).has_status(200).shows({"active": active, "name": {"givenName": "Ada"}})


@requirements("okta", OKTA)
def put_without_active(server: Server) -> None:
    """PUT without active does not bring a deactivated user back."""
    user = server.user(active=False)
    body = {"schemas": [USER], "userName": user["userName"], "displayName": "Ada"}
    server.send("PUT", at(user), body).has_status(200)
    server.read(user).shows({"active": False})


@requirements("okta", OKTA, needs=("groups",))
def rename_with_own_id(server: Server) -> None:
    """PATCH of a group with its own id and a displayName renames it and keeps the members."""
    user = server.user()
    group, name = server.group(user), server.name()
    answer = server.changed(group, op("replace", None, {"id": group["id"], "displayName": name}))
    answer.shows({"displayName": name}).expect(member_ids(answer) == {user["id"]}, "the member is still there")


@requirements("okta", OKTA, needs=("groups",))
def member_with_display(server: Server) -> None:
    """One PATCH removes a member by filter and adds another with display."""
    leaver, joiner = server.user(), server.user()
    group = server.group(leaver)
    new = {"value": joiner["id"], "display": joiner["userName"]}
    gone = op("remove", f'members[value eq "{leaver["id"]}"]')
    answer = server.changed(group, gone, op("add", "members", [new]))
    answer.expect(member_ids(answer) == {joiner["id"]}, "only the new member is there")


@requirements("okta", OKTA)
def first_page(server: Server) -> None:
    """GET /Users?startIndex=1&count=2 has integers in startIndex, itemsPerPage and totalResults."""
    server.user()
    page = server.found(startIndex=1, count=2)
    for name in ("startIndex", "itemsPerPage", "totalResults"):
        page.expect(type(page.body.get(name)) is int, f"{name} is an integer")


@requirements("okta", OKTA)
def error_has_a_detail(server: Server) -> None:
    """An error has detail as a text and status 404 in header and body."""
    answer = server.get(f"/Users/{UNKNOWN_ID}").is_error(404)
    answer.expect(isinstance(answer.body.get("detail"), str), "detail is a text")
    answer.expect(bool(answer.body["detail"]), "it is not empty")


@requirements("okta", OKTA, needs=("token",))
def token_without_scheme(server: Server) -> None:
    """Authorization: non-token is answered 401 with a detail."""
    answer = server.send("GET", "/Users", Authorization="non-token").is_error(401)
    answer.expect(bool(answer.body.get("detail")), "there is a detail")
