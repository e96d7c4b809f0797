"""Random resources, memberships and filters over every kind of attribute, small enough that filters hit something."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from scim_server.protocol.attributes import INTEROP, Attribute, AttributeRef, ResourceType, Schema
from scim_server.protocol.date_time import from_unix_ms
from scim_server.protocol.notation import notation
from scim_server.protocol.resource import check
from scim_server.protocol.schemas import GROUP, USER

_PARTS = (
    Attribute("name"),
    Attribute("codes", multi_valued=True, case_exact=True),
    Attribute("weight", "decimal"),
    Attribute("since", "dateTime"),
    Attribute("spare", "boolean"),
)
DEVICE = ResourceType(
    "Device",
    "/Devices",
    "A resource type with an attribute of every kind",
    Schema(
        "urn:example:Device",
        "Device",
        "Device",
        (
            Attribute("serial", required=True, case_exact=True, uniqueness="server"),
            Attribute("displayName"),
            Attribute("tags", multi_valued=True),
            Attribute("ports", "integer", multi_valued=True),
            Attribute("height", "decimal"),
            Attribute("seen", "dateTime"),
            Attribute("logins", "dateTime", multi_valued=True),
            Attribute("wired", "boolean"),
            Attribute("key", "binary", case_exact=True),
            Attribute("box", "complex", sub_attributes=_PARTS),
            Attribute("parts", "complex", multi_valued=True, sub_attributes=_PARTS),
        ),
    ),
    (
        (
            Schema(
                "urn:example:Device:asset",
                "Asset",
                "Asset",
                (
                    Attribute("label", uniqueness="global"),
                    Attribute("lender-s", case_exact=True),
                    Attribute("rooms", "complex", multi_valued=True, sub_attributes=_PARTS),
                ),
            ),
            False,
        ),
    ),
)
TYPES = {rt.name: rt for rt in (USER, GROUP, DEVICE)}
IDS = [f"0190a000-0000-7000-8000-00000000000{digit}" for digit in "0123456789abcdef"]
START = 1_700_000_000_000

_WORDS = ["a", "A", "ab", "aB", "b", "ß", "SS", "Äb", "äB", "\N{LATIN SMALL LIGATURE FF}", "İ", "ｱ", "%", "_", "a%b"]
_WORDS += ["\\", "'", '"', "a b", "\N{GRINNING FACE}", "\U0010ffff", "a\U0010ffff", "\ud7ff", "\ue000", "true", "1"]
_WORDS += [
    "2024-05-01T00:00:00Z",
    "long" * 400,
    "long" * 400 + "er",
    "e\N{COMBINING ACUTE ACCENT}",
    "é",
    "User",
    "direct",
]
_MOMENTS = ["2024-05-01T00:00:00Z", "2024-05-01T02:00:00+02:00", "2024-05-01T00:00:00.001Z", "2024-05-01T00:00:00"]
_MOMENTS += ["1999-12-31T23:59:59.999Z", from_unix_ms(START), from_unix_ms(START + 1)]
_words = st.sampled_from(_WORDS) | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=3)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": _words,
    "reference": _words,
    "binary": _words,
    "boolean": st.booleans(),
    "integer": st.integers(-2, 3) | st.sampled_from([2**53, 2**53 + 1, 2**62, -(2**62) - 1]),
    "decimal": st.sampled_from([0, -0.0, 0.1, 1.0, 1, 2.5, 1e-7, 2.0**60, 2**60, 0.30000000000000004])
    | st.floats(-1e18, 1e18, allow_nan=False),
    "dateTime": st.sampled_from(_MOMENTS),
}


@dataclass(frozen=True)
class Resource:
    """What is stored, and the whole resource as `match` sees it."""

    type: ResourceType
    id: str
    document: dict[str, Any]
    modified: int

    @property
    def whole(self) -> dict[str, Any]:
        """With id and meta, as after one write."""
        meta = {
            "resourceType": self.type.name,
            "created": from_unix_ms(self.modified),
            "lastModified": from_unix_ms(self.modified),
            "location": f"https://scim.example{self.type.endpoint}/{self.id}",
            "version": 'W/"1"',
        }
        return {**self.document, "id": self.id, "meta": meta}


class World:
    """Resources, the members of each group by its id, and what is asked; no dataclass, to be printed shortly."""

    def __init__(
        self,
        resources: list[Resource],
        members: dict[str, list[Resource]],
        questions: list[tuple[ResourceType, str]],
    ) -> None:
        self.resources = resources
        self.members = members
        self.questions = questions

    def __repr__(self) -> str:
        lines = [f"{each.type.name} {each.id[-1]} {each.document}" for each in self.resources]
        lines += [f"{group_id[-1]} has {[each.id[-1] for each in those]}" for group_id, those in self.members.items()]
        return "\n".join(line[:1000] for line in (*lines, *(f"{rt.name}? {text}" for rt, text in self.questions)))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Up to eight resources of all types and up to six filters."""
    resources = []
    for number in range(draw(st.integers(1, 8))):
        rt = draw(st.sampled_from(list(TYPES.values())))
        checked = check(draw(_bodies(rt)), rt, INTEROP, active=True)
        resources.append(Resource(rt, IDS[number], checked.document, START + number))
    able = [each for each in resources if each.type in (USER, GROUP)]
    chosen = st.lists(st.sampled_from(able), unique_by=lambda each: each.id) if able else st.just([])
    members = {each.id: draw(chosen) for each in able if each.type is GROUP}
    kinds = st.sampled_from(list(TYPES.values()))
    return World(resources, members, draw(st.lists(kinds.flatmap(_questions), min_size=1, max_size=6)))


