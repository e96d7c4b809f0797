"""The keys of a `redis` store: from templates to bytes and back. Pure; what is read from Redis stays bytes."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from scim_server.events.subject import Template
from scim_server.sessions.config import RedisSettings
from scim_server.sessions.redis_values import ENCODINGS

_JAVA_STRING = b"\xac\xed\x00\x05t"


ENDED = ":ended"
KEPT_MS = 300_000
"""For so long the key `<index_key>:ended` names the sessions that a kill ended: a request that was under way writes
its record back, and no index names it any more. The echoes of the kill look there too."""


class Wanted(NamedTuple):
    """Whose sessions are looked for."""

    tenant: str
    subject: str


def rendered(template: Template, wanted: Wanted) -> str:
    """A key that holds no {sid}."""
    return "".join(pieces(template, wanted))


def ended_key(index_key: Template, wanted: Wanted) -> str:
    """Beside the index, so that a hash tag and most ACL patterns that cover the one cover the other."""
    return rendered(index_key, wanted) + ENDED


def pieces(template: Template, wanted: Wanted) -> list[str]:
    """The texts around {sid}: joined by a session id they are a key; a single one when there is no {sid}."""
    found = [""]
    for literal, name in template.parts:
        found[-1] += literal
        if name == "sid":
            found.append("")
        elif name is not None:
            found[-1] += getattr(wanted, name)
    return found


def session_id(member: bytes) -> bytes:
    """What an index member names. Spring's serializers write a Java string or a JSON string."""
    if member.startswith(_JAVA_STRING):
        return member[len(_JAVA_STRING) + 2 :]
    quoted = len(member) > 1 and member[:1] == member[-1:] == b'"'
    return member[1:-1] if quoted else member


def session_keys(templates: Iterable[Template], wanted: Wanted, sids: Iterable[bytes]) -> list[list[bytes]]:
    """For each template the keys of these session ids."""
    around = [[piece.encode() for piece in pieces(template, wanted)] for template in templates]
    named = list(sids)
    return [[sid.join(texts) for sid in named] for texts in around]


def match_pattern(template: Template) -> str:
    """For SCAN MATCH: the literals escaped, `*` for every name. A subject never becomes part of a pattern."""
    escaped = (re.sub(r"([*?\[\]\\])", r"\\\1", literal) + ("*" if name else "") for literal, name in template.parts)
    return "".join(escaped)


def key_shape(template: Template) -> re.Pattern[bytes]:
    """Matches the keys that the template could make."""
    parts = (re.escape(literal.encode()) + (b".+" if name else b"") for literal, name in template.parts)
    return re.compile(b"".join(parts), re.DOTALL)


class Search:
    """Tells, record by record, whose session it is, at a cost that does not grow with the number of those wanted."""

    def __init__(self, settings: RedisSettings, wanted: Iterable[Wanted]) -> None:
        self._by_value = bool(settings.value_contains)
        self._owners: dict[tuple[bytes, bytes], set[Wanted]] = {}
        self._patterns: dict[bytes, dict[bytes, set[Wanted]]] = {}
        self._separators = _separators(settings.session_key[0]) if settings.session_key else []
        for one in wanted:
            if settings.session_key:
                before, after = (piece.encode() for piece in pieces(settings.session_key[0], one))
                self._owners.setdefault((before, after), set()).add(one)
            for template in settings.value_contains:
                self._add_patterns(template, one)
        self._edges = {(len(before), len(after)) for before, after in self._owners}
        self._lengths = {prefix: {*map(len, whole)} for prefix, whole in self._patterns.items()}

    def by_key(self, key: bytes) -> Iterator[tuple[bytes, set[Wanted]]]:
        """(session id, whose it may be) for each way to read the key. The id never spans a separator: with
        `sess:{subject}:{sid}`, "sess:a:b:1" belongs to "a:b" and not to "a"."""
        for before, after in self._edges:
            end = len(key) - after
            owners = self._owners.get((key[:before], key[end:])) if end > before else None
            sid = key[before:end]
            if owners and not any(separator in sid for separator in self._separators):
                yield sid, owners

    def by_value(self, record: bytes) -> set[Wanted]:
        """Those wanted whose pattern the record holds."""
        found: set[Wanted] = set()
        for prefix, whole in self._patterns.items():
            start = record.find(prefix)
            while start >= 0:
                for length in self._lengths[prefix]:
                    found |= whole.get(record[start : start + length], set())
                start = record.find(prefix, start + 1)
        return found

    def _add_patterns(self, template: Template, one: Wanted) -> None:
        heads, tail, prefix = [b""], b"", b""
        for literal, name in template.parts:
            tail += literal.encode()
            if name == "tenant":
                tail += one.tenant.encode()
            elif name is not None:
                prefix, tail = tail, b""
                heads = [prefix + form for form in ENCODINGS[name](one.subject)]
        whole = self._patterns.setdefault(prefix, {})
        for head in heads:
            whole.setdefault(head + tail, set()).add(one)


def _separators(template: Template) -> list[bytes]:
    """The literals between {sid} and the names next to it."""
    names = [name for _, name in template.parts]
    found: list[bytes] = []
    for position, (literal, name) in enumerate(template.parts):
        before = names[position - 1] if position else None
        if before and name and "sid" in (before, name):
            found.append(literal.encode())
    return found
