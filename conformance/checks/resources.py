"""Create, read, replace, delete (RFC 7644 §3.3 to §3.6) of users and groups."""

from functools import partial
from typing import Any

from conformance.requirement import MAY, MUST, SHOULD, Chapter
from conformance.server import GROUP, UNKNOWN_ID, USER, Server, at, member_ids, require

requirements = Chapter()


@requirements("rfc7644-3.3", MUST)
def create_returns_the_resource(server: Server) -> None:
    """POST is answered 201 with the new resource as it was sent, an id and its schema."""
    given = {"displayName": "Ada", "name": {"givenName": "Ada", "familyName": "Byron"}, "active": True}
    answer = server.post_user(**given).has_status(201).shows(given)
    answer.expect(isinstance(answer.body.get("id"), str) and bool(answer.body["id"]), "id is a text")
    answer.expect(USER in answer.body.get("schemas", []), f'"schemas" has {USER}')


@requirements("rfc7644-3.3", MUST)
def create_says_where(server: Server) -> None:
    """POST is answered with the new resource's address in Location and, the same, in meta.location."""
    answer = server.post_user().has_status(201)
    location = answer.header("Location")
    answer.expect(location.startswith("http"), "Location is an address")
    answer.expect(answer.body.get("meta", {}).get("location") == location, "meta.location is the same")


@requirements("rfc7644-3.4.1", MUST)
def location_leads_to_the_resource(server: Server) -> None:
    """GET of the address in Location returns the resource that was made."""
    answer = server.post_user().has_status(201)
    found = server.send("GET", answer.header("Location")).has_status(200)
    found.shows({"id": answer.body["id"], "userName": answer.body["userName"]})


@requirements("rfc7644-3.3", MUST)
def duplicate_user_name(server: Server) -> None:
    """POST of a userName that is taken is answered 409 uniqueness."""
    server.post_user(server.user()["userName"]).is_error(409, "uniqueness")


@requirements("rfc7643-4.1.1", MUST)
def user_name_is_unique_without_case(server: Server) -> None:
    """userName is not case-exact: the same name in capitals is taken as well."""
    declared = [one for one in server.found("/Schemas").resources if one.get("id") == USER]
    names = [one for schema in declared for one in schema["attributes"] if one["name"] == "userName"]
    require(not any(one.get("caseExact") for one in names), "/Schemas declares userName case-exact")
    server.post_user(server.user()["userName"].upper()).is_error(409, "uniqueness")


@requirements("rfc7644-3.6", MUST)
def deleted_is_gone(server: Server) -> None:
    """DELETE is answered 204 without a body; then GET and another DELETE are answered 404."""
    user = server.user()
    answer = server.send("DELETE", at(user)).has_status(204)
    answer.expect(not answer.exchange.answer_body, "there is no body")
    server.get(at(user)).is_error(404)
    server.send("DELETE", at(user)).is_error(404)


@requirements("rfc7644-3.6", MUST, needs=("filter",))
def deleted_is_not_found(server: Server) -> None:
    """A deleted resource is in no list any more."""
    user = server.user()
    server.send("DELETE", at(user)).has_status(204)
    answer = server.found(filter=f'userName eq "{user["userName"]}"')
    answer.expect(answer.body["totalResults"] == 0, "nothing is found")


@requirements("rfc7644-3.6", MUST)
def deleted_name_is_free(server: Server) -> None:
    """The userName of a deleted user can be used again."""
    user = server.user()
    server.send("DELETE", at(user)).has_status(204)
    server.user(user["userName"])


def _put(server: Server, user: dict[str, Any], **attributes: Any) -> Any:
    body = {"schemas": [USER], "userName": user["userName"], **attributes}
    return server.send("PUT", at(user), body)


@requirements("rfc7644-3.5.1", MUST)
def put_replaces(server: Server) -> None:
    """PUT is answered 200 with the resource as it was sent, under the same id."""
    user = server.user(displayName="Before", nickName="B")
    given = {"displayName": "After", "title": "Boss"}
    _put(server, user, **given).has_status(200).shows({"id": user["id"], **given})
    server.read(user).shows(given)


@requirements("rfc7644-3.5.1", MUST)
def put_of_what_get_returned(server: Server) -> None:
    """PUT ignores read-only values: what GET returned, id, meta and groups included, can be sent back."""
    user = server.user(displayName="Before")
    body = server.read(user).body | {"displayName": "After", "groups": [{"value": UNKNOWN_ID}]}
    answer = server.send("PUT", at(user), body | {"meta": {"created": "2001-01-01T00:00:00Z"}}).has_status(200)
    shown = {"id": user["id"], "displayName": "After", "groups": None}
    answer.shows(shown).shows({"meta": {"created": user["meta"]["created"]}})


@requirements("rfc7644-3.5.1", MUST)
def put_does_not_create(server: Server) -> None:
    """PUT to an id that does not exist creates nothing and is answered 404."""
    body = {"schemas": [USER], "userName": server.name(), "id": UNKNOWN_ID}
    server.send("PUT", f"/Users/{UNKNOWN_ID}", body).is_error(404)
    server.get(f"/Users/{UNKNOWN_ID}").is_error(404)