def _questions(rt: ResourceType) -> st.SearchStrategy[tuple[ResourceType, str]]:
    return st.tuples(st.just(rt), _QUERIES[rt.name])


def _queries(rt: ResourceType) -> st.SearchStrategy[str]:
    refs = list(_refs(rt))
    top = st.one_of([_tests(notation(ref), ref) for ref in refs])
    lists = {notation(ref): ref for ref in refs if ref.sub is None and _has_brackets(ref.attribute)}
    paths = st.one_of([_value_paths(name, ref, rt) for name, ref in lists.items()])
    return _logic(st.one_of(top, top, paths))


def _bodies(rt: ResourceType) -> st.SearchStrategy[dict[str, Any]]:
    core = _objects([a for a in (*rt.schema.attributes, Attribute("externalId"))], rt)
    parts = {schema.id: _objects(schema.attributes, rt) for schema, _ in rt.extensions}
    return st.tuples(core, st.fixed_dictionaries({}, optional=parts)).map(lambda both: {**both[0], **both[1]})


def _objects(attributes: Any, rt: ResourceType) -> st.SearchStrategy[dict[str, Any]]:
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for attribute in attributes:
        if attribute.mutability in ("readOnly", "writeOnly") or attribute.name == "members":
            continue
        value = _values(attribute, rt)
        (required if attribute.required else optional)[attribute.name] = value
    return st.fixed_dictionaries(required, optional=optional)


def _values(attribute: Attribute, rt: ResourceType) -> st.SearchStrategy[Any]:
    if attribute.type == "complex":
        value: st.SearchStrategy[Any] = _objects(attribute.sub_attributes, rt)
    else:
        value = _VALUES[attribute.type]
    if attribute.required or attribute.uniqueness != "none" or attribute.name == "externalId":
        value = _words.filter(lambda word: 0 < len(word) <= 255)
    return st.lists(value, max_size=3) if attribute.multi_valued else value


def _refs(rt: ResourceType) -> Iterator[AttributeRef]:
    for schema, attribute in rt.attributes():
        extension = schema.id if schema else None
        if attribute.returned == "never":
            continue
        yield AttributeRef(extension, attribute)
        for sub in attribute.sub_attributes:
            if sub.name not in ("location", "$ref") and (attribute.name, sub.name) != ("members", "display"):
                yield AttributeRef(extension, attribute, sub)


def _has_brackets(attribute: Attribute) -> bool:
    return attribute.multi_valued or attribute.type == "complex"


def _tests(name: str, ref: AttributeRef) -> st.SearchStrategy[str]:
    kind = ref.leaf.type
    if kind == "complex":
        return st.just(f"{name} pr")
    operators = "eq ne pr"
    if kind not in ("boolean", "binary"):
        operators += " gt ge lt le"
    if kind in ("string", "reference"):
        operators += " co sw ew eq sw"
    literals = _VALUES[kind]
    if kind == "string" and name in ("id", "value", "members.value", "groups.value"):
        literals |= st.sampled_from(IDS) | st.sampled_from([IDS[3].upper(), "0190"])
    if name.startswith("urn:ietf") or name.endswith("version"):
        literals |= st.just('W/"1"')
    written = st.tuples(st.sampled_from(operators.split()), literals.map(json.dumps))
    return written.map(lambda pair: f"{name} pr" if pair[0] == "pr" else f"{name} {pair[0]} {pair[1]}")


def _value_paths(name: str, whole: AttributeRef, rt: ResourceType) -> st.SearchStrategy[str]:
    inner = [_tests(ref.sub.name, ref) for ref in _refs(rt) if ref.attribute is whole.attribute and ref.sub]
    return _logic(st.one_of(inner or [_tests("value", whole)])).map(lambda term: f"{name}[{term}]")


def _logic(leaves: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            inner.map(lambda term: f"not ({term})"),
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        ),
        max_leaves=4,
    )


_QUERIES = {rt.name: _queries(rt) for rt in TYPES.values()}
