"""Published cases about filters, paths and PATCH in one JSON form, put to scim_server.protocol. The files are not ours
and not in here: a folder has them (`make vectors ARGS=folder`).

Their names are from many schemas, so each case gets a resource type in which the names that it uses are declared, with
types read off the resource and the filter.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from scim_server.protocol import filter as filters
from scim_server.protocol import patch as patching
from scim_server.protocol.attributes import INTEROP, RFC, Attribute, AttributeType, ResourceType, Schema
from scim_server.protocol.date_time import to_unix_ms
from scim_server.protocol.errors import ScimError
from scim_server.protocol.match import matches
from scim_server.protocol.path import parse_path
from scim_server.protocol.quirks import straighten_patch
from scim_server.protocol.schemas import ENTERPRISE, USER

Verdict = Literal["as expected", "contested", "missed"]
_WORDS = re.compile(r'"(?:\\.|[^"\\])*"|[()\[\]]|[^\s()\[\]"]+')
_OPERATORS = {"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"}
_JOINTS = {"and", "or", "not", "pr", "true", "false", "null"}
_NAME = re.compile(r"(?:(urn:[\w:.-]+):)?([A-Za-z$][\w$-]*)(?:\.([A-Za-z$][\w$-]*))?")


@dataclass
class Report:
    """What came of a file: counts, and a line for each case that was missed."""

    counts: Counter[Verdict] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)

    def add(self, contested: Any, expected: Any, found: Any, what: str) -> None:
        """Note one case. `contested`: whatever came out is no defect, and why."""
        if expected == found:
            self.counts["as expected"] += 1
        elif contested:
            self.counts["contested"] += 1
        else:
            self.counts["missed"] += 1
            self.missed.append(f"{what}: wanted {expected}, found {found}")


def run(folder: Path, name: str) -> Report:
    """Put all cases of a file to the protocol."""
    content = json.loads((folder / f"{name}.json").read_text())
    report = Report()
    for case in content["cases"]:
        resource = case.get("resource")
        if isinstance(resource, str):
            resource = content["resources"][resource]
        expected, found, text = _RUNNERS[name](case, resource)
        report.add(case.get("contested") or _ruling(text), expected, found, text)
    return report


Outcome = tuple[Any, Any, str]


def _filter_syntax(case: dict[str, Any], _: Any) -> Outcome:
    text = case["filter"]
    return case["valid"], _is_filter(text, _declaring({}, text)), text


def _filter_match(case: dict[str, Any], resource: Any) -> Outcome:
    text = case["filter"]
    rt = _declaring(resource, text)
    what = f"{text} of {json.dumps(resource)[:80]}"
    try:
        checked = filters.parse(text, rt, INTEROP)
    except ScimError as problem:
        return case["matches"], problem.detail, what
    return case["matches"], matches(checked, _canonical(resource)), what


def _paths(case: dict[str, Any], _: Any) -> Outcome:
    text = case["path"]
    try:
        parse_path(text, _declaring({}, text), INTEROP)
    except ScimError:
        return case["valid"], False, text
    return case["valid"], True, text


def _patch(case: dict[str, Any], resource: Any) -> Outcome:
    expected = case["expect"].get("resource")
    text = json.dumps(case["operations"])
    rt = _declaring({**resource, **(expected or {})}, "", like=USER)
    body, _ = straighten_patch({"Operations": case["operations"]}, rt)
    try:
        patched = patching.apply(dict(resource), patching.parse(body, rt, INTEROP), rt, INTEROP)
    except ScimError as problem:
        return expected, problem.detail, text
    document = {name: value for name, value in patched.document.items() if name != "schemas"}
    if patched.password:
        document["password"] = patched.password
    return expected, document, text


# Where we decide otherwise than the source of a case, and why.
RULINGS: Mapping[str, str] = {
    r"(?i)\bnot (?!\()": "RFC 7644 figure 1 has not with parentheses only, and other sources want it refused without",
    r'date (co|ge|gt) "[\d-]+"': "a part of a time is no xsd:dateTime (RFC 7643 §2.3.5)",
    r'userName co "A"': "userName is not caseExact (RFC 7643 §8.7.1)",
    r"emails\.type .* and emails\.value": "without brackets each comparison may hold for another element (§3.4.2.2)",
    r"\]\.\w+\[": "RFC 7644 figure 7 ends a path after one sub-attribute",
    r'"\$ref": null': "null is unassigned (RFC 7643 §2.5), and a group has a member once",
    r'"replace", "path": "name"': "replace adds or replaces the sub-attributes that are said (RFC 7644 §3.5.2.3)",
}


def _ruling(text: str) -> str | None:
    return next((why for pattern, why in RULINGS.items() if re.search(pattern, text)), None)


_RUNNERS = {
    "filter-syntax": _filter_syntax,
    "filter-match": _filter_match,
    "paths": _paths,
    "patch-scimmy": _patch,
}


def _is_filter(text: str, rt: ResourceType) -> bool:
    try:
        filters.parse(text, rt, RFC)
    except ScimError:
        return False
    return True


# --- a resource type for a case ----------------------------------------------------------------------------------


@dataclass
class _Declared:
    """An attribute as far as it is known."""

    name: str
    type: AttributeType | None = None
    multi_valued: bool = False
    subs: "dict[str, _Declared]" = field(default_factory=dict)

    def attribute(self) -> Attribute:
        subs = tuple(sub.attribute() for sub in self.subs.values())
        return Attribute(
            self.name, "complex" if subs else self.type or "string", self.multi_valued, sub_attributes=subs
        )

    def sub(self, name: str) -> "_Declared":
        return self.subs.setdefault(name.lower(), _Declared(name))


_Names = dict[str, _Declared]


def _declaring(resource: Mapping[str, Any], text: str, like: ResourceType | None = None) -> ResourceType:
    """A resource type with all names of a resource and of a filter; those of `like` as they are there."""
    schemas: dict[str, _Names] = {"": {}}
    for key, value in resource.items():
        if ":" in key and isinstance(value, dict):
            for name, item in value.items():
                _see(schemas.setdefault(key, {}), name, item)
        else:
            _see(schemas[""], key, value)
    for urn, name, sub, kind in _named(text):
        known = schemas.setdefault("" if urn.endswith(":core:2.0:User") else urn, {})
        declared = known.setdefault(name.lower(), _Declared(name))
        leaf = declared.sub(sub) if sub else declared
        leaf.type = leaf.type or kind
    core = _attributes(schemas.pop(""), like)
    extensions = [(Schema(urn, "Extension", "", _attributes(names, None)), False) for urn, names in schemas.items()]
    if not any(schema.id == ENTERPRISE.id for schema, _ in extensions):
        extensions.append((ENTERPRISE, False))
    return ResourceType("User", "/Users", "", Schema(USER.schema.id, "User", "", core), tuple(extensions))


def _attributes(names: _Names, like: ResourceType | None) -> tuple[Attribute, ...]:
    known = {a.name.lower(): a for a in like.schema.attributes} if like else {}
    common = {"id", "externalid", "meta", "schemas"}
    return (
        *known.values(),
        *(each.attribute() for key, each in names.items() if key not in known | dict.fromkeys(common)),
    )


def _see(names: _Names, name: str, value: Any) -> None:
    declared = names.setdefault(name.lower(), _Declared(name))
    declared.multi_valued |= isinstance(value, list)
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            for sub, part in item.items():
                _see(declared.subs, sub, part)
        elif item is not None:
            declared.type = declared.type or _type_of(item)


def _type_of(value: Any) -> AttributeType:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "decimal"
    try:
        to_unix_ms(value)
    except ValueError:
        return "string"
    return "dateTime"


def _named(text: str) -> Iterator[tuple[str, str, str, AttributeType | None]]:
    """URN, name, sub-attribute and the type of the literal it is compared with, of all that a filter or path names."""
    words = _WORDS.findall(text)
    outer: tuple[str, str] | None = None
    last = ("", "")
    for place, word in enumerate(words):
        following = words[place + 1 : place + 3]
        if word == "]":
            outer = None
        elif (found := _NAME.fullmatch(word.lstrip("."))) and _is_name(word, words[:place], following):
            urn, name, sub = found[1] or "", found[2], found[3] or ""
            kind = _literal_type(following)
            if word.startswith(".") and place and words[place - 1] == "]":
                yield (*last, name, kind)
            elif outer:
                yield (*outer, name, kind)
            else:
                yield urn, name, sub, kind
            if following[:1] == ["["]:
                outer = last = (urn, name)


def _is_name(word: str, before: list[str], following: list[str]) -> bool:
    is_literal = bool(before) and before[-1].lower() in _OPERATORS and len(before) > 1
    return not is_literal and (word.lower() not in _JOINTS | _OPERATORS or following[:1] in ([o] for o in _OPERATORS))


def _literal_type(following: list[str]) -> AttributeType | None:
    if len(following) < 2 or following[0].lower() not in _OPERATORS:
        return None
    word = following[1]
    if word.lower() in ("true", "false"):
        return "boolean"
    return "decimal" if re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", word) else None


def _canonical(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Without the nulls that no stored resource has."""
    return {name: value for name, value in resource.items() if value is not None}
