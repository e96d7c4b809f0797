"""What a filter says, and which filters are refused and with what advice."""

import time

import pytest

from scim_server.protocol.attributes import INTEROP, RFC, Attribute, ResourceType, Schema
from scim_server.protocol.errors import InvalidFilter
from scim_server.protocol.filter import (
    And,
    Comparison,
    Filter,
    Not,
    Or,
    Presence,
    ValuePath,
    comparisons,
    equalities,
    parse,
    to_text,
)
from scim_server.protocol.schemas import ENTERPRISE_URN, GROUP, USER, USER_URN

DEVICE = ResourceType(
    "Device",
    "/Devices",
    "",
    Schema(
        "urn:example:Device",
        "Device",
        "",
        (
            Attribute("serial"),
            Attribute("trueName"),
            Attribute("not"),
            Attribute("pr"),
            Attribute("ports", "integer", multi_valued=True),
            Attribute("weight", "decimal"),
            Attribute("bought", "dateTime"),
            Attribute("key", "binary", case_exact=True),
            Attribute("tags", multi_valued=True),
            Attribute("pin", returned="never"),
            Attribute("lock", "complex", sub_attributes=(Attribute("code", mutability="writeOnly"),)),
        ),
    ),
)


def user(text: str) -> Filter:
    return parse(text, USER, INTEROP)


def device(text: str) -> Filter:
    return parse(text, DEVICE, INTEROP)


def refusal(text: str, resource_type: ResourceType = USER) -> str:
    with pytest.raises(InvalidFilter) as caught:
        parse(text, resource_type, INTEROP)
    return caught.value.detail


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('userName eq "ann"', 'userName eq "ann"'),
        ('USERNAME Eq "ann"', 'userName eq "ann"'),
        ('  userName\teq\n"ann" ', 'userName eq "ann"'),
        ('userName eq"ann"', 'userName eq "ann"'),
        (f'{USER_URN.upper()}:username eq "ann"', 'userName eq "ann"'),
        ('name.givenname co "A"', 'name.givenName co "A"'),
        ("title PR", "title pr"),
        ("NOT(title pr)", "not (title pr)"),
        ("not (not (title pr))", "not (not (title pr))"),
        ("title eq null", "not (title pr)"),
        ("title NE NULL", "title pr"),
        ("emails eq null", "not (emails pr)"),
        ('emails eq "a@x"', 'emails.value eq "a@x"'),
        ('members eq "g"', 'members.value eq "g"'),
        ('emails[Type eq "work"]', 'emails[type eq "work"]'),
        ('emails[type eq "work"].value eq "a@x"', 'emails[type eq "work" and value eq "a@x"]'),
        ('emails[type eq "a" or type eq "b"].value pr', 'emails[(type eq "a" or type eq "b") and value pr]'),
        ('emails[type eq "work"] pr', 'emails[type eq "work"]'),
        ('schemas[value eq "urn:x"]', 'schemas[value eq "urn:x"]'),
        ("active eq TRUE", "active eq true"),
        ('active eq "False"', "active eq false"),
        ("userName eq 5", 'userName eq "5"'),
        ("userName eq true", 'userName eq "true"'),
        ("userName eq ann+x#EXT#@b.example", 'userName eq "ann+x#EXT#@b.example"'),
        (r'title eq "\u00e9 \"\\\/ \ud83d\ude00"', r'title eq "é \"\\/ 😀"'),
        ('title eq ""', 'title eq ""'),
        ("meta.created gt 2011-05-13T04:42:34.5678901+02:00", 'meta.created gt "2011-05-13T02:42:34.567Z"'),
    ],
)
def test_a_filter_is_read_as_its_canonical_form(text: str, canonical: str) -> None:
    resource_type = GROUP if "members" in text else USER
    assert to_text(parse(text, resource_type, INTEROP)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        f'{ENTERPRISE_URN}:manager.value eq "m"',
        f'{ENTERPRISE_URN.lower()}:MANAGER eq "m"',
        'manager eq "m"',
        'manager.value eq "m"',
    ],
)
def test_extension_attributes_are_found_with_and_without_urn(text: str) -> None:
    assert to_text(user(text)) == f'{ENTERPRISE_URN}:manager.value eq "m"'


def test_a_bare_name_in_two_extensions_is_refused() -> None:
    schema = USER.extensions[0][0]
    other = Schema("urn:example:other", "Other", "", schema.attributes)
    both = ResourceType("User", "/Users", "", USER.schema, (*USER.extensions, (other, False)))
    assert "no attribute `manager`" in refusal('manager eq "m"', both)


