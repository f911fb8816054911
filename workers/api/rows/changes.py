"""What a change makes of a row: decided here, from the row as it is and what is asked, before anything is written.

The same decisions serve a single request, a bulk request, and a transaction, when it is staged as when it is
committed. A row is a dict by the names of its SQL columns; one that is not in the database yet has the ``seq`` 0.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from workers.api.errors import bad_request
from workers.api.problems import Problem, refuse
from workers.api.rows.opened import OpenTable
from workers.api.rows.structure import StructureError, check_required, given_values, new_values, row_model
from workers.store.schema import Column
from workers.store.times import from_iso
from workers.store.values import INTEGER_MAX, INTEGER_MIN

Verb = Literal["create", "update", "upsert", "delete", "increment", "decrement"]

NUMBERS = frozenset({"integer", "bigint", "double"})
"""The types of columns that can be counted up and down."""

Row = dict[str, Any]


class Change(msgspec.Struct, frozen=True):
    """What is to be done to one row."""

    verb: Verb
    row_id: str
    data: dict[str, Any] = {}
    """The columns by their keys. For ``increment`` and ``decrement``: ``column``, ``value`` and ``bound``."""
    permissions: Any = None
    """As the request has them, not checked yet; None for those that are there, or the creator's own."""


def apply(table: OpenTable, change: Change, old: Row | None, now: str) -> Row:
    """Return what ``change`` makes of ``old``, which is None where there is no row; a deleted row as it was.

    Raises:
        ApiError: 404, 409, 401 or 400, in the words of the API that was called.
        InvalidPermissionError: the permissions are malformed.
    """
    try:
        return _APPLY[change.verb](table, change, old, now)
    except StructureError as error:
        raise refuse(Problem.ROW_STRUCTURE, word=table.words.row, reason=str(error)) from error


def answer(
    table: OpenTable, change: Change, old: Row | None, row: Row, model: dict[str, Any]
) -> dict[str, Any]:
    """Return what ``change``, which made ``row`` of ``old``, is answered with: ``model``, which is that of the row.

    Who may change a row and not read it is shown what they sent of it, and nothing that was there. Who makes a row
    knows all of it.
    """
    if old is None or table.allows("read", row):
        return model
    sent = () if change.verb in ("increment", "decrement") else change.data.keys()
    columns = [column for column in table.record.schema.columns if column.key in sent]
    permissions = [] if change.permissions is None else row["permissions"]
    return row_model(table.record, table.words, row | {"permissions": permissions}, columns)


def event_action(verb: Verb) -> str:
    """Return what an event of the change is called (wire specification 9.4)."""
    return "update" if verb in ("increment", "decrement") else verb


def _create(table: OpenTable, change: Change, old: Row | None, now: str) -> Row:
    if old is not None:
        raise refuse(Problem.EXISTS, word=table.words.row)
    table.require("create")
    row: Row = {
        "seq": 0,
        "id": change.row_id,
        "permissions": table.grant(change.permissions),
        "created_at": now,
        "updated_at": now,
    }
    row |= _times(table, change.data)
    row |= new_values(table.record.schema, change.data)
    return row


def _update(table: OpenTable, change: Change, old: Row | None, now: str) -> Row:
    if old is None:
        raise table.words.row_not_found()
    table.require("update", old)
    row = old | {"updated_at": now} | _times(table, change.data)
    if change.permissions is not None:
        row["permissions"] = table.grant(change.permissions)
    row |= given_values(table.record.schema, change.data)
    return row


def _upsert(table: OpenTable, change: Change, old: Row | None, now: str) -> Row:
    if old is None:
        return _create(table, change, None, now)
    if not table.allows("update", old):
        # As for one that is not there: whether it is must not be found out.
        raise refuse(Problem.USER_UNAUTHORIZED)
    row = _update(table, change, old, now)
    check_required(table.record.schema, row)
    return row


def _delete(table: OpenTable, _change: Change, old: Row | None, _now: str) -> Row:
    if old is None:
        raise table.words.row_not_found()
    table.require("delete", old)
    return old


def _count(table: OpenTable, change: Change, old: Row | None, now: str) -> Row:
    """Count a column up or down, from 0 if it is null."""
    if old is None:
        raise table.words.row_not_found()
    table.require("update", old)
    column = _number_column(table, change.data.get("column"))
    step = _number(column, change.data.get("value", 1), "value")
    if step <= 0:
        raise bad_request("Invalid `value` param: Value must be greater than 0.")
    before = old[column.sql_name] or 0
    after = before - step if change.verb == "decrement" else before + step
    _check_bound(table, column, change, after)
    return old | {"updated_at": now, column.sql_name: after}


def _number_column(table: OpenTable, key: Any) -> Column:
    column = table.record.schema.column(key) if isinstance(key, str) else None
    if column is None:
        raise refuse(Problem.NOT_FOUND, word=table.words.column)
    if column.type not in NUMBERS or column.array:
        raise refuse(Problem.COLUMN_TYPE, word=table.words.column)
    return column


def _number(column: Column, value: Any, name: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > INTEGER_MAX:
        raise bad_request(f"Invalid `{name}` param: Value must be a valid number.")
    if column.type == "double":
        return float(value)
    if value != int(value):
        raise bad_request(f'Invalid `{name}` param: "{column.key}" holds whole numbers.')
    return int(value)


def _check_bound(table: OpenTable, column: Column, change: Change, after: int | float) -> None:
    """Refuse what leads beyond the bound of the request, of the column, or of the database."""
    asked = change.data.get("bound")
    is_down = change.verb == "decrement"
    bounds = [column.min, INTEGER_MIN] if is_down else [column.max, INTEGER_MAX]
    if asked is not None:
        bounds.append(_number(column, asked, "min" if is_down else "max"))
    for bound in bounds:
        if bound is not None and (after < bound if is_down else after > bound):
            raise refuse(
                Problem.ROW_BOUND,
                word=table.words.column,
                reason=f'{table.words.column.capitalize()} "{column.key}" cannot go '
                f"{'below' if is_down else 'above'} {bound}.",
            )


def _times(table: OpenTable, data: Mapping[str, Any]) -> dict[str, str]:
    """Return the times that a server gives a row; those that clients send back are as they were."""
    if not table.caller.is_privileged:
        return {}
    times: dict[str, str] = {}
    for member, name in (("$createdAt", "created_at"), ("$updatedAt", "updated_at")):
        text = data.get(member)
        if text is not None:
            try:
                times[name] = from_iso(text)
            except (TypeError, ValueError) as error:
                raise StructureError(
                    f'Attribute "{member}" has invalid type. Value must be a valid date in ISO 8601'
                ) from error
    return times


_APPLY: dict[Verb, Callable[[OpenTable, Change, Row | None, str], Row]] = {
    "create": _create,
    "update": _update,
    "upsert": _upsert,
    "delete": _delete,
    "increment": _count,
    "decrement": _count,
}
