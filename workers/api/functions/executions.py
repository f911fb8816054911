"""Routes of executions: have a function run, now or later, and see what came of it."""

import asyncio
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends
from sqlalchemy import ColumnElement, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from realtime.bus.calls import call_workers
from workers.api import errors
from workers.api.access import Caller, requires
from workers.api.addresses import address_of
from workers.api.functions.execution_bodies import NewExecution
from workers.api.functions.lookup import require_function
from workers.api.functions.room import check_extent, origin_of, require_room
from workers.api.listing import ListParams, list_params
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import Services, services_of
from workers.functions.allowed import may_execute
from workers.functions.calls import Request as CallRequest
from workers.functions.calls import load_code, load_variables
from workers.functions.executor import Code, Outcome
from workers.functions.headers import kept_request_headers
from workers.functions.places import Person, TooManyError, TooManyOfCallerError
from workers.functions.queue import claimed_until, emit_execution, end
from workers.functions.record import all_headers, body_text, ended
from workers.functions.rows import never_run, new_row, too_deep
from workers.functions.runs import cut_off
from workers.functions.shares import Lane
from workers.models.functions import Execution, ExecutionList, execution_model, header_list
from workers.models.people import Row
from workers.store.fields import Field
from workers.store.ids import new_id
from workers.store.pages import fetch_page
from workers.store.store import Transaction
from workers.store.tables import executions

router = APIRouter(tags=["functions"])
log = structlog.get_logger("realtime.functions")

FIELDS = {
    "$id": Field(executions.c.id, "id"),
    "$createdAt": Field(executions.c.created_at, "datetime"),
    "$updatedAt": Field(executions.c.updated_at, "datetime"),
    "trigger": Field(executions.c.trigger, "string"),
    "status": Field(executions.c.status, "string"),
    "responseStatusCode": Field(executions.c.response_status, "integer"),
    "duration": Field(executions.c.duration_s, "double"),
    "requestMethod": Field(executions.c.request_method, "string"),
    "requestPath": Field(executions.c.request_path, "string"),
    "deploymentId": Field(executions.c.deployment_id, "id"),
    "scheduledAt": Field(executions.c.scheduled_at, "datetime"),
}
"""What executions are listed by."""

MAX_WAIT_S = 30
"""How long a caller waits for an execution, whatever the function's timeout is."""

Reader = Annotated[Caller, Depends(requires("executions.read"))]
Writer = Annotated[Caller, Depends(requires("executions.write"))]


@router.post(
    "/v1/functions/{functionId}/executions",
    response_model=None,
    responses=documented(Execution, 201) | documented(Execution, 202),
    operation_id="functionsCreateExecution",
    dependencies=[Depends(rate_limit(limit=60, window_s=60, by=("ip", "user", "url")))],
)
async def create_execution(request: Request, functionId: str, body: NewExecution, caller: Writer) -> Response:
    """Have a function run: 201 with what came of it, or 202 at once if it is to run later."""
    services = services_of(request)
    async with services.store.read() as connection:
        function = await _require_executable(connection, caller, functionId)
        code = await load_code(connection, caller.project.id, functionId)
    if code is None:
        raise refuse(Problem.DEPLOYMENT_NONE)
    if body.scheduledAt and not body.is_async:
        raise errors.bad_request(
            "Scheduled executions must run asynchronously. Leave scheduledAt out, or set async to true."
        )
    asked = CallRequest(
        headers=body.headers,
        body=body.body.encode(),
        user_id=caller.user_id,
        session_id=caller.session_id,
        client_ip=address_of(request),
        by_key=caller.is_privileged,
        although_disabled=not function["enabled"],
        claimed_roles=() if caller.identity.stored else tuple(sorted(caller.roles)),
    )
    if _depth(caller) > services.settings.functions_max_depth:
        return respond(await _cut(services, caller, code, body, asked), 202 if body.is_async else 201)
    if body.is_async:
        return respond(await _keep(services, caller, code, body, asked), 202)
    return respond(await _run(services, caller, function, code, body, asked), 201)


async def _require_executable(connection: AsyncConnection, caller: Caller, function_id: str) -> Row:
    """Return a function that the caller may have run."""
    function = await _require_visible(connection, caller, function_id)
    if not caller.is_privileged and not may_execute(function["execute"], caller.roles):
        raise refuse(
            Problem.FUNCTION_FORBIDDEN, reason="The current user may not execute this function: no role of theirs is "
            "among its execute permissions."
        )  # fmt: skip
    return function


