"""Routes of functions themselves: create, list, read, change, delete; and what they may be made of."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller, requires
from workers.api.errors import bad_request
from workers.api.functions.bodies import ActiveDeployment, FunctionChanges, NewFunction
from workers.api.functions.lookup import emit_function, function_models, lock_function, require_function
from workers.api.functions.runtimes import RUNTIMES, SPECIFICATIONS
from workers.api.listing import ListParams, list_params
from workers.api.problems import Problem, refuse
from workers.api.projects.keys import check_grant
from workers.api.responses import documented, respond
from workers.api.services import Services, services_of
from workers.functions.calls import READY
from workers.functions.executors.urls import check_url, is_url
from workers.models.functions import Function, FunctionList, RuntimeList, SpecificationList
from workers.outbound.targets import TargetError
from workers.store.conditions import contains_text
from workers.store.discarded import discard_rows
from workers.store.fields import Field
from workers.store.ids import choose_id
from workers.store.pages import fetch_page
from workers.store.store import Transaction
from workers.store.tables import deployments, executions, functions, uploads, variables

router = APIRouter(tags=["functions"])

FIELDS = {
    "$id": Field(functions.c.id, "id"),
    "$createdAt": Field(functions.c.created_at, "datetime"),
    "$updatedAt": Field(functions.c.updated_at, "datetime"),
    "name": Field(functions.c.name, "string"),
    "enabled": Field(functions.c.enabled, "boolean"),
    "runtime": Field(functions.c.runtime, "string"),
    "deploymentId": Field(functions.c.deployment_id, "id"),
    "schedule": Field(functions.c.schedule, "string"),
    "timeout": Field(functions.c.timeout_s, "integer"),
    "entrypoint": Field(functions.c.entrypoint, "string"),
    "commands": Field(functions.c.commands, "string"),
    "events": Field(functions.c.events, "json-array", items="string"),
}
"""What functions are listed by."""

Reader = Annotated[Caller, Depends(requires("functions.read"))]
Writer = Annotated[Caller, Depends(requires("functions.write"))]


@router.post(
    "/v1/functions",
    response_model=None,
    responses=documented(Function, 201),
    operation_id="functionsCreate",
)
async def create_function(request: Request, body: NewFunction, caller: Writer) -> Response:
    """Create a function, with scopes that the caller has. It can be executed once it has an active deployment.

    One whose ``entrypoint`` is a URL lives there, and needs none.
    """
    check_grant(caller, body.scopes)
    services = services_of(request)
    await _check_entrypoint(services, body.entrypoint)
    async with services.store.write(caller.project) as tx:
        row: dict[str, Any] = {
            "project_id": caller.project.id,
            "id": choose_id(body.functionId),
            "runtime": body.runtime,
            "deployment_id": None,
            "schedule_done_at": tx.now_text,
            "created_at": tx.now_text,
            "updated_at": tx.now_text,
            **body.columns(),
        }
        try:
            await tx.connection.execute(insert(functions), row)
        except IntegrityError as error:
            raise refuse(Problem.FUNCTION_EXISTS) from error
        model = await emit_function(tx, services.sealer, "create", row)
    return respond(model, 201)


@router.get(
    "/v1/functions",
    response_model=None,
    responses=documented(FunctionList),
    operation_id="functionsList",
)
async def list_functions(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the functions of the project."""
    services, query = services_of(request), params.query(FIELDS)
    where = [functions.c.project_id == caller.project.id]
    if params.search:
        where.append(contains_text([functions.c.id, functions.c.name, functions.c.runtime], params.search))
    async with services.store.read() as connection:
        page = await fetch_page(connection, functions, FIELDS, query, where=where, count=params.total)
        models = await function_models(connection, services.sealer, page.rows)
    return respond({"total": page.total, "functions": models})


@router.get(
    "/v1/functions/runtimes",
    response_model=None,
    responses=documented(RuntimeList),
    operation_id="functionsListRuntimes",
)
async def list_runtimes(caller: Reader) -> Response:
    """List the runtimes that functions may have."""
    del caller
    return respond({"total": len(RUNTIMES), "runtimes": list(RUNTIMES.values())})


@router.get(
    "/v1/functions/specifications",
    response_model=None,
    responses=documented(SpecificationList),
    operation_id="functionsListSpecifications",
)
async def list_specifications(caller: Reader) -> Response:
    """List what of a machine functions may get."""
    del caller
    return respond({"total": len(SPECIFICATIONS), "specifications": SPECIFICATIONS})


