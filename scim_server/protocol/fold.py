"""The one way in which this product compares text without regard to case (RFC 7643 §2.2 `caseExact`, RFC 8265 §3.3).

Owns the mapping and nothing else. It is used for filters, for uniqueness and for every key that storage keeps, so
that the databases, which disagree about lower-casing, never have to do it.
"""

import unicodedata

_WIDTH_FORMS = (0x3000, *range(0xFF01, 0xFFEF))


def fold(text: str) -> str:
    """Map width forms to their ordinary characters, fold case fully, compose (NFC). fold(fold(x)) == fold(x)."""
    if text.isascii():
        return text.lower()
    # Decomposed first: U+0345 folds to a letter, and only the canonical order of marks makes that independent of
    # how they were typed (Unicode §3.13, D145).
    decomposed = unicodedata.normalize("NFD", text.translate(_ORDINARY))
    return unicodedata.normalize("NFC", decomposed.casefold())


def _ordinary() -> dict[int, str]:
    mapping = {}
    for code in _WIDTH_FORMS:
        tag, _, target = unicodedata.decomposition(chr(code)).partition(" ")
        if tag in ("<wide>", "<narrow>"):
            mapping[code] = chr(int(target, 16))
    return mapping


_ORDINARY = _ordinary()
