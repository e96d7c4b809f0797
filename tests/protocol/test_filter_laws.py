"""Laws that hold for all filters: printing and reading, precedence, negation, and no surprise on any input."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scim_server.protocol.attributes import INTEROP, RFC, Attribute, AttributeRef, ResourceType, Schema
from scim_server.protocol.errors import InvalidFilter, InvalidPath
from scim_server.protocol.filter import parse, to_text
from scim_server.protocol.match import matches
from scim_server.protocol.path import parse_path

THING = ResourceType(
    "Thing",
    "/Things",
    "",
    Schema(
        "urn:example:Thing",
        "Thing",
        "",
        (
            Attribute("text"),
            Attribute("exact", case_exact=True),
            Attribute("flag", "boolean"),
            Attribute("size", "decimal"),
            Attribute("at", "dateTime"),
            Attribute(
                "parts",
                "complex",
                multi_valued=True,
                sub_attributes=(Attribute("value"), Attribute("type"), Attribute("main", "boolean")),
            ),
        ),
    ),
    ((Schema("urn:example:Extra", "Extra", "", (Attribute("note"),)), False),),
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
moments = st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z")


def quoted(text: str) -> str:
    return '"' + "".join(f"\\u{ord(c):04x}" if c in '"\\' or c < " " else c for c in text) + '"'


def literals(of: Attribute) -> st.SearchStrategy[str]:
    if of.type == "boolean":
        return st.sampled_from(["true", "false"])
    if of.type == "decimal":
        return st.one_of(st.integers(-99, 99), st.floats(-9, 9, allow_nan=False)).map(str)
    return (moments if of.type == "dateTime" else texts).map(quoted)


@st.composite
def comparison_texts(draw: st.DrawFn, names: dict[str, Attribute]) -> str:
    name = draw(st.sampled_from(sorted(names)))
    attribute = names[name]
    operators = ["eq", "ne"]
    if attribute.type != "boolean":
        operators += ["gt", "ge", "lt", "le"]
    if attribute.type == "string":
        operators += ["co", "sw", "ew"]
    operator = draw(st.sampled_from([*operators, "pr"]))
    if operator == "pr":
        return f"{name} pr"
    literal = "null" if operator in ("eq", "ne") and draw(st.booleans()) else draw(literals(attribute))
    return f"{name} {operator} {literal}"


def combined(leaves: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
            inner.map(lambda text: f"({text})"),
            inner.map(lambda text: f"not ({text})"),
        ),
        max_leaves=6,
    )


PARTS = THING.attribute("parts")
assert PARTS is not None
SUBS = {sub.name: sub for sub in PARTS.sub_attributes}
PLAIN = {a.name: a for a in THING.schema.attributes if a.type != "complex"} | {
    "urn:example:Extra:note": THING.extensions[0][0].attributes[0],
    "parts.type": SUBS["type"],
}
filters = combined(
    st.one_of(comparison_texts(PLAIN), combined(comparison_texts(SUBS)).map(lambda inner: f"parts[{inner}]"))
)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


parts = st.fixed_dictionaries({"value": optional(texts), "type": optional(texts), "main": optional(st.booleans())})
things = st.fixed_dictionaries(
    {
        "text": optional(texts),
        "exact": optional(texts),
        "flag": optional(st.booleans()),
        "size": optional(st.integers(-9, 9)),
        "at": optional(moments),
        "parts": st.lists(parts, max_size=3),
        "urn:example:Extra": st.fixed_dictionaries({"note": optional(texts)}),
    }
)


@given(filters)
def test_what_is_printed_reads_as_the_same_filter(text: str) -> None:
    checked = parse(text, THING, RFC)
    assert parse(to_text(checked), THING, RFC) == checked


@given(filters, things)
def test_not_is_the_complement(text: str, thing: dict[str, Any]) -> None:
    assert matches(parse(f"not ({text})", THING, RFC), thing) != matches(parse(text, THING, RFC), thing)


@given(filters, filters, filters, things)
def test_and_or_and_precedence(a: str, b: str, c: str, thing: dict[str, Any]) -> None:
    def holds(text: str) -> bool:
        return matches(parse(text, THING, RFC), thing)

    assert holds(f"({a}) or ({b}) and ({c})") == (holds(a) or (holds(b) and holds(c)))
    assert holds(f"({a}) and ({b}) or ({c})") == ((holds(a) and holds(b)) or holds(c))


@given(texts, st.sampled_from(["text", "exact"]))
def test_every_text_finds_itself(text: str, name: str) -> None:
    for operator in ("eq", "co", "sw", "ew", "ge", "le"):
        assert matches(parse(f"{name} {operator} {quoted(text)}", THING, RFC), {name: text})


WORDS = 'text parts parts.type .value value eq EQ gt pr and or not null true 5 "a" "\\ ( ) [ ] bare urn:example:Extra'
words = st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join)


@given(words | st.text(max_size=30))
def test_any_text_is_either_a_filter_or_refused(text: str) -> None:
    try:
        checked = parse(text, THING, INTEROP)
    except InvalidFilter as refused:
        refused.detail.encode()
    else:
        assert parse(to_text(checked), THING, RFC) == checked


@given(words.map(lambda text: text.replace(" ", "")) | st.text(max_size=30))
def test_any_text_is_either_a_path_or_refused(text: str) -> None:
    try:
        found = parse_path(text, THING, INTEROP)
    except (InvalidPath, InvalidFilter) as refused:
        refused.detail.encode()
    else:
        ref = getattr(found, "ref", None)
        assert ref is None or isinstance(ref, AttributeRef)
