"""Routes for transactions, in both vocabularies: open, stage operations, commit or roll back, list, get, delete."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field as BodyField
from sqlalchemy import select, true
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller
from workers.api.databases.retries import RetriedRoute
from workers.api.databases.routing import in_both
from workers.api.databases.words import Words, words_of
from workers.api.errors import ApiError, bad_request
from workers.api.listing import ListParams, list_params
from workers.api.params import Body
from workers.api.problems import Problem, refuse
from workers.api.responses import respond
from workers.api.rows.callers import Deleter, Reader, Writer
from workers.api.rows.operations import MAX_SERVER_OPERATIONS, load_operations, parse_operation
from workers.api.rows.staging import find_actors, find_transaction, replay, require_pending, stage
from workers.api.services import Services, services_of
from workers.models.rows import Transaction, TransactionList, transaction_model
from workers.store import tables
from workers.store.ids import new_id
from workers.store.maintenance import TRANSACTION_KEPT_S
from workers.store.pages import Field, fetch_page
from workers.store.store import Transaction as Change
from workers.store.times import to_text

MIN_TTL_S, MAX_TTL_S, DEFAULT_TTL_S = 60, 3600, 300

router = APIRouter(route_class=RetriedRoute)


_FIELDS = {
    "$id": Field(tables.transactions.c.id, "id"),
    "$createdAt": Field(tables.transactions.c.created_at, "datetime"),
    "$updatedAt": Field(tables.transactions.c.updated_at, "datetime"),
    "status": Field(tables.transactions.c.status, "string"),
    "operations": Field(tables.transactions.c.operations, "integer"),
    "expiresAt": Field(tables.transactions.c.expires_at, "datetime"),
}


_ONE = (Transaction, Transaction)
_MANY = (TransactionList, TransactionList)
_NONE = (None, None)


def _all(words: Words) -> str:
    return f"{words.prefix}/transactions"


def _one(words: Words) -> str:
    return f"{_all(words)}/{{transactionId}}"


def _operations(words: Words) -> str:
    return f"{_one(words)}/operations"


class NewTransaction(Body):
    """How long a transaction may stay open, in seconds."""

    ttl: Annotated[int, BodyField(ge=MIN_TTL_S, le=MAX_TTL_S)] = DEFAULT_TTL_S


class Ending(Body):
    """How a transaction ends: one of the two is true."""

    commit: bool = False
    rollback: bool = False


class NewOperations(Body):
    """Operations to stage, such as ``{"action": "create", "databaseId", "tableId", "rowId", "data"}``."""

    operations: Annotated[list[dict[str, Any]], BodyField(min_length=1, max_length=MAX_SERVER_OPERATIONS)]


@in_both(router, "POST", _all, name="createTransaction", models=_ONE, status=HTTPStatus.CREATED)
async def create_transaction(
    request: Request, caller: Writer, body: NewTransaction | None = None
) -> Response:
    """Open a transaction. Those that ended long ago are forgotten on the way."""
    if not caller.is_privileged and not caller.user_id:
        # Everybody is a guest: whose it is could not be told.
        raise refuse(Problem.USER_UNAUTHORIZED)
    ttl_s = DEFAULT_TTL_S if body is None else body.ttl
    async with services_of(request).store.write(caller.project) as tx:
        await _forget(tx)
        row = {
            "project_id": caller.project.id,
            "id": new_id(),
            "user_id": "" if caller.is_privileged else caller.user_id,
            "status": "pending",
            "operations": 0,
            "expires_at": to_text(tx.now + timedelta(seconds=ttl_s)),
            "created_at": tx.now_text,
            "updated_at": tx.now_text,
        }
        await tx.connection.execute(tables.transactions.insert(), row)
    return respond(transaction_model(row), HTTPStatus.CREATED)


@in_both(router, "GET", _all, name="listTransactions", models=_MANY)
async def list_transactions(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """Return the caller's transactions; for API keys all of the project."""
    table = tables.transactions
    is_own = true() if caller.is_privileged else (table.c.user_id == caller.user_id) & (table.c.user_id != "")
    async with services_of(request).store.read() as connection:
        page = await fetch_page(
            connection,
            table,
            _FIELDS,
            params.query(_FIELDS),
            where=[table.c.project_id == caller.project.id, is_own],
            count=params.total,
        )
    return respond({"total": page.total, "transactions": [transaction_model(row) for row in page.rows]})