@router.get(
    "/v1/functions/{functionId}",
    response_model=None,
    responses=documented(Function),
    operation_id="functionsGet",
)
async def get_function(request: Request, functionId: str, caller: Reader) -> Response:
    """Return a function."""
    services = services_of(request)
    async with services.store.read() as connection:
        row = await require_function(connection, caller.project.id, functionId)
        (model,) = await function_models(connection, services.sealer, [row])
    return respond(model)


@router.put(
    "/v1/functions/{functionId}",
    response_model=None,
    responses=documented(Function),
    operation_id="functionsUpdate",
)
async def update_function(
    request: Request, functionId: str, body: FunctionChanges, caller: Writer
) -> Response:
    """Change a function. What is left out gets its default, but for the runtime."""
    check_grant(caller, body.scopes)
    services = services_of(request)
    await _check_entrypoint(services, body.entrypoint)
    async with services.store.write(caller.project) as tx:
        row = await lock_function(tx, caller, functionId)
        changes = body.columns() | {"runtime": body.runtime or row["runtime"], "updated_at": tx.now_text}
        if (row["schedule"], row["enabled"]) != (body.schedule, body.enabled):
            # What is past by then is not made up for.
            changes["schedule_done_at"] = tx.now_text
        await tx.connection.execute(update(functions).where(functions.c.seq == row["seq"]).values(changes))
        model = await emit_function(tx, services.sealer, "update", {**row, **changes})
    return respond(model)


@router.patch(
    "/v1/functions/{functionId}/deployment",
    response_model=None,
    responses=documented(Function),
    operation_id="functionsUpdateFunctionDeployment",
)
async def activate_deployment(
    request: Request, functionId: str, body: ActiveDeployment, caller: Writer
) -> Response:
    """Have another deployment executed from now on."""
    services = services_of(request)
    async with services.store.write(caller.project) as tx:
        row = await lock_function(tx, caller, functionId)
        status = await tx.connection.scalar(
            select(deployments.c.status).where(
                deployments.c.project_id == caller.project.id,
                deployments.c.function_id == functionId,
                deployments.c.id == body.deploymentId,
            )
        )
        if status is None:
            raise refuse(Problem.DEPLOYMENT_NOT_FOUND)
        if status != READY:
            raise refuse(Problem.BUILD_NOT_READY)
        changes = {"deployment_id": body.deploymentId, "updated_at": tx.now_text}
        await tx.connection.execute(update(functions).where(functions.c.seq == row["seq"]).values(changes))
        model = await emit_function(tx, services.sealer, "update", {**row, **changes})
    return respond(model)


@router.delete(
    "/v1/functions/{functionId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="functionsDelete",
)
async def delete_function(request: Request, functionId: str, caller: Writer) -> Response:
    """Delete a function with its variables, deployments and executions; those that wait are not run any more."""
    services = services_of(request)
    async with services.store.write(caller.project) as tx:
        row = await require_function(tx.connection, caller.project.id, functionId, lock=True)
        await emit_function(tx, services.sealer, "delete", row)
        await _discard_code(tx, functionId)
        for table in (variables, executions):
            await tx.connection.execute(
                delete(table).where(
                    table.c.project_id == caller.project.id, table.c.function_id == functionId
                )
            )
        await tx.connection.execute(delete(functions).where(functions.c.seq == row["seq"]))
    return respond(None)


async def _discard_code(tx: Transaction, function_id: str) -> None:
    """Delete the deployments of a function, and what is being uploaded of others, with their bytes."""
    await discard_rows(
        tx.connection,
        deployments,
        tx.now,
        deployments.c.project_id == tx.project.id,
        deployments.c.function_id == function_id,
    )
    await discard_rows(
        tx.connection,
        uploads,
        tx.now,
        uploads.c.project_id == tx.project.id,
        uploads.c.kind == "deployment",
        uploads.c.resource_id.startswith(f"{function_id}/", autoescape=True),
    )


async def _check_entrypoint(services: Services, entrypoint: str) -> None:
    """Refuse a URL that nothing may be sent to. Outside of transactions: it may ask a name server."""
    if not is_url(entrypoint):
        return
    try:
        await services.guard.check(check_url(entrypoint))
    except TargetError as error:
        raise bad_request(f"Invalid `entrypoint` param: {error}.") from error
