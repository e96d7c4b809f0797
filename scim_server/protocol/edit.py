"""One PATCH operation on the value of one attribute (RFC 7644 §3.5.2.1-3): the value before -> the value after.

Values are never changed in place, and an edit that changes nothing gives back an equal value. What a client may not
change at all (read-only attributes, required ones that would vanish) is decided in `patch`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scim_server.protocol.attributes import Attribute
from scim_server.protocol.date_time import from_unix_ms
from scim_server.protocol.errors import Mutability, NoTarget
from scim_server.protocol.filter import Node, equalities, size
from scim_server.protocol.fold import fold
from scim_server.protocol.match import element_matches
from scim_server.protocol.mutability import carried, demand_unchanged
from scim_server.protocol.path import Path
from scim_server.protocol.value import (
    Reading,
    demand_few,
    distinct,
    missing,
    read,
    read_many,
    read_parts,
    required,
    single_primary,
)

Verb = Literal["add", "remove", "replace"]
Element = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Edit:
    """`verb` at `path` with `value`; `prefix` ("" or "urn:…:User:") precedes the attribute's name in messages."""

    verb: Verb
    path: Path
    value: Any
    prefix: str
    reading: Reading

    def of(self, before: Any) -> Any:
        """The attribute's new value, None when it is unassigned. Raises InvalidValue, Mutability or NoTarget."""
        after = self._after(before)
        demand_unchanged(self.path.ref.attribute, before, after, self.prefix)
        return after

    def _after(self, before: Any) -> Any:
        attribute = self.path.ref.attribute
        if attribute.multi_valued:
            after = self._list(before or [])
            demand_few(attribute, after, self.prefix)
            return after or None
        if attribute.type == "complex":
            return self._single(before) or None
        return None if self.verb == "remove" else read(attribute, self.value, self.prefix, self.reading)

    def _list(self, before: list[Any]) -> list[Any]:
        if self.path.term is None and self.path.ref.sub is None:
            return self._whole_list(before)
        return self._elements(before) if self.path.ref.attribute.type == "complex" else self._plain(before)

    # The whole of a multi-valued attribute

    def _whole_list(self, before: list[Any]) -> list[Any]:
        attribute = self.path.ref.attribute
        if self.verb == "remove":
            return [] if self.value is None else self._without_listed(before)
        listed = read_many(attribute, self.value, self.prefix, self.reading)
        if self.verb == "replace":
            return carried(attribute, before, listed, self.prefix) or []
        if attribute.type != "complex":
            return list(dict.fromkeys([*before, *listed]))
        return single_primary(distinct([*before, *listed]), listed)

    def _without_listed(self, before: list[Any]) -> list[Any]:
        """RFC 7644 gives `value` no meaning here; every client that sends it means just these elements."""
        attribute = self.path.ref.attribute
        self.reading.bent("remove-by-value")
        listed = read_many(attribute, self.value, self.prefix, self.reading)
        if attribute.type != "complex":
            return [value for value in before if value not in listed]
        self.reading.compares(len(before) * len(listed))
        unwanted = [_folded(attribute, parts).items() for parts in listed]
        return [
            element
            for element, held in ((element, _folded(attribute, element).items()) for element in before)
            if not any(parts <= held for parts in unwanted)
        ]

    # Elements of a multi-valued attribute

    def _elements(self, before: list[Element]) -> list[Element]:
        self.reading.compares(len(before) * (1 if self.path.term is None else size(self.path.term)))
        hits = [self._is_hit(element) for element in before]
        if not any(hits):
            return before if self.verb == "remove" else self._with_created(before)
        changes = self._changes()
        merged = [self._merged(old, changes) if hit else old for old, hit in zip(before, hits, strict=True)]
        touched = [new for new, hit in zip(merged, hits, strict=True) if hit and new is not None]
        return single_primary(distinct([element for element in merged if element is not None]), touched)

    def _is_hit(self, element: Any) -> bool:
        return self.path.term is None or element_matches(self.path.term, self.path.values, element)

    def _with_created(self, before: list[Element]) -> list[Element]:
        created = self._created()
        return before if created is None else single_primary(distinct([*before, created]), [created])

    def _created(self) -> Element | None:
        """The element that the filter and the value describe; None when the value only clears.

        RFC 7644 answers noTarget to a replace without match; Entra relies on the element being made."""
        changes = self._changes()
        if changes is None or all(part is None for part in changes.values()):
            return None
        seed = {} if self.path.term is None else self._described(self.path.term)
        return self._merged(seed, changes)

    def _described(self, term: Node) -> Element:
        """What an element must hold to satisfy the filter."""
        attribute = self.path.ref.attribute
        wanted = equalities(term, self.path.values)
        if wanted is None or not self.reading.profile.create_on_unmatched_value_path:
            raise NoTarget(f"no value of {self.prefix}{attribute.name} matches the filter: add one first.")
        self.reading.bent("element-created")
        described: Element = {}
        for name, value in wanted.items():
            sub = attribute.by_name[name.lower()]
            if sub.type == "dateTime" and isinstance(value, int):
                value = from_unix_ms(value)
            if sub.mutability != "readOnly":
                described[name] = value
        return described

    # Values of a multi-valued attribute without sub-attributes

    def _plain(self, before: list[Any]) -> list[Any]:
        attribute = self.path.ref.attribute
        hits = [self._is_hit(value) for value in before]
        if self.verb != "remove" and not any(hits):
            raise NoTarget(f"no value of {self.prefix}{attribute.name} matches the filter: add one first.")
        others = [value for value, hit in zip(before, hits, strict=True) if not hit]
        if self.verb == "remove":
            return others
        return list(dict.fromkeys([*others, *read_many(attribute, self.value, self.prefix, self.reading)]))

    # A single-valued complex attribute

    def _single(self, before: Element | None) -> Element | None:
        if self.path.term is None or (before is not None and self._is_hit(before)):
            return self._merged(before or {}, self._changes())
        if self.verb == "remove":
            return before
        if before is not None:
            attribute = self.path.ref.attribute
            raise NoTarget(f"{self.prefix}{attribute.name} does not match the filter: leave the filter out.")
        return self._created()

    # One complex value

    def _changes(self) -> dict[str, Any] | None:
        """New sub-attributes by name, None for those to clear; None when the whole value is to go."""
        attribute, sub = self.path.ref.attribute, self.path.ref.sub
        removed = self.verb == "remove"
        if sub is not None:
            parent = f"{self.prefix}{attribute.name}."
            return {sub.name: None if removed else read(sub, self.value, parent, self.reading)}
        value = self.value
        if attribute.multi_valued and type(value) is list and len(value) == 1:
            self.reading.bent("list-for-object")
            value = value[0]
        if removed or value is None or value == "":
            return None
        return read_parts(attribute, value, self.prefix, self.reading)

    def _merged(self, before: Element, changes: Mapping[str, Any] | None) -> Element | None:
        """`before` with the changes; None when nothing worth keeping is left."""
        if changes is None:
            return None
        attribute = self.path.ref.attribute
        after = {**before, **changes}
        # The address of another resource must not outlive the id it belongs to.
        if "$ref" not in changes and after.get("value") != before.get("value"):
            after.pop("$ref", None)
        after = {name: part for name, part in after.items() if part is not None}
        if after == before:
            return before
        # A type alone says nothing: it is what is left when Entra clears `emails[type eq "work"].value`.
        if not after or (attribute.multi_valued and None in changes.values() and after.keys() == {"type"}):
            return None
        self._guard_parts(attribute, before, after)
        return after

    def _guard_parts(self, attribute: Attribute, before: Element, after: Element) -> None:
        parent = f"{self.prefix}{attribute.name}."
        for sub in required(attribute.sub_attributes):
            if sub.name not in after:
                raise missing(sub, parent)
        for sub in attribute.sub_attributes:
            held = before.get(sub.name)
            if sub.mutability == "immutable" and held is not None and held != after.get(sub.name):
                raise Mutability(f"{parent}{sub.name} cannot be changed once it is set.")


def _folded(attribute: Attribute, element: Mapping[str, Any]) -> dict[str, Any]:
    """The element as it is compared: text folded, unless its sub-attribute is caseExact."""
    return {
        name: fold(part) if type(part) is str and not attribute.by_name[name.lower()].case_exact else part
        for name, part in element.items()
    }
