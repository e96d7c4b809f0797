"""Subject templates: what they take, and what they refuse to make up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scim_server.events.subject import Template, TemplateError

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


@pytest.mark.parametrize(
    ("text", "values", "subject"),
    [
        ("{id}", {"id": "1"}, "1"),
        ("{tenant}:{externalId}", {"tenant": "t", "externalId": "e"}, "t:e"),
        ("{{{tenant}}}", {"tenant": "t"}, "{t}"),
        ("fixed", {}, "fixed"),
        (f"{{{ENTERPRISE}:employeeNumber}}", {ENTERPRISE: {"employeeNumber": "7"}}, "7"),
        (f"{{{ENTERPRISE}:EMPLOYEENUMBER}}", {ENTERPRISE.upper(): {"employeeNumber": "7"}}, "7"),
        ("{name.familyName}", {"name": {"familyName": "Doe"}}, "Doe"),
        ("{NAME.familyname}", {"name": {"familyName": "Doe"}}, "Doe"),
        ("{number}", {"number": 42}, "42"),
        ("{flag}", {"flag": True}, "true"),
    ],
)
def test_filled_in(text: str, values: dict[str, object], subject: str) -> None:
    assert Template.parse(text).render(values) == subject


@pytest.mark.parametrize("value", ["", None, ["a"], {}])
def test_a_part_that_is_missing_is_never_made_up(value: object) -> None:
    assert Template.parse("crm:{externalId}").render({"externalId": value}) is None
    assert Template.parse("crm:{externalId}").render({"id": "1"}) is None


@pytest.mark.parametrize("text", ["{", "}", "{}", "a{b", "{a!r}", "{a}}", "{{a}"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(TemplateError, match="template"):
        Template.parse(text)


@given(st.text(), st.text(min_size=1))
def test_literal_text_and_values_come_through_unchanged(literal: str, value: str) -> None:
    escaped = literal.replace("{", "{{").replace("}", "}}")
    if "\0" not in literal:
        assert Template.parse(escaped + "{x}").render({"x": value}) == literal + value


@pytest.mark.parametrize(
    ("template", "subject", "value"),
    [
        ("{externalId}", "7", "7"),
        ("{tenant}/{externalId}", "acme/7", "7"),
        ("<{externalId}>{tenant}", "<7>acme", "7"),
        ("{tenant}/{externalId}", "other/7", None),
        ("{externalId}-{userName}", "7-ann", None),
        ("{userName}", "ann", None),
        ("{externalId}{externalId}", "77", None),
    ],
)
def test_an_attribute_is_found_again_in_the_subject(template: str, subject: str, value: str | None) -> None:
    assert Template.parse(template).value_in(subject, "externalId", {"tenant": "acme"}) == value
