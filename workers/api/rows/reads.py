"""Rows as somebody may see them: one, or a page of them, with the columns that were asked for.

Rows that a column leads to are shown only if ``select`` asks for them (``author.*``, ``author.name``), one level deep,
and only those that the caller may read; otherwise the column holds their IDs.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.permissions import ANY
from workers.api.errors import ApiError
from workers.api.problems import Problem, refuse
from workers.api.rows.opened import OpenTable, open_table
from workers.api.rows.statements import find_rows
from workers.api.rows.structure import row_model
from workers.models.rows import StoredRow
from workers.store.dialects import is_among
from workers.store.fields import Field, Kind
from workers.store.pages import fetch_page
from workers.store.queries import ListQuery
from workers.store.row_tables import perms_table, rows_table
from workers.store.schema import Column, Relation, TableRecord

_KINDS: dict[str, Kind] = {
    "integer": "integer",
    "bigint": "integer",
    "double": "double",
    "boolean": "boolean",
    "datetime": "datetime",
    "relationship": "id",
    "point": "opaque",
    "linestring": "opaque",
    "polygon": "opaque",
}
"""What the queries of lists take the types of columns for; all others are texts."""


async def fetch_rows(
    connection: AsyncConnection, table: OpenTable, query: ListQuery, *, count: bool
) -> tuple[int, list[dict[str, Any]]]:
    """Return how many rows there are for the caller, and the models of those on the page.

    Raises:
        ApiError: 401, the table has no row security and does not let the caller read.
        InvalidQueryError: the query does not fit the columns.
    """
    page = await fetch_page(
        connection,
        rows_table(table.record),
        fields_of(table.record),
        query,
        where=readable(table),
        count=count,
    )
    return page.total, await show_rows(connection, table, page.rows, query.select)


def readable(table: OpenTable) -> list[sa.ColumnElement[bool]]:
    """Return the conditions in SQL that the caller may read a row; none if every row may be read.

    Raises:
        ApiError: 401, no row may be.
    """
    if table.allows("read"):
        return []
    if not table.record.row_security:
        raise refuse(Problem.USER_UNAUTHORIZED)
    rows, perms = rows_table(table.record), perms_table(table.record)
    return [
        sa.exists().where(
            perms.c.row_seq == rows.c.seq,
            perms.c.action == "read",
            is_among(perms.c.role, [ANY, *sorted(table.caller.roles)]),
        )
    ]


def fields_of(table: TableRecord) -> dict[str, Field]:
    """Return what a list of rows can be filtered and ordered by."""
    rows = rows_table(table)
    fields = {
        "$id": Field(rows.c.id, "id"),
        "$createdAt": Field(rows.c.created_at, "datetime"),
        "$updatedAt": Field(rows.c.updated_at, "datetime"),
    }
    searched = {key for index in table.schema.indexes if index.type == "fulltext" for key in index.columns}
    for column in table.schema.columns:
        kind = _KINDS.get(column.type, "string")
        sql_column = rows.c[column.sql_name]
        fields[column.key] = (
            Field(sql_column, "json-array", items=kind)
            if column.array
            else Field(sql_column, kind, has_word_index=column.key in searched)
        )
    return fields


async def show_rows(
    connection: AsyncConnection, table: OpenTable, rows: Sequence[StoredRow], select: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the models of ``rows`` with what ``select`` names; it is empty for every column."""
    columns = _selected(table.record, select)
    models = [row_model(table.record, table.words, row, columns) for row in rows]
    for column in columns:
        wanted = [name.partition(".")[2] for name in select if name.startswith(f"{column.key}.")]
        if wanted and column.relation is not None:
            related = await _related(connection, table, column.relation, _ids(models, column.key), wanted)
            _expand(models, column.key, related)
    return models


def _selected(table: TableRecord, select: Sequence[str]) -> Sequence[Column]:
    if not select or "*" in select:
        return table.schema.columns
    keys = {name.partition(".")[0] for name in select}
    return [column for column in table.schema.columns if column.key in keys]


def _ids(models: Iterable[Mapping[str, Any]], key: str) -> set[str]:
    """Return the IDs that a column of ``models`` holds, which is a list of them or one."""
    values = [model[key] for model in models]
    ids = {row_id for value in values for row_id in (value if isinstance(value, list) else [value])}
    return ids - {None}


async def _related(
    connection: AsyncConnection,
    table: OpenTable,
    relation: Relation,
    ids: Collection[str],
    select: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Return the models of those related rows that the caller may read, by their IDs."""
    try:
        other = await open_table(
            connection, table.caller, table.words, table.record.database_id, relation.related_table_id
        )
    except ApiError:
        # Deleted, or not for this caller.
        return {}
    rows = await find_rows(connection, other.record, ids)
    columns = _selected(other.record, select)
    return {
        row_id: row_model(other.record, other.words, row, columns)
        for row_id, row in rows.items()
        if other.allows("read", row)
    }


def _expand(models: Iterable[dict[str, Any]], key: str, related: Mapping[str, dict[str, Any]]) -> None:
    """Put the models of related rows in place of their IDs; nothing in place of those that are not shown."""
    for model in models:
        value = model[key]
        if isinstance(value, list):
            model[key] = [related[row_id] for row_id in value if row_id in related]
        else:
            model[key] = related.get(value)
