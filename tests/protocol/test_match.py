"""Filters against resources: the semantics that storage's SQL must share."""

from typing import Any

import pytest

from scim_server.protocol.attributes import INTEROP, Attribute, ResourceType, Schema
from scim_server.protocol.filter import parse
from scim_server.protocol.match import element_matches, matches
from scim_server.protocol.path import Path, parse_path
from scim_server.protocol.schemas import ENTERPRISE_URN, GROUP, USER

ANN: dict[str, Any] = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE_URN],
    "id": "0190-ann",
    "externalId": "Ann-42",
    "userName": "Ann.Straße@Example.COM",
    "name": {"givenName": "Ann", "familyName": "Müller"},
    "title": "",
    "active": True,
    "emails": [
        {"value": "ann@work.example", "type": "work", "primary": True},
        {"value": "ann@home.example", "type": "home", "display": None},
    ],
    "phoneNumbers": [],
    "groups": [{"value": "g1", "display": "Sales"}],
    "meta": {
        "resourceType": "User",
        "created": "2024-03-01T10:00:00.250Z",
        "lastModified": "2024-03-01T12:00:00+01:00",
    },
    ENTERPRISE_URN: {"employeeNumber": "007", "manager": {"value": "m1"}},
}


def ann(text: str) -> bool:
    return matches(parse(text, USER, INTEROP), ANN)


@pytest.mark.parametrize(
    "text",
    [
        'userName eq "ann.STRASSE@example.com"',
        'userName sw "ANN"',
        'userName ew ".com"',
        'userName co "straße"',
        'externalId eq "Ann-42"',
        'externalId co "nn-4"',
        'name.familyName eq "MÜLLER"',
        'name.familyName eq "mu\u0308ller"',
        'name.familyName gt "Ma"',
        'name.familyName le "müller"',
        "name pr",
        "emails pr",
        'emails eq "ANN@home.example"',
        'emails.type eq "work" and emails.value co "home"',
        'emails[type eq "work" and value co "work"]',
        'emails[type eq "home"].value eq "ann@home.example"',
        'emails[primary ne true and type eq "home"]',
        'emails.type ne "work"',
        "emails.primary eq true",
        'groups.display eq "sales"',
        "active eq true",
        'active ne "False"',
        'meta.created eq "2024-03-01T12:00:00.25+02:00"',
        'meta.created gt "2024-03-01T10:00:00Z"',
        'meta.lastModified le "2024-03-01T11:00:00Z"',
        'employeeNumber eq "007"',
        "employeeNumber eq 007",
        f'{ENTERPRISE_URN}:manager eq "m1"',
        f"{ENTERPRISE_URN} pr",
        f'schemas eq "{ENTERPRISE_URN}"',
        f'schemas[value eq "{ENTERPRISE_URN}"]',
        'title eq ""',
        "not (title pr)",
        "title eq null",
    ],
)
def test_matches(text: str) -> None:
    assert ann(text)


@pytest.mark.parametrize(
    "text",
    [
        'externalId eq "ann-42"',
        'id eq "0190-ANN"',
        'emails[type eq "work" and value co "home"]',
        'emails[type eq "other"]',
        "active eq false",
        "title pr",
        "title ne null",
        "phoneNumbers pr",
        "emails.display pr",
        'phoneNumbers.value eq "1"',
        'nickName eq ""',
        'nickName gt ""',
        f'schemas eq "{ENTERPRISE_URN.upper()}"',
        'employeeNumber eq "7"',
        "name.middleName pr",
        'meta.created lt "2024-03-01T10:00:00.250Z"',
    ],
)
def test_does_not_match(text: str) -> None:
    assert not ann(text)


def test_ne_matches_where_there_is_no_value() -> None:
    assert ann('nickName ne "x"')
    assert ann('phoneNumbers.value ne "1"')
    assert ann('not (nickName eq "x")')
    assert ann('emails[display ne "x" and type eq "home"]')


def test_brackets_never_match_without_an_element() -> None:
    assert not ann('phoneNumbers[type ne "work"]')
    assert not ann('phoneNumbers[not (type eq "work")]')
    assert ann('not (phoneNumbers[type eq "work"])')


def test_members_of_a_group() -> None:
    sales = {"displayName": "Sales", "members": [{"value": "u1", "type": "User"}, {"value": "u2"}]}
    assert matches(parse('displayName eq "sales" and members eq "u2"', GROUP, INTEROP), sales)
    assert not matches(parse('members[value eq "u2" and type eq "User"]', GROUP, INTEROP), sales)


def test_values_of_another_type_are_no_values() -> None:
    attributes = (
        Attribute("count", "integer"),
        Attribute("on", "boolean"),
        Attribute("at", "dateTime"),
        Attribute("name"),
    )
    thing = ResourceType("Thing", "/Things", "", Schema("urn:example:Thing", "Thing", "", attributes))
    odd = {"count": True, "on": 1, "at": "soon", "name": 5}
    for name, literal in (("count", "1"), ("on", "true"), ("at", '"2024-03-01T10:00:00Z"'), ("name", '"5"')):
        assert not matches(parse(f"{name} eq {literal}", thing, INTEROP), odd)
        assert matches(parse(f"{name} ne {literal}", thing, INTEROP), odd)
    assert matches(parse("count gt 4.5 and count le 5", thing, INTEROP), {"count": 5})


def test_elements_of_a_path() -> None:
    path = parse_path('emails[type eq "WORK" and primary eq true].value', USER, INTEROP)
    assert isinstance(path, Path)
    assert path.term is not None
    assert [element_matches(path.term, path.values, each) for each in ANN["emails"]] == [True, False]


def test_the_element_of_a_plain_attribute_is_its_value() -> None:
    path = parse_path('schemas[value sw "urn:ietf"]', USER, INTEROP)
    assert isinstance(path, Path)
    assert path.term is not None
    assert element_matches(path.term, path.values, ENTERPRISE_URN)
    assert not element_matches(path.term, path.values, "urn:example")


def test_an_extension_that_is_not_an_object_has_no_values() -> None:
    assert not matches(parse("employeeNumber pr", USER, INTEROP), {ENTERPRISE_URN: "x"})
    assert not matches(parse("name.givenName pr", USER, INTEROP), {"name": "Ann"})