def test_an_extension_is_present_when_one_of_its_attributes_is() -> None:
    root = user(f"title pr or {ENTERPRISE_URN} pr").root
    assert isinstance(root, Or)
    assert len(root.terms) == 1 + len(USER.extensions[0][0].attributes)
    assert all(isinstance(term, Presence) for term in root.terms)


@pytest.mark.parametrize(
    ("text", "grouped"),
    [
        ("title pr or userType pr and locale pr", "title pr or (userType pr and locale pr)"),
        ("title pr and userType pr or locale pr", "(title pr and userType pr) or locale pr"),
        ("title pr or userType pr and locale pr or id pr", "title pr or (userType pr and locale pr) or id pr"),
        ("(title pr and userType pr) and locale pr", "title pr and userType pr and locale pr"),
        ("not (title pr) and locale pr or id pr", "((not (title pr)) and locale pr) or id pr"),
        ("emails[type pr or value pr and display pr]", "emails[type pr or (value pr and display pr)]"),
    ],
)
def test_and_binds_tighter_than_or(text: str, grouped: str) -> None:
    assert user(text) == user(grouped)


def test_groups_override_precedence() -> None:
    root = user("(title pr or userType pr) and locale pr").root
    assert isinstance(root, And)
    assert isinstance(root.terms[0], Or)
    assert to_text(user("(title pr or userType pr) and locale pr")) == "(title pr or userType pr) and locale pr"


def test_filters_of_one_shape_share_one_tree() -> None:
    one, other = user('userName eq "ann" and active eq true'), user("USERNAME EQ bob and active eq FALSE")
    assert one.shape == other.shape == "userName eq ? and active eq ?"
    assert (one.values, other.values) == (("ann", True), ("bob", False))
    assert user('userName eq "ann"').root is user('userName eq "bob"').root


def test_resource_types_do_not_share_trees() -> None:
    copy = ResourceType("User", "/Users", "", USER.schema)
    assert user("title pr").root is not parse("title pr", copy, INTEROP).root
    assert "no attribute" in refusal('manager eq "m"', copy)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ports eq 80", 80),
        ("ports gt 80.5", 80.5),
        ('ports eq "80"', 80),
        ("weight lt -1.5e3", -1500.0),
        ("weight eq 0", 0),
        ('bought eq "1970-01-01T00:00:01Z"', 1000),
        ('key eq "AAEC"', "AAEC"),
        ("serial eq 1e3", "1e3"),
        ("serial eq 007", "007"),
    ],
)
def test_literals_take_the_type_of_the_attribute(text: str, value: object) -> None:
    values = device(text).values
    assert values == (value,)
    assert type(values[0]) is type(value)


@pytest.mark.parametrize("name", ["trueName", "not", "pr"])
def test_words_of_the_grammar_can_be_attribute_names(name: str) -> None:
    assert to_text(device(f'{name} eq "x" and {name} pr')) == f'{name} eq "x" and {name} pr'


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "column 1: the filter ends too early"),
        ("(", "column 2: the filter ends too early"),
        ("()", "column 2: `)` cannot stand here"),
        ("title", "column 6: the filter ends too early"),
        ("title eq", "column 9: the filter ends too early"),
        ("title pr and", "column 13: the filter ends too early"),
        ("title pr)", "column 9"),
        ("title lte 5", "column 7: expected an operator"),
        ('title pr "x"', "column 10"),
        ('title eq "x" eq', "column 14: expected `and`, `or` or the end"),
        ('title eq "x', "column 10: the text value is not closed"),
        ('title eq "x\\"', "column 10: the text value is not a JSON string"),
        (r'title eq "\a"', "column 10: the text value is not a JSON string"),
        ("title eq 'x'", "double quotes"),
        ('title eq ("x")', "column 10"),
        ("not title pr", "column 5"),
        ("emails[]", "column 8"),
        ("emails[type pr", "column 15: the filter ends too early"),
        ("emails[emails[type pr]]", "brackets cannot stand within brackets"),
        ("emails[type pr][value pr]", "brackets cannot follow brackets"),
        ('emails[type pr] eq "x"', "name a sub-attribute to compare: emails[…].value"),
        ('emails[type eq "a"].x pr', "emails has no `x`; it has value, display, type, primary"),
        ("title[value pr]", "`title` takes no brackets"),
        ("name.givenName[value pr]", "takes no brackets"),
        ("bogus pr", "column 1: User has no attribute `bogus`"),
        ('title pr and name.bogus eq "x"', "column 14: User has no attribute `name.bogus`"),
        ("__class__ pr", "User has no attribute `__class__`"),
        ("name.givenName.x pr", "no attribute"),
        ("urn:example:none:attr pr", "User has no schema `urn:example:none`"),
        (f"{ENTERPRISE_URN}:bogus pr", "no attribute"),
        (f'{ENTERPRISE_URN} eq "x"', "names a whole schema"),
        (f"{USER_URN} pr", "names a whole schema"),
        ('name eq "x"', "compare one of name.formatted"),
        ("active gt true", "active is of type boolean; compare it with eq, ne or pr"),
        ('active co "t"', "active is of type boolean"),
        ('meta.created sw "2011"', "of type dateTime"),
        ('meta eq "x"', "meta is complex"),
        ("title gt null", "null can only be compared with eq and ne"),
        ('active eq "yes"', "active is of type boolean; compare it with true or false"),
        ('meta.created eq "yesterday"', "created is of type dateTime"),
        ('meta.created eq "2011-02-30T00:00:00Z"', "created is of type dateTime"),
        ('title eq "a\0b"', "NUL"),
        (r'title eq "\u0000"', "column 10: NUL"),
        (r'title eq "\ud800"', "column 10: NUL characters and lone surrogates"),
        ('title eq "\ud800"', "lone surrogates"),
        ("password pr", "password is never returned"),
        ('password sw "a"', "password is never returned"),
    ],
)
def test_a_refusal_says_where_and_what_to_do(text: str, advice: str) -> None:
    assert advice in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        'key gt "A"',
        "ports eq many",
        'ports co "8"',
        "ports eq 1e999",
        "weight eq nan",
        "weight eq 1_0",
        f"ports eq {2**63}",
        f"ports eq {'9' * 5000}",
        "ports eq true",
        "pin pr",
        "lock.code pr",
        'lock[code eq "x"]',
        'lock eq "x"',
        "tags[other pr]",
    ],
)
def test_what_the_type_of_an_attribute_does_not_allow_is_refused(text: str) -> None:
    refusal(text, DEVICE)


