"""PATCH of a user (RFC 7644 §3.5.2): what each operation makes of a known user, as GET shows it afterwards."""

import json
from functools import partial
from typing import Any, NamedTuple

from conformance.client import Json
from conformance.requirement import MUST, SHOULD, Chapter
from conformance.server import ENTERPRISE, USER, Server, at

requirements = Chapter(needs=("patch",))

WORK: Json = {"value": "$name@work.example", "type": "work", "primary": True}
HOME: Json = {"value": "$name@home.example", "type": "home"}
SPARE: Json = {"value": "$name@spare.example", "type": "other"}
BEFORE: Json = {
    "displayName": "Ada",
    "title": "Boss",
    "name": {"givenName": "Ada", "familyName": "Byron"},
    "emails": [WORK, HOME],
}


class Change(NamedTuple):
    """Operations on BEFORE and what is shown then (None: absent). $name is the userName."""

    says: str
    operations: list[Json]
    shows: Json


def op(verb: str, path: str | None = None, value: Any = None) -> Json:
    """One operation, without the keys that are None."""
    return {key: part for key, part in (("op", verb), ("path", path), ("value", value)) if part is not None}


ADD: dict[str, Change] = {
    "new": Change("a new value is added", [op("add", "nickName", "Al")], {"nickName": "Al", "title": "Boss"}),
    "existing": Change("a single value is replaced", [op("add", "title", "Chief")], {"title": "Chief"}),
    "sub-attribute": Change(
        "a sub-attribute is set and its siblings stay",
        [op("add", "name.middleName", "King")],
        {"name": {"givenName": "Ada", "familyName": "Byron", "middleName": "King"}},
    ),
    "complex": Change(
        "a complex value is merged",
        [op("add", "name", {"middleName": "King"})],
        {"name": {"givenName": "Ada", "familyName": "Byron", "middleName": "King"}},
    ),
    "multi-valued": Change("values are appended", [op("add", "emails", [SPARE])], {"emails": [WORK, HOME, SPARE]}),
    "present-value": Change(
        "a value that is there already is not added again", [op("add", "emails", [HOME])], {"emails": [WORK, HOME]}
    ),
    "pathless": Change(
        "without a path the value's attributes are added",
        [op("add", None, {"nickName": "Al", "emails": [SPARE]})],
        {"nickName": "Al", "emails": [WORK, HOME, SPARE]},
    ),
    "value-path": Change(
        "a value path chooses the values",
        [op("add", 'emails[type eq "home"].display', "at home")],
        {"emails": [WORK, HOME | {"display": "at home"}]},
    ),
    "urn": Change("a path may be a full name", [op("add", f"{USER}:nickName", "Al")], {"nickName": "Al"}),
}

REPLACE: dict[str, Change] = {
    "value": Change("a value is replaced", [op("replace", "title", "Chief")], {"title": "Chief"}),
    "absent-value": Change("what is not there is added", [op("replace", "nickName", "Al")], {"nickName": "Al"}),
    "sub-attribute": Change(
        "a sub-attribute is replaced and its siblings stay",
        [op("replace", "name.familyName", "King")],
        {"name": {"givenName": "Ada", "familyName": "King"}},
    ),
    "complex": Change(
        "the sub-attributes that are sent are replaced",
        [op("replace", "name", {"familyName": "King"})],
        {"name": {"givenName": "Ada", "familyName": "King"}},
    ),
    "multi-valued": Change("all values are replaced", [op("replace", "emails", [SPARE])], {"emails": [SPARE]}),
    "pathless": Change(
        "without a path the value's attributes are replaced",
        [op("replace", None, {"title": "Chief", "emails": [SPARE]})],
        {"title": "Chief", "emails": [SPARE], "displayName": "Ada"},
    ),
    "value-path": Change(
        "a value path chooses the value",
        [op("replace", 'emails[type eq "home"]', SPARE)],
        {"emails": [WORK, SPARE]},
    ),
    "value-path-sub-attribute": Change(
        "a sub-attribute of the chosen values is replaced",
        [op("replace", 'emails[type eq "home"].value', "$name@moved.example")],
        {"emails": [WORK, {"value": "$name@moved.example", "type": "home"}]},
    ),
    "active": Change("active is replaced", [op("replace", "active", False)], {"active": False}),
}

