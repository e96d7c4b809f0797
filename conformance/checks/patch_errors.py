"""PATCH that must be refused, leaving the user as it was (RFC 7644 §3.5.2, table 9), and PATCH of group members."""

from functools import partial
from typing import Any, NamedTuple

from conformance.checks.patch import BEFORE, made, op, written
from conformance.client import Json
from conformance.requirement import MUST, SHOULD, Chapter
from conformance.server import PATCH, Server, at, member_ids

requirements = Chapter(needs=("patch",))


class Refusal(NamedTuple):
    """What is answered 400, and with which scimTypes."""

    says: str
    operation: Any
    scim_types: str


REFUSED: dict[str, Refusal] = {
    "3.5.2.2-remove-without-target": Refusal("remove without a path", op("remove"), "noTarget"),
    "3.5.2.2-remove-required": Refusal(
        "remove of a required attribute", op("remove", "userName"), "mutability invalidValue"
    ),
    "3.5.2.2-remove-read-only": Refusal("remove of a read-only attribute", op("remove", "id"), "mutability"),
    "3.5.2.3-replace-read-only": Refusal("replace of a read-only attribute", op("replace", "id", "7"), "mutability"),
    "3.5.2.1-add-read-only": Refusal("add to a read-only attribute", op("add", "id", "7"), "mutability"),
    "3.5.2.3-replace-without-target": Refusal(
        "replace of a value path that matches nothing, and from which no value can be made",
        op("replace", 'emails[value co "nowhere"].value', "x@nowhere.example"),
        "noTarget",
    ),
    "3.5.2-malformed-path": Refusal(
        "a malformed path", op("replace", "emails[type eq", "x"), "invalidPath invalidFilter"
    ),
    "3.5.2-unknown-path": Refusal("an unknown attribute", op("replace", "noSuchThing", "x"), "invalidPath noTarget"),
    "3.5.2-unknown-sub-attribute": Refusal(
        "an unknown sub-attribute", op("replace", "name.noSuchThing", "x"), "invalidPath noTarget"
    ),
    "3.5.2-unknown-operation": Refusal("an unknown operation", op("merge", "title", "x"), "invalidSyntax invalidValue"),
    "3.5.2-wrong-type": Refusal("a value of another type", op("replace", "name", "Ada"), "invalidValue invalidSyntax"),
    "3.5.2-no-operation": Refusal(
        "an operation without op", {"path": "title", "value": "x"}, "invalidSyntax invalidValue"
    ),
    "3.5.2.1-add-without-value": Refusal("add without a value", op("add", "title"), "invalidSyntax invalidValue"),
}


def _refuses(refusal: Refusal, server: Server) -> None:
    user = made(server)
    server.patch(user, refusal.operation).is_error(400, *refusal.scim_types.split())
    server.read(user).shows({"id": user["id"], **written(BEFORE, name=user["userName"])})


for _name, _refusal in REFUSED.items():
    _types = " or ".join(_refusal.scim_types.split())
    _says = f"PATCH: {_refusal.says} is answered 400 {_types}."
    requirements.add(f"rfc7644-{_name}", MUST, _says, partial(_refuses, _refusal))


@requirements("rfc7644-3.5.2", MUST)
def operations_are_required(server: Server) -> None:
    """PATCH without Operations is answered 400."""
    server.send("PATCH", at(made(server)), {"schemas": [PATCH]}).is_error(400, "invalidSyntax", "invalidValue")


@requirements("rfc7644-3.5.2", MUST)
def taken_user_name(server: Server) -> None:
    """PATCH to a userName that another user has is answered 409 uniqueness."""
    taken = server.user()["userName"]
    server.patch(server.user(), op("replace", "userName", taken)).is_error(409, "uniqueness")


MEMBERS: dict[str, tuple[str, Json, str]] = {
    "1-add-member": ("add adds members", op("add", "members", [{"value": "$c"}]), "a b c"),
    "1-add-present-member": ("add of a member adds nobody twice", op("add", "members", [{"value": "$b"}]), "a b"),
    "1-add-members-pathless": ("add works without a path", op("add", None, {"members": [{"value": "$c"}]}), "a b c"),
    "3-replace-members": ("replace replaces all members", op("replace", "members", [{"value": "$c"}]), "c"),
    "3-replace-members-pathless": (
        "replace works without a path",
        op("replace", None, {"members": [{"value": "$c"}]}),
        "c",
    ),
    "2-remove-member": ("remove with a value path removes one member", op("remove", 'members[value eq "$a"]'), "b"),
    "2-remove-all-members": ("remove without a filter removes all members", op("remove", "members"), ""),
}


def _members(operation: Json, wanted: str, server: Server) -> None:
    people = {name: server.user()["id"] for name in "abc"}
    group = server.group({"id": people["a"]}, {"id": people["b"]})
    answer = server.changed(group, written(operation, **people))
    names = {identifier: name for name, identifier in people.items()}
    shown = sorted(names.get(one, one) for one in member_ids(answer))
    answer.expect(shown == wanted.split(), f"{len(wanted.split())} members of those that were made: {wanted or 'none'}")
    answer.expect(len(answer.body.get("members") or []) == len(shown), "nobody is there twice")


for _name, (_words, _operation, _wanted) in MEMBERS.items():
    requirements.add(
        f"rfc7644-3.5.2.{_name}",
        MUST,
        f"PATCH of a group: {_words}.",
        partial(_members, _operation, _wanted),
        needs=("groups",),
    )


@requirements("rfc7644-3.5.2", SHOULD, needs=("groups",))
def unknown_member(server: Server) -> None:
    """PATCH of a group with a member that does not exist is answered 400 or leaves the member out."""
    group = server.group()
    answer = server.patch(group, op("add", "members", [{"value": "no-such-user"}])).has_status(200, 204, 400, 404)
    if answer.status < 300:
        shown = server.read(group)
        shown.expect(not member_ids(shown), "nobody is a member")
