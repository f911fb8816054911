"""The SQL tables that hold the rows of users' tables, and the statements that make, change and drop them.

A table has two: ``rows_<seq>`` with the rows, and ``rows_<seq>_perms`` with their permissions, one action and role a
row, so that SQL can tell who may read what. They are no part of :data:`workers.store.tables.metadata`, since
migrations must not see them. Data definition is transactional in both databases: a schema and its SQL table change
together or not at all.

SQL types are few and never change: a column of the API that is renamed, or whose size, range or elements
change, stays as it is in SQL, and a number is never used twice. So a statement that another process has prepared
before a change still means the same after it, or names a column that is gone.
"""

import sqlite3
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable, DropTable
from sqlalchemy.types import TypeEngine

from workers.store.dialects import word_vector
from workers.store.schema import Column, Index, TableRecord, sql_name_of
from workers.store.tables import Json
from workers.store.tables import Sequence as SequenceType
from workers.store.values import max_chars

SortedText = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text that sorts by code points, as SQLite does it; PostgreSQL's own order depends on where it was installed."""

_SCALARS: dict[str, TypeEngine[Any]] = {
    "integer": sa.BigInteger(),
    "bigint": sa.BigInteger(),
    "double": sa.Double(),
    "boolean": sa.Boolean(),
    "point": Json,
    "linestring": Json,
    "polygon": Json,
}

_SYSTEM_COLUMNS = {"$id": "id", "$sequence": "seq", "$createdAt": "created_at", "$updatedAt": "updated_at"}
"""The SQL columns of the attributes that every row has."""

_CACHED = 1024
"""Of how many tables the SQL tables are kept ready."""


_SQLSTATES_OUTDATED = frozenset({"42P01", "42703", "0A000"})
"""PostgreSQL's: no such table, no such column, a prepared statement that no longer fits."""

_SQLITE_OUTDATED = ("no such table: ", "no such column: ", " has no column named ")
"""What SQLite says of that; it has one code for all mistakes."""


def is_outdated(error: DBAPIError) -> bool:
    """Tell whether a statement failed since the table was changed or dropped after its record had been read.

    In PostgreSQL also within one transaction; one of SQLite sees one state from its beginning to its end, but the
    record may be older.
    """
    if isinstance(error.orig, sqlite3.OperationalError):
        return any(text in str(error.orig) for text in _SQLITE_OUTDATED)
    return getattr(error.orig, "sqlstate", "") in _SQLSTATES_OUTDATED


def sql_type(column: Column) -> TypeEngine[Any]:
    """Return what a column is in SQL: JSON for arrays and shapes, text for all that is not a number or boolean."""
    return Json if column.array else _SCALARS.get(column.type, SortedText)


def rows_table(record: TableRecord) -> sa.Table:
    """Return the SQL table of the rows; for the same columns, the same object.

    Its columns are ``seq``, ``id``, ``permissions``, ``created_at``, ``updated_at``, and one for each column of the
    schema, by its ``sql_name``.
    """
    return _rows_table(record.sql_name, _sql_columns(record))


def perms_table(record: TableRecord) -> sa.Table:
    """Return the SQL table of the rows' permissions: ``row_seq``, ``action``, ``role``.

    Whoever deletes a row deletes its permissions too; no constraint does, as it would be checked with each insert.
    """
    return _perms_table(record.sql_name)


def _sql_columns(record: TableRecord) -> tuple[tuple[str, TypeEngine[Any]], ...]:
    return tuple((column.sql_name, sql_type(column)) for column in record.schema.columns)


def _define_rows_table(name: str, columns: Iterable[tuple[str, TypeEngine[Any]]]) -> sa.Table:
    return sa.Table(
        name,
        sa.MetaData(),
        sa.Column("seq", SequenceType, primary_key=True, autoincrement=True),
        sa.Column("id", SortedText, nullable=False),
        sa.Column("permissions", Json, nullable=False),
        sa.Column("created_at", SortedText, nullable=False),
        sa.Column("updated_at", SortedText, nullable=False),
        *(sa.Column(column_name, column_type) for column_name, column_type in columns),
        sa.Index(f"{name}_id", "id", unique=True),
        sqlite_autoincrement=True,
    )


_rows_table = lru_cache(maxsize=_CACHED)(_define_rows_table)