@requirements("rfc7644-3.5.1", MUST)
def put_needs_required_values(server: Server) -> None:
    """PUT without userName is answered 400 invalidValue and changes nothing."""
    user = server.user()
    server.send("PUT", at(user), {"schemas": [USER], "displayName": "x"}).is_error(400, "invalidValue")
    server.read(user).shows({"userName": user["userName"], "displayName": None})


@requirements("rfc7644-3.5.1", MUST)
def put_of_a_taken_name(server: Server) -> None:
    """PUT of a userName that another user has is answered 409 uniqueness."""
    taken, user = server.user(), server.user()
    _put(server, taken | {"id": user["id"]}).is_error(409, "uniqueness")


@requirements("rfc7644-3.5.1", MAY)
def put_clears_what_it_leaves_out(server: Server) -> None:
    """PUT clears attributes that it leaves out."""
    user = server.user(title="Boss", emails=[{"value": f"{server.tag}@work.example", "type": "work"}])
    _put(server, user).has_status(200)
    server.read(user).shows({"title": None, "emails": None})


INVALID: dict[str, tuple[str, dict[str, Any]]] = {
    "no-user-name": ("no userName", {"userName": None}),
    "empty-user-name": ("an empty userName", {"userName": ""}),
    "user-name-object": ("an object as userName", {"userName": {"value": "x"}}),
    "name-text": ("a text as name", {"name": "Ada Byron"}),
    "active-number": ("a number as active", {"active": 7}),
    "active-word": ('"perhaps" as active', {"active": "perhaps"}),
    "emails-object-list": ("lists in emails", {"emails": [[["x"]]]}),
}


def _invalid(attributes: dict[str, Any], server: Server) -> None:
    server.send("POST", "/Users", {"schemas": [USER], "userName": server.name(), **attributes}).is_error(
        400, "invalidValue", "invalidSyntax"
    )


for _name, (_with, _attributes) in INVALID.items():
    requirements.add(
        f"rfc7644-3.12-invalid-{_name}", MUST, f"POST with {_with} is answered 400.", partial(_invalid, _attributes)
    )


@requirements("rfc7643-4.2", MUST, needs=("groups",))
def group_with_members(server: Server) -> None:
    """POST /Groups makes a group whose members GET shows."""
    people = [server.user(), server.user()]
    group = server.group(*people)
    answer = server.read(group).shows({"displayName": group["displayName"]})
    answer.expect(member_ids(answer) == {one["id"] for one in people}, "the members are those that were sent")
    answer.expect(GROUP in answer.body["schemas"], f'"schemas" has {GROUP}')


@requirements("rfc7643-4.2", MUST, needs=("groups",))
def group_needs_a_name(server: Server) -> None:
    """POST /Groups without displayName is answered 400 invalidValue."""
    server.send("POST", "/Groups", {"schemas": [GROUP]}).is_error(400, "invalidValue")


@requirements("rfc7644-3.5.1", MUST, needs=("groups",))
def put_group_members(server: Server) -> None:
    """PUT of a group replaces its members."""
    first, second = server.user(), server.user()
    group = server.group(first)
    body = {"schemas": [GROUP], "displayName": group["displayName"], "members": [{"value": second["id"]}]}
    server.send("PUT", at(group), body).has_status(200)
    answer = server.read(group)
    answer.expect(member_ids(answer) == {second["id"]}, "the members are those of the PUT")


@requirements("rfc7643-4.2", SHOULD, needs=("groups",))
def members_have_a_reference(server: Server) -> None:
    """A member is shown with $ref or type, so that a client knows what it is."""
    answer = server.read(server.group(server.user()))
    (member,) = answer.body["members"]
    known = str(member.get("$ref", "")).endswith(f"/Users/{member['value']}") or member.get("type") == "User"
    answer.expect(known, "the member has $ref or type")


@requirements("rfc7643-4.1.2", SHOULD, needs=("groups",))
def users_show_their_groups(server: Server) -> None:
    """A user's groups has the groups that have the user as a member."""
    user = server.user()
    group = server.group(user)
    answer = server.read(user)
    shown = [one.get("value") for one in answer.body.get("groups") or []]
    answer.expect(shown == [group["id"]], "groups has this group")


@requirements("rfc7643-4.2", SHOULD, needs=("groups",))
def deleted_users_leave_groups(server: Server) -> None:
    """A deleted user is no member any more."""
    user = server.user()
    group = server.group(user)
    server.send("DELETE", at(user)).has_status(204)
    answer = server.read(group)
    answer.expect(not member_ids(answer), "the group is empty")


@requirements("rfc7644-3.6", MUST, needs=("groups",))
def deleted_group_leaves_its_members(server: Server) -> None:
    """DELETE of a group is answered 204 and does not delete its members."""
    user = server.user()
    group = server.group(user)
    server.send("DELETE", at(group)).has_status(204)
    server.get(at(group)).is_error(404)
    server.read(user).shows({"groups": None})
