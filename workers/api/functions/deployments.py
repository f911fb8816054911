"""Routes of the deployments that a function has: list, read, download, cancel, delete."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from sqlalchemy import update
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller, requires
from workers.api.downloads import Download, file_response
from workers.api.functions.deployed import emit_deployment, require_deployment, slot_of, waiting_row
from workers.api.functions.lookup import emit_function, lock_function, require_function
from workers.api.listing import ListParams, list_params
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.uploads.pending import drop_upload, find_upload
from workers.models.functions import Deployment, DeploymentList, deployment_model
from workers.store.conditions import contains_text
from workers.store.discarded import discard_rows
from workers.store.fields import Field
from workers.store.pages import fetch_page
from workers.store.tables import deployments, functions

router = APIRouter(tags=["functions"])

FIELDS = {
    "$id": Field(deployments.c.id, "id"),
    "$createdAt": Field(deployments.c.created_at, "datetime"),
    "$updatedAt": Field(deployments.c.updated_at, "datetime"),
    "status": Field(deployments.c.status, "string"),
    "activate": Field(deployments.c.activate, "boolean"),
    "entrypoint": Field(deployments.c.entrypoint, "string"),
    "commands": Field(deployments.c.commands, "string"),
    "sourceSize": Field(deployments.c.size_bytes, "integer"),
    "totalSize": Field(deployments.c.size_bytes, "integer"),
}
"""What deployments are listed by."""

_NO_OUTPUT = "Nothing is built of deployments. Download the source."

Reader = Annotated[Caller, Depends(requires("functions.read"))]
Writer = Annotated[Caller, Depends(requires("functions.write"))]


@router.get(
    "/v1/functions/{functionId}/deployments",
    response_model=None,
    responses=documented(DeploymentList),
    operation_id="functionsListDeployments",
)
async def list_deployments(
    request: Request, functionId: str, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the deployments of a function."""
    query = params.query(FIELDS)
    where = [deployments.c.project_id == caller.project.id, deployments.c.function_id == functionId]
    if params.search:
        where.append(contains_text([deployments.c.id, deployments.c.entrypoint], params.search))
    async with services_of(request).store.read() as connection:
        await require_function(connection, caller.project.id, functionId)
        page = await fetch_page(connection, deployments, FIELDS, query, where=where, count=params.total)
    return respond({"total": page.total, "deployments": [deployment_model(row) for row in page.rows]})


@router.get(
    "/v1/functions/{functionId}/deployments/{deploymentId}",
    response_model=None,
    responses=documented(Deployment),
    operation_id="functionsGetDeployment",
)
async def get_deployment(request: Request, functionId: str, deploymentId: str, caller: Reader) -> Response:
    """Return a deployment, or how far its upload is."""
    async with services_of(request).store.read() as connection:
        await require_function(connection, caller.project.id, functionId)
        stored = await find_upload(connection, slot_of(caller.project, functionId, deploymentId))
        if stored is not None:
            return respond(deployment_model(waiting_row(functionId, deploymentId, stored)))
        return respond(
            deployment_model(
                await require_deployment(connection, caller.project.id, functionId, deploymentId)
            )
        )


@router.get(
    "/v1/functions/{functionId}/deployments/{deploymentId}/download",
    response_model=None,
    responses={200: {"content": {"application/gzip": {}}, "description": "The archive"}},
    operation_id="functionsGetDeploymentDownload",
)
async def download_deployment(
    request: Request,
    functionId: str,
    deploymentId: str,
    caller: Reader,
    kind: Annotated[Literal["source", "output"], Query(alias="type")] = "source",
) -> Response:
    """Return the archive of a deployment, as it was uploaded."""
    if kind == "output":
        raise refuse(Problem.DEPLOYMENT_SOURCE, reason=_NO_OUTPUT)
    services = services_of(request)
    async with services.store.read() as connection:
        await require_function(connection, caller.project.id, functionId)
        row = await require_deployment(connection, caller.project.id, functionId, deploymentId)
    download = Download(
        key=row["storage_key"],
        size_bytes=row["size_bytes"],
        name=f"{deploymentId}.tar.gz",
        content_type="application/gzip",
        etag=row["storage_key"].rpartition("/")[2],
        changed_at=row["created_at"],
    )
    return await file_response(request, services.files, download, disposition="attachment")


@router.patch(
    "/v1/functions/{functionId}/deployments/{deploymentId}/status",
    response_model=None,
    responses=documented(Deployment),
    operation_id="functionsUpdateDeploymentStatus",
)
async def cancel_deployment(request: Request, functionId: str, deploymentId: str, caller: Writer) -> Response:
    """Cancel a deployment that is still being uploaded, and forget what has arrived of it."""
    async with services_of(request).store.write(caller.project) as tx:
        await lock_function(tx, caller, functionId)
        slot = slot_of(caller.project, functionId, deploymentId)
        stored = await find_upload(tx.connection, slot)
        if stored is None:
            await require_deployment(tx.connection, caller.project.id, functionId, deploymentId)
            raise refuse(Problem.BUILD_COMPLETED)
        await drop_upload(tx, slot)
    return respond(deployment_model({**waiting_row(functionId, deploymentId, stored), "status": "canceled"}))


@router.delete(
    "/v1/functions/{functionId}/deployments/{deploymentId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="functionsDeleteDeployment",
)
async def delete_deployment(request: Request, functionId: str, deploymentId: str, caller: Writer) -> Response:
    """Delete a deployment. If it was the active one, the function cannot be executed until another one is."""
    services = services_of(request)
    async with services.store.write(caller.project) as tx:
        function = await lock_function(tx, caller, functionId)
        if not await drop_upload(tx, slot_of(caller.project, functionId, deploymentId)):
            row = await require_deployment(tx.connection, caller.project.id, functionId, deploymentId)
            await discard_rows(tx.connection, deployments, tx.now, deployments.c.seq == row["seq"])
            emit_deployment(tx, "delete", row)
            if function["deployment_id"] == deploymentId:
                changes: dict[str, Any] = {"deployment_id": None, "updated_at": tx.now_text}
                await tx.connection.execute(
                    update(functions).where(functions.c.seq == function["seq"]).values(changes)
                )
                await emit_function(tx, services.sealer, "update", {**function, **changes})
    return respond(None)
