"""EVERY difference between Postgres and SQLite, as two objects with the same methods.

Statements are written once in SQLAlchemy Core and ask the dialect only for what the databases spell differently.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Table,
    Text,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    types,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine.interfaces import Dialect as Compiler

from scim_server.storage.tables import Id

Types = Mapping[str, types.TypeEngine[Any]]


class Dialect(Protocol):
    """What a statement may ask of the database it is compiled for."""

    name: str
    compiler: Compiler
    chains: bool  # all writes of a change go into one statement as CTEs; else they run one after the other

    def rows(self, parameter: str, columns: Types) -> FromClause:
        """A bound JSON array of objects as a table `parameter` with these columns."""
        ...

    def any_of(self, value: ColumnElement[Any], parameter: str, kind: types.TypeEngine[Any]) -> ColumnElement[bool]:
        """`value` is one of the elements of a bound list, packed by `pack_list`."""
        ...

    def pack_list(self, values: list[str]) -> Any:
        """How a list is bound for `any_of`."""
        ...

    def greatest(self, left: ColumnElement[Any], right: ColumnElement[Any]) -> ColumnElement[Any]:
        """The larger of two values."""
        ...

    def now(self) -> ColumnElement[int]:
        """The database's own clock in unix milliseconds: leases and due times must not depend on the caller's."""
        ...

    def insert(self, table: Table) -> "postgresql.Insert | sqlite.Insert":
        """An INSERT that can carry ON CONFLICT."""
        ...

    def json(self, parameter: str) -> ColumnElement[Any]:
        """A bound JSON text as a value for a document column."""
        ...

    def json_text(self, document: ColumnElement[Any]) -> ColumnElement[str]:
        """A document column as JSON text."""
        ...

    def json_member(self, document: ColumnElement[Any], name: str) -> ColumnElement[str]:
        """A top-level member of a document as text, NULL when missing."""
        ...

    def json_pairs(self, left: ColumnElement[Any], right: ColumnElement[Any]) -> ColumnElement[str]:
        """Aggregate: JSON text of a list of [left, right] pairs, NULL or "[]" for no rows."""
        ...


class Postgres:
    """PostgreSQL through asyncpg: $n parameters, jsonb, data-modifying CTEs."""

    name = "postgresql"
    chains = True

    def __init__(self) -> None:
        self.compiler: Compiler = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped

    def rows(self, parameter: str, columns: Types) -> FromClause:
        typed = [column(name, kind) for name, kind in columns.items()]
        source = func.jsonb_to_recordset(self.json(parameter))
        return source.table_valued(*typed).render_derived(name=parameter, with_types=True)

    def any_of(self, value: ColumnElement[Any], parameter: str, kind: types.TypeEngine[Any]) -> ColumnElement[bool]:
        array = postgresql.ARRAY(postgresql.UUID(as_uuid=False) if kind is Id else Text())
        return value == func.any(cast(bindparam(parameter, type_=array), array))

    def pack_list(self, values: list[str]) -> Any:
        return values

    def greatest(self, left: ColumnElement[Any], right: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.greatest(left, right)

    def now(self) -> ColumnElement[int]:
        return cast(literal_column("extract(epoch from statement_timestamp()) * 1000"), BigInteger)

    def insert(self, table: Table) -> postgresql.Insert:
        return postgresql.insert(table)

    def json(self, parameter: str) -> ColumnElement[Any]:
        return bindparam(parameter, type_=postgresql.JSONB(none_as_null=True))

    def json_text(self, document: ColumnElement[Any]) -> ColumnElement[str]:
        return cast(document, Text)

    def json_member(self, document: ColumnElement[Any], name: str) -> ColumnElement[str]:
        return document.op("->>")(literal_column(f"'{name}'", Text))

    def json_pairs(self, left: ColumnElement[Any], right: ColumnElement[Any]) -> ColumnElement[str]:
        return cast(func.json_agg(func.json_build_array(left, right)), Text)


class SQLite:
    """SQLite through the standard library: ? parameters, JSON functions, one writer."""

    name = "sqlite"
    chains = False

    def __init__(self) -> None:
        self.compiler: Compiler = SQLiteDialect_pysqlite()

    def rows(self, parameter: str, columns: Types) -> FromClause:
        source = func.json_each(self.json(parameter)).table_valued("value")
        picked = [
            func.json_extract(source.c.value, literal_column(f"'$.{name}'"), type_=kind).label(name)
            for name, kind in columns.items()
        ]
        return select(*picked).select_from(source).subquery(parameter)

    def any_of(self, value: ColumnElement[Any], parameter: str, kind: types.TypeEngine[Any]) -> ColumnElement[bool]:
        source = func.json_each(self.json(parameter)).table_valued("value")
        return value.in_(select(source.c.value))

    def pack_list(self, values: list[str]) -> Any:
        return orjson.dumps(values).decode()

    def greatest(self, left: ColumnElement[Any], right: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.max(left, right)

    def now(self) -> ColumnElement[int]:
        return literal_column("CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)", BigInteger)

    def insert(self, table: Table) -> sqlite.Insert:
        return sqlite.insert(table)

    def json(self, parameter: str) -> ColumnElement[Any]:
        return bindparam(parameter, type_=Text())

    def json_text(self, document: ColumnElement[Any]) -> ColumnElement[str]:
        return document

    def json_member(self, document: ColumnElement[Any], name: str) -> ColumnElement[str]:
        return func.json_extract(document, literal_column(f"'$.{name}'"), type_=Text)

    def json_pairs(self, left: ColumnElement[Any], right: ColumnElement[Any]) -> ColumnElement[str]:
        return func.json_group_array(func.json_array(left, right), type_=Text)


POSTGRES = Postgres()
SQLITE = SQLite()
