"""Tenant options: text from the command line, JSON in the row, values in use."""

import pytest

from scim_server.usecases.options import OPTIONS, OptionError, TenantOptions, assign


def test_every_option_has_a_field_and_every_field_an_option() -> None:
    assert {option.name for option in OPTIONS} == set(TenantOptions.__dataclass_fields__)


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("profile=rfc", "profile", "rfc"),
        (" restore_on_post = True ", "restore_on_post", True),
        ("group_names=any", "group_names", "any"),
        ("group_patch_body=never", "group_patch_body", "never"),
        ("passwords=hash", "passwords", "hash"),
    ],
)
def test_assign(assignment: str, name: str, value: object) -> None:
    stored = assign({"other": 1}, assignment)

    assert stored == {"other": 1, name: value}
    assert getattr(TenantOptions.read(stored), name) == value
    assert assign(stored, f"{name}=") == {"other": 1}


@pytest.mark.parametrize("assignment", ["", "=", "profile", "profile=strict", "restore_on_post=yes", "colour=red"])
def test_what_is_no_option_is_refused_with_the_choices(assignment: str) -> None:
    with pytest.raises(OptionError) as refused:
        assign({}, assignment)

    assert any(option.name in str(refused.value) or option.values in str(refused.value) for option in OPTIONS)


def test_options_of_a_newer_release_are_left_alone() -> None:
    assert TenantOptions.read({"from_the_future": 1}) == TenantOptions()
