"""The value that a list is sorted by, in SQL, for both databases (RFC 7644 §3.4.2.3).

Promoted columns where there are any, so that an index can serve the order; else what the search document holds. Text
is folded there unless caseExact. Of a multi-valued attribute it is the primary value, else the first.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, Text, bindparam, cast, func, literal_column, select

from scim_server.protocol.attributes import AttributeRef, ResourceType
from scim_server.protocol.notation import notation
from scim_server.storage.dialects import Dialect
from scim_server.storage.keys import key_columns
from scim_server.storage.tables import Key, resource

# What every resource of one type has the same of, or what is in the order of ids anyhow.
_BY_ID = ("id", "meta.location", "meta.resourceType", "schemas")


@dataclass(frozen=True, slots=True)
class SortKey:
    """`value` of each row, `bound` a parameter of the same type; `optional`: some rows have none (NULL); `numeric`:
    bound as text, because JSON numbers are."""

    value: ColumnElement[Any]
    bound: ColumnElement[Any]
    optional: bool = True
    numeric: bool = False


def sort_key(by: AttributeRef | None, resource_type: ResourceType, d: Dialect) -> SortKey | None:
    """What to sort by; None when that is the id alone."""
    if by is None or (by.extension is None and notation(by) in _BY_ID):
        return None
    key = bindparam("sort_key", type_=Key)
    column = key_columns(resource_type).get(by)
    if column is not None:
        return SortKey(resource.c[column], key)
    if by.extension is None:
        whole: dict[str, ColumnElement[Any]] = {
            "meta.created": resource.c.created,
            "meta.lastModified": resource.c.modified,
            "meta.version": resource.c.version,
            "active": cast(resource.c.active, Integer),
        }
        if notation(by) in whole:
            return SortKey(whole[notation(by)], bindparam("sort_key", type_=BigInteger()), optional=False)
    if by.leaf.type in ("string", "reference", "binary"):
        return SortKey(_held(by, d, number=False), bindparam("sort_key", type_=Text()))
    return SortKey(_held(by, d, number=True), d.number("sort_key"), numeric=True)


def _held(by: AttributeRef, d: Dialect, *, number: bool) -> ColumnElement[Any]:
    read = d.json_number if number else d.json_string
    document = resource.c.search
    path = (by.attribute.name,) if by.extension is None else (by.extension, by.attribute.name)
    below = (by.sub.name,) if by.sub else ()
    if not by.attribute.multi_valued:
        return read(document, *path, *below)
    first = read(d.json_first(document, *path), *below)
    if "primary" not in by.attribute.by_name:
        return first
    elements = d.json_elements(document, *path)
    value = elements.c.value
    is_primary = d.json_number(value, "primary") == literal_column("1")
    primary = select(read(value, *below)).select_from(elements).where(is_primary).limit(literal_column("1"))
    return func.coalesce(primary.correlate(resource).scalar_subquery(), first)
