"""A checked filter as SQL on `resource`, for both databases; protocol/match.py says what it must mean.

What the search document holds (keys.search_of) is compared there; id, meta, active, externalId and the unique key
are compared in their columns, groups and members in `member`. Where an index can help, a condition that follows
from the exact one is AND-ed with it. Values are always bound: filters of one shape share their SQL.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Select,
    Text,
    and_,
    bindparam,
    exists,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
)

from scim_server.protocol.attributes import AttributeRef, ResourceType
from scim_server.protocol.errors import InvalidFilter
from scim_server.protocol.filter import (
    And,
    Comparison,
    Filter,
    Node,
    Not,
    Operator,
    Or,
    Presence,
    Value,
    ValuePath,
    comparisons,
)
from scim_server.protocol.fold import fold
from scim_server.protocol.notation import notation
from scim_server.storage.dialects import Dialect
from scim_server.storage.keys import (
    KEY_BYTES,
    beginning,
    index_key,
    indexed,
    key_columns,
    plain_number,
    unique_attribute,
    value_key,
)
from scim_server.storage.tables import Id, Key, member, resource, resource_value

# How a value is bound. Of columns: a `key` may be cut (keys.index_key), a `time` is unix ms, a `state` a boolean. In
# search documents all that is no text is a `number`.
Kind = Literal["text", "key", "id", "time", "state", "number"]
_NOBODY = str(uuid.UUID(int=0))  # bound for what is no id; nothing has it
_AFTER_ALL = "\U0010ffff" * (KEY_BYTES // 4 + 1)  # after a beginning: greater than every key that starts so
_ANY_ROW: ColumnElement[Any] = literal_column("1")


_POINTED = frozenset({"id", "externalId", "userName", "displayName", "emails.value", "phoneNumbers.value"})


def condition(query: Filter, resource_type: ResourceType, dialect: Dialect) -> ColumnElement[bool]:
    """The WHERE condition, never NULL where it counts. The statement binds `tenant_id` and `type` besides
    `arguments`. Raises InvalidFilter for what the server computes and cannot search, such as meta.location."""
    return _holds(query.root, _Resource(resource_type, dialect))


def is_pointed(query: Filter) -> bool:
    """Whether a match must have one value of an attribute that hardly two resources share."""
    return _is_pointed(query.root)


def _is_pointed(node: Node) -> bool:
    match node:
        case Comparison():
            return node.operator == "eq" and notation(node.ref) in _POINTED
        case And():
            return any(_is_pointed(term) for term in node.terms)
        case ValuePath():
            return _is_pointed(node.term)
        case _:
            return False


def unique_key(query: Filter, resource_type: ResourceType) -> str | None:
    """The unique key that a match has, where having it is all that the filter asks."""
    test = query.root
    if not isinstance(test, Comparison) or test.operator != "eq":
        return None
    if key_columns(resource_type).get(test.ref) != "unique_key":
        return None
    value = query.values[test.slot]
    assert isinstance(value, str)
    return index_key(value if test.ref.leaf.case_exact else fold(value))


def arguments(query: Filter, resource_type: ResourceType, dialect: Dialect) -> dict[str, Any]:
    """The bound values, by name: f0, f1, … in the order of slots, and f0_key, f0_from, f0_to for the indexes."""
    given: dict[str, Any] = {}
    for test in comparisons(query.root):
        name, value = f"f{test.slot}", query.values[test.slot]
        if isinstance(value, str) and not test.ref.leaf.case_exact:
            value = fold(value)
        given[name] = _bound(value, _kind(test.ref, resource_type), test.operator)
        if isinstance(value, str):
            given[f"{name}_key"] = index_key(value)
            if test.operator == "sw":
                given[f"{name}_from"] = beginning(value)
                given[f"{name}_to"] = beginning(value) + _AFTER_ALL
        elif value is not None:
            given[f"{name}_key"] = value_key(plain_number(value))
    return given


def _bound(value: Value, kind: Kind, operator: Operator) -> Any:
    if kind == "id" and operator in ("eq", "ne"):
        return value if _is_id(str(value)) else _NOBODY
    if kind == "number":
        assert isinstance(value, int | float)
        return repr(plain_number(int(value) if isinstance(value, bool) else value))
    return value


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


# --- logic -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Operand:
    """One value of an attribute in SQL; NULL or `present` false where there is none."""

    value: ColumnElement[Any]
    kind: Kind
    present: ColumnElement[bool]


Test = Callable[[_Operand], ColumnElement[bool]]


class _Scope(Protocol):
    """Where references are looked up: the resource, an element of a list, a membership."""

    dialect: Dialect

    def some(self, ref: AttributeRef, test: Test) -> ColumnElement[bool]:
        """One of the values passes the test."""

    def some_element(self, ref: AttributeRef, test: Callable[["_Scope"], ColumnElement[bool]]) -> ColumnElement[bool]:
        """One of the elements passes the test."""

    def hints(self, test: Comparison) -> Iterator[ColumnElement[bool]]:
        """Conditions that follow from the comparison and that an index can serve."""


def _holds(node: Node, scope: _Scope) -> ColumnElement[bool]:
    match node:
        case Comparison():
            return and_(*scope.hints(node), _compares(node, scope))
        case Presence(ref):
            return _is_present(ref, scope)
        case Not(term):
            # SQL's NULL becomes false right here; above, only AND and OR see it, to which it is the same.
            return not_(func.coalesce(_holds(term, scope), false()))
        case And(terms):
            return and_(*(_holds(term, scope) for term in terms))
        case Or(terms):
            return or_(*(_holds(term, scope) for term in terms))
        case ValuePath(ref, term):
            parts = term.terms if isinstance(term, And) else (term,)
            hints = [hint for part in parts if isinstance(part, Comparison) for hint in scope.hints(part)]
            return and_(*hints, scope.some_element(ref, lambda element: _holds(term, element)))


def _compares(test: Comparison, scope: _Scope) -> ColumnElement[bool]:
    found = scope.some(test.ref, lambda operand: _comparison(operand, test, scope.dialect))
    if test.operator != "ne":
        return found
    return or_(found, not_(func.coalesce(scope.some(test.ref, lambda operand: operand.value.is_not(None)), false())))


def _comparison(held: _Operand, test: Comparison, d: Dialect) -> ColumnElement[bool]:
    if held.value is _COMPUTED:
        raise InvalidFilter(f"{notation(test.ref)} is made when it is sent and cannot be searched; compare an id.")
    value, name = held.value, f"f{test.slot}"
    wanted: ColumnElement[Any]
    if held.kind == "id" and test.operator not in ("eq", "ne"):
        value, wanted = d.text(value), bindparam(name, type_=Text())
    elif held.kind == "key" and test.operator in ("eq", "ne"):
        wanted = bindparam(f"{name}_key", type_=Key)
    elif held.kind == "number":
        wanted = d.number(name)
    else:
        wanted = bindparam(name, type_=_TYPES[held.kind])
    return _OPERATORS[test.operator](d, value, wanted)


_TYPES: dict[Kind, Any] = {"text": Text(), "key": Text(), "id": Id, "time": BigInteger(), "state": Boolean()}
_OPERATORS: dict[Operator, Callable[[Dialect, Any, Any], ColumnElement[bool]]] = {
    "eq": lambda d, held, wanted: held == wanted,
    "ne": lambda d, held, wanted: held != wanted,
    "co": lambda d, held, wanted: d.contains(held, wanted),
    "sw": lambda d, held, wanted: d.starts_with(held, wanted),
    "ew": lambda d, held, wanted: d.ends_with(held, wanted),
    "gt": lambda d, held, wanted: held > wanted,
    "ge": lambda d, held, wanted: held >= wanted,
    "lt": lambda d, held, wanted: held < wanted,
    "le": lambda d, held, wanted: held <= wanted,
}


def _is_present(ref: AttributeRef, scope: _Scope) -> ColumnElement[bool]:
    if ref.leaf.type != "complex":
        return scope.some(ref, lambda operand: operand.present)
    subs = [Presence(AttributeRef(ref.extension, ref.attribute, sub)) for sub in ref.attribute.sub_attributes]
    return scope.some_element(ref, lambda element: or_(*(_holds(sub, element) for sub in subs)))


# --- where values are --------------------------------------------------------------------------------------------

_COMPUTED: ColumnElement[Any] = literal_column("NULL")


class _Resource:
    """The resource itself."""

    def __init__(self, resource_type: ResourceType, dialect: Dialect) -> None:
        self.resource_type = resource_type
        self.dialect = dialect

    def some(self, ref: AttributeRef, test: Test) -> ColumnElement[bool]:
        column = _column(ref, self.resource_type, self.dialect)
        if column is not None:
            return test(column)
        if ref.attribute.multi_valued:
            return self.some_element(ref, lambda element: element.some(ref, test))
        path = (*_path(ref), ref.sub.name) if ref.sub else _path(ref)
        return _some_in(resource.c.search, path, ref, test, self.dialect)

    def some_element(self, ref: AttributeRef, test: Callable[[_Scope], ColumnElement[bool]]) -> ColumnElement[bool]:
        d, attribute = self.dialect, ref.attribute
        if _is_relation(ref, self.resource_type):
            relation = _Membership(ref, d)
            return exists(relation.rows().where(test(relation)))
        if attribute.name == "meta" and ref.extension is None:
            return test(self)
        if not attribute.multi_valued:
            # Its only element: there, and its sub-attributes are found from here.
            return and_(d.json_string(resource.c.search, *_path(ref)).is_not(None), test(self))
        document = resource.c.doc if attribute.name == "schemas" else resource.c.search
        elements = d.json_elements(document, *_path(ref))
        return _exists(elements, test(_Element(elements.c.value, d)))

    def hints(self, test: Comparison) -> Iterator[ColumnElement[bool]]:
        ref, name = test.ref, f"f{test.slot}"
        column = key_columns(self.resource_type).get(ref)
        if column in ("display_name_key", "family_name_key") and test.operator == "eq":
            yield resource.c[column] == bindparam(f"{name}_key", type_=Key)
        if column and test.operator == "sw":
            yield resource.c[column] >= bindparam(f"{name}_from", type_=Key)
            yield resource.c[column] < bindparam(f"{name}_to", type_=Key)
        if test.operator != "eq":
            return
        if _kind(ref, self.resource_type) == "id" and ref.sub:
            yield self.dialect.among(resource.c.id, _related(ref, name))
        for each in indexed(self.resource_type):
            if each.ref == ref:
                yield self.dialect.among(resource.c.id, _having(each.name, name))


class _Element:
    """An element of a multi-valued attribute, as JSON."""

    def __init__(self, value: ColumnElement[Any], dialect: Dialect) -> None:
        self.value = value
        self.dialect = dialect

    def some(self, ref: AttributeRef, test: Test) -> ColumnElement[bool]:
        return _some_in(self.value, (ref.sub.name,) if ref.sub else (), ref, test, self.dialect)

    def some_element(self, ref: AttributeRef, test: Callable[[_Scope], ColumnElement[bool]]) -> ColumnElement[bool]:
        raise AssertionError("brackets do not stand within brackets")

    def hints(self, test: Comparison) -> Iterator[ColumnElement[bool]]:
        return iter(())


class _Membership:
    """A row of `member`: an element of a group's `members`, or of a user's `groups`."""

    def __init__(self, ref: AttributeRef, dialect: Dialect) -> None:
        self.dialect = dialect
        self.of_group = ref.attribute.name == "members"

    def rows(self) -> Select[Any]:
        own = member.c.group_id if self.of_group else member.c.member_id
        rows = select(_ANY_ROW).select_from(member)
        return rows.where(member.c.tenant_id == resource.c.tenant_id, own == resource.c.id).correlate(resource)

    def some(self, ref: AttributeRef, test: Test) -> ColumnElement[bool]:
        assert ref.sub is not None
        return test(self._operand(ref.sub.name))

    def some_element(self, ref: AttributeRef, test: Callable[[_Scope], ColumnElement[bool]]) -> ColumnElement[bool]:
        raise AssertionError("brackets do not stand within brackets")

    def hints(self, test: Comparison) -> Iterator[ColumnElement[bool]]:
        return iter(())

    def _operand(self, name: str) -> _Operand:
        if name == "value":
            return _Operand(member.c.member_id if self.of_group else member.c.group_id, "id", true())
        if name == "type":
            kind = func.lower(member.c.type) if self.of_group else literal_column("'direct'", Text)
            return _Operand(kind, "text", true())
        if name == "display" and not self.of_group:
            display = self._group_name()
            return _Operand(display, "text", display.is_not(None))
        return _Operand(_COMPUTED, "text", member.c.display.is_not(None) if name == "display" else true())

    def _group_name(self) -> ColumnElement[str]:
        group = resource.alias("in_group")
        name = self.dialect.json_string(group.c.search, "displayName")
        here = (group.c.tenant_id == member.c.tenant_id, group.c.type == literal_column("'Group'"))
        return self.dialect.text(select(name).where(*here, group.c.id == member.c.group_id).scalar_subquery())


def _some_in(
    document: ColumnElement[Any], path: tuple[str, ...], ref: AttributeRef, test: Test, d: Dialect
) -> ColumnElement[bool]:
    if ref.sub and ref.sub.multi_valued:
        elements = d.json_elements(document, *path)
        return _exists(elements, test(_json_operand(elements.c.value, (), ref, d)))
    return test(_json_operand(document, path, ref, d))


def _json_operand(document: ColumnElement[Any], path: tuple[str, ...], ref: AttributeRef, d: Dialect) -> _Operand:
    text = d.json_string(document, *path)
    kind = _json_kind(ref)
    value = text if kind == "text" else d.json_number(document, *path)
    return _Operand(value, kind, text != literal_column("''"))


def _exists(elements: Any, passes: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(_ANY_ROW).select_from(elements).where(passes).correlate(resource, member))


def _path(ref: AttributeRef) -> tuple[str, ...]:
    return (ref.attribute.name,) if ref.extension is None else (ref.extension, ref.attribute.name)


def _related(ref: AttributeRef, parameter: str) -> Select[Any]:
    mine, other = member.c.group_id, member.c.member_id
    if ref.attribute.name == "groups":
        mine, other = other, mine
    return select(mine).where(
        member.c.tenant_id == bindparam("tenant_id", type_=Id), other == bindparam(parameter, type_=Id)
    )


def _having(attr: str, parameter: str) -> Select[Any]:
    table = resource_value.c
    return select(table.resource_id).where(
        table.tenant_id == bindparam("tenant_id", type_=Id),
        table.type == bindparam("type", type_=Key),
        table.attr == literal_column("'" + attr.replace("'", "''") + "'", Text),
        table.value_key == bindparam(f"{parameter}_key", type_=Key),
    )


# --- which column, of which kind ---------------------------------------------------------------------------------


def _kind(ref: AttributeRef, resource_type: ResourceType) -> Kind:
    if ref.extension is None:
        name = notation(ref)
        if name == "id" or (ref.sub and ref.sub.name == "value" and _is_relation(ref, resource_type)):
            return "id"
        if ref.attribute.name == "meta":
            return "time" if ref.leaf.type == "dateTime" else "text"
        if name == "active" and ref.leaf.type == "boolean":
            return "state"
    return _json_kind(ref)


def _json_kind(ref: AttributeRef) -> Kind:
    return "text" if ref.leaf.type in ("string", "reference", "binary") else "number"


def _is_relation(ref: AttributeRef, resource_type: ResourceType) -> bool:
    return ref.extension is None and (resource_type.name, ref.attribute.name) in (
        ("User", "groups"),
        ("Group", "members"),
    )


def _column(ref: AttributeRef, resource_type: ResourceType, d: Dialect) -> _Operand | None:
    """The column that holds the attribute exactly; None when the search document does."""
    if ref.extension is not None:
        return None
    table = resource.c
    if ref.attribute is unique_attribute(resource_type):
        return _Operand(table.unique_key, "key", table.unique_key != literal_column("''"))
    if notation(ref) == "externalId":
        return _Operand(table.external_id, "key", table.external_id != literal_column("''"))
    always: dict[str, ColumnElement[Any]] = {
        "id": table.id,
        "active": table.active,
        "meta.created": table.created,
        "meta.lastModified": table.modified,
        "meta.resourceType": table.type,
        "meta.version": d.text(literal_column("'W/\"'", Text) + d.text(table.version) + literal_column("'\"'", Text)),
        "meta.location": _COMPUTED,
    }
    value = always.get(notation(ref))
    return None if value is None else _Operand(value, _kind(ref, resource_type), true())