@in_both(router, "GET", _one, name="getTransaction", models=_ONE)
async def get_transaction(request: Request, transactionId: str, caller: Reader) -> Response:
    """Return a transaction."""
    async with services_of(request).store.read() as connection:
        return respond(transaction_model(await find_transaction(connection, caller, transactionId)))


@in_both(router, "PATCH", _one, name="updateTransaction", models=_ONE)
async def update_transaction(request: Request, transactionId: str, caller: Writer, body: Ending) -> Response:
    """Commit a transaction, or roll it back."""
    if body.commit == body.rollback:
        raise bad_request("Either `commit` or `rollback` must be true.")
    services = services_of(request)
    if body.rollback:
        async with services.store.write(caller.project) as tx:
            row = await require_pending(tx, caller, transactionId)
            return respond(transaction_model(await _end(tx, dict(row), "rolled_back")))
    try:
        return respond(transaction_model(await _commit(services, caller, transactionId)))
    except ApiError as error:
        if error.type not in (
            Problem.TRANSACTION_NOT_READY.value.type,
            Problem.TRANSACTION_EXPIRED.value.type,
        ):
            await _fail(services, caller, transactionId)
        raise


@in_both(router, "DELETE", _one, name="deleteTransaction", models=_NONE, status=HTTPStatus.NO_CONTENT)
async def delete_transaction(request: Request, transactionId: str, caller: Deleter) -> Response:
    """Forget a transaction and what it holds."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await find_transaction(tx.connection, caller, transactionId, lock=True)
        await tx.connection.execute(
            tables.transactions.delete().where(tables.transactions.c.seq == row["seq"])
        )
        await _drop_operations(tx, transactionId)
    return respond(None)


@in_both(router, "POST", _operations, name="createOperations", models=_ONE, status=HTTPStatus.CREATED)
async def create_operations(
    request: Request, transactionId: str, caller: Writer, body: NewOperations
) -> Response:
    """Stage operations; all of them, or none."""
    services, words = services_of(request), words_of(request)
    operations = [parse_operation(item, caller, words) for item in body.operations]
    transaction, _ = await stage(services, caller, transactionId, operations)
    return respond(transaction_model(transaction), HTTPStatus.CREATED)


async def _commit(services: Services, caller: Caller, transaction_id: str) -> dict[str, Any]:
    async with services.store.write(caller.project) as tx:
        row = await require_pending(tx, caller, transaction_id)
        actors = await find_actors(services, caller, row)
        operations = await load_operations(tx.connection, caller.project.id, transaction_id)
        await replay(tx, actors, operations, tells=True)
        return await _end(tx, dict(row), "committed")


async def _fail(services: Services, caller: Caller, transaction_id: str) -> None:
    """Have a transaction that could not be committed end as failed, if it is still there and open."""
    async with services.store.write(caller.project) as tx:
        try:
            row = await require_pending(tx, caller, transaction_id)
        except ApiError:
            return
        await _end(tx, dict(row), "failed")


async def _end(tx: Change, row: dict[str, Any], status: str) -> dict[str, Any]:
    """End a transaction, and forget what it held."""
    changes = {"status": status, "updated_at": tx.now_text}
    await tx.connection.execute(
        tables.transactions.update().where(tables.transactions.c.seq == row["seq"]).values(changes)
    )
    await _drop_operations(tx, row["id"])
    return row | changes


async def _drop_operations(tx: Change, transaction_id: str) -> None:
    held = tables.operations
    await tx.connection.execute(
        held.delete().where(held.c.project_id == tx.project.id, held.c.transaction_id == transaction_id)
    )


async def _forget(tx: Change) -> None:
    """Forget the project's transactions that nobody can need any more."""
    table, held = tables.transactions, tables.operations
    is_old = (table.c.project_id == tx.project.id) & (
        table.c.expires_at < to_text(tx.now - timedelta(seconds=TRANSACTION_KEPT_S))
    )
    old = select(table.c.id).where(is_old)
    await tx.connection.execute(
        held.delete().where(held.c.project_id == tx.project.id, held.c.transaction_id.in_(old))
    )
    await tx.connection.execute(table.delete().where(is_old))
