"""Routes of the caller's own project: itself, its protocols, and the ping by which a client shows that it is set up."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from sqlalchemy import update
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from workers.api.access import Caller, require_project, requires
from workers.api.params import Body
from workers.api.problems import Problem, refuse
from workers.api.projects.access import require_row
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.projects import Project, Service, project_model
from workers.store import projects as store
from workers.store.projects import SwitchKind
from workers.store.tables import projects

router = APIRouter(tags=["project"])

Reader = Annotated[Caller, Depends(requires("project.read"))]
Writer = Annotated[Caller, Depends(requires("project.write"))]


class Enabled(Body):
    """Whether something is on."""

    enabled: bool


@router.get("/v1/project", response_model=None, responses=documented(Project), operation_id="projectGet")
async def get_project(request: Request, caller: Reader) -> Response:
    """Get the project."""
    async with services_of(request).store.read() as connection:
        return respond(project_model(await require_row(connection, caller.project.id)))


@router.delete("/v1/project", response_model=None, responses=documented(None), operation_id="projectDelete")
async def delete_project(request: Request, caller: Writer) -> Response:
    """Delete the project with everything in it; its connections are closed."""
    async with services_of(request).store.write(caller.project) as tx:
        if not await store.delete_project(tx):
            raise refuse(Problem.PROJECT_NOT_FOUND)
    return respond(None)


@router.patch(
    "/v1/project/protocols/{protocolId}",
    response_model=None,
    responses=documented(Project),
    operation_id="projectUpdateProtocol",
)
async def update_protocol(
    request: Request, protocolId: Literal["websocket"], body: Enabled, caller: Writer
) -> Response:
    """Switch the realtime protocol on or off; off, only API keys can connect anew."""
    return await _switch(request, caller, "protocols", protocolId, body.enabled)


@router.patch(
    "/v1/project/services/{serviceId}",
    response_model=None,
    responses=documented(Project),
    operation_id="projectUpdateService",
)
async def update_service(
    request: Request,
    serviceId: Service,
    body: Enabled,
    caller: Writer,
) -> Response:
    """Open a service to clients or close it; closed, only API keys are served."""
    return await _switch(request, caller, "services", serviceId, body.enabled)


async def _switch(request: Request, caller: Caller, kind: SwitchKind, name: str, is_on: bool) -> Response:
    async with services_of(request).store.write(caller.project) as tx:
        row = await store.switch(tx, kind, name, is_on=is_on)
    if row is None:
        raise refuse(Problem.PROJECT_NOT_FOUND)
    return respond(project_model(row))


@router.get(
    "/v1/ping",
    response_model=None,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string", "const": "Pong!"}}}}},
    response_class=PlainTextResponse,
    dependencies=[Depends(rate_limit(limit=60, window_s=60))],
    tags=["ping"],
    operation_id="ping",
)
async def ping(request: Request) -> Response:
    """Answer ``Pong!``, and count it; the first one of a project is an event (wire specification 9.4)."""
    project = await require_project(request)
    async with services_of(request).store.write(project) as tx:
        pinged = await tx.connection.execute(
            update(projects)
            .where(projects.c.id == project.id)
            .values(ping_count=projects.c.ping_count + 1, pinged_at=tx.now_text)
            .returning(*projects.c)
        )
        row = pinged.mappings().one_or_none()
        if row is not None and row["ping_count"] == 1:
            store.emit_project(tx, "ping", row)
    return PlainTextResponse("Pong!")
