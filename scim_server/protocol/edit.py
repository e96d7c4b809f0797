"""One PATCH operation on the value of one attribute (RFC 7644 §3.5.2.1-3): the value before -> the value after.

Values are never changed in place, and an edit that changes nothing gives back an equal value. What a client may not
change at all (read-only attributes, required ones that would vanish) is decided in `patch`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scim_server.protocol.attributes import Attribute
from scim_server.protocol.date_time import from_unix_ms
from scim_server.protocol.errors import Mutability, NoTarget
from scim_server.protocol.filter import Node, equalities
from scim_server.protocol.fold import fold
from scim_server.protocol.match import element_matches
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
            return listed
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
        return [element for element in before if not any(_covers(attribute, element, parts) for parts in listed)]

    # Elements of a multi-valued attribute

    def _elements(self, before: list[Element]) -> list[Element]:
        hits = [self._is_hit(element) for element in before]
        if not any(hits):
            return before if self.verb == "remove" else self._with_created(before)
        after, touched = [], []
        for element, hit in zip(before, hits, strict=True):
            edited = self._parts_of(element) if hit else element
            if edited is not None:
                after.append(edited)
                touched += [edited] if hit else []
        return single_primary(distinct(after), touched)

    def _is_hit(self, element: Any) -> bool:
        return self.path.term is None or element_matches(self.path.term, self.path.values, element)

    def _with_created(self, before: list[Element]) -> list[Element]:
        created = self._created()
        return before if created is None else single_primary(distinct([*before, created]), [created])

    def _created(self) -> Element | None:
        """The element that the filter and the value describe; None when the value only clears.

        RFC 7644 answers noTarget to a replace without match; Entra relies on the element being made."""
        if not self._sent():
            return None
        term, attribute = self.path.term, self.path.ref.attribute
        seed: dict[str, Any] = {}
        if term is not None:
            wanted = self._wanted(term)
            if wanted is None:
                raise NoTarget(f"no value of {self.prefix}{attribute.name} matches the filter: add one first.")
            self.reading.bent("element-created")
            seed = wanted
        return self._parts_of(seed)

    def _wanted(self, term: Node) -> dict[str, Any] | None:
        if not self.reading.profile.create_on_unmatched_value_path:
            return None
        wanted = equalities(term, self.path.values)
        subs = self.path.ref.attribute.by_name
        return wanted and {
            name: from_unix_ms(value) if subs[name.lower()].type == "dateTime" and type(value) is int else value
            for name, value in wanted.items()
        }

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
            return self._parts_of(before or {})
        if self.verb == "remove":
            return before
        if before is not None:
            attribute = self.path.ref.attribute
            raise NoTarget(f"{self.prefix}{attribute.name} does not match the filter: leave the filter out.")
        return self._created()

    # One complex value

    def _sent(self) -> dict[str, Any]:
        """The sub-attributes that a new element would get from the value."""
        return {name: part for name, part in self._changes().items() if part is not None}

    def _changes(self) -> dict[str, Any]:
        """New sub-attributes by name, None for those to clear."""
        attribute, sub = self.path.ref.attribute, self.path.ref.sub
        if sub is None:
            return read_parts(attribute, self.value, self.prefix, self.reading)
        removed = self.verb == "remove"
        parent = f"{self.prefix}{attribute.name}."
        return {sub.name: None if removed else read(sub, self.value, parent, self.reading)}

    def _parts_of(self, before: Element) -> Element | None:
        """`before` with the operation's sub-attributes merged in; None when the element is gone."""
        attribute, sub = self.path.ref.attribute, self.path.ref.sub
        if sub is None and (self.verb == "remove" or self.value is None or self.value == ""):
            return None
        changes = self._changes()
        after = {**before, **changes}
        # The address of another resource must not outlive the id it belongs to.
        if "$ref" in before and "$ref" not in changes and after.get("value") != before.get("value"):
            del after["$ref"]
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


def _covers(attribute: Attribute, element: Mapping[str, Any], parts: Mapping[str, Any]) -> bool:
    """Whether the element has all these sub-attributes, by the case rules of each."""
    return all(
        name in element
        and _key(attribute.by_name[name.lower()])(element[name]) == _key(attribute.by_name[name.lower()])(part)
        for name, part in parts.items()
    )


def _key(attribute: Attribute) -> Callable[[Any], Any]:
    return lambda value: fold(value) if type(value) is str and not attribute.case_exact else value
