"""Members of a group, which are rows and never part of a document: read from a body, or edited by a PATCH.

A group may have 200,000 members, so a PATCH does not see them: what its operations mean is folded into one
`MemberEdits`, which storage carries out set by set (RFC 7644 §3.5.2, RFC 7643 §4.2).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from scim_server.protocol.attributes import Attribute
from scim_server.protocol.errors import Mutability
from scim_server.protocol.filter import Comparison, Node, Or, Value, size
from scim_server.protocol.match import element_matches
from scim_server.protocol.path import Path
from scim_server.protocol.schemas import MEMBERS
from scim_server.protocol.value import Reading, read


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a group: the id, and the resource type and name as the client sent them."""

    value: str
    type: str | None = None
    display: str | None = None


@dataclass(frozen=True, slots=True)
class MemberFilter:
    """A value filter on members that does not just list ids, e.g. `type eq "Group"`."""

    term: Node
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class MemberEdits:
    """What becomes of the members: ((none if `replace` else the present ones) - `remove` - those that satisfy a
    filter of `remove_where`) + `add`. No id is both in `add` and in `remove`. False when nothing is asked."""

    replace: bool = False
    add: Mapping[str, Member] = field(default_factory=dict)
    remove: frozenset[str] = frozenset()
    remove_where: tuple[MemberFilter, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.replace or self.add or self.remove or self.remove_where)


def read_members(value: Any, reading: Reading) -> dict[str, Member]:
    """Members by id, in order, from an array, one object or a bare id; the last word on an id wins.
    Raises InvalidValue."""
    if value is None or value == "":
        return {}
    if type(value) is not list:
        reading.bent("object-for-list")
        value = [value]
    members: dict[str, Member] = {}
    for item in value:
        element = read(_ONE_MEMBER, item, "", reading)
        if element is not None:
            members[element["value"]] = Member(element["value"], element.get("type"), element.get("display"))
    return members


class MemberDraft:
    """Folds operations on `members` in their order."""

    __slots__ = ("_add", "_remove", "_replace", "_where")

    def __init__(self) -> None:
        self._replace = False
        self._add: dict[str, Member] = {}
        self._remove: set[str] = set()
        self._where: list[MemberFilter] = []

    def edit(self, verb: Literal["add", "remove", "replace"], path: Path, value: Any, reading: Reading) -> None:
        """Take one more operation. Raises InvalidValue or Mutability."""
        if path.ref.sub is not None or (path.term is not None and verb != "remove"):
            raise Mutability("a member cannot be altered: remove it and add the other.")
        if verb == "add":
            self._add_all(read_members(value, reading))
        elif verb == "replace":
            self._clear()
            self._add_all(read_members(value, reading))
        elif path.term is not None:
            reading.compares(len(self._add) * size(path.term))
            self._remove_where(path.term, path.values)
        elif value is None:
            self._clear()
        else:
            reading.bent("remove-by-value")
            self._remove_all(read_members(value, reading))

    def edits(self) -> MemberEdits:
        """The sum of the operations taken so far."""
        return MemberEdits(self._replace, self._add, frozenset(self._remove), tuple(self._where))

    def _clear(self) -> None:
        self._replace = True
        self._add.clear()
        self._remove.clear()
        self._where.clear()

    def _add_all(self, members: Mapping[str, Member]) -> None:
        self._add.update(members)
        self._remove.difference_update(members)

    def _remove_all(self, ids: Iterable[str]) -> None:
        for member_id in ids:
            self._add.pop(member_id, None)
            if not self._replace:
                self._remove.add(member_id)

    def _remove_where(self, term: Node, values: tuple[Value, ...]) -> None:
        ids = _listed_ids(term, values)
        if ids is not None:
            self._remove_all(ids)
            return
        kept = {m.value: m for m in self._add.values() if not element_matches(term, values, _element(m))}
        # What this filter takes back out may have been there before the request, too.
        self._add = kept
        if not self._replace:
            self._where.append(MemberFilter(term, values))


_ONE_MEMBER = Attribute("members", "complex", sub_attributes=MEMBERS.sub_attributes)


def _listed_ids(term: Node, values: tuple[Value, ...]) -> list[str] | None:
    """The ids of `value eq "a"` and `value eq "a" or value eq "b"`; None for any other filter."""
    ids = []
    for part in term.terms if isinstance(term, Or) else (term,):
        if not isinstance(part, Comparison) or part.operator != "eq":
            return None
        wanted = values[part.slot]
        if part.ref.sub is None or part.ref.sub.name != "value" or not isinstance(wanted, str):
            return None
        ids.append(wanted)
    return ids


def _element(member: Member) -> dict[str, str]:
    parts = {"value": member.value, "type": member.type, "display": member.display}
    return {name: part for name, part in parts.items() if part is not None}
