"""One JSON value read against one Attribute: normalised to canonical names and types, or refused by name.

The same rules serve POST, PUT and PATCH (RFC 7643 §2). Formats of e-mail addresses, URLs and locales are
never checked and text is never rewritten. Deviations that only a reader of the schema can see (`"True"` for
true, an object where a list belongs) are accepted here and noted under the names that `quirks/` documents.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sized
from functools import cache
from typing import Any

from scim_server.protocol.attributes import Attribute, Profile
from scim_server.protocol.date_time import to_unix_ms
from scim_server.protocol.errors import InvalidValue, TooMany

MAX_TEXT_BYTES = 8192
MAX_KEY_CHARACTERS = 255  # of values that must fit a database index
MAX_VALUES = 1000  # of one multi-valued attribute, members not counted
MAX_COMPARISONS = 100_000  # a quarter of a second, for all operations of a PATCH together
MAX_IGNORED = 50  # names that are noted, each up to
MAX_NAME_CHARACTERS = 256
_PLAIN_TEXT_CHARACTERS = 255
_BOOLEAN_TEXT = {"true": True, "false": False}
_INTEGER_LIMIT = 2**63


class Reading:
    """What one request's reading left out (`ignored`) and bent (`quirks`), and how strict it is."""

    __slots__ = ("_comparisons", "_ignored", "_quirks", "_unnamed", "profile", "refuse_second_primary")

    def __init__(self, profile: Profile, *, refuse_second_primary: bool = False) -> None:
        self.profile = profile
        self.refuse_second_primary = refuse_second_primary
        self._ignored: dict[str, None] = {}
        self._unnamed = 0
        self._quirks: dict[str, None] = {}
        self._comparisons = 0

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names that the schema does not know, in order of appearance; the last says how many more there are."""
        return (*self._ignored, f"{self._unnamed} more") if self._unnamed else tuple(self._ignored)

    @property
    def quirks(self) -> tuple[str, ...]:
        """Names of the deviations that were accepted, in order of appearance."""
        return tuple(self._quirks)

    def unknown(self, name: str) -> None:
        """Note an undeclared name; raise InvalidValue where the tenant refuses them."""
        name = name[:MAX_NAME_CHARACTERS]
        if self.profile.refuse_unknown_attributes:
            raise InvalidValue(f"{name!r} is not an attribute of any declared schema: remove it.")
        if len(self._ignored) < MAX_IGNORED:
            self._ignored[name] = None
        elif name not in self._ignored:
            self._unnamed += 1

    def bent(self, quirk: str) -> None:
        """Note that a deviation was accepted."""
        self._quirks[quirk] = None

    def compares(self, number: int) -> None:
        """Count comparisons with values that are there; raise TooMany when a small request would cost too much."""
        self._comparisons += number
        if self._comparisons > MAX_COMPARISONS:
            raise TooMany("the operations compare too many values: send fewer in one request.")


def read(attribute: Attribute, value: Any, parent: str, reading: Reading) -> Any:
    """The normalised value, or None when it is unassigned (null, "", [], an object of such; RFC 7643 §2.5).

    `parent` is what precedes the attribute's name in messages: "", "emails." or "urn:…:User:".
    Raises InvalidValue.
    """
    if attribute.multi_valued:
        return read_many(attribute, value, parent, reading) or None
    return _read_one(attribute, value, parent, reading)


def read_many(attribute: Attribute, value: Any, parent: str, reading: Reading) -> list[Any]:
    """The elements of a multi-valued attribute, normalised, without duplicates, at most one of them primary."""
    if value is None or value == "":
        return []
    if type(value) is not list:
        reading.bent("object-for-list")
        value = [value]
    elements = [element for item in value if (element := _read_one(attribute, item, parent, reading)) is not None]
    if len(elements) < 2:
        return elements
    demand_few(attribute, elements, parent)
    if attribute.type != "complex":
        return list(dict.fromkeys(elements))
    elements = distinct(elements)
    if "primary" in attribute.by_name:
        primary_once = single_primary(elements)
        if reading.refuse_second_primary and primary_once is not elements:
            raise InvalidValue(f"{parent}{attribute.name} has more than one primary value: mark one only.")
        return primary_once
    return elements


def read_parts(attribute: Attribute, value: Any, parent: str, reading: Reading) -> dict[str, Any]:
    """The sub-attributes that one value of a complex attribute sets, by canonical name; None for those it clears."""
    if type(value) is not dict:
        value = _as_object(attribute, value, parent, reading)
    prefix = f"{parent}{attribute.name}."
    subs = attribute.by_name
    parts: dict[str, Any] = {}
    for key, item in value.items():
        sub = subs.get(key.lower())
        if sub is None:
            if item is not None:
                reading.unknown(prefix + key)
        elif sub.mutability != "readOnly":
            parts[sub.name] = read(sub, item, prefix, reading)
    return parts


def distinct(elements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge elements that have the same type and value; the later one's other sub-attributes win."""
    merged: dict[Any, dict[str, Any]] = {}
    for element in elements:
        key = identity(element)
        earlier = merged.get(key)
        merged[key] = element if earlier is None else {**earlier, **element}
    return elements if len(merged) == len(elements) else list(merged.values())


def identity(element: Mapping[str, Any]) -> Any:
    """What makes two elements the same one: type and value, or everything where there is no value."""
    value = element.get("value")
    if value is None or type(value) is list:
        try:
            return frozenset(element.items())
        except TypeError:  # a part is a list
            return repr(sorted(element.items()))
    return (element.get("type"), value)


