"""What PATCH paths and lists of attribute names refer to."""

import time

import pytest

from scim_server.protocol.attributes import INTEROP, RFC, AttributeRef, Profile, ResourceType
from scim_server.protocol.errors import InvalidFilter, InvalidPath, InvalidValue, ScimError
from scim_server.protocol.filter import Comparison
from scim_server.protocol.notation import UnknownExtension, notation
from scim_server.protocol.path import Path, SchemaPath, parse_names, parse_path
from scim_server.protocol.schemas import ENTERPRISE_URN, GROUP, USER, USER_URN


def path(text: str, resource_type: ResourceType = USER) -> Path:
    found = parse_path(text, resource_type, INTEROP)
    assert isinstance(found, Path)
    return found


def refusal(text: str, kind: type[ScimError], profile: Profile = INTEROP) -> str:
    with pytest.raises(kind) as caught:
        parse_path(text, USER, profile)
    return caught.value.detail


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("active", "active"),
        ("DisplayName", "displayName"),
        ("name.givenName", "name.givenName"),
        ("emails.value", "emails.value"),
        ("password", "password"),
        ("meta.created", "meta.created"),
        (f"{USER_URN}:name.familyName", "name.familyName"),
        (f"{ENTERPRISE_URN}:department", f"{ENTERPRISE_URN}:department"),
        (f"{ENTERPRISE_URN.upper()}:Manager.Value", f"{ENTERPRISE_URN}:manager.value"),
        ("manager", f"{ENTERPRISE_URN}:manager"),
        ("manager.$ref", f"{ENTERPRISE_URN}:manager.$ref"),
        (" title ", "title"),
    ],
)
def test_a_path_without_brackets(text: str, full: str) -> None:
    assert notation(path(text).ref) == full
    assert path(text).term is None


@pytest.mark.parametrize(
    ("text", "full", "values"),
    [
        ('emails[type eq "work"]', "emails", ("work",)),
        ('emails[type eq "work"].value', "emails.value", ("work",)),
        ('Emails [type eq "work" and primary eq "True"].VALUE', "emails.value", ("work", True)),
        ('roles[primary eq "True"].value', "roles.value", (True,)),
        ('emails[value eq "a]b[c"].type', "emails.type", ("a]b[c",)),
        (r'emails[value eq "a\"]b"]', "emails", ('a"]b',)),
        ('manager[value eq "m"]', f"{ENTERPRISE_URN}:manager", ("m",)),
        (f'{ENTERPRISE_URN}:manager[value eq "m"].displayName', f"{ENTERPRISE_URN}:manager.displayName", ("m",)),
        (f'{USER_URN}:emails[not (type eq "work")]', "emails", ("work",)),
        ("emails[type eq work].value", "emails.value", ("work",)),
    ],
)
def test_a_path_with_a_value_filter(text: str, full: str, values: tuple[object, ...]) -> None:
    found = path(text)
    assert notation(found.ref) == full
    assert found.term is not None
    assert found.values == values


def test_the_term_of_a_member_path_names_the_sub_attribute() -> None:
    found = path('members[value eq "42"]', GROUP)
    assert found.ref.sub is None
    assert isinstance(found.term, Comparison)
    assert found.term.ref.leaf is found.ref.attribute.sub("value")


@pytest.mark.parametrize("text", [ENTERPRISE_URN, ENTERPRISE_URN.lower(), f"{ENTERPRISE_URN}:"])
def test_the_urn_alone_is_the_whole_extension(text: str) -> None:
    assert parse_path(text, USER, INTEROP) == SchemaPath(USER.extensions[0][0])


@pytest.mark.parametrize("text", ["", USER_URN])
def test_the_core_schema_and_the_empty_path_are_the_resource_itself(text: str) -> None:
    assert parse_path(text, USER, INTEROP) == SchemaPath(USER.schema)


@pytest.mark.parametrize(
    ("text", "urn"),
    [
        ("urn:example:ext:2.0:User:badge", "urn:example:ext:2.0:User"),
        ('urn:example:ext:2.0:User:badge[type eq "x"].value', "urn:example:ext:2.0:User"),
        ("urn:example:ext:", "urn:example:ext"),
    ],
)
def test_an_undeclared_extension_is_for_the_caller_to_log(text: str, urn: str) -> None:
    assert parse_path(text, USER, INTEROP) == UnknownExtension(urn)
    assert urn in refusal(text, InvalidPath, RFC)


@pytest.mark.parametrize(
    "text",
    [
        "bogus",
        "name.bogus",
        "name.givenName.x",
        "emails.newProperty",
        'emails[type eq "work"].bogus',
        'emails[type eq "work"].value.x',
        f"{USER_URN}:bogus",
        f"{ENTERPRISE_URN}:bogus",
        "urn:title",
        ".",
        "title.",
        ".title",
        "title/x",
        "emails[",
        "emails]",
        'emails[type eq "work"',
        'emails[type eq "work"]value',
        'emails[type eq "work"].',
        'emails[type eq "work"].value eq "x"',
        'emails[type eq "a"] or emails[type eq "b"]',
        "emails[emails[type pr]]",
        "emails" + "[type" * 200 + " pr" + "]" * 200,
        "[" * 8000,
        "emails[" + '"' * 8000,
        "x" * 8193,
        "a." * 4000,
        "__class__",
        "__class__.__init__",
        "name.__dict__",
        "toString.x",
        "emails\0",
        "emails\ud800",
        "urn:example:\ud800:x",
    ],
)
def test_unknown_malformed_and_hostile_paths_are_refused_fast(text: str) -> None:
    begun = time.process_time()
    detail = refusal(text, InvalidPath)
    assert time.process_time() - begun < 0.5
    assert len(detail) < 300
    detail.encode()


@pytest.mark.parametrize(
    "text",
    [
        "emails[]",
        "emails[type]",
        "emails[' eq true].value",
        'emails[bogus eq "x"]',
        "emails[primary gt true]",
        'emails[type eq "\\ud800"]',
        'username[value eq "x"]',
    ],
)
def test_faults_within_the_brackets_are_faults_of_the_filter(text: str) -> None:
    refusal(text, InvalidFilter)


def names(text: str | list[str]) -> list[str]:
    found = parse_names(text, USER)
    return [notation(each) for each in found if isinstance(each, AttributeRef)]


def test_lists_of_names() -> None:
    assert names("userName, NAME.givenname,bogus,,urn:example:x:y,__class__") == ["userName", "name.givenName"]
    assert names(["manager", f"{USER_URN}:emails"]) == [f"{ENTERPRISE_URN}:manager", "emails"]
    assert parse_names(ENTERPRISE_URN, USER) == (USER.extensions[0][0],)
    assert parse_names("", USER) == ()


def test_a_list_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidValue, match="8192"):
        parse_names("title," * 2000, USER)
