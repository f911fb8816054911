"""Routes for many rows at once, in both vocabularies, for API keys only: create, update, upsert, delete.

The answer shows the rows that were changed. A change that is staged in a transaction shows none, as it is made only
when the transaction is committed.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller
from workers.api.databases.retries import RetriedRoute
from workers.api.databases.routing import in_both
from workers.api.databases.words import words_of
from workers.api.problems import Problem, refuse
from workers.api.responses import respond
from workers.api.rows import bulk
from workers.api.rows.callers import Deleter, Writer
from workers.api.rows.opened import OpenTable, open_table
from workers.api.rows.operations import BulkVerb, bulk_operation
from workers.api.rows.requests import body_of, data_of, read_json, transaction_id_of
from workers.api.rows.staging import stage
from workers.api.services import services_of
from workers.models.rows import DocumentList, RowList
from workers.store.store import Transaction

router = APIRouter(route_class=RetriedRoute)

_MANY = (RowList, DocumentList)


async def create_rows(
    request: Request, database_id: str, table_id: str, caller: Caller, body: dict[str, Any]
) -> Response:
    """Create the rows of a body: what the route for single rows does when the body has several."""
    items = body[words_of(request).rows]
    return await _change(
        request, database_id, table_id, caller, body, "bulkCreate", items,
        lambda tx, table: bulk.create_many(tx, table, items),
    )  # fmt: skip


@in_both(
    router,
    "PUT",
    lambda words: words.rows_path,
    name="upsert{Row}s",
    models=_MANY,
    status=HTTPStatus.CREATED,
    body=body_of("rows"),
)
async def upsert_rows(request: Request, databaseId: str, tableId: str, caller: Writer) -> Response:
    """Create those of the rows that are not there, and change the others."""
    body = await read_json(request)
    items = body.get(words_of(request).rows)
    return await _change(
        request, databaseId, tableId, caller, body, "bulkUpsert", items,
        lambda tx, table: bulk.upsert_many(tx, table, items),
    )  # fmt: skip


@in_both(
    router,
    "PATCH",
    lambda words: words.rows_path,
    name="update{Row}s",
    models=_MANY,
    body=body_of("data", "queries"),
)
async def update_rows(request: Request, databaseId: str, tableId: str, caller: Writer) -> Response:
    """Give the columns in ``data`` to all rows that meet ``queries``."""
    body = await read_json(request)
    data = {"data": data_of(body), "queries": body.get("queries")}
    return await _change(
        request, databaseId, tableId, caller, body, "bulkUpdate", data,
        lambda tx, table: bulk.update_many(tx, table, data["data"], data["queries"]),
    )  # fmt: skip


@in_both(
    router,
    "DELETE",
    lambda words: words.rows_path,
    name="delete{Row}s",
    models=_MANY,
    body=body_of("queries"),
)
async def delete_rows(request: Request, databaseId: str, tableId: str, caller: Deleter) -> Response:
    """Delete all rows that meet ``queries``."""
    body = await read_json(request)
    data = {"queries": body.get("queries")}
    return await _change(
        request, databaseId, tableId, caller, body, "bulkDelete", data,
        lambda tx, table: bulk.delete_many(tx, table, data["queries"]),
    )  # fmt: skip


async def _change(
    request: Request,
    database_id: str,
    table_id: str,
    caller: Caller,
    body: dict[str, Any],
    verb: BulkVerb,
    data: Any,
    change: Callable[[Transaction, OpenTable], Awaitable[bulk.Models]],
) -> Response:
    """Make a change to many rows, or stage it."""
    if not caller.is_privileged:
        raise refuse(Problem.USER_UNAUTHORIZED)
    services, words = services_of(request), words_of(request)
    status = HTTPStatus.CREATED if verb in ("bulkCreate", "bulkUpsert") else HTTPStatus.OK
    transaction_id = transaction_id_of(request, body)
    models: bulk.Models = []
    if transaction_id:
        operation = bulk_operation(verb, data, caller, words, database_id, table_id)
        await stage(services, caller, transaction_id, [operation])
    else:
        async with services.store.write(caller.project) as tx:
            models = await change(tx, await open_table(tx.connection, caller, words, database_id, table_id))
    return respond({"total": len(models), words.rows: models}, status)