def single_primary(elements: list[dict[str, Any]], touched: Iterable[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """Let one primary element win (RFC 7644 §3.5.2): the last of those just `touched`, else the last of all.
    The others get `primary` false, in copies."""
    chosen = [element for element in elements if element.get("primary") is True]
    if len(chosen) < 2:
        return elements
    latest = {identity(element) for element in touched}
    winner = ([element for element in chosen if identity(element) in latest] or chosen)[-1]
    return [
        {**element, "primary": False} if element.get("primary") is True and element is not winner else element
        for element in elements
    ]


def demand_few(attribute: Attribute, values: Sized, parent: str) -> None:
    """Raise InvalidValue for more than MAX_VALUES values, which would make every later change slow."""
    if len(values) > MAX_VALUES:
        raise InvalidValue(f"{parent}{attribute.name} has more than {MAX_VALUES} values: send fewer.")


def missing(attribute: Attribute, parent: str) -> InvalidValue:
    """The error for a required attribute without a value."""
    return InvalidValue(f"{parent}{attribute.name} is required: send a value that is not empty.")


@cache
def required(attributes: tuple[Attribute, ...]) -> tuple[Attribute, ...]:
    """Those that every resource (or element) must have and that clients may write."""
    return tuple(each for each in attributes if each.required and each.mutability != "readOnly")


def _read_one(attribute: Attribute, value: Any, parent: str, reading: Reading) -> Any:
    if type(value) is str:
        if value == "":
            return None
        if attribute.type == "string" and len(value) <= _PLAIN_TEXT_CHARACTERS and value.isprintable():
            return value
    elif value is None:
        return None
    elif type(value) is list and attribute.type != "complex" and not attribute.multi_valued:
        inner = _unwrapped(value)
        if inner is not value:
            reading.bent("wrapped-value")
            return _read_one(attribute, inner, parent, reading)
    return _READERS[attribute.type](attribute, value, parent, reading)


def _unwrapped(value: list[Any]) -> Any:
    """What is the only thing in `[{"value": x}]`; the list itself where it is no such wrapping."""
    only = value[0] if len(value) == 1 else None
    if type(only) is not dict or [name for name, part in only.items() if part is not None] != ["value"]:
        return value
    return value if type(only["value"]) in (list, dict) else only["value"]


def _complex(attribute: Attribute, value: Any, parent: str, reading: Reading) -> dict[str, Any] | None:
    parts = read_parts(attribute, value, parent, reading)
    out = {name: part for name, part in parts.items() if part is not None}
    if not out:
        return None
    for sub in required(attribute.sub_attributes):
        if sub.name not in out:
            raise missing(sub, f"{parent}{attribute.name}.")
    return out


def _as_object(attribute: Attribute, value: Any, parent: str, reading: Reading) -> dict[str, Any]:
    """`"x"` for `{"value": "x"}`, and for single-valued attributes also `[{…}]` for `{…}`."""
    if type(value) is list and not attribute.multi_valued and len(value) <= 1:
        reading.bent("list-for-object")
        value = value[0] if value else None
    if value is None or value == "":
        return {}
    if type(value) is dict:
        return value
    if type(value) in (str, int) and "value" in attribute.by_name:
        reading.bent("bare-value")
        return {"value": value}
    raise _wrong(attribute, parent, "an object")


def _text(attribute: Attribute, value: Any, parent: str, reading: Reading) -> str:
    if type(value) is int:
        reading.bent("number-for-text")
        return str(value)
    if type(value) is not str:
        raise _wrong(attribute, parent, "a string")
    if "\0" in value:
        raise InvalidValue(f"{parent}{attribute.name} contains a NUL character: remove it.")
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise InvalidValue(f"{parent}{attribute.name} contains half a surrogate pair.") from None
    if size > MAX_TEXT_BYTES:
        raise InvalidValue(f"{parent}{attribute.name} is longer than {MAX_TEXT_BYTES} bytes: shorten it.")
    if len(value) > MAX_KEY_CHARACTERS and (attribute.uniqueness != "none" or attribute.name == "externalId"):
        raise InvalidValue(f"{parent}{attribute.name} is longer than {MAX_KEY_CHARACTERS} characters: shorten it.")
    return value


def _boolean(attribute: Attribute, value: Any, parent: str, reading: Reading) -> bool:
    if type(value) is bool:
        return value
    if type(value) is str and (meant := _BOOLEAN_TEXT.get(value.lower())) is not None:
        reading.bent("string-boolean")
        return meant
    raise _wrong(attribute, parent, "true or false")


def _integer(attribute: Attribute, value: Any, parent: str, reading: Reading) -> int:
    if type(value) is not int or not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        raise _wrong(attribute, parent, "a whole number of at most 64 bits")
    return value


def _decimal(attribute: Attribute, value: Any, parent: str, reading: Reading) -> int | float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int and -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        return value
    raise _wrong(attribute, parent, "a number")


def _date_time(attribute: Attribute, value: Any, parent: str, reading: Reading) -> str:
    text = value if type(value) is str else ""
    try:
        to_unix_ms(text)
    except ValueError:
        raise _wrong(attribute, parent, "a dateTime such as 2026-01-31T12:00:00Z") from None
    return text


def _wrong(attribute: Attribute, parent: str, wanted: str) -> InvalidValue:
    return InvalidValue(f"{parent}{attribute.name} must be {wanted}.")


_READERS: Mapping[str, Callable[[Attribute, Any, str, Reading], Any]] = {
    "string": _text,
    "reference": _text,
    "binary": _text,
    "boolean": _boolean,
    "integer": _integer,
    "decimal": _decimal,
    "dateTime": _date_time,
    "complex": _complex,
}