async def _require_visible(connection: AsyncConnection, caller: Caller, function_id: str) -> Row:
    """Return a function, unless it is disabled and the caller is no server."""
    function = await require_function(connection, caller.project.id, function_id)
    if not function["enabled"] and not caller.is_privileged:
        raise refuse(Problem.FUNCTION_NOT_FOUND)
    return function


async def _keep(
    services: Services, caller: Caller, code: Code, body: NewExecution, asked: CallRequest
) -> Execution:
    """Keep an execution that is to be run later, or as soon as there is room; return its model."""
    async with services.store.write(caller.project) as tx:
        if body.is_late(tx.now):
            raise errors.bad_request("Invalid `scheduledAt` param: Value must be a date in the future.")
        if not caller.is_privileged:
            check_extent(asked, body.path, body.scheduledAt or "", tx.now)
        await require_function(tx.connection, caller.project.id, code.function_id, share=True)
        row = _row(caller, code, body, asked, tx.now_text) | {
            "status": "scheduled" if body.scheduledAt else "waiting",
            "scheduled_at": body.scheduledAt or None,
            "due_at": body.scheduledAt or tx.now_text,
            "sealed_request": asked.seal(services.sealer),
        }
        await require_room(tx.connection, row)
        await _insert(tx, row)
    services.executions.wake()
    if not body.scheduledAt:
        await call_workers(services.bus.redis, "functions")
    return execution_model(row, shows_output=caller.is_privileged)


async def _run(
    services: Services, caller: Caller, function: Row, code: Code, body: NewExecution, asked: CallRequest
) -> Execution:
    """Run an execution now, keep what came of it, and return its model, with the whole response in it."""
    lane = Lane(caller.project.id, code.function_id)
    person = None if caller.is_privileged else Person(caller.user_id, origin_of(asked.client_ip))
    try:
        with services.executions.place(lane, person):
            outcome, row = await _run_in_place(services, caller, function, code, body, asked)
    except TooManyOfCallerError:
        raise refuse(Problem.RATE_LIMIT) from None
    except TooManyError:
        raise refuse(Problem.BUSY) from None
    services.metrics.count_execution("http", row["status"], row["duration_s"])
    model = execution_model(row, shows_output=caller.is_privileged)
    model["responseBody"] = body_text(outcome)
    model["responseHeaders"] = all_headers(outcome)
    return model


async def _run_in_place(
    services: Services, caller: Caller, function: Row, code: Code, body: NewExecution, asked: CallRequest
) -> tuple[Outcome, Row]:
    """Run an execution that is in the store from its beginning; return what came of it, and its row."""
    limit_s = min(code.timeout_s, MAX_WAIT_S)
    async with services.store.write(caller.project) as tx:
        await require_function(tx.connection, caller.project.id, code.function_id, share=True)
        variables = await load_variables(tx.connection, services.sealer, caller.project.id, code.function_id)
        row = _row(caller, code, body, asked, tx.now_text)
        row |= {"due_at": claimed_until(tx.now, limit_s), "attempts": 1}
        row["seq"] = (
            await tx.connection.execute(insert(executions).returning(executions.c.seq), row)
        ).scalar_one()
    call = services.executions.calls.make(caller.project.id, code, row, asked, variables)
    try:
        outcome = await services.executions.run(call, limit_s=limit_s)
    except asyncio.CancelledError:
        # This process stops. The code has ended, but not by itself.
        await _end(services, caller, row, ended(cut_off(), logging=function["logging"]))
        raise refuse(Problem.EXECUTION_CUT_OFF) from None
    return outcome, await _end(services, caller, row, ended(outcome, logging=function["logging"]))


async def _end(services: Services, caller: Caller, row: Row, columns: dict[str, Any]) -> Row:
    """Record how an execution ended that was run here; return its row."""
    async with services.store.write(caller.project) as tx:
        await require_function(tx.connection, caller.project.id, row["function_id"], share=True)
        written = await end(tx, [(row, columns)])
        for each in written:
            emit_execution(tx, "create", each)
    if not written:
        # It took this process so long that another one took it for dead.
        raise refuse(Problem.EXECUTION_CUT_OFF)
    return written[0]


