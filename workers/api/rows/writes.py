"""Changes to rows, written and told: the row, its permissions, and its event, in one transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError

from realtime.events.event import Event
from workers.api.databases.words import DOCUMENTS, Words
from workers.api.problems import Problem, refuse
from workers.api.rows.changes import Change, Row, Verb, answer, apply, event_action
from workers.api.rows.links import follow
from workers.api.rows.opened import OpenTable
from workers.api.rows.references import check_references
from workers.api.rows.statements import delete_rows, find_row, insert_row, insert_rows, update_rows
from workers.api.rows.structure import relationships
from workers.store.store import Transaction


async def write(tx: Transaction, table: OpenTable, change: Change) -> dict[str, Any]:
    """Make one change with its event, and return the model of the row for the caller; of a deleted row as it was.

    Raises:
        ApiError: what :func:`~workers.api.rows.changes.apply` refuses; 409 for a unique value that is taken.
        InvalidPermissionError: the permissions are malformed.
    """
    old = None
    if change.verb != "create":
        # A row that is created is not looked for: its unique ID tells, without a further statement.
        old = await find_row(tx.connection, table.record, change.row_id, lock=True)
    row = apply(table, change, old, tx.now_text)
    await store(tx, table, change.verb, old, row)
    model = emit(tx, table, event_action(change.verb), row)
    return answer(table, change, old, row, model)


async def store(
    tx: Transaction, table: OpenTable, verb: Verb, old: Row | None, row: Row, *, tells: bool = True
) -> None:
    """Bring SQL from ``old`` to ``row``, which gets its ``seq`` if it is new; or delete it.

    Raises:
        ApiError: 409, the ID or the value of a unique column is taken; 400, the row leads to another one that is not
            there for the caller: the transaction cannot go on; and what :func:`remove` raises.
    """
    if verb == "delete":
        await remove(tx, table, [row], tells=tells)
    elif old is None:
        await insert(tx, table, [row])
    else:
        await update(tx, table, [old], {name: value for name, value in row.items() if value != old[name]})


async def remove(tx: Transaction, table: OpenTable, rows: Sequence[Row], *, tells: bool = True) -> None:
    """Delete ``rows``, and do to related rows what their relationships want, each with its event.

    The events of ``rows`` themselves are the caller's. ``tells`` is whether there are events.

    Raises:
        ApiError: what :func:`~workers.api.rows.links.follow` raises.
    """
    linked = await follow(tx, table, rows)
    await delete_rows(tx.connection, table.record, [row["seq"] for row in rows])
    for other, related, column in linked:
        if column is None:
            await delete_rows(tx.connection, other.record, [row["seq"] for row in related])
        else:
            values = {column.sql_name: None, "updated_at": tx.now_text}
            await update(tx, other, related, values)
            for row in related:
                row.update(values)
        if tells:
            for row in related:
                emit(tx, other, "delete" if column is None else "update", row)


async def insert(tx: Transaction, table: OpenTable, rows: Sequence[Row]) -> None:
    """Insert ``rows`` and set their ``seq``. Raises like :func:`store`."""
    new = [{name: value for name, value in row.items() if name != "seq"} for row in rows]
    try:
        if len(new) == 1:
            seqs = [await insert_row(tx.connection, table.record, new[0])]
        else:
            seqs = await insert_rows(tx.connection, table.record, new)
    except IntegrityError as error:
        raise refuse(Problem.EXISTS, word=table.words.row) from error
    for row, seq in zip(rows, seqs, strict=True):
        row["seq"] = seq
    await check_references(tx.connection, table, rows)


async def update(tx: Transaction, table: OpenTable, rows: Sequence[Row], values: Mapping[str, Any]) -> None:
    """Give ``rows`` the same values, by the names of SQL columns. Raises like :func:`store`."""
    if not values:
        return
    try:
        await update_rows(tx.connection, table.record, [row["seq"] for row in rows], values)
    except IntegrityError as error:
        raise refuse(Problem.EXISTS, word=table.words.row) from error
    await check_references(tx.connection, table, [values], rows)


def emit(tx: Transaction, table: OpenTable, action: str, row: Row) -> dict[str, Any]:
    """Record the event that ``action`` happened to ``row``, and return the model of the row."""
    model = table.model(row)
    ids = (table.record.database_id, table.record.id, row["id"])
    tx.emit(
        Event(
            event_pattern(table.words, action),
            model,
            params=event_params(*ids),
            permissions=table.event_permissions(row),
            database_type=table.record.database_type,
            hidden=relationships(table.record.schema),
        )
    )
    return model


def event_pattern(words: Words, action: str) -> str:
    """Return the pattern of an event of a row: every create is told in the older words (specification 7.3)."""
    words = DOCUMENTS if action == "create" else words
    return f"{words.table_pattern}.{words.rows}.[{words.row}Id].{action}"


def event_params(database_id: str, table_id: str, row_id: str) -> dict[str, str]:
    """Return the parameters of an event of a row, in the order that decides that of its names (7.3)."""
    return {
        "databaseId": database_id,
        "collectionId": table_id,
        "tableId": table_id,
        "documentId": row_id,
        "rowId": row_id,
    }
