"""The one folding of names and case-insensitive text."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scim_server.protocol.fold import fold


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ANN@Example.COM", "ann@example.com"),
        ("MÜLLER", "mu\u0308ller"),
        ("STRASSE", "straße"),
        ("Ａｎｎ", "ann"),
        ("ｶﾞ", "ガ"),
        ("a\u3000b", "a b"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("\u1e9e", "ss"),
        ("\u0345\u0301", "\u0301\u0345"),
    ],
)
def test_equal_after_folding(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("é", "e"), ("ı", "i"), ("²", "2"), ("ﬁ", "fı"), ("a b", "ab"), ("Å", "A")])
def test_different_after_folding(one: str, other: str) -> None:
    assert fold(one) != fold(other)


def test_folding_any_character_twice_changes_nothing() -> None:
    for code in range(sys.maxunicode + 1):
        once = fold(chr(code))
        assert fold(once) == once


@given(st.text(), st.text())
def test_folding_is_idempotent_and_blind_to_composition(text: str, more: str) -> None:
    once = fold(text + more)
    assert fold(once) == once
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))
    assert fold(text) == fold(fold(text))