async def _cut(
    services: Services, caller: Caller, code: Code, body: NewExecution, asked: CallRequest
) -> Execution:
    """Record that an execution is not run, since functions that set off one another have gone too far."""
    max_depth = services.settings.functions_max_depth
    async with services.store.write(caller.project) as tx:
        await require_function(tx.connection, caller.project.id, code.function_id, share=True)
        row = _row(caller, code, body, asked, tx.now_text) | never_run(too_deep(max_depth))
        await _insert(tx, row)
    log.warning(
        "a chain of functions is cut: it is too long",
        project=caller.project.id,
        function=code.function_id,
        max_depth=max_depth,
    )
    services.executions.metrics.count_chain_cut()
    return execution_model(row, shows_output=caller.is_privileged)


def _depth(caller: Caller) -> int:
    """Return how many executions, each of which set off the next, there are with the one that is asked for."""
    return caller.acting.depth + 1


def _row(caller: Caller, code: Code, body: NewExecution, asked: CallRequest, now_text: str) -> dict[str, Any]:
    """Return the row of an execution that has not begun."""
    return new_row(
        caller.project.id,
        new_id(),
        code.function_id,
        trigger="http",
        depth=_depth(caller),
        now=now_text,
        deployment_id=code.deployment_id,
        user_id=caller.user_id or None,
        origin=None if caller.is_privileged else origin_of(asked.client_ip),
        permissions=[f'read("user:{caller.user_id}")'] if caller.user_id else [],
        status="processing",
        request_method=body.method,
        request_path=body.path,
        request_headers=header_list(
            kept_request_headers({**asked.headers, "x-appwrite-client-ip": asked.client_ip})
        ),
        due_at=None,
    )


async def _insert(tx: Transaction, row: dict[str, Any]) -> None:
    await tx.connection.execute(insert(executions), row)
    emit_execution(tx, "create", row)


def _visible(caller: Caller, function_id: str) -> list[ColumnElement[bool]]:
    """Return the conditions of executions that the caller may see: their own, or all for a server."""
    where = [executions.c.project_id == caller.project.id, executions.c.function_id == function_id]
    if not caller.is_privileged:
        where.append(executions.c.user_id == caller.user_id)
    return where


@router.get(
    "/v1/functions/{functionId}/executions",
    response_model=None,
    responses=documented(ExecutionList),
    operation_id="functionsListExecutions",
)
async def list_executions(
    request: Request, functionId: str, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the executions of a function: for users, those that they had made."""
    query = params.query(FIELDS)
    async with services_of(request).store.read() as connection:
        await _require_visible(connection, caller, functionId)
        page = await fetch_page(
            connection, executions, FIELDS, query, where=_visible(caller, functionId), count=params.total
        )
    models = [execution_model(row, shows_output=caller.is_privileged) for row in page.rows]
    return respond({"total": page.total, "executions": models})


@router.get(
    "/v1/functions/{functionId}/executions/{executionId}",
    response_model=None,
    responses=documented(Execution),
    operation_id="functionsGetExecution",
)
async def get_execution(request: Request, functionId: str, executionId: str, caller: Reader) -> Response:
    """Return an execution; its response is known only by its status code and two headers."""
    async with services_of(request).store.read() as connection:
        await _require_visible(connection, caller, functionId)
        row = await _require(connection, caller, functionId, executionId)
    return respond(execution_model(row, shows_output=caller.is_privileged))


@router.delete(
    "/v1/functions/{functionId}/executions/{executionId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="functionsDeleteExecution",
)
async def delete_execution(request: Request, functionId: str, executionId: str, caller: Writer) -> Response:
    """Delete an execution that has ended, or has yet to wait for its time. For API keys."""
    if not caller.is_privileged:
        raise errors.missing_scope(caller.kind.value, "executions.write")
    async with services_of(request).store.write(caller.project) as tx:
        await require_function(tx.connection, caller.project.id, functionId)
        row = await _require(tx.connection, caller, functionId, executionId, lock=True)
        if row["status"] in ("waiting", "processing"):
            raise refuse(Problem.EXECUTION_IN_PROGRESS)
        await tx.connection.execute(delete(executions).where(executions.c.seq == row["seq"]))
        emit_execution(tx, "delete", row)
    return respond(None)


async def _require(
    connection: AsyncConnection, caller: Caller, function_id: str, execution_id: str, *, lock: bool = False
) -> Row:
    statement = select(executions).where(*_visible(caller, function_id), executions.c.id == execution_id)
    found = await connection.execute(statement.with_for_update() if lock else statement)
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.EXECUTION_NOT_FOUND)
    return row
