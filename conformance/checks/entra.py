"""What Microsoft Entra ID sends, and what it needs back: its two dialects, both of which one tenant may use."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from conformance.checks.patch import op, written
from conformance.client import SCIM_JSON, Json
from conformance.requirement import Chapter, Level
from conformance.server import ENTERPRISE, GROUP, USER, Server, at, member_ids

ENTRA = Level.ENTRA

requirements = Chapter()


class Dialect(NamedTuple):
    """Operations on a user with these attributes, and what is shown then. $name is the userName, $boss a user's id."""

    says: str
    before: Json
    operations: list[Json]
    shows: Json


WORK = 'emails[type eq "work"]'
MANAGER = f"{ENTERPRISE}:manager"
EMAIL: Json = {"value": "$name@work.example", "type": "work"}

DIALECT: dict[str, Dialect] = {
    "string-false": Dialect(
        'active "False" is false', {"active": True}, [op("Replace", "active", "False")], {"active": False}
    ),
    "string-true": Dialect(
        'active "True" is true', {"active": False}, [op("Replace", "active", "True")], {"active": True}
    ),
    "add-active": Dialect(
        "active may come with Add", {"active": True}, [op("Add", "active", "False")], {"active": False}
    ),
    "capital-operations": Dialect(
        "operations are capitalised",
        {"title": "Boss"},
        [op("Add", "nickName", "Al"), op("Replace", "displayName", "Ada"), op("Remove", "title")],
        {"nickName": "Al", "displayName": "Ada", "title": None},
    ),
    "value-path-add-creates": Dialect(
        "Add to a value path without a match makes the value",
        {},
        [op("Add", f"{WORK}.value", "$name@work.example")],
        {"emails": [EMAIL]},
    ),
    "value-path-replace-creates": Dialect(
        "Replace of a value path without a match makes the value, beside the others",
        {"emails": [{"value": "$name@home.example", "type": "home"}]},
        [op("Replace", f"{WORK}.value", "$name@work.example")],
        {"emails": [EMAIL, {"value": "$name@home.example", "type": "home"}]},
    ),
    "value-path-one-value": Dialect(
        "operations with the same value path make one value",
        {},
        [
            op("Add", 'addresses[type eq "work"].locality', "Turku"),
            op("Add", 'addresses[type eq "work"].country', "FI"),
        ],
        {"addresses": [{"type": "work", "locality": "Turku", "country": "FI"}]},
    ),
    "dotted-keys": Dialect(
        "without a path, keys may be dotted",
        {"name": {"givenName": "Ada", "familyName": "Byron"}},
        [op("replace", None, {"displayName": "Ada", "name.familyName": "King"})],
        {"displayName": "Ada", "name": {"givenName": "Ada", "familyName": "King"}},
    ),
    "null-clears": Dialect(
        "null clears",
        {"title": "Boss", "nickName": "Al"},
        [{"op": "replace", "value": {"title": None}}, {"op": "replace", "path": "nickName", "value": None}],
        {"title": None, "nickName": None},
    ),
    "free-text": Dialect(
        "texts have no format",
        {},
        [op("replace", None, {"locale": "upd-x1", "timezone": "upd-x2", "preferredLanguage": "upd-x3"})],
        {"locale": "upd-x1", "timezone": "upd-x2", "preferredLanguage": "upd-x3"},
    ),
}

EXTENSION: dict[str, Dialect] = {
    "urn-keys": Dialect(
        "without a path, keys may be full names",
        {},
        [op("replace", None, {f"{ENTERPRISE}:department": "R&D"})],
        {ENTERPRISE: {"department": "R&D"}},
    ),
    "manager-as-string": Dialect(
        "manager may be the bare id", {}, [op("Add", MANAGER, "$boss")], {ENTERPRISE: {"manager": {"value": "$boss"}}}
    ),
    "manager-emptied": Dialect(
        "manager is cleared by an empty text",
        {ENTERPRISE: {"manager": {"value": "$boss"}}},
        [op("replace", MANAGER, "")],
        {ENTERPRISE: {"manager": None}},
    ),
    "manager-removed": Dialect(
        "manager is cleared by Remove",
        {ENTERPRISE: {"department": "R&D", "manager": {"value": "$boss"}}},
        [op("Remove", MANAGER)],
        {ENTERPRISE: {"department": "R&D", "manager": None}},
    ),
}


