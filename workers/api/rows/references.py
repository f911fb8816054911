"""Which rows a change may lead to: those that are there and that the caller may read.

Otherwise anybody could keep the row of somebody else from being deleted, or find out that it is there. Only IDs that a
change adds are judged; what a row led to before is not the fault of who changes something else in it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from workers.api.errors import ApiError
from workers.api.problems import Problem, refuse
from workers.api.rows.opened import OpenTable, open_table
from workers.api.rows.statements import keep_rows
from workers.store.schema import Column

MAX_REFERENCES = 1000
"""To how many further rows a change may have a column of one row lead."""


async def check_references(
    connection: AsyncConnection,
    table: OpenTable,
    values: Sequence[Mapping[str, Any]],
    old: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Refuse rows that lead to others which the caller may not read, or which are not there.

    Those that are there stay until the transaction ends. Called once the rows are written, as they may lead to each
    other.

    Args:
        connection: what to read on.
        table: the table that has the columns.
        values: what was written, by the names of SQL columns: each of several new rows, or what all of ``old`` got.
        old: rows that were there before, as they were.

    Raises:
        ApiError: 400 ``row_invalid_structure``, in the words of the API that was called.
    """
    for column in table.record.schema.columns:
        if column.relation is None:
            continue
        known = set.intersection(*(_ids(column, row) for row in old)) if old else set()
        added = [_ids(column, row) - known for row in values]
        if any(len(ids) > MAX_REFERENCES for ids in added):
            raise _refused(
                table, f'Attribute "{column.key}" can lead to {MAX_REFERENCES} further rows at a time'
            )
        if wanted := set().union(*added):
            await _check(connection, table, column, column.relation.related_table_id, wanted)


async def _check(
    connection: AsyncConnection, table: OpenTable, column: Column, table_id: str, ids: Collection[str]
) -> None:
    try:
        other = await open_table(connection, table.caller, table.words, table.record.database_id, table_id)
    except ApiError:
        # Disabled, so not for this caller.
        other, found = table, {}
    else:
        found = await keep_rows(connection, other.record, ids)
    for row_id in sorted(ids):
        # One answer for both: whether a row is there must not be found out.
        if row_id not in found or not other.allows("read", found[row_id]):
            raise _refused(table, f'Attribute "{column.key}" leads to "{row_id}", which could not be found')


def _ids(column: Column, row: Mapping[str, Any]) -> set[str]:
    """Return the IDs of the rows that a row leads to."""
    value = row.get(column.sql_name)
    return {each for each in (value or () if column.array else (value,)) if each}


def _refused(table: OpenTable, reason: str) -> ApiError:
    return refuse(Problem.ROW_STRUCTURE, word=table.words.row, reason=reason)