@lru_cache(maxsize=_CACHED)
def _perms_table(name: str) -> sa.Table:
    return sa.Table(
        f"{name}_perms",
        sa.MetaData(),
        sa.Column("row_seq", sa.BigInteger, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("row_seq", "action", "role"),
        sa.Index(f"{name}_perms_role", "role", "action", "row_seq"),
        sqlite_with_rowid=False,
    )


async def create_row_tables(connection: AsyncConnection, record: TableRecord) -> None:
    """Make the SQL tables of a table, with its columns and indexes."""
    for table in (rows_table(record), perms_table(record)):
        await connection.execute(CreateTable(table))
        for index in table.indexes:
            await connection.execute(CreateIndex(index))
    for column in record.schema.columns:
        await _create_link_index(connection, record, column)
    for each in record.schema.indexes:
        await create_row_index(connection, record, each)


async def drop_row_tables(connection: AsyncConnection, seqs: Iterable[int]) -> None:
    """Drop the SQL tables of tables, given by their ``seq``, with everything in them."""
    for name in map(sql_name_of, seqs):
        for table in (_rows_table(name, ()), _perms_table(name)):
            await connection.execute(DropTable(table))


async def add_row_column(connection: AsyncConnection, record: TableRecord, column: Column) -> None:
    """Add a column, which is null in the rows that are there. ``record`` may already know of it, or not yet."""
    sql_column: sa.Column[Any] = sa.Column(column.sql_name, sql_type(column))
    definition = CreateColumn(sql_column).compile(dialect=connection.dialect)
    await connection.exec_driver_sql(f"ALTER TABLE {record.sql_name} ADD COLUMN {definition}")
    await _create_link_index(connection, record, column)


async def drop_row_column(connection: AsyncConnection, record: TableRecord, column: Column) -> None:
    """Drop a column with what is in it. No index of the schema may be left on it."""
    await connection.exec_driver_sql(f"DROP INDEX IF EXISTS {_link_index_name(record, column)}")
    await connection.exec_driver_sql(f"ALTER TABLE {record.sql_name} DROP COLUMN {column.sql_name}")


async def _create_link_index(connection: AsyncConnection, record: TableRecord, column: Column) -> None:
    """Have the rows that lead to another one found quickly, as they must be when that one is deleted."""
    if column.relation is not None and not column.array:
        name = _link_index_name(record, column)
        await connection.exec_driver_sql(f"CREATE INDEX {name} ON {record.sql_name} ({column.sql_name})")


def _link_index_name(record: TableRecord, column: Column) -> str:
    return f"{record.sql_name}_{column.sql_name}"


async def has_longer_text(
    connection: AsyncConnection, record: TableRecord, column: Column, chars: int
) -> bool:
    """Tell whether a row has a text of more than ``chars`` characters in a column; lists of texts are passed over."""
    if column.array:
        return False
    table = rows_table(record)
    longer = sa.func.length(table.c[column.sql_name]) > chars
    found = await connection.execute(sa.select(table.c.seq).where(longer).limit(1))
    return found.first() is not None


async def create_row_index(connection: AsyncConnection, record: TableRecord, index: Index) -> None:
    """Make an index: ordered for values, inverted for words and arrays if the database has that; none for shapes.

    Raises:
        sqlalchemy.exc.IntegrityError: it is unique, and the rows that are there are not.
    """
    sql_index = _sql_index(record, index, is_sqlite=connection.dialect.name == "sqlite")
    if sql_index is not None:
        await connection.execute(CreateIndex(sql_index))


async def drop_row_index(connection: AsyncConnection, record: TableRecord, index: Index) -> None:
    """Drop an index."""
    await connection.exec_driver_sql(f"DROP INDEX IF EXISTS {_index_name(record, index)}")


def _index_name(record: TableRecord, index: Index) -> str:
    return f"{record.sql_name}_i{index.number}"


def _sql_index(record: TableRecord, index: Index, *, is_sqlite: bool) -> sa.Index | None:
    if index.type == "spatial" or (index.type == "fulltext" and is_sqlite):
        return None
    # Not the one that is kept ready: indexes stick to the table that they are defined on.
    table = _define_rows_table(record.sql_name, _sql_columns(record))
    name = _index_name(record, index)
    columns = [table.c[_sql_name(record, key)] for key in index.columns]
    if index.type == "fulltext":
        return sa.Index(name, *map(word_vector, columns), postgresql_using="gin", _table=table)
    if any(column.type is Json for column in columns):
        return None if is_sqlite else sa.Index(name, *columns, postgresql_using="gin", _table=table)
    parts = _ordered(table, record, index, is_sqlite=is_sqlite)
    return sa.Index(name, *parts, unique=index.type == "unique", _table=table)


def _ordered(table: sa.Table, record: TableRecord, index: Index, *, is_sqlite: bool) -> list[Any]:
    """Return the parts of an index that lists are ordered by: null first, and at last ``seq``, as their orders have it.

    A column of texts longer than the length that is given for it takes part with how they begin.
    """
    parts: list[Any] = []
    direction = "ASC"
    for position in range(len(index.columns)):
        direction = index.orders[position] if position < len(index.orders) else "ASC"
        part = _beginning(table, record, index, position)
        parts.append(_directed(part, direction, is_sqlite=is_sqlite))
    if index.type != "unique":
        parts.append(_directed(table.c.seq, direction, is_sqlite=is_sqlite))
    return parts


def _beginning(table: sa.Table, record: TableRecord, index: Index, position: int) -> Any:
    key = index.columns[position]
    length = index.lengths[position] if position < len(index.lengths) else 0
    sql_column = table.c[_sql_name(record, key)]
    column = record.schema.column(key)
    if column is None or not 0 < length < max_chars(column):
        return sql_column
    return sa.func.substr(sql_column, sa.literal_column("1"), sa.literal_column(str(length)))


def _directed(part: Any, direction: str, *, is_sqlite: bool) -> Any:
    """Return a part as lists order by it: null first, if it can be null."""
    directed = part.desc() if direction == "DESC" else part.asc()
    # In SQLite null comes first anyway, and an index may not say so.
    if is_sqlite or not getattr(part, "nullable", True):
        return directed
    return directed.nulls_last() if direction == "DESC" else directed.nulls_first()


def _sql_name(record: TableRecord, key: str) -> str:
    column = record.schema.column(key)
    return _SYSTEM_COLUMNS[key] if column is None else column.sql_name
