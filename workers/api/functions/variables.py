"""Routes of the variables of a function's environment. Values are encrypted where they are kept."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field as BodyField
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from realtime.events.event import Event
from workers.api.access import Caller, requires
from workers.api.functions.lookup import lock_function, require_function
from workers.api.listing import ListParams, list_params
from workers.api.params import Body, CustomId
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.functions import Variable, VariableList, variable_model
from workers.models.people import Row
from workers.store.fields import Field
from workers.store.ids import choose_id, new_id
from workers.store.pages import fetch_page
from workers.store.sealing import Sealer
from workers.store.store import Transaction
from workers.store.tables import functions, variables

router = APIRouter(tags=["functions"])

FIELDS = {
    "$id": Field(variables.c.id, "id"),
    "$createdAt": Field(variables.c.created_at, "datetime"),
    "$updatedAt": Field(variables.c.updated_at, "datetime"),
    "key": Field(variables.c.key, "string"),
    "resourceId": Field(variables.c.function_id, "id"),
    "secret": Field(variables.c.secret, "boolean"),
}
"""What variables are listed by."""

MAX_VARIABLES = 100
"""How many variables a function may have."""

Reader = Annotated[Caller, Depends(requires("functions.read"))]
Writer = Annotated[Caller, Depends(requires("functions.write"))]

# What an environment can take: no `=` in names, and no control characters.
Key = Annotated[str, BodyField(min_length=1, max_length=255, pattern=r"^[^=\x00-\x1f\x7f]+$")]
Value = Annotated[str, BodyField(max_length=8192)]


class NewVariable(Body):
    """A variable to be made."""

    variableId: CustomId | None = None
    key: Key
    value: Value
    secret: bool = True


class VariableChanges(Body):
    """What a variable is to become; it stays what it was by what is None."""

    key: Key | None = None
    value: Value | None = None
    secret: bool | None = None


@router.post(
    "/v1/functions/{functionId}/variables",
    response_model=None,
    responses=documented(Variable, 201),
    operation_id="functionsCreateVariable",
)
async def create_variable(request: Request, functionId: str, body: NewVariable, caller: Writer) -> Response:
    """Create a variable of a function, which the next execution has; a secret one unless it is said otherwise."""
    services = services_of(request)
    async with services.store.write(caller.project) as tx:
        function = await lock_function(tx, caller, functionId)
        await _check_count(tx, functionId)
        row: dict[str, Any] = {
            "project_id": caller.project.id,
            "id": choose_id(body.variableId) if body.variableId else new_id(),
            "function_id": functionId,
            "key": body.key,
            "sealed_value": services.sealer.seal(body.value),
            "secret": body.secret,
            "created_at": tx.now_text,
            "updated_at": tx.now_text,
        }
        try:
            await tx.connection.execute(insert(variables), row)
        except IntegrityError as error:
            raise refuse(Problem.VARIABLE_EXISTS) from error
        await _touch(tx, function)
        model = _emit(tx, services.sealer, "create", row)
    return respond(model, 201)


@router.get(
    "/v1/functions/{functionId}/variables",
    response_model=None,
    responses=documented(VariableList),
    operation_id="functionsListVariables",
)
async def list_variables(
    request: Request, functionId: str, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the variables of a function."""
    services, query = services_of(request), params.query(FIELDS)
    async with services.store.read() as connection:
        await require_function(connection, caller.project.id, functionId)
        page = await fetch_page(
            connection,
            variables,
            FIELDS,
            query,
            where=[variables.c.project_id == caller.project.id, variables.c.function_id == functionId],
            count=params.total,
        )
    models = [_model(services.sealer, row) for row in page.rows]
    return respond({"total": page.total, "variables": models})


@router.get(
    "/v1/functions/{functionId}/variables/{variableId}",
    response_model=None,
    responses=documented(Variable),
    operation_id="functionsGetVariable",
)
async def get_variable(request: Request, functionId: str, variableId: str, caller: Reader) -> Response:
    """Return a variable."""
    services = services_of(request)
    async with services.store.read() as connection:
        await require_function(connection, caller.project.id, functionId)
        row = await _require(connection, caller.project.id, functionId, variableId)
    return respond(_model(services.sealer, row))


@router.put(
    "/v1/functions/{functionId}/variables/{variableId}",
    response_model=None,
    responses=documented(Variable),
    operation_id="functionsUpdateVariable",
)
async def update_variable(
    request: Request, functionId: str, variableId: str, body: VariableChanges, caller: Writer
) -> Response:
    """Change a variable; what was secret stays so."""
    services = services_of(request)
    async with services.store.write(caller.project) as tx:
        function = await lock_function(tx, caller, functionId)
        row = await _require(tx.connection, caller.project.id, functionId, variableId)
        if row["secret"] and body.secret is False:
            raise refuse(Problem.VARIABLE_SECRET)
        changes: dict[str, Any] = {"updated_at": tx.now_text}
        if body.key is not None:
            changes["key"] = body.key
        if body.value is not None:
            changes["sealed_value"] = services.sealer.seal(body.value)
        if body.secret is not None:
            changes["secret"] = body.secret
        changed = update(variables).where(variables.c.seq == row["seq"]).values(changes)
        try:
            await tx.connection.execute(changed)
        except IntegrityError as error:
            raise refuse(Problem.VARIABLE_EXISTS) from error
        await _touch(tx, function)
        model = _emit(tx, services.sealer, "update", {**row, **changes})
    return respond(model)


@router.delete(
    "/v1/functions/{functionId}/variables/{variableId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="functionsDeleteVariable",
)
async def delete_variable(request: Request, functionId: str, variableId: str, caller: Writer) -> Response:
    """Delete a variable."""
    services = services_of(request)
    async with services.store.write(caller.project) as tx:
        function = await lock_function(tx, caller, functionId)
        row = await _require(tx.connection, caller.project.id, functionId, variableId)
        await tx.connection.execute(delete(variables).where(variables.c.seq == row["seq"]))
        await _touch(tx, function)
        _emit(tx, services.sealer, "delete", row)
    return respond(None)


async def _require(connection: AsyncConnection, project_id: str, function_id: str, variable_id: str) -> Row:
    found = await connection.execute(
        select(variables).where(
            variables.c.project_id == project_id,
            variables.c.function_id == function_id,
            variables.c.id == variable_id,
        )
    )
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.VARIABLE_NOT_FOUND)
    return row


async def _check_count(tx: Transaction, function_id: str) -> None:
    count = await tx.connection.scalar(
        select(func.count())
        .select_from(variables)
        .where(variables.c.project_id == tx.project.id, variables.c.function_id == function_id)
    )
    if (count or 0) >= MAX_VARIABLES:
        raise refuse(Problem.VARIABLE_LIMIT, limit=str(MAX_VARIABLES))


async def _touch(tx: Transaction, function: Row) -> None:
    """Have the function count as changed: its environment is a part of it."""
    await tx.connection.execute(
        update(functions).where(functions.c.seq == function["seq"]).values(updated_at=tx.now_text)
    )


def _model(sealer: Sealer, row: Row) -> Variable:
    return variable_model(row, "" if row["secret"] else sealer.unseal(row["sealed_value"]))


def _emit(tx: Transaction, sealer: Sealer, action: str, row: Row) -> Variable:
    """Record that a variable was made, changed or deleted, without its value; return its model."""
    tx.emit(
        Event(
            f"functions.[functionId].variables.[variableId].{action}",
            variable_model(row, ""),
            params={"functionId": row["function_id"], "variableId": row["id"]},
        )
    )
    return _model(sealer, row)
