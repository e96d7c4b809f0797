"""PATCH: what operations make of a document, and what they must not do."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scim_server.protocol import patch
from scim_server.protocol.attributes import INTEROP, RFC, Attribute, Profile, ResourceType, Schema
from scim_server.protocol.errors import (
    InvalidFilter,
    InvalidPath,
    InvalidSyntax,
    InvalidValue,
    Mutability,
    NoTarget,
    ScimError,
    TooLarge,
)
from scim_server.protocol.membership import Member, MemberEdits
from scim_server.protocol.patch import PATCH_URN, Patched
from scim_server.protocol.schemas import ENTERPRISE_URN, GROUP, USER, USER_URN

WORK = 'emails[type eq "work"]'
ADA: dict[str, Any] = {
    "schemas": [USER_URN, ENTERPRISE_URN],
    "userName": "ada",
    "name": {"givenName": "Ada", "familyName": "King"},
    "title": "Countess",
    "active": True,
    "emails": [
        {"type": "work", "value": "a@work", "primary": True},
        {"type": "home", "value": "a@home"},
    ],
    ENTERPRISE_URN: {"department": "R", "manager": {"value": "26", "$ref": "../Users/26"}},
}
SALES: dict[str, Any] = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Sales"}


def run(
    *operations: dict[str, Any],
    document: dict[str, Any] = ADA,
    resource_type: ResourceType = USER,
    profile: Profile = INTEROP,
) -> Patched:
    body = {"schemas": [PATCH_URN], "Operations": list(operations)}
    parsed = patch.parse(body, resource_type, profile)
    return patch.apply(document, parsed, resource_type, profile, resource_id="own-id")


def op(verb: str, path: str | None = None, *value: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"op": verb, "path": path}
    if value:
        message["value"] = value[0]
    return message


def changes(patched: Patched, before: dict[str, Any] = ADA) -> dict[str, Any]:
    """The attributes that differ, None for those that are gone."""
    after = patched.document
    return {name: after.get(name) for name in {**before, **after} if after.get(name) != before.get(name)}


def enterprise(**parts: Any) -> dict[str, Any]:
    merged = {**ADA[ENTERPRISE_URN], **parts}
    return {ENTERPRISE_URN: {name: part for name, part in merged.items() if part is not None}}


@pytest.mark.parametrize(
    ("operation", "changed"),
    [
        # single-valued
        (op("replace", "title", "Dr"), {"title": "Dr"}),
        (op("add", "title", "Dr"), {"title": "Dr"}),
        (op("Replace", "TITLE", "Dr"), {"title": "Dr"}),
        (op("replace", f"{USER_URN}:title", "Dr"), {"title": "Dr"}),
        (op("add", "nickName", "A"), {"nickName": "A"}),
        (op("remove", "title"), {"title": None}),
        (op("replace", "title", None), {"title": None}),
        (op("replace", "title", ""), {"title": None}),
        (op("remove", "nickName"), {}),
        # complex
        (op("replace", "name", {"givenName": "B"}), {"name": {"givenName": "B", "familyName": "King"}}),
        (op("replace", "name", {"givenName": None}), {"name": {"familyName": "King"}}),
        (op("replace", "name", {}), {}),
        (op("replace", "name.givenName", ""), {"name": {"familyName": "King"}}),
        (op("remove", "name.givenName"), {"name": {"familyName": "King"}}),
        (op("remove", "name"), {"name": None}),
        (op("replace", "name", None), {"name": None}),
        # extensions
        (op("replace", f"{ENTERPRISE_URN}:department", "X"), enterprise(department="X")),
        (op("replace", ENTERPRISE_URN, {"department": "X"}), enterprise(department="X")),
        (op("remove", f"{ENTERPRISE_URN}:department"), enterprise(department=None)),
        (op("remove", ENTERPRISE_URN), {ENTERPRISE_URN: None, "schemas": [USER_URN]}),
        (op("replace", ENTERPRISE_URN, None), {ENTERPRISE_URN: None, "schemas": [USER_URN]}),
        # manager in every shape
        *(
            (op(verb, path, value), enterprise(manager={"value": "27"}))
            for verb in ("Add", "replace")
            for path in ("manager", f"{ENTERPRISE_URN}:manager")
            for value in ("27", {"value": "27"}, [{"value": "27"}])
        ),
        (op("replace", "manager.value", "27"), enterprise(manager={"value": "27"})),
        *(
            (operation, enterprise(manager=None))
            for operation in (
                op("replace", "manager", ""),
                op("replace", "manager", {"value": ""}),
                op("replace", "manager", None),
                op("remove", "manager"),
                op("remove", 'manager[value eq "26"]'),
            )
        ),
        (op("remove", 'manager[value eq "27"]'), {}),
        # pathless
        (op("replace", None, {"title": "Dr", "displayName": "A"}), {"title": "Dr", "displayName": "A"}),
        (op("add", "", {"name": {"givenName": "B"}}), {"name": {"givenName": "B", "familyName": "King"}}),
        (op("replace", None, {"name.givenName": "B"}), {"name": {"givenName": "B", "familyName": "King"}}),
        (op("replace", None, {"title": None, "name.givenName": ""}), {"title": None, "name": {"familyName": "King"}}),
        (op("replace", None, {f"{ENTERPRISE_URN}:department": "X"}), enterprise(department="X")),
        (op("replace", None, {ENTERPRISE_URN: {"department": "X"}}), enterprise(department="X")),
        (op("replace", None, {ENTERPRISE_URN: None}), {ENTERPRISE_URN: None, "schemas": [USER_URN]}),
        (op("replace", None, {"manager": "27"}), enterprise(manager={"value": "27"})),
        (op("replace", None, {USER_URN: {"title": "Dr"}}), {"title": "Dr"}),
        (op("replace", USER_URN, {"title": "Dr"}), {"title": "Dr"}),
        (op("replace", None, {"id": "own-id", "meta": {}, "groups": [], "schemas": ["x"]}), {}),
        (op("replace", "id", "own-id"), {}),
    ],
)
def test_one_value(operation: dict[str, Any], changed: dict[str, Any]) -> None:
    assert changes(run(operation)) == changed


W, H = ADA["emails"]


@pytest.mark.parametrize(
    ("operation", "emails"),
    [
        (op("add", "emails", [{"value": "new"}]), [W, H, {"value": "new"}]),
        (op("add", "emails", {"value": "new"}), [W, H, {"value": "new"}]),
        (op("add", "emails", "new"), [W, H, {"value": "new"}]),
        (op("add", "emails", [W]), [W, H]),
        (op("add", "emails", [{**H, "display": "x"}]), [W, {**H, "display": "x"}]),
        (op("add", "emails", []), [W, H]),
        (op("add", "emails", None), [W, H]),
        (op("replace", "emails", [{"value": "new"}]), [{"value": "new"}]),
        (op("replace", "emails", []), None),
        (op("replace", "emails", None), None),
        (op("remove", "emails"), None),
        (op("remove", "emails", []), [W, H]),
        (op("remove", "emails", [{"value": "A@HOME"}]), [W]),
        (op("remove", "emails", {"type": "home"}), [W]),
        (op("remove", "emails", [{"value": "a@home", "type": "work"}]), [W, H]),
        (op("remove", WORK), [H]),
        (op("remove", 'emails[type eq "other"]'), [W, H]),
        (op("remove", f"{WORK}.primary"), [{"type": "work", "value": "a@work"}, H]),
        (op("remove", f"{WORK}.value"), [{"type": "work", "primary": True}, H]),
        (op("replace", 'emails[type eq "home"].value', ""), [W]),
        (op("replace", f"{WORK}.value", "new"), [{**W, "value": "new"}, H]),
        (op("replace", WORK, {"value": "new"}), [{**W, "value": "new"}, H]),
        (op("add", WORK, {"display": "x"}), [{**W, "display": "x"}, H]),
        (op("replace", WORK, None), [H]),
        (op("replace", "emails.display", "x"), [{**W, "display": "x"}, {**H, "display": "x"}]),
        (op("replace", None, {f"{WORK}.value": "new"}), [{**W, "value": "new"}, H]),
        # primary: the last one wins
        (op("replace", 'emails[type eq "home"].primary', "True"), [{**W, "primary": False}, {**H, "primary": True}]),
        (op("add", "emails", [{**H, "primary": True}]), [{**W, "primary": False}, {**H, "primary": True}]),
        (
            op("add", "emails", [{"value": "new", "primary": True}]),
            [{**W, "primary": False}, H, {"value": "new", "primary": True}],
        ),
        (op("replace", f"{WORK}.primary", "false"), [{**W, "primary": False}, H]),
        # created by the filter
        (op("replace", 'emails[type eq "other"].value', "new"), [W, H, {"type": "other", "value": "new"}]),
        (
            op("add", 'emails[type eq "other" and display eq "x"]', {"value": "new"}),
            [W, H, {"type": "other", "display": "x", "value": "new"}],
        ),
        (op("replace", 'emails[type eq "other"].value', ""), [W, H]),
        (op("replace", 'emails[type eq "other"]', {}), [W, H]),
    ],
)
def test_elements(operation: dict[str, Any], emails: list[dict[str, Any]] | None) -> None:
    patched = run(operation)
    assert patched.document.get("emails") == emails
    assert (patched.document is ADA) == (emails == ADA["emails"])


def test_an_earlier_primary_becomes_primary_again() -> None:
    second = run(op("replace", 'emails[type eq "home"].primary', True)).document
    again = run(op("add", "emails", [W]), document=second).document
    assert [email["primary"] for email in again["emails"]] == [True, False]


def test_operations_with_one_filter_meet_in_the_element_they_create() -> None:
    phone = 'phoneNumbers[type eq "work"]'
    patched = run(
        op("Add", f"{phone}.primary", "true"), op("Add", f"{phone}.type", "work"), op("Add", f"{phone}.value", "1")
    )
    assert changes(patched) == {"phoneNumbers": [{"type": "work", "primary": True, "value": "1"}]}
    assert {"element-created", "string-boolean"} == set(patched.quirks)


def test_a_boolean_filter_creates_its_element() -> None:
    patched = run(op("Add", 'roles[primary eq "True"].value', "admin"))
    assert changes(patched) == {"roles": [{"primary": True, "value": "admin"}]}


def test_a_created_element_holds_nothing_read_only() -> None:
    bare = {"schemas": [USER_URN], "userName": "ada"}
    patched = run(op("add", 'manager[displayName eq "B"].value', "26"), document=bare)
    assert patched.document[ENTERPRISE_URN] == {"manager": {"value": "26"}}


@pytest.mark.parametrize("path", ['emails[type eq "x" or type eq "y"].value', 'emails[value sw "x"].value'])
def test_only_equalities_create_an_element(path: str) -> None:
    with pytest.raises(NoTarget, match="emails matches the filter"):
        run(op("replace", path, "new"))


def test_the_strict_profile_creates_nothing() -> None:
    with pytest.raises(NoTarget, match="Operation 1"):
        run(op("replace", 'emails[type eq "other"].value', "new"), profile=RFC)


def test_operations_see_what_the_earlier_ones_did() -> None:
    patched = run(op("remove", "emails"), op("add", "emails", [{"value": "x"}]), op("replace", "emails.type", "work"))
    assert changes(patched) == {"emails": [{"value": "x", "type": "work"}]}
    assert run(op("replace", "title", "x"), op("replace", "title", "Countess")).document is ADA


def test_extension_appears_in_schemas() -> None:
    bare = {"schemas": [USER_URN], "userName": "ada"}
    patched = run(op("add", "department", "R"), document=bare)
    assert patched.document == {
        "schemas": [USER_URN, ENTERPRISE_URN],
        "userName": "ada",
        ENTERPRISE_URN: {"department": "R"},
    }


@pytest.mark.parametrize(
    ("operation", "active", "shown"),
    [
        (op("Replace", "active", "False"), False, False),
        (op("Add", "active", False), False, False),
        (op("replace", None, {"active": "false"}), False, False),
        (op("replace", "active", True), True, True),
        (op("remove", "active"), None, None),
        (op("replace", "active", ""), None, None),
        (op("replace", None, {"active": None}), None, None),
        (op("replace", "title", "x"), None, True),
    ],
)
def test_state_follows_what_is_said_not_what_is_removed(
    operation: dict[str, Any], active: bool | None, shown: bool | None
) -> None:
    patched = run(operation)
    assert patched.active is active
    assert patched.document.get("active") is shown


@pytest.mark.parametrize(
    ("operation", "password"),
    [
        (op("replace", "password", "s3cret"), "s3cret"),
        (op("replace", None, {"password": "s3cret"}), "s3cret"),
        (op("remove", "password"), ""),
        (op("replace", "title", "Countess"), None),
    ],
)
def test_password_never_enters_the_document(operation: dict[str, Any], password: str | None) -> None:
    patched = run(operation)
    assert patched.password == password
    assert patched.document is ADA


@pytest.mark.parametrize(
    ("operation", "error", "fault"),
    [
        (op("replace", "id", "other"), Mutability, "id is read-only"),
        (op("replace", None, {"id": "other", "title": "x"}), Mutability, "id is read-only"),
        (op("remove", "id"), Mutability, "id is read-only"),
        (op("replace", "meta.version", "1"), Mutability, "version is read-only"),
        (op("add", "groups", [{"value": "g"}]), Mutability, "groups is read-only"),
        (op("replace", "manager.displayName", "B"), Mutability, "displayName is read-only"),
        (op("remove", "schemas"), Mutability, "schemas"),
        (op("remove", "userName"), Mutability, "userName is required"),
        (op("replace", "userName", ""), InvalidValue, "userName is required"),
        (op("replace", None, {"userName": None}), InvalidValue, "userName is required"),
        (op("remove", USER_URN), Mutability, "core schema"),
        (op("replace", "active", "perhaps"), InvalidValue, "active must be true or false"),
        (op("replace", "name", "Ada"), InvalidValue, "name must be an object"),
        (op("replace", f"{WORK}.value", {}), InvalidValue, "emails.value must be a string"),
        (op("replace", ENTERPRISE_URN, "x"), InvalidValue, f"at the path {ENTERPRISE_URN} the value must be an object"),
        (op("replace", None, {ENTERPRISE_URN: "x"}), InvalidValue, "must be an object"),
        (op("replace", None, "x"), InvalidValue, "must be an object"),
        (op("replace", None, None), InvalidValue, "must be an object"),
        (op("replace", "title"), InvalidValue, "replace needs a value"),
        (op("add"), InvalidValue, "add needs a value"),
        (op("remove"), NoTarget, "remove needs a path"),
        (op("remove", ""), NoTarget, "remove needs a path"),
        (op("delete", "title"), InvalidSyntax, "add, remove or replace"),
        (op("replace", "shoeSize", 44), InvalidPath, "shoeSize"),
        (op("replace", "emails[type eq", "x"), InvalidPath, "malformed"),
        (op("replace", None, {"emails[type eq": "x"}), InvalidPath, "malformed"),
        (op("replace", "emails[colour eq 1].value", "x"), InvalidFilter, "colour"),
        (op("replace", 'manager[value eq "27"].value', "28"), NoTarget, "manager does not match"),
        ({"op": "add", "path": True, "value": 1}, InvalidSyntax, "path must be a string"),
        ({"op": 1, "path": "title"}, InvalidSyntax, "op must be"),
    ],
)
def test_refusals_name_operation_and_rule(operation: dict[str, Any], error: type[ScimError], fault: str) -> None:
    with pytest.raises(error, match=fault) as refused:
        run(op("replace", "title", "x"), operation)
    assert refused.value.detail.startswith("Operation 2")


@pytest.mark.parametrize(
    "body",
    [[], {}, {"Operations": []}, {"Operations": {"op": "add"}}, {"Operations": ["add"]}],
)
def test_the_envelope_is_checked(body: Any) -> None:
    with pytest.raises(InvalidSyntax):
        patch.parse(body, USER, INTEROP)


def test_limits_and_strictness_of_the_envelope() -> None:
    with pytest.raises(TooLarge):
        patch.parse({"Operations": [op("remove", "title")] * 1001}, USER, INTEROP)
    assert patch.parse({"Operations": [op("remove", "title")]}, USER, INTEROP)
    for schemas in (None, 5, [USER_URN]):
        with pytest.raises(InvalidSyntax):
            patch.parse({"schemas": schemas, "Operations": [op("remove", "title")]}, USER, RFC)


@pytest.mark.parametrize(
    ("operation", "ignored"),
    [
        (op("replace", "urn:example:x:thing", 1), "urn:example:x:thing"),
        (op("replace", None, {"shoeSize": 44}), "shoeSize"),
        (op("replace", None, {"urn:example:x": {"a": 1}}), "urn:example:x"),
        (op("replace", ENTERPRISE_URN, {"shoeSize": 44}), f"{ENTERPRISE_URN}:shoeSize"),
        (op("replace", "name", {"shoeSize": 44}), "name.shoeSize"),
    ],
)
def test_unknown_names_are_reported_or_refused(operation: dict[str, Any], ignored: str) -> None:
    patched = run(operation)
    assert patched.ignored == (ignored,)
    assert patched.document is ADA
    with pytest.raises((InvalidPath, InvalidValue)):
        run(operation, profile=RFC)


@pytest.mark.parametrize(
    ("operation", "quirks"),
    [
        (op("replace", None, {"name.givenName": "B"}), ("path-keys",)),
        (op("replace", None, {"name": {"givenName": "B"}}), ()),
        (op("replace", None, {ENTERPRISE_URN: {"department": "B"}}), ()),
        (op("remove", "emails", [{"value": "a@work"}]), ("remove-by-value",)),
        (op("replace", "manager", "27"), ("bare-value",)),
    ],
)
def test_deviations_are_noted(operation: dict[str, Any], quirks: tuple[str, ...]) -> None:
    assert run(operation).quirks == quirks


BADGE = Schema(
    "urn:example:badge",
    "Badge",
    "",
    (
        Attribute("serial", required=True, mutability="immutable"),
        Attribute("floors", "integer", multi_valued=True),
        Attribute("pin", mutability="writeOnly", returned="never"),
        Attribute(
            "keys",
            "complex",
            multi_valued=True,
            sub_attributes=(Attribute("value", mutability="immutable", required=True), Attribute("note")),
        ),
    ),
)
BADGED = ResourceType("User", "/Users", "", USER.schema, ((BADGE, False),))
BARE = {"schemas": [USER_URN], "userName": "a"}
HOLDER = {
    "schemas": [USER_URN, BADGE.id],
    "userName": "a",
    BADGE.id: {"serial": "1", "floors": [1, 2], "keys": [{"value": "k"}]},
}


def badge(*operations: dict[str, Any], document: dict[str, Any] = HOLDER) -> Any:
    return run(*operations, document=document, resource_type=BADGED).document.get(BADGE.id)


def test_simple_multi_valued_attributes() -> None:
    assert badge(op("add", "floors", [2, 3]))["floors"] == [1, 2, 3]
    assert badge(op("add", "floors", 3))["floors"] == [1, 2, 3]
    assert badge(op("remove", "floors", [1]))["floors"] == [2]
    assert badge(op("remove", "floors[value eq 2]"))["floors"] == [1]
    assert badge(op("replace", "floors[value eq 2]", 5))["floors"] == [1, 5]
    with pytest.raises(NoTarget):
        badge(op("replace", "floors[value eq 9]", 5))


def test_immutable_attributes_are_set_once() -> None:
    assert badge(op("replace", "serial", "1")) == HOLDER[BADGE.id]
    assert badge(op("add", f"{BADGE.id}:serial", "1"), document=BARE) == {"serial": "1"}
    assert badge(op("replace", 'keys[value eq "k"].note', "x"))["keys"] == [{"value": "k", "note": "x"}]
    for operation in (op("replace", "serial", "2"), op("replace", 'keys[value eq "k"].value', "l")):
        with pytest.raises(Mutability, match="cannot be changed"):
            badge(operation)


DESK = Schema(
    "urn:example:desk",
    "Desk",
    "",
    (
        Attribute(
            "desk",
            "complex",
            sub_attributes=(
                Attribute("serial", mutability="immutable"),
                Attribute("seat"),
                Attribute("site", mutability="readOnly"),
            ),
        ),
        Attribute(
            "keys",
            "complex",
            multi_valued=True,
            sub_attributes=(
                Attribute("value"),
                Attribute("type"),
                Attribute("cut", mutability="immutable"),
                Attribute("note"),
                Attribute("code", returned="never"),
                Attribute("lock", mutability="readOnly"),
            ),
        ),
    ),
)
SEATED = ResourceType("User", "/Users", "", USER.schema, ((DESK, False),))
KEYS: list[dict[str, Any]] = [{"value": "k", "cut": "1", "code": "c"}, {"value": "l", "note": "n"}]
SITTER = {
    "schemas": [USER_URN, DESK.id],
    "userName": "a",
    DESK.id: {"desk": {"serial": "1", "seat": "x"}, "keys": KEYS},
}


def test_one_value_in_a_list_is_that_value() -> None:
    patched = run(
        op("replace", 'emails[type eq "work"]', [{"value": "z"}]), document={**BARE, "emails": [{"type": "work"}]}
    )
    assert patched.document["emails"] == [{"type": "work", "value": "z"}]
    with pytest.raises(InvalidValue):
        run(op("replace", 'emails[type eq "work"]', [{"value": "z"}, {"value": "y"}]), document=BARE)


def test_a_dot_after_a_urn() -> None:
    patched = run(
        op("replace", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User.manager", "m"), document=BARE
    )
    assert patched.document["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"] == {"manager": {"value": "m"}}
    assert run(op("replace", f"{USER_URN}.title", "t"), document=BARE).document["title"] == "t"
    assert run(op("replace", "urn:example:none:User.title", "t"), document=BARE).ignored == (
        "urn:example:none:User.title",
    )


@pytest.mark.parametrize("value", ["FALSE", [{"value": "False"}], [{"$ref": None, "value": "false"}]])
@pytest.mark.parametrize("path", ["active", None])
def test_every_way_of_saying_inactive(value: Any, path: str | None) -> None:
    patched = run(op("replace", path, value if path else {"active": value}), document={**BARE, "active": True})
    assert patched.active is False
    assert patched.document["active"] is False


def seated(*operations: dict[str, Any]) -> Any:
    return run(*operations, document=SITTER, resource_type=SEATED).document.get(DESK.id)


@pytest.mark.parametrize(
    ("operation", "desk"),
    [
        (op("replace", "desk", {"serial": "1", "seat": "y"}), {"serial": "1", "seat": "y"}),
        (op("replace", "desk", {"seat": "y"}), {"serial": "1", "seat": "y"}),
        (op("replace", None, {f"{DESK.id}:desk.seat": "y"}), {"serial": "1", "seat": "y"}),
        (op("remove", "desk.seat"), {"serial": "1"}),
        (op("add", "desk", {"site": "read and sent back"}), {"serial": "1", "seat": "x"}),
    ],
)
def test_a_part_that_is_immutable_stays(operation: dict[str, Any], desk: dict[str, Any]) -> None:
    assert seated(operation)["desk"] == desk


@pytest.mark.parametrize(
    ("operation", "keys"),
    [
        (op("replace", "keys", [{"value": "k", "note": "m"}]), [{"value": "k", "cut": "1", "code": "c", "note": "m"}]),
        (op("replace", "keys", [{"value": "m", "cut": "2"}]), [{"value": "m", "cut": "2"}]),
        (op("remove", 'keys[value eq "k"]'), KEYS[1:]),
        (op("remove", 'keys[value eq "k"].code'), [{"value": "k", "cut": "1"}, KEYS[1]]),
        (op("remove", "keys"), None),
        (op("add", "keys", [{"value": "l", "cut": "2"}]), [KEYS[0], {**KEYS[1], "cut": "2"}]),
        (op("replace", "keys", [{**KEYS[0], "lock": "read and sent back"}]), KEYS[:1]),
    ],
)
def test_elements_come_and_go_with_their_immutable_parts(operation: dict[str, Any], keys: Any) -> None:
    assert seated(operation).get("keys") == keys


@pytest.mark.parametrize(
    "operation",
    [
        op("replace", "desk.serial", "2"),
        op("replace", "desk", {"serial": "2"}),
        op("add", None, {DESK.id: {"desk": {"serial": "2"}}}),
        op("replace", None, {f"{DESK.id}:desk.serial": "2"}),
        op("remove", "desk.serial"),
        op("remove", "desk"),
        op("replace", "desk", None),
        op("remove", DESK.id),
        op("replace", 'keys[value eq "k"].cut', "2"),
        op("remove", 'keys[value eq "k"].cut'),
        op("add", "keys", [{"value": "k", "cut": "2"}]),
        op("replace", "keys", [{"value": "k", "cut": "2"}]),
        op("replace", 'keys[value eq "k"]', {"cut": "2"}),
        op("replace", "desk.site", "y"),
        op("add", 'keys[value eq "k"].lock', "y"),
        op("replace", "keys.lock", "y"),
    ],
)
def test_what_cannot_be_changed_is_refused(operation: dict[str, Any]) -> None:
    path = operation.get("path")
    operation = operation if path in (None, DESK.id) else {**operation, "path": f"{DESK.id}:{path}"}
    with pytest.raises(Mutability):
        seated(operation)


def test_required_attributes_of_an_extension() -> None:
    with pytest.raises(InvalidValue, match="serial is required"):
        badge(op("add", "floors", [1]), document=BARE)
    with pytest.raises(Mutability, match="serial is required"):
        badge(op("remove", BADGE.id))
    with pytest.raises(InvalidValue, match=r"keys\.value is required"):
        badge(op("add", "keys", [{"note": "x"}]))


@pytest.mark.parametrize("profile", [INTEROP, RFC])
def test_schemas_within_an_extension_means_nothing(profile: Profile) -> None:
    operation = op("add", BADGE.id, {"schemas": [BADGE.id], "serial": "1"})
    patched = run(operation, document=BARE, resource_type=BADGED, profile=profile)
    assert patched.document[BADGE.id] == {"serial": "1"}


def test_values_that_are_never_returned_are_kept() -> None:
    patched = run(op("add", "pin", "1234"), document=HOLDER, resource_type=BADGED)
    assert patched.document[BADGE.id]["pin"] == "1234"
    assert patched.ignored == ()


def members(*operations: dict[str, Any], document: dict[str, Any] = SALES) -> MemberEdits:
    patched = run(*operations, document=document, resource_type=GROUP)
    assert patched.document is document
    return patched.members


def added(*ids: str) -> dict[str, Member]:
    return {member_id: Member(member_id) for member_id in ids}


@pytest.mark.parametrize(
    ("operations", "edits"),
    [
        ([op("Add", "members", [{"value": "a", "$ref": None}])], MemberEdits(add=added("a"))),
        ([op("add", "members", "a")], MemberEdits(add=added("a"))),
        ([op("add", None, {"members": [{"value": "a"}, {"value": "a"}]})], MemberEdits(add=added("a"))),
        ([op("Remove", "members", [{"value": "a", "$ref": None}])], MemberEdits(remove=frozenset("a"))),
        ([op("remove", 'members[value eq "a"]')], MemberEdits(remove=frozenset("a"))),
        ([op("remove", 'members[value eq "a" or value eq "b"]')], MemberEdits(remove=frozenset("ab"))),
        ([op("remove", "members", [])], MemberEdits()),
        ([op("remove", "members")], MemberEdits(replace=True)),
        ([op("remove", "members", None)], MemberEdits(replace=True)),
        ([op("replace", "members", [{"value": "a"}])], MemberEdits(replace=True, add=added("a"))),
        ([op("replace", None, {"members": []})], MemberEdits(replace=True)),
        ([op("add", "members", "a"), op("remove", "members", "a")], MemberEdits(remove=frozenset("a"))),
        ([op("remove", "members", "a"), op("add", "members", "a")], MemberEdits(add=added("a"))),
        ([op("replace", "members", ["a", "b"]), op("remove", "members", "a")], MemberEdits(True, added("b"))),
        ([op("add", "members", "a"), op("remove", "members")], MemberEdits(replace=True)),
        ([op("replace", None, {"id": "own-id", "displayName": "Sales"})], MemberEdits()),
    ],
)
def test_member_edits(operations: list[dict[str, Any]], edits: MemberEdits) -> None:
    found = members(*operations)
    assert found == edits
    assert bool(found) == (edits != MemberEdits())


def test_a_member_filter_also_meets_what_was_added_before_it() -> None:
    edits = members(
        op("add", "members", [{"value": "a", "type": "Group"}, {"value": "b", "type": "User"}]),
        op("remove", 'members[type eq "group"]'),
        op("add", "members", [{"value": "c", "type": "Group"}]),
    )
    assert list(edits.add) == ["b", "c"]
    assert [condition.values for condition in edits.remove_where] == [("group",)]


@pytest.mark.parametrize(
    "operation",
    [
        op("replace", 'members[value eq "a"].display', "x"),
        op("replace", 'members[value eq "a"]', {"value": "b"}),
        op("remove", "members.display"),
    ],
)
def test_members_are_not_altered_in_place(operation: dict[str, Any]) -> None:
    with pytest.raises(Mutability, match="remove it and add the other"):
        members(operation)


def test_a_group_keeps_its_name() -> None:
    for operation in (op("remove", "displayName"), op("replace", "displayName", "")):
        with pytest.raises((Mutability, InvalidValue), match="displayName is required"):
            run(operation, document=SALES, resource_type=GROUP)


# --- laws ---

PATHS = st.sampled_from(
    [
        "title",
        "name",
        "name.givenName",
        "emails",
        "emails.value",
        WORK,
        f"{WORK}.value",
        "emails[value pr].primary",
        'roles[primary eq "True"].value',
        "manager",
        "department",
        "active",
        "userName",
    ]
)
PARTS = st.sampled_from(["value", "type", "primary", "givenName", "title", "name.familyName", "display"])
PLAIN = st.none() | st.booleans() | st.sampled_from(["", "True", "work", "a@work", "new"])
VALUES = (
    PLAIN | st.dictionaries(PARTS, PLAIN, max_size=3) | st.lists(st.dictionaries(PARTS, PLAIN, max_size=3), max_size=2)
)
OPERATIONS = st.builds(
    lambda verb, path, value: op(verb, path, value),
    st.sampled_from(["add", "remove", "replace"]),
    PATHS | st.none(),
    VALUES,
)


def outcome(*operations: dict[str, Any], document: dict[str, Any] = ADA) -> Patched | None:
    try:
        return run(*operations, document=document)
    except ScimError:
        return None


@given(st.lists(OPERATIONS, min_size=1, max_size=4))
def test_the_input_is_never_changed_and_no_change_is_the_same_object(operations: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(ADA)
    patched = outcome(*operations)
    assert before == ADA
    if patched is not None:
        assert (patched.document is ADA) == (patched.document == ADA)


@given(OPERATIONS.filter(lambda sent: sent["path"] != WORK or "type" not in str(sent["value"])))
def test_repeating_an_operation_changes_nothing_more(operation: dict[str, Any]) -> None:
    if (once := outcome(operation)) is not None and (twice := outcome(operation, document=once.document)) is not None:
        assert twice.document is once.document


@given(st.lists(OPERATIONS, min_size=1, max_size=3))
def test_what_comes_out_is_a_valid_document(operations: list[dict[str, Any]]) -> None:
    patched = outcome(*operations)
    if patched is not None:
        document = patched.document
        assert outcome(op("replace", None, document), document=document).document is document  # type: ignore[union-attr]
        assert sum(email.get("primary") is True for email in document.get("emails", [])) <= 1


@given(st.text(min_size=1, max_size=5), st.sampled_from(["emails", "roles", "phoneNumbers"]))
def test_adding_and_removing_restores(value: str, name: str) -> None:
    element = [{"type": "other", "value": value}]
    if (patched := outcome(op("add", name, element), op("remove", name, element))) is not None:
        assert patched.document is ADA
