"""Subject templates: how the key under which a CRM files a person's sessions is made from the person's attributes.

A template is text with `{externalId}`, `{id}`, `{userName}`, `{tenant}` or an extension attribute such as
`{urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber}`; literal braces are doubled.
A part that is missing makes the subject unresolved (None): it is never filled with "", because a kill that
looks for the wrong key would report success for ever.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MARK = "\0"  # in no subject


class TemplateError(ValueError):
    """The template cannot be read; the message says where."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: literal text and attribute names in turn."""

    text: str
    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Raise TemplateError for stray braces, empty names, conversions or format specifications."""
        # Formatter would take the colons of a URN for a format specification: hide them from it.
        try:
            raw = list(string.Formatter().parse(text.replace(":", "\0")))
        except ValueError as problem:
            raise TemplateError(f"template {text!r}: {problem}") from None
        parts: list[tuple[str, str | None]] = []
        for literal, name, _, conversion in raw:
            if name == "" or conversion:
                raise TemplateError(f"template {text!r}: write an attribute name between the braces")
            parts.append((literal.replace("\0", ":"), name.replace("\0", ":") if name else None))
        return cls(text, tuple(parts))

    def names(self) -> tuple[str, ...]:
        """The attribute names it needs, in order."""
        return tuple(name for _, name in self.parts if name)

    def render(self, values: Mapping[str, Any]) -> str | None:
        """Fill in; None when a value is missing, empty or not plain text, number or boolean."""
        out: list[str] = []
        for literal, name in self.parts:
            out.append(literal)
            if name is not None:
                value = _lookup(values, name)
                if value is None or value == "":
                    return None
                out.append(value)
        return "".join(out)

    def value_in(self, subject: str, name: str, known: Mapping[str, str]) -> str | None:
        """The value of one attribute in a subject made by this template; None unless all the others are `known`."""
        if self.names().count(name) != 1:
            return None
        made = self.render({**known, name: _MARK})
        before, mark, after = (made or "").partition(_MARK)
        if not mark or not subject.startswith(before) or not subject.endswith(after):
            return None
        return subject[len(before) : len(subject) - len(after)]


def _lookup(values: Mapping[str, Any], name: str) -> str | None:
    found: Any = values.get(name)
    if found is None and name.lower().startswith("urn:"):
        urn, _, attribute = name.rpartition(":")
        found = _member(_member(values, urn), attribute)
    elif found is None:
        found = values
        for step in name.split("."):
            found = _member(found, step)
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, str | int | float):
        return str(found)
    return None


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        return None
    if name in value:
        return value[name]
    return next((v for k, v in value.items() if k.lower() == name.lower()), None)
