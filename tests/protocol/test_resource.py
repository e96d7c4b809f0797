"""What a POST or PUT body becomes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scim_server.protocol.attributes import INTEROP, RFC, Attribute, Profile, ResourceType, Schema
from scim_server.protocol.errors import InvalidSyntax, InvalidValue, Mutability, ScimError
from scim_server.protocol.membership import Member
from scim_server.protocol.resource import Checked, check
from scim_server.protocol.schemas import ENTERPRISE_URN, GROUP, USER, USER_URN


def user(attributes: Any, profile: Profile = INTEROP) -> Checked:
    return check({"userName": "ada", **attributes}, USER, profile)


def extended(**attributes: Any) -> Any:
    return user({ENTERPRISE_URN: attributes}).document.get(ENTERPRISE_URN)


@pytest.mark.parametrize(
    ("sent", "held"),
    [
        ({"DisplayName": "Ada"}, {"displayName": "Ada"}),
        ({"name": {"GIVENNAME": "Ada", "familyName": None}}, {"name": {"givenName": "Ada"}}),
        ({"emails": [{"Value": "a@x", "Primary": True}]}, {"emails": [{"value": "a@x", "primary": True}]}),
        ({USER_URN: {"title": "Dr"}}, {"title": "Dr"}),
        ({ENTERPRISE_URN.upper(): {"Department": "R"}}, {ENTERPRISE_URN: {"department": "R"}}),
    ],
)
def test_names_become_canonical(sent: dict[str, Any], held: dict[str, Any]) -> None:
    document = user(sent).document
    assert {name: value for name, value in document.items() if name not in ("schemas", "userName")} == held


@pytest.mark.parametrize(
    "nothing",
    [
        {"title": None},
        {"title": ""},
        {"emails": []},
        {"emails": None},
        {"emails": [None, {}, {"value": ""}]},
        {"name": {}},
        {"name": {"givenName": ""}},
        {"active": None},
        {ENTERPRISE_URN: None},
        {ENTERPRISE_URN: {}},
        {ENTERPRISE_URN: {"manager": {"value": ""}}},
        {ENTERPRISE_URN: {"manager": []}},
    ],
)
def test_unassigned_is_absent(nothing: dict[str, Any]) -> None:
    assert user(nothing).document == {"schemas": [USER_URN], "userName": "ada"}


def test_read_only_attributes_are_ignored() -> None:
    checked = user({"id": "1", "meta": {"version": "x"}, "groups": [{"value": "g"}], "externalId": "E"})
    assert checked.document == {"schemas": [USER_URN], "userName": "ada", "externalId": "E"}
    assert checked.ignored == ()
    assert extended(manager={"value": "26", "displayName": "Bo"}) == {"manager": {"value": "26"}}


def test_schemas_follow_from_the_content() -> None:
    assert user({"schemas": []}).document["schemas"] == [USER_URN]
    assert user({"schemas": None}).document["schemas"] == [USER_URN]
    assert user({ENTERPRISE_URN: {"department": "R"}}).document["schemas"] == [USER_URN, ENTERPRISE_URN]
    assert user({"schemas": [USER_URN, ENTERPRISE_URN]}).document["schemas"] == [USER_URN]


def test_password_and_members_leave_on_their_own() -> None:
    checked = user({"password": "s3cret"})
    assert (checked.password, "password" in checked.document) == ("s3cret", False)
    group = check({"displayName": "g", "members": [{"value": "a", "$ref": None}, "b"]}, GROUP, INTEROP)
    assert group.members == [Member("a"), Member("b")]
    assert "members" not in group.document


@pytest.mark.parametrize(
    ("sent", "members"),
    [
        ({}, None),
        ({"members": None}, []),
        ({"members": []}, []),
        ({"members": {"Value": "a", "type": "User"}}, [Member("a", "User")]),
        ({"members": ["a", {"value": "a", "display": "A"}]}, [Member("a", None, "A")]),
        ({"members": [{"value": 12}]}, [Member("12")]),
    ],
)
def test_members(sent: dict[str, Any], members: list[Member] | None) -> None:
    assert check({"displayName": "g", **sent}, GROUP, INTEROP).members == members


@pytest.mark.parametrize(
    ("sent", "held", "quirk"),
    [
        ({"active": "False"}, {"active": False}, "string-boolean"),
        ({"active": "true"}, {"active": True}, "string-boolean"),
        ({"active": "FALSE"}, {"active": False}, "string-boolean"),
        ({"active": [{"value": "False"}]}, {"active": False}, "wrapped-value"),
        ({"title": [{"$ref": None, "value": "t"}]}, {"title": "t"}, "wrapped-value"),
        ({"name": {"givenName": [{"value": "g"}]}}, {"name": {"givenName": "g"}}, "wrapped-value"),
        (
            {"roles": [{"value": "r", "primary": "True"}]},
            {"roles": [{"value": "r", "primary": True}]},
            "string-boolean",
        ),
        ({"title": 7}, {"title": "7"}, "number-for-text"),
        ({"emails": {"value": "a@x"}}, {"emails": [{"value": "a@x"}]}, "object-for-list"),
        ({"emails": ["a@x"]}, {"emails": [{"value": "a@x"}]}, "bare-value"),
        ({ENTERPRISE_URN: {"manager": "26"}}, {ENTERPRISE_URN: {"manager": {"value": "26"}}}, "bare-value"),
        (
            {ENTERPRISE_URN: {"manager": [{"value": "26"}]}},
            {ENTERPRISE_URN: {"manager": {"value": "26"}}},
            "list-for-object",
        ),
    ],
)
def test_deviations_are_read_and_noted(sent: dict[str, Any], held: dict[str, Any], quirk: str) -> None:
    checked = user(sent)
    assert quirk in checked.quirks
    assert held.items() <= checked.document.items()


@pytest.mark.parametrize(
    "sent",
    [
        {"active": [{"value": "false"}, {"value": "false"}]},
        {"active": {"value": "false", "type": "work"}},
        {"active": [[{"value": "false"}]]},
        {"active": {"value": {"value": "false"}}},
        {"active": [False]},
        {"active": {"value": False}},
        {"userName": {"value": "ada"}},
        {"active": "no"},
        {"active": 0},
        {"title": {"display": "t"}},
    ],
)
def test_what_might_mean_anything_is_refused(sent: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        user(sent)


def test_equal_elements_are_merged_and_the_last_primary_wins() -> None:
    sent = [
        {"type": "work", "value": "a", "primary": True},
        {"type": "home", "value": "b", "primary": True},
        {"type": "work", "value": "a", "display": "A"},
    ]
    assert user({"emails": sent}).document["emails"] == [
        {"type": "work", "value": "a", "primary": False, "display": "A"},
        {"type": "home", "value": "b", "primary": True},
    ]
    with pytest.raises(InvalidValue, match="emails has more than one primary"):
        user({"emails": sent}, RFC)


def test_elements_without_value_are_merged_when_they_are_equal() -> None:
    address = {"type": "work", "country": "DE"}
    assert user({"addresses": [address, {"type": "work"}, address]}).document["addresses"] == [
        address,
        {"type": "work"},
    ]


def test_free_text_stays_as_it_is() -> None:
    text = {"locale": "upd-1", "timezone": "upd-2", "profileUrl": "upd-3", "preferredLanguage": " x "}
    document = user({**text, "emails": [{"value": "ÄÖ@x.local", "type": "never heard of"}]}).document
    assert text.items() <= document.items()
    assert document["emails"] == [{"value": "ÄÖ@x.local", "type": "never heard of"}]


@pytest.mark.parametrize(
    "body",
    [
        {"unknownThing": 1},
        {"emails": [{"value": "a", "colour": "red"}]},
        {"urn:example:custom": {"tag": "gold"}},
        {"schemas": [USER_URN, "urn:example:custom"]},
        {ENTERPRISE_URN: {"shoeSize": 44}},
    ],
)
def test_unknown_names_are_reported_or_refused(body: dict[str, Any]) -> None:
    assert len(user(body).ignored) == 1
    with pytest.raises((InvalidValue, InvalidSyntax)):
        user(body, RFC)


def test_what_is_ignored_is_named_within_bounds() -> None:
    ignored = user({"x" * 5_000: 1, **{f"k{number}": 1 for number in range(1_000)}}).ignored
    assert ignored[:2] == ("x" * 256, "k0")
    assert (len(ignored), ignored[-1]) == (51, "951 more")
    with pytest.raises(InvalidValue) as refused:
        user({"schemas": [USER_URN], "x" * 5_000: 1}, RFC)
    assert len(refused.value.detail) < 400


def test_unknown_nulls_are_nothing() -> None:
    assert user({"shoeSize": None, "emails": [{"value": "a", "colour": None}]}, RFC).ignored == ()


@pytest.mark.parametrize(
    ("body", "resource_type", "fault"),
    [
        ({}, USER, "userName is required"),
        ({"userName": ""}, USER, "userName is required"),
        ({"userName": None}, USER, "userName is required"),
        ({"members": []}, GROUP, "displayName is required"),
        ({"displayName": "g", "members": [{"display": "x"}]}, GROUP, "members.value is required"),
        ({"userName": True}, USER, "userName must be a string"),
        ({"userName": ["a"]}, USER, "userName must be a string"),
        ({"userName": "a", "active": "perhaps"}, USER, "active must be true or false"),
        ({"userName": "a", "active": 1}, USER, "active must be true or false"),
        ({"userName": "a", "name": "Ada"}, USER, "name must be an object"),
        ({"userName": "a", "name": [{}, {}]}, USER, "name must be an object"),
        ({"userName": "a", "emails": [["x"]]}, USER, "emails must be an object"),
        ({"userName": "a", "emails": [{"value": {}}]}, USER, "emails.value must be a string"),
        ({"userName": "a", ENTERPRISE_URN: "R"}, USER, "User must be an object"),
        ({"userName": "a", ENTERPRISE_URN: {"department": False}}, USER, "User:department must be a string"),
        ({"userName": "a", "schemas": "x"}, USER, "schemas must be an array"),
        ({"userName": "a" * 256}, USER, "userName is longer than 255"),
        ({"userName": "a", "externalId": "a" * 256}, USER, "externalId is longer than 255"),
        ({"userName": "a", "title": "ä" * 4097}, USER, "title is longer than 8192 bytes"),
        ({"userName": "a", "title": "x\0y"}, USER, "title contains a NUL"),
        ({"userName": "a", "title": "x\ud800y"}, USER, "title contains half a surrogate"),
        ({"userName": "a", "emails": [{"value": str(n)} for n in range(1001)]}, USER, "more than 1000 values"),
    ],
)
def test_refusals_name_the_attribute(body: dict[str, Any], resource_type: ResourceType, fault: str) -> None:
    with pytest.raises(InvalidValue, match=fault):
        check(body, resource_type, INTEROP)


@pytest.mark.parametrize("body", [None, [], "x", 1])
def test_a_body_is_an_object(body: Any) -> None:
    with pytest.raises(InvalidSyntax):
        check(body, USER, INTEROP)


def test_long_text_is_allowed_up_to_the_limit() -> None:
    assert user({"title": "ä" * 4096, "nickName": "a\tb"}).document["title"] == "ä" * 4096


@pytest.mark.parametrize(("given_state", "shown"), [(None, None), (True, True), (False, False)])
def test_active_falls_back_to_what_the_caller_says(given_state: bool | None, shown: bool | None) -> None:
    assert check({"userName": "a"}, USER, INTEROP, active=given_state).document.get("active") is shown
    assert check({"userName": "a", "active": False}, USER, INTEROP, active=True).document["active"] is False
    assert "active" not in check({"displayName": "g"}, GROUP, INTEROP, active=True).document


BADGE = Schema(
    "urn:example:badge",
    "Badge",
    "A configured extension",
    (
        Attribute("serial", required=True, mutability="immutable"),
        Attribute("floors", "integer", multi_valued=True),
        Attribute("since", "dateTime"),
        Attribute("height", "decimal"),
        Attribute("pin", mutability="writeOnly", returned="never"),
        Attribute("door", mutability="readOnly"),
    ),
)
BADGED = ResourceType("User", "/Users", "", USER.schema, ((BADGE, True),))


def badge(current: dict[str, Any] | None = None, **attributes: Any) -> Any:
    body = {"userName": "a", BADGE.id: {"serial": "1", **attributes}}
    return check(body, BADGED, INTEROP, current=current).document[BADGE.id]


def test_configured_extensions_follow_their_characteristics() -> None:
    held = badge(floors=[1, 2, 1], since="2026-01-31T12:00:00Z", height=1.5, pin="1234", door="x")
    assert held == {"serial": "1", "floors": [1, 2], "since": "2026-01-31T12:00:00Z", "height": 1.5, "pin": "1234"}


@pytest.mark.parametrize(
    "attributes",
    [
        {"serial": None, "floors": [1]},
        {"floors": ["1"]},
        {"floors": [1.5]},
        {"floors": [True]},
        {"floors": [2**63]},
        {"since": "yesterday"},
        {"since": 5},
        {"height": "high"},
        {"height": float("inf")},
    ],
)
def test_configured_extensions_refuse_wrong_values(attributes: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(attributes))):
        badge(**attributes)


@pytest.mark.parametrize("profile", [INTEROP, RFC])
def test_schemas_within_an_extension_means_nothing(profile: Profile) -> None:
    body = {"userName": "a", BADGE.id: {"schemas": [BADGE.id], "serial": "1"}}
    checked = check(body, BADGED, profile)
    assert checked.document[BADGE.id] == {"serial": "1"}
    assert checked.ignored == ()


def test_a_required_extension_must_come() -> None:
    with pytest.raises(InvalidValue, match="urn:example:badge is required"):
        check({"userName": "a"}, BADGED, INTEROP)


def test_what_no_client_can_read_is_kept_until_said() -> None:
    current = {"userName": "a", BADGE.id: {"serial": "1", "pin": "1234"}}
    assert badge(current) == {"serial": "1", "pin": "1234"}
    assert badge(current, pin="5678") == {"serial": "1", "pin": "5678"}


def test_immutable_values_are_kept_and_guarded() -> None:
    current = {"userName": "a", BADGE.id: {"serial": "1"}}
    assert badge(current) == {"serial": "1"}
    assert check({"userName": "b"}, BADGED, INTEROP, current=current).document[BADGE.id] == {"serial": "1"}
    with pytest.raises(Mutability, match="serial"):
        badge(current, serial="2")


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
                Attribute("code", returned="never"),
                Attribute("lock", mutability="readOnly"),
            ),
        ),
    ),
)
SEATED = ResourceType("User", "/Users", "", USER.schema, ((DESK, False),))
SITTER: dict[str, Any] = {
    "userName": "a",
    DESK.id: {"desk": {"serial": "1", "seat": "x"}, "keys": [{"value": "k", "cut": "1", "code": "c"}]},
}


def seated(held: Any) -> Any:
    return check({"userName": "a", DESK.id: held}, SEATED, INTEROP, current=SITTER).document[DESK.id]


def test_read_only_parts_are_ignored() -> None:
    held = {"desk": {"site": "s", "seat": "x"}, "keys": [{"value": "k", "lock": "s"}, {"lock": "s"}]}
    made = check({"userName": "a", DESK.id: held}, SEATED, INTEROP)
    assert made.document[DESK.id] == {"desk": {"seat": "x"}, "keys": [{"value": "k"}]}
    assert made.ignored == ()


@pytest.mark.parametrize(
    ("held", "kept"),
    [
        (SITTER[DESK.id], SITTER[DESK.id]),
        (None, {"desk": {"serial": "1"}}),
        ({"desk": {"seat": "y"}}, {"desk": {"serial": "1", "seat": "y"}}),
        ({"keys": [{"value": "k"}]}, {"desk": {"serial": "1"}, "keys": SITTER[DESK.id]["keys"]}),
        ({"keys": [{"value": "l", "cut": "2"}]}, {"desk": {"serial": "1"}, "keys": [{"value": "l", "cut": "2"}]}),
        (
            {"keys": [{"value": "k", "code": "d"}]},
            {"desk": {"serial": "1"}, "keys": [{**SITTER[DESK.id]["keys"][0], "code": "d"}]},
        ),
    ],
)
def test_a_replacement_keeps_what_it_cannot_change(held: Any, kept: Any) -> None:
    assert seated(held) == kept


@pytest.mark.parametrize("held", [{"desk": {"serial": "2"}}, {"keys": [{"value": "k", "cut": "2"}]}])
def test_a_replacement_that_changes_an_immutable_part_is_refused(held: Any) -> None:
    with pytest.raises(Mutability, match="cannot be changed once it is set"):
        seated(held)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["userName", "emails", "name", "active", "schemas", "manager", ENTERPRISE_URN, USER_URN])


@given(st.dictionaries(KEYS, JSON, max_size=4), st.sampled_from([INTEROP, RFC]))
def test_any_json_is_read_or_refused(body: dict[str, Any], profile: Profile) -> None:
    try:
        checked = check(body, USER, profile)
    except ScimError:
        return
    assert check(checked.document, USER, profile).document == checked.document
