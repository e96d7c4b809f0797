"""EVERY difference between Postgres and SQLite, as two objects with the same methods.

Statements are written once in SQLAlchemy Core and ask the dialect only for what the databases spell differently.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    Numeric,
    Select,
    Table,
    Text,
    bindparam,
    case,
    cast,
    collate,
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

from scim_server.storage.change import FEED
from scim_server.storage.tables import Id, outbox

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

    def position(self) -> ColumnElement[int]:
        """A number for a new outbox row of `tenant_id` that follows the order of commits (see `settled_position`)."""
        ...

    def foreign_position(self) -> ColumnElement[int]:
        """No row of this database's own has this position or a later one: it was restored from another."""
        ...

    def settled_position(self) -> ColumnElement[int]:
        """Rows below this position are all there are: none can still be committed under a smaller one."""
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

    def json_string(self, document: ColumnElement[Any], *path: str) -> ColumnElement[str]:
        """What a document holds under these names, as text in the order of code points; NULL when missing."""
        ...

    def json_number(self, document: ColumnElement[Any], *path: str) -> ColumnElement[Any]:
        """The number that a document holds under these names; NULL for anything else."""
        ...

    def json_elements(self, document: ColumnElement[Any], *path: str) -> FromClause:
        """The elements of a list in a document as a table with the column `value`; no rows when missing."""
        ...

    def json_first(self, document: ColumnElement[Any], *path: str) -> ColumnElement[Any]:
        """The first element of a list in a document, as JSON; NULL when missing."""
        ...

    def number(self, parameter: str) -> ColumnElement[Any]:
        """A bound JSON number, comparable with `json_number`."""
        ...

    def text(self, value: ColumnElement[Any]) -> ColumnElement[str]:
        """Any column as text in the order of code points."""
        ...

    def contains(self, text: ColumnElement[str], part: ColumnElement[str]) -> ColumnElement[bool]:
        """`part` occurs in `text`; no character of it is a wildcard."""
        ...

    def starts_with(self, text: ColumnElement[str], part: ColumnElement[str]) -> ColumnElement[bool]:
        """`text` begins with `part`."""
        ...

    def ends_with(self, text: ColumnElement[str], part: ColumnElement[str]) -> ColumnElement[bool]:
        """`text` ends with `part`."""
        ...

    def among(self, value: ColumnElement[Any], rows: Select[Any]) -> ColumnElement[bool]:
        """`value` is in the only column of `rows`, which are few: an index on `value` can serve it, even below OR."""
        ...

    def json_lists(self, *values: ColumnElement[Any]) -> ColumnElement[str]:
        """Aggregate: JSON text of a list with a list of these values for each row, NULL or "[]" for no rows."""
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
        # By a subselect the planner does not see how many there are, and plans once for lists of any length.
        return value == func.any(cast(select(bindparam(parameter, type_=array)).scalar_subquery(), array))

    def pack_list(self, values: list[str]) -> Any:
        return values

    def greatest(self, left: ColumnElement[Any], right: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.greatest(left, right)

    def now(self) -> ColumnElement[int]:
        return cast(literal_column("extract(epoch from statement_timestamp()) * 1000"), BigInteger)

    def position(self) -> ColumnElement[int]:
        return literal_column("CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)", BigInteger)

    def foreign_position(self) -> ColumnElement[int]:
        return literal_column("CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT)", BigInteger)

    def settled_position(self) -> ColumnElement[int]:
        return literal_column("CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)", BigInteger)

    def insert(self, table: Table) -> postgresql.Insert:
        return postgresql.insert(table)

    def json(self, parameter: str) -> ColumnElement[Any]:
        return bindparam(parameter, type_=postgresql.JSONB(none_as_null=True))

    def json_text(self, document: ColumnElement[Any]) -> ColumnElement[str]:
        return cast(document, Text)

    def json_string(self, document: ColumnElement[Any], *path: str) -> ColumnElement[str]:
        if path:
            found = _arrows(document, path[:-1]).op("->>", return_type=Text())(_literal(path[-1]))
        else:
            found = document.op("#>>", return_type=Text())(literal_column("'{}'"))
        return collate(found, "C")

    def json_number(self, document: ColumnElement[Any], *path: str) -> ColumnElement[Any]:
        found = _arrows(document, path)
        return case((func.jsonb_typeof(found) == literal_column("'number'"), cast(found, Numeric)))

    def json_elements(self, document: ColumnElement[Any], *path: str) -> FromClause:
        source = func.jsonb_array_elements(_arrows(document, path))
        return source.table_valued(column("value", postgresql.JSONB)).render_derived()

    def json_first(self, document: ColumnElement[Any], *path: str) -> ColumnElement[Any]:
        return _arrows(document, path).op("->")(literal_column("0"))

    def number(self, parameter: str) -> ColumnElement[Any]:
        return bindparam(parameter, type_=Numeric())

    def text(self, value: ColumnElement[Any]) -> ColumnElement[str]:
        return collate(cast(value, Text), "C")

    def contains(self, text: ColumnElement[str], part: ColumnElement[str]) -> ColumnElement[bool]:
        return func.strpos(text, part) > literal_column("0")

    def starts_with(self, text: ColumnElement[str], part: ColumnElement[str]) -> ColumnElement[bool]:
        return func.starts_with(text, part, type_=Boolean)

    def ends_with(self, text: ColumnElement[str], part: ColumnElement[str]) -> ColumnElement[bool]:
        return func.right(text, func.length(part)) == part

    def among(self, value: ColumnElement[Any], rows: Select[Any]) -> ColumnElement[bool]:
        return value == func.any(func.array(rows.scalar_subquery()))

    def json_lists(self, *values: ColumnElement[Any]) -> ColumnElement[str]:
        return cast(func.json_agg(func.json_build_array(*values)), Text)


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

    def position(self) -> ColumnElement[int]:
        # A dump that is loaded numbers rows anew; the last event of each tenant is always there.
        rows = literal_column("(SELECT coalesce(max(rowid), 0) FROM outbox)", BigInteger)
        feed = (outbox.c.tenant_id == bindparam("tenant_id", type_=Id), outbox.c.store == literal_column(f"'{FEED}'"))
        last = select(func.coalesce(func.max(outbox.c.position), literal_column("0"))).where(*feed).scalar_subquery()
        return func.max(rows, last) + literal_column("1")

    def foreign_position(self) -> ColumnElement[int]:
        return literal_column("9223372036854775807", BigInteger)

    def settled_position(self) -> ColumnElement[int]:
        return literal_column("9223372036854775807", BigInteger)

    def insert(self, table: Table) -> sqlite.Insert:
        return sqlite.insert(table)

    def json(self, parameter: str) -> ColumnElement[Any]:
        return bindparam(parameter, type_=Text())

    def json_text(self, document: ColumnElement[Any]) -> ColumnElement[str]:
        return document

    def json_string(self, document: ColumnElement[Any], *path: str) -> ColumnElement[str]:
        # json_each has made values of what is no object.
        return func.json_extract(document, _dotted(path), type_=Text) if path else document

    def json_number(self, document: ColumnElement[Any], *path: str) -> ColumnElement[Any]:
        found = self.json_string(document, *path)
        return case((func.typeof(found) != literal_column("'text'"), found))

    def json_elements(self, document: ColumnElement[Any], *path: str) -> FromClause:
        return func.json_each(document, _dotted(path)).table_valued("value")

    def json_first(self, document: ColumnElement[Any], *path: str) -> ColumnElement[Any]:
        return func.json_extract(document, _literal("$" + "".join(f'."{name}"' for name in path) + "[0]"))

    def number(self, parameter: str) -> ColumnElement[Any]:
        # Read by the same routine as the document: SQLite's own is off by a digit now and then.
        return func.json_extract(bindparam(parameter, type_=Text()), literal_column("'$'"))

    def text(self, value: ColumnElement[Any]) -> ColumnElement[str]:
        return cast(value, Text)

    def contains(self, text: ColumnElement[str], part: ColumnElement[str]) -> ColumnElement[bool]:
        return func.instr(text, part) > literal_column("0")

    def starts_with(self, text: ColumnElement[str], part: ColumnElement[str]) -> ColumnElement[bool]:
        return func.substr(text, literal_column("1"), func.length(part)) == part

    def ends_with(self, text: ColumnElement[str], part: ColumnElement[str]) -> ColumnElement[bool]:
        start = func.length(text) - func.length(part) + literal_column("1")
        return func.substr(text, start, type_=Text) == part

    def among(self, value: ColumnElement[Any], rows: Select[Any]) -> ColumnElement[bool]:
        return value.in_(rows)

    def json_lists(self, *values: ColumnElement[Any]) -> ColumnElement[str]:
        return func.json_group_array(func.json_array(*values), type_=Text)


def _arrows(document: ColumnElement[Any], path: tuple[str, ...]) -> ColumnElement[Any]:
    for name in path:
        document = document.op("->")(_literal(name))
    return document


def _dotted(path: tuple[str, ...]) -> ColumnElement[str]:
    return _literal("$" + "".join(f'."{name}"' for name in path))


def _literal(text: str) -> ColumnElement[str]:
    """A name from a schema (never from a request) as a constant, because only constants can be planned for."""
    return literal_column("'" + text.replace("'", "''") + "'", Text)


POSTGRES = Postgres()
SQLITE = SQLite()