def _dialect(dialect: Dialect, server: Server) -> None:
    boss = server.user()["id"]
    name = server.name()
    before, operations, shows = written([dialect.before, dialect.operations, dialect.shows], name=name, boss=boss)
    if ENTERPRISE in before:
        before["schemas"] = [USER, ENTERPRISE]
    answer = server.changed(server.user(name, **before), *operations)
    if shows.get(ENTERPRISE) == {"manager": None}:
        shows = {ENTERPRISE: None} if ENTERPRISE not in answer.body else shows
    answer.shows(shows)


for _table, _needs in ((DIALECT, ()), (EXTENSION, ("enterprise",))):
    for _name, _row in _table.items():
        requirements.add(f"entra-{_name}", ENTRA, f"PATCH: {_row.says}.", partial(_dialect, _row), needs=_needs)


@requirements("entra", ENTRA)
def probe_without_user_agent(server: Server) -> None:
    """The connection test, userName eq of nobody, is 200 with an empty list; it has + for spaces and no User-Agent."""
    answer = server.send("GET", f"/Users?filter=userName+eq+%22{server.tag}-nobody%22", User_Agent="").is_list()
    answer.shows({"totalResults": 0}).expect(answer.body.get("Resources") == [], "Resources is []")


@requirements("entra", ENTRA)
def work_email_filter(server: Server) -> None:
    """The filter emails[type eq "work"].value eq "…" finds the user."""
    name = server.name()
    user = server.user(name, emails=written([EMAIL], name=name))
    answer = server.found(filter=f'{WORK}.value eq "{name}@work.example"')
    answer.expect(answer.ids == [user["id"]], "the user is found")


@requirements("entra", ENTRA)
def create_with_nulls(server: Server) -> None:
    """POST with nulls, empty lists, "True" and charset=utf-8 makes the user."""
    body: dict[str, Any] = {
        "schemas": [USER, ENTERPRISE],
        "userName": server.name(),
        "active": "True",
        "title": None,
        "addresses": None,
        "roles": [],
        "meta": {"resourceType": "User"},
        ENTERPRISE: {"department": None},
    }
    answer = server.send("POST", "/Users", body, Content_Type=f"{SCIM_JSON}; charset=utf-8").has_status(201)
    answer.shows({"active": True, "title": None, "addresses": None})


@requirements("entra", ENTRA)
def deactivated_is_visible(server: Server) -> None:
    """A deactivated user is still found, keeps externalId and groups, and can be activated again."""
    user = server.user(externalId=server.name())
    group = server.group(user)
    server.changed(user, op("Replace", "active", "False")).shows({"active": False, "externalId": user["externalId"]})
    answer = server.found(filter=f'userName eq "{user["userName"]}"')
    answer.expect(answer.ids == [user["id"]], "the user is found")
    shown = server.read(group)
    shown.expect(member_ids(shown) == {user["id"]}, "the user is still a member")
    server.changed(user, op("Replace", "active", "True")).shows({"active": True})


@requirements("entra", ENTRA, needs=("groups",))
def remove_by_value_array(server: Server) -> None:
    """Remove of members with a value array removes just those."""
    leaver, stayer = server.user(), server.user()
    group = server.group(leaver, stayer)
    answer = server.changed(group, op("Remove", "members", [{"value": leaver["id"]}]))
    answer.expect(member_ids(answer) == {stayer["id"]}, "the other one is still a member")


@requirements("entra", ENTRA, needs=("groups",))
def parallel_members(server: Server) -> None:
    """Members that are added one by one at the same time are all kept."""
    people = [server.user() for _ in range(8)]
    group = server.group()
    with ThreadPoolExecutor(len(people)) as pool:
        added = pool.map(lambda one: server.patch(group, op("Add", "members", [{"value": one["id"]}])), people)
    for answer in added:
        answer.has_status(200, 204)
    shown = server.read(group)
    shown.expect(member_ids(shown) == {one["id"] for one in people}, "all eight are members")


@requirements("entra", ENTRA, needs=("groups",))
def duplicate_group(server: Server) -> None:
    """POST of a group whose displayName exists is answered 409."""
    name = server.group()["displayName"]
    server.send("POST", "/Groups", {"schemas": [GROUP], "displayName": name}).is_error(409, "uniqueness")


@requirements("entra", ENTRA, needs=("groups",))
def group_without_members(server: Server) -> None:
    """GET of a group leaves members out on request."""
    group = server.group(server.user())
    answer = server.get(at(group), excludedAttributes="members").has_status(200)
    answer.expect("members" not in answer.body, "there are no members")
