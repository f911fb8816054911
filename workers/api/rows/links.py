"""What relationships say about rows that are deleted: refuse it, delete the related rows too, or let go of them.

A relationship is a column that holds the IDs of related rows. Where many rows lead to one (``manyToOne``), its
``onDelete`` is about the deletion of the one; else it is about the deletion of a row that has the column. A row that a
``oneToOne`` column leads to can always be deleted, and the column becomes null. Lists keep the IDs of rows that
are deleted one by one; they are passed over when related rows are shown. Source: the guide to relationships.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.api.databases.lookup import known_links, known_table
from workers.api.errors import bad_request
from workers.api.problems import Problem, refuse
from workers.api.rows.changes import Row
from workers.api.rows.opened import OpenTable
from workers.api.rows.statements import find_rows
from workers.store.row_tables import rows_table
from workers.store.schema import Column
from workers.store.store import Transaction

MAX_LINKED = 1000
"""How many related rows may be deleted or changed along with those of a request."""


class Linked(NamedTuple):
    """Rows that are to be dealt with, since rows are deleted that they are related to."""

    table: OpenTable
    rows: Sequence[Row]
    column: Column | None
    """The column that is to become null; None if the rows are to be deleted."""


async def follow(tx: Transaction, table: OpenTable, rows: Sequence[Row]) -> list[Linked]:
    """Return what is to happen to related rows when ``rows`` are deleted; they are locked.

    Raises:
        ApiError: 403, a relationship does not let the rows go; 401, the caller may not delete a related row; 400 for
            more than :data:`MAX_LINKED` related rows.
    """
    links = await known_links(tx.connection, tx.project, table.record.database_id)
    if not links:
        return []
    seen = {(table.record.seq, row["seq"]) for row in rows}
    found: list[Linked] = []
    waiting = [(table, rows)]
    while waiting:
        of, deleted = waiting.pop()
        async for linked, on_delete in _related(tx, of, deleted):
            new = [row for row in linked.rows if (linked.table.record.seq, row["seq"]) not in seen]
            if not new:
                continue
            if linked.column is None and on_delete == "restrict":
                raise refuse(Problem.ROW_RESTRICTED, word=table.words.row)
            if len(seen) - len(rows) + len(new) > MAX_LINKED:
                raise bad_request(f"More than {MAX_LINKED} related {table.words.rows} would go along.")
            found.append(linked._replace(rows=new))
            if linked.column is None:
                for row in new:
                    linked.table.require("delete", row)
                seen |= {(linked.table.record.seq, row["seq"]) for row in new}
                waiting.append((linked.table, new))
    return [each for each in found if each.column is None] + [
        each._replace(rows=[row for row in each.rows if (each.table.record.seq, row["seq"]) not in seen])
        for each in found
        if each.column is not None
    ]


async def _related(
    tx: Transaction, table: OpenTable, rows: Sequence[Row]
) -> AsyncIterator[tuple[Linked, str]]:
    """Yield the rows that are related to ``rows`` in a way that matters when these are deleted, with ``onDelete``."""
    for column in table.record.schema.columns:
        relation = column.relation
        if relation is None or relation.relation_type == "manyToOne" or relation.on_delete == "setNull":
            continue
        if ids := _ids(column, rows):
            other = await _open(tx, table, relation.related_table_id)
            found = await find_rows(tx.connection, other.record, ids, lock=True)
            yield Linked(other, list(found.values()), None), relation.on_delete
    links = await known_links(tx.connection, tx.project, table.record.database_id)
    for record, column in links.get(table.record.id, ()):
        relation = column.relation
        if relation is None or column.array:
            continue
        other = OpenTable(record, table.caller, table.words)
        leading = await _leading(tx.connection, other, column, {row["id"] for row in rows})
        is_emptied = relation.relation_type == "oneToOne" or relation.on_delete == "setNull"
        yield Linked(other, leading, column if is_emptied else None), relation.on_delete


def _ids(column: Column, rows: Sequence[Row]) -> set[str]:
    """Return the IDs of the rows that ``rows`` lead to."""
    values = [row[column.sql_name] for row in rows if row[column.sql_name]]
    return {each for value in values for each in value if each} if column.array else set(values)


async def _open(tx: Transaction, table: OpenTable, table_id: str) -> OpenTable:
    """Return another table of the same database; also one that is disabled, as its rows are related nevertheless."""
    record = await known_table(
        tx.connection, tx.project, table.record.database_id, table_id, words=table.words
    )
    return OpenTable(record, table.caller, table.words)


async def _leading(
    connection: AsyncConnection, table: OpenTable, column: Column, ids: Collection[str]
) -> list[Row]:
    """Return the rows of ``table`` that lead to one of ``ids``, locked; no more of them than can be dealt with."""
    rows = rows_table(table.record)
    statement = sa.select(rows).where(rows.c[column.sql_name].in_(ids)).order_by(rows.c.seq)
    found = await connection.execute(statement.limit(MAX_LINKED + 1).with_for_update())
    return [dict(row) for row in found.mappings()]
