"""Finding functions and what they consist of, and telling of their changes."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.event import Event
from workers.api import errors
from workers.api.access import Caller
from workers.api.problems import Problem, refuse
from workers.models.functions import Function, function_model, variable_model
from workers.models.people import Row
from workers.store.sealing import Sealer
from workers.store.store import Transaction
from workers.store.tables import deployments, functions, variables


async def require_function(
    connection: AsyncConnection, project_id: str, function_id: str, *, lock: bool = False, share: bool = False
) -> Row:
    """Return the row of a function.

    Args:
        connection: in a transaction; one that writes, for ``lock`` and ``share``.
        project_id: the project.
        function_id: the function.
        lock: whether to keep others from changing it until the transaction ends.
        share: whether to keep it from being deleted or changed meanwhile, while others may do the same.

    Raises:
        ApiError: 404 ``function_not_found``.
    """
    statement = select(functions).where(functions.c.project_id == project_id, functions.c.id == function_id)
    if lock or share:
        statement = statement.with_for_update(read=share)
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        raise refuse(Problem.FUNCTION_NOT_FOUND)
    return row


async def lock_function(tx: Transaction, caller: Caller, function_id: str) -> Row:
    """Lock a function that ``caller`` is going to change, and return its row.

    Raises:
        ApiError: 404 ``function_not_found``, and what :func:`check_reach` raises.
    """
    row = await require_function(tx.connection, tx.project.id, function_id, lock=True)
    check_reach(caller, row)
    return row


def check_reach(caller: Caller, function: Row) -> None:
    """Let nobody decide what code runs who has not got the scopes that its API key has.

    Raises:
        ApiError: 401 ``general_unauthorized_scope`` for a key that may do less than the function may.
    """
    for scope in function["scopes"]:
        if not caller.allows(scope):
            raise errors.missing_scope(caller.kind.value, scope)


async def function_models(connection: AsyncConnection, sealer: Sealer, rows: Sequence[Row]) -> list[Function]:
    """Return the models of rows of ``functions``, all of one project, in three statements however many there are."""
    if not rows:
        return []
    project_id, ids = rows[0]["project_id"], [row["id"] for row in rows]
    found = await connection.execute(
        select(variables)
        .where(variables.c.project_id == project_id, variables.c.function_id.in_(ids))
        .order_by(variables.c.seq)
    )
    of_functions: dict[str, list[Any]] = {}
    for row in found.mappings():
        value = "" if row["secret"] else sealer.unseal(row["sealed_value"])
        of_functions.setdefault(row["function_id"], []).append(variable_model(row, value))
    active, latest = await _deployments_of(connection, project_id, rows)
    return [
        function_model(
            row,
            active=active.get(row["deployment_id"]),
            latest=latest.get(row["id"]),
            variables=of_functions.get(row["id"], ()),
        )
        for row in rows
    ]


async def _deployments_of(
    connection: AsyncConnection, project_id: str, rows: Sequence[Row]
) -> tuple[dict[str, Row], dict[str, Row]]:
    """Return the active deployments by their IDs, and the newest ones by their functions'."""
    newest = (
        select(func.max(deployments.c.seq))
        .where(
            deployments.c.project_id == project_id,
            deployments.c.function_id.in_([row["id"] for row in rows]),
        )
        .group_by(deployments.c.function_id)
    )
    found = await connection.execute(select(deployments).where(deployments.c.seq.in_(newest)))
    latest: dict[str, Row] = {row["function_id"]: row for row in found.mappings()}
    found = await connection.execute(
        select(deployments).where(
            deployments.c.project_id == project_id,
            deployments.c.id.in_([row["deployment_id"] for row in rows if row["deployment_id"]]),
        )
    )
    return {row["id"]: row for row in found.mappings()}, latest


async def emit_function(tx: Transaction, sealer: Sealer, action: str, row: Row) -> Function:
    """Record that a function was made, changed or is about to be deleted; return its model.

    Values of variables are not in the event.
    """
    (model,) = await function_models(tx.connection, sealer, [row])
    bare: Mapping[str, Any] = model | {"vars": [each | {"value": ""} for each in model["vars"]]}
    tx.emit(Event(f"functions.[functionId].{action}", bare, params={"functionId": row["id"]}))
    tx.change_function(row["id"])
    return model
