"""Changes to many rows at once, for API keys: rows that are listed, or those that meet queries. All or none.

Each row has its own event (wire specification 9.4), unless the change was staged in a transaction.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from workers.api.errors import bad_request
from workers.api.problems import Problem, refuse
from workers.api.rows.changes import Change, Row, apply
from workers.api.rows.opened import OpenTable
from workers.api.rows.reads import fields_of
from workers.api.rows.requests import new_row_id
from workers.api.rows.statements import find_rows
from workers.api.rows.writes import emit, insert, remove, store, update
from workers.store.conditions import conditions_of
from workers.store.pages import fetch_page
from workers.store.queries import parse_list
from workers.store.row_tables import rows_table
from workers.store.store import Transaction

MAX_LISTED = 1000
"""How many rows a request may list."""

MAX_MATCHED = 10_000
"""How many rows a request may change by queries."""

_NO_LIMIT = '{"method":"limit","values":[1]}'

Models = list[dict[str, Any]]


async def create_many(tx: Transaction, table: OpenTable, items: Any, *, tells: bool = True) -> Models:
    """Create the rows that ``items`` lists, each with ``$id``, its columns and perhaps ``$permissions``.

    Args:
        tx: the transaction.
        table: where, for a caller who bypasses permissions.
        items: as in the request, not checked yet.
        tells: whether events are fired.

    Raises:
        ApiError: 400 for items that do not fit, 409 for IDs or unique values that are taken.
    """
    changes = listed_changes(table, items, "create")
    created = [apply(table, change, None, tx.now_text) for change in changes]
    await insert(tx, table, created)
    return _told(tx, table, created, "create", tells=tells)


async def upsert_many(tx: Transaction, table: OpenTable, items: Any, *, tells: bool = True) -> Models:
    """Create those of the rows that are not there, and change the others. Like :func:`create_many`."""
    changes = listed_changes(table, items, "upsert")
    present = await find_rows(tx.connection, table.record, {change.row_id for change in changes}, lock=True)
    rows = [apply(table, change, present.get(change.row_id), tx.now_text) for change in changes]
    new = [row for row in rows if row["id"] not in present]
    if new:
        await insert(tx, table, new)
    for row in rows:
        if row["id"] in present:
            await store(tx, table, "update", present[row["id"]], row)
    return _told(tx, table, rows, "upsert", tells=tells)


async def update_many(
    tx: Transaction, table: OpenTable, data: Any, queries: Any, *, tells: bool = True
) -> Models:
    """Give the columns in ``data`` to all rows that meet ``queries``.

    Raises:
        ApiError: 400 for data that does not fit or more rows than :data:`MAX_MATCHED`, 409 for unique values.
        InvalidQueryError: the queries are wrong.
    """
    if not isinstance(data, dict) or not data:
        raise refuse(Problem.ROW_MISSING_DATA, word=table.words.row)
    old = await _matching(tx, table, queries)
    if not old:
        return []
    change = Change("update", "", data, data.get("$permissions"))
    rows = [apply(table, change, row, tx.now_text) for row in old]
    # The same columns get the same values in each row, whatever it had before.
    changed = {
        name for before, row in zip(old, rows, strict=True) for name in row if row[name] != before[name]
    }
    await update(tx, table, old, {name: rows[0][name] for name in changed})
    return _told(tx, table, rows, "update", tells=tells)


async def delete_many(tx: Transaction, table: OpenTable, queries: Any, *, tells: bool = True) -> Models:
    """Delete all rows that meet ``queries``, and return them as they were. Raises like :func:`update_many`."""
    rows = await _matching(tx, table, queries)
    await remove(tx, table, rows, tells=tells)
    return _told(tx, table, rows, "delete", tells=tells)


def listed_changes(table: OpenTable, items: Any, verb: str) -> list[Change]:
    """Return the changes that a list of rows stands for.

    Raises:
        ApiError: 400, it is no list of 1 to :data:`MAX_LISTED` objects with different IDs.
    """
    name = table.words.rows
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise bad_request(f"Invalid `{name}` param: Value must be an array of objects.")
    if not 1 <= len(items) <= MAX_LISTED:
        raise bad_request(f"Invalid `{name}` param: 1 to {MAX_LISTED} {name} can be given at a time.")
    changes = [_listed(item, verb) for item in items]
    if len({change.row_id for change in changes}) < len(changes):
        raise bad_request(f"Invalid `{name}` param: Each $id can be given only once.")
    return changes


def _listed(item: Mapping[str, Any], verb: Any) -> Change:
    return Change(verb, new_row_id(item.get("$id"), "$id"), dict(item), item.get("$permissions"))


async def _matching(tx: Transaction, table: OpenTable, queries: Any) -> list[Row]:
    """Return the rows that meet the queries, locked, in the order that these say."""
    if queries is not None and not isinstance(queries, list):
        raise bad_request("Invalid `queries` param: Value must be an array of strings.")
    fields = fields_of(table.record)
    query = parse_list(queries or [], attributes=fields)
    # The first limit counts, so this one does only if the caller gave none.
    if parse_list([*(queries or []), _NO_LIMIT], attributes=fields).limit != query.limit:
        query = msgspec.structs.replace(query, limit=MAX_MATCHED + 1)
    page = await fetch_page(tx.connection, rows_table(table.record), fields, query, where=(), count=False)
    if len(page.rows) > MAX_MATCHED:
        raise bad_request(
            f"The queries match more than {MAX_MATCHED} {table.words.rows}. Narrow them, or set a limit."
        )
    ids = [row["id"] for row in page.rows]
    # Judged again, since others may have changed rows until they were locked.
    still = conditions_of(query.filters, fields)
    found = await find_rows(tx.connection, table.record, ids, lock=True, where=still)
    return [found[row_id] for row_id in ids if row_id in found]


def _told(tx: Transaction, table: OpenTable, rows: Sequence[Row], action: str, *, tells: bool) -> Models:
    if tells:
        return [emit(tx, table, action, row) for row in rows]
    return [table.model(row) for row in rows]