REMOVE: dict[str, Change] = {
    "value": Change("a value is removed", [op("remove", "title")], {"title": None, "displayName": "Ada"}),
    "sub-attribute": Change(
        "a sub-attribute is removed and its siblings stay",
        [op("remove", "name.familyName")],
        {"name": {"givenName": "Ada", "familyName": None}},
    ),
    "multi-valued": Change("all values are removed", [op("remove", "emails")], {"emails": None}),
    "value-path": Change("the chosen value is removed", [op("remove", 'emails[type eq "home"]')], {"emails": [WORK]}),
    "value-path-sub-attribute": Change(
        "a sub-attribute of the chosen values is removed",
        [op("remove", 'emails[type eq "work"].primary')],
        {"emails": [{"type": "work"}, {"type": "home"}]},
    ),
    "last-value": Change(
        "when the last value is removed the attribute is unassigned",
        [op("remove", 'emails[type eq "home"]'), op("remove", 'emails[type eq "work"]')],
        {"emails": None},
    ),
}

ORDER: dict[str, Change] = {
    "in-order": Change(
        "operations are applied in their order",
        [op("replace", "title", "Chief"), op("remove", "title"), op("add", "title", "Last")],
        {"title": "Last"},
    ),
    "on-the-result": Change(
        "an operation sees what the one before made",
        [op("add", "emails", [SPARE]), op("replace", 'emails[type eq "other"].display', "spare")],
        {"emails": [WORK, HOME, SPARE | {"display": "spare"}]},
    ),
    "names-without-case": Change(
        "names in paths are case-insensitive", [op("replace", "TITLE", "Chief")], {"title": "Chief"}
    ),
}


def made(server: Server) -> Json:
    """A user that has BEFORE."""
    name = server.name()
    return server.user(name, **written(BEFORE, name=name))


def written(table: Any, **values: str) -> Any:
    """A part of the tables with its $variables filled in."""
    text = json.dumps(table)
    for name, value in values.items():
        text = text.replace(f"${name}", value)
    return json.loads(text)


def _changes(change: Change, server: Server) -> None:
    user = made(server)
    operations, shown = written([change.operations, change.shows], name=user["userName"])
    server.changed(user, *operations).shows(shown)


for _section, _verb, _table in (("1", "add", ADD), ("3", "replace", REPLACE), ("2", "remove", REMOVE)):
    for _name, _change in _table.items():
        _id = f"rfc7644-3.5.2.{_section}-{_verb}-{_name}"
        requirements.add(_id, MUST, f"PATCH {_verb}: {_change.says}.", partial(_changes, _change))
for _name, _change in ORDER.items():
    requirements.add(f"rfc7644-3.5.2-{_name}", MUST, f"PATCH: {_change.says}.", partial(_changes, _change))


@requirements("rfc7644-3.5.2.1", MUST)
def one_primary_afterwards(server: Server) -> None:
    """PATCH add: after a new primary value was added the others are not primary."""
    user = made(server)
    spare = written(SPARE | {"primary": True}, name=user["userName"])
    answer = server.changed(user, op("add", "emails", [spare]))
    primary = [email["type"] for email in answer.body["emails"] if email.get("primary")]
    answer.expect(primary == ["other"], "the new value is the only primary one")


@requirements("rfc7644-3.5.2", MUST, needs=("enterprise",))
def extension(server: Server) -> None:
    """PATCH: an extension attribute is addressed by its URN, and "schemas" follows."""
    user = made(server)
    answer = server.changed(user, op("add", f"{ENTERPRISE}:department", "R&D"))
    answer.shows({ENTERPRISE: {"department": "R&D"}})
    answer.expect(ENTERPRISE in answer.body["schemas"], '"schemas" has the extension')
    server.changed(user, op("remove", f"{ENTERPRISE}:department")).shows({ENTERPRISE: None})


@requirements("rfc7644-3.5.2", MUST)
def answer_is_200_or_204(server: Server) -> None:
    """PATCH is answered 200 with the resource, or 204 without a body."""
    answer = server.patch(made(server), op("replace", "title", "Chief")).has_status(200, 204)
    if answer.status == 200:
        answer.shows({"title": "Chief"})
    else:
        answer.expect(not answer.exchange.answer_body, "there is no body")


@requirements("rfc7644-3.5.2", SHOULD)
def no_change_is_no_modification(server: Server) -> None:
    """PATCH that changes nothing does not move lastModified."""
    user = made(server)
    before = server.read(user).body["meta"]
    answer = server.changed(user, op("add", "title", "Boss"))
    answer.expect(answer.body["meta"]["lastModified"] == before["lastModified"], "lastModified is what it was")


@requirements("rfc7644-3.5.2", MUST)
def all_or_nothing(server: Server) -> None:
    """PATCH is atomic: when one operation fails, none is applied."""
    user = made(server)
    server.patch(user, op("replace", "title", "Chief"), op("remove")).is_error(400)
    server.get(at(user)).has_status(200).shows({"title": "Boss"})
