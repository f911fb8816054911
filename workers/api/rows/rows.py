"""Routes for single rows, in both vocabularies: create, list, get, update, upsert, delete, count up and down."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller
from workers.api.databases.retries import RetriedRoute
from workers.api.databases.routing import in_both
from workers.api.databases.words import words_of
from workers.api.errors import ApiError
from workers.api.listing import ListParams, list_params
from workers.api.problems import Problem, refuse
from workers.api.responses import respond
from workers.api.rows.batches import create_rows
from workers.api.rows.callers import Deleter, Reader, Writer
from workers.api.rows.changes import Change, Verb
from workers.api.rows.opened import open_table
from workers.api.rows.operations import single_operation
from workers.api.rows.reads import fetch_rows, fields_of, show_rows
from workers.api.rows.requests import body_of, data_of, new_row_id, read_json, require_data, transaction_id_of
from workers.api.rows.staging import reading, stage
from workers.api.rows.statements import find_row
from workers.api.rows.writes import write
from workers.api.services import services_of
from workers.models.rows import Document, DocumentList, Row, RowList

router = APIRouter(route_class=RetriedRoute)

_ONE = (Row, Document)
_MANY = (RowList, DocumentList)
_NONE = (None, None)

Lists = Annotated[ListParams, Depends(list_params)]


@in_both(
    router,
    "POST",
    lambda words: words.rows_path,
    name="create{Row}",
    models=_ONE,
    status=HTTPStatus.CREATED,
    body=body_of("rowId", "data", "permissions", "rows"),
)
async def create_row(request: Request, databaseId: str, tableId: str, caller: Writer) -> Response:
    """Create a row; or several, for API keys, if the body has ``rows`` (``documents``)."""
    words = words_of(request)
    body = await read_json(request)
    if words.rows in body:
        return await create_rows(request, databaseId, tableId, caller, body)
    row_id = new_row_id(body.get(f"{words.row}Id"), f"{words.row}Id")
    change = Change("create", row_id, require_data(body, words), body.get("permissions"))
    return respond(await _change(request, caller, databaseId, tableId, change, body), HTTPStatus.CREATED)


@in_both(
    router,
    "PATCH",
    lambda words: words.row_path,
    name="update{Row}",
    models=_ONE,
    body=body_of("data", "permissions"),
)
async def update_row(request: Request, databaseId: str, tableId: str, rowId: str, caller: Writer) -> Response:
    """Change those columns of a row that ``data`` names, or its permissions, or both."""
    words = words_of(request)
    body = await read_json(request)
    data = data_of(body)
    if not data and body.get("permissions") is None:
        raise refuse(Problem.ROW_MISSING_PAYLOAD, word=words.row)
    change = Change("update", rowId, data or {}, body.get("permissions"))
    return respond(await _change(request, caller, databaseId, tableId, change, body))


@in_both(
    router,
    "PUT",
    lambda words: words.row_path,
    name="upsert{Row}",
    models=_ONE,
    status=HTTPStatus.CREATED,
    body=body_of("data", "permissions"),
)
async def upsert_row(request: Request, databaseId: str, tableId: str, rowId: str, caller: Writer) -> Response:
    """Create the row, or change it if it is there."""
    words = words_of(request)
    body = await read_json(request)
    data = data_of(body)
    if data is None and body.get("permissions") is None:
        raise refuse(Problem.ROW_MISSING_PAYLOAD, word=words.row)
    row_id = new_row_id(rowId, f"{words.row}Id")
    change = Change("upsert", row_id, data or {}, body.get("permissions"))
    return respond(await _change(request, caller, databaseId, tableId, change, body), HTTPStatus.CREATED)


@in_both(
    router,
    "DELETE",
    lambda words: words.row_path,
    name="delete{Row}",
    models=_NONE,
    status=HTTPStatus.NO_CONTENT,
    body=body_of(),
)
async def delete_row(
    request: Request, databaseId: str, tableId: str, rowId: str, caller: Deleter
) -> Response:
    """Delete a row."""
    body = await read_json(request)
    await _change(request, caller, databaseId, tableId, Change("delete", rowId), body)
    return respond(None)


@in_both(
    router,
    "PATCH",
    lambda words: f"{words.row_path}/{{column}}/increment",
    name="increment{Row}{Column}",
    models=_ONE,
    body=body_of("value", "max"),
)
async def increment_column(
    request: Request, databaseId: str, tableId: str, rowId: str, column: str, caller: Writer
) -> Response:
    """Add ``value`` to a number, at most up to ``max``."""
    return await _count(request, databaseId, tableId, rowId, column, caller, "increment")


@in_both(
    router,
    "PATCH",
    lambda words: f"{words.row_path}/{{column}}/decrement",
    name="decrement{Row}{Column}",
    models=_ONE,
    body=body_of("value", "min"),
)
async def decrement_column(
    request: Request, databaseId: str, tableId: str, rowId: str, column: str, caller: Writer
) -> Response:
    """Take ``value`` from a number, at most down to ``min``."""
    return await _count(request, databaseId, tableId, rowId, column, caller, "decrement")


@in_both(router, "GET", lambda words: words.row_path, name="get{Row}", models=_ONE)
async def get_row(
    request: Request,
    databaseId: str,
    tableId: str,
    rowId: str,
    caller: Reader,
    params: Lists,
    transactionId: str = "",
) -> Response:
    """Return a row, with the columns that ``select`` names, as it is or as a transaction would leave it."""
    words = words_of(request)
    async with reading(services_of(request), caller, transactionId) as connection:
        table = await open_table(connection, caller, words, databaseId, tableId)
        query = params.query(fields_of(table.record))
        row = await find_row(connection, table.record, rowId)
        if row is None or not table.allows("read", row):
            raise words.row_not_found()
        [model] = await show_rows(connection, table, [row], query.select)
    return respond(model)


@in_both(router, "GET", lambda words: words.rows_path, name="list{Row}s", models=_MANY)
async def list_rows(
    request: Request, databaseId: str, tableId: str, caller: Reader, params: Lists, transactionId: str = ""
) -> Response:
    """Return the rows that the caller may read and that meet the queries."""
    words = words_of(request)
    async with reading(services_of(request), caller, transactionId) as connection:
        table = await open_table(connection, caller, words, databaseId, tableId)
        query = params.query(fields_of(table.record))
        total, models = await fetch_rows(connection, table, query, count=params.total)
    return respond({"total": total, words.rows: models})


async def _count(
    request: Request, database_id: str, table_id: str, row_id: str, column: str, caller: Caller, verb: Verb
) -> Response:
    body = await read_json(request)
    bound = body.get("max" if verb == "increment" else "min")
    value = body.get("value")
    change = Change(verb, row_id, {"column": column, "value": 1 if value is None else value, "bound": bound})
    return respond(await _change(request, caller, database_id, table_id, change, body))


async def _change(
    request: Request, caller: Caller, database_id: str, table_id: str, change: Change, body: dict[str, Any]
) -> dict[str, Any]:
    """Make a change now, or stage it if the request is part of a transaction; return the model of the row."""
    services = services_of(request)
    words = words_of(request)
    transaction_id = transaction_id_of(request, body)
    if transaction_id:
        operation = single_operation(change, caller, words, database_id, table_id)
        _, [model] = await stage(services, caller, transaction_id, [operation])
        return model
    try:
        return await _make(request, caller, database_id, table_id, change)
    except ApiError as error:
        if change.verb != "upsert" or error.status != HTTPStatus.CONFLICT:
            raise
        # Of two that put the same new row at once, the second one changes what the first one made.
        return await _make(request, caller, database_id, table_id, change)


async def _make(
    request: Request, caller: Caller, database_id: str, table_id: str, change: Change
) -> dict[str, Any]:
    async with services_of(request).store.write(caller.project) as tx:
        table = await open_table(tx.connection, caller, words_of(request), database_id, table_id)
        return await write(tx, table, change)
