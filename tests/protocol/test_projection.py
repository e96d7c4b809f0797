"""Which attributes an answer shows."""

from typing import Any

import pytest

from scim_server.protocol.attributes import Attribute, ResourceType, Schema
from scim_server.protocol.projection import plan, project
from scim_server.protocol.schemas import ENTERPRISE_URN, GROUP, USER, USER_URN

ADA: dict[str, Any] = {
    "schemas": [USER_URN, ENTERPRISE_URN],
    "id": "1",
    "userName": "ada",
    "name": {"givenName": "Ada", "familyName": "King"},
    "emails": [{"value": "a", "type": "work"}, {"type": "home"}],
    ENTERPRISE_URN: {"department": "R", "manager": {"value": "26"}},
    "meta": {"resourceType": "User", "version": 'W/"1"'},
}
ALWAYS = {"schemas": ADA["schemas"], "id": "1"}


@pytest.mark.parametrize(
    ("attributes", "shown"),
    [
        ("userName", {"userName": "ada"}),
        ("USERNAME, name.givenName", {"userName": "ada", "name": {"givenName": "Ada"}}),
        (["name"], {"name": ADA["name"]}),
        ("name,name.givenName", {"name": ADA["name"]}),
        ("emails.value", {"emails": [{"value": "a"}]}),
        ("emails.display", {}),
        (f"{USER_URN}:userName", {"userName": "ada"}),
        (f"{ENTERPRISE_URN}:department", {ENTERPRISE_URN: {"department": "R"}}),
        ("manager.value", {ENTERPRISE_URN: {"manager": {"value": "26"}}}),
        (ENTERPRISE_URN, {ENTERPRISE_URN: ADA[ENTERPRISE_URN]}),
        (USER_URN, {"userName": "ada", "name": ADA["name"], "emails": ADA["emails"]}),
        ("meta.version", {"meta": {"version": 'W/"1"'}}),
        ("shoeSize", {}),
        ("password", {}),
        ("id", {}),
    ],
)
def test_attributes(attributes: str | list[str], shown: dict[str, Any]) -> None:
    assert project(ADA, USER, attributes) == {**ALWAYS, **shown}


@pytest.mark.parametrize(
    ("excluded", "gone"),
    [
        ("name", {"name": None}),
        ("name.givenName", {"name": {"familyName": "King"}}),
        ("emails.type", {"emails": [{"value": "a"}]}),
        (["meta", "emails"], {"meta": None, "emails": None}),
        (f"{ENTERPRISE_URN}:manager", {ENTERPRISE_URN: {"department": "R"}}),
        (ENTERPRISE_URN, {ENTERPRISE_URN: None}),
        ("id,schemas,shoeSize", {}),
    ],
)
def test_excluded(excluded: str | list[str], gone: dict[str, Any]) -> None:
    expected = {name: value for name, value in {**ADA, **gone}.items() if value is not None}
    assert project(ADA, USER, None, excluded) == expected


def test_excluding_the_core_schema_leaves_what_is_always_returned() -> None:
    shown = project(ADA, USER, None, USER_URN)
    assert shown == {**ALWAYS, "meta": ADA["meta"], ENTERPRISE_URN: ADA[ENTERPRISE_URN]}


def test_both_lists() -> None:
    assert project(ADA, USER, "name,title", "name.givenName") == {**ALWAYS, "name": {"familyName": "King"}}


@pytest.mark.parametrize("unsaid", [None, "", " ", [], ()])
def test_without_lists_the_resource_itself_comes_back(unsaid: Any) -> None:
    assert project(ADA, USER, unsaid, unsaid) is ADA
    assert plan(GROUP, unsaid, unsaid).tree is None


def test_a_plan_says_what_need_not_be_loaded() -> None:
    assert plan(GROUP).keeps("members")
    assert not plan(GROUP, None, "members").keeps("members")
    assert not plan(GROUP, "displayName").keeps("members")
    assert plan(GROUP, "members.value").keeps("members")


TEST = Schema(
    "urn:example:test",
    "Test",
    "",
    (
        Attribute("always", returned="always"),
        Attribute("asked", returned="request"),
        Attribute("never", returned="never"),
        Attribute(
            "parts",
            "complex",
            sub_attributes=(
                Attribute("always", returned="always"),
                Attribute("plain"),
                Attribute("asked", returned="request"),
                Attribute("never", returned="never"),
            ),
        ),
    ),
)
TESTED = ResourceType("Test", "/Tests", "", TEST)
PARTS = {"always": 1, "plain": 2, "asked": 3, "never": 4}


@pytest.mark.parametrize(
    ("attributes", "excluded", "shown"),
    [
        (None, None, {"always": 1, "parts": {"always": 1, "plain": 2}}),
        ("asked", None, {"always": 1, "asked": 2}),
        ("never", None, {"always": 1}),
        ("parts", None, {"always": 1, "parts": {"always": 1, "plain": 2}}),
        ("parts.asked,parts.never", None, {"always": 1, "parts": {"always": 1, "asked": 3}}),
        (None, "always,parts.always,parts.plain", {"always": 1, "parts": {"always": 1}}),
        (None, "parts", {"always": 1}),
    ],
)
def test_returned(attributes: str | None, excluded: str | None, shown: dict[str, Any]) -> None:
    resource = {"always": 1, "asked": 2, "never": 3, "parts": PARTS}
    assert project(resource, TESTED, attributes, excluded) == shown