def test_the_rfc_profile_refuses_unquoted_text_but_not_json_literals() -> None:
    with pytest.raises(InvalidFilter, match="double quotes"):
        parse("userName eq ann", USER, RFC)
    assert parse("userName eq 5 and active eq true", USER, RFC).values == ("5", True)


@pytest.mark.parametrize(
    "text",
    [
        "title pr or " * 200 + "title pr",
        "(" * 33 + "title pr" + ")" * 33,
        "(" * 8000,
        "[" * 8000,
        'title eq "' + "x" * 8192 + '"',
        'title eq "' + '\\"' * 4000,
        '"' * 8000,
        "not (" * 1600,
        "title pr and " * 600,
        "a" + ".a" * 4000 + " pr",
        "urn:" * 2000 + " pr",
        "x" * 1_000_000,
    ],
)
def test_hostile_filters_are_refused_fast(text: str) -> None:
    begun = time.process_time()
    refusal(text)
    assert time.process_time() - begun < 0.5


def test_filters_at_the_limits_are_read() -> None:
    assert len(list(comparisons(user(" or ".join(['title eq "x"'] * 200)).root))) == 200
    assert user("(" * 32 + "title pr" + ")" * 32) == user("title pr")


def test_a_detail_never_carries_more_than_a_glimpse_of_the_input() -> None:
    assert len(refusal("x" * 5000 + " pr")) < 200
    assert "\x01" not in refusal("a\x01b pr")


def test_equalities_of_a_value_filter() -> None:
    def found(condition: str) -> object:
        checked = user(f"emails[{condition}]")
        assert isinstance(checked.root, ValuePath)
        return equalities(checked.root.term, checked.values)

    assert found('type eq "work"') == {"type": "work"}
    assert found('type eq "work" and (primary eq True and value eq "a")') == {
        "type": "work",
        "primary": True,
        "value": "a",
    }
    assert found('type eq "work" and type eq "work"') == {"type": "work"}
    assert found('type eq "work" and type eq "home"') is None
    assert found('type eq "work" or primary eq true') is None
    assert found('type ne "work"') is None
    assert found('not (type eq "work")') is None
    assert found("type pr") is None


def test_comparisons_come_in_the_order_of_their_slots() -> None:
    checked = user('title eq "a" or not (emails[type eq "b"].value eq "c") and locale eq null and id eq "d"')
    tests = list(comparisons(checked.root))
    assert [test.slot for test in tests] == [0, 1, 2, 3]
    assert [checked.values[test.slot] for test in tests] == ["a", "b", "c", "d"]


def test_the_tree_is_plain_data() -> None:
    root = user('not (emails[type eq "work"])').root
    assert isinstance(root, Not)
    assert isinstance(root.term, ValuePath)
    assert isinstance(root.term.term, Comparison)
    assert root.term.ref.attribute is USER.attribute("emails")
    assert root.term.term.ref.leaf.name == "type"
