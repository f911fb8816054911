"""Routes by which a function gets deployments: an upload, in chunks if need be, or another one's archive."""

import tempfile
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field as BodyField
from starlette.requests import Request
from starlette.responses import Response

from realtime.permissions import is_valid_id
from workers.api.access import Caller, requires
from workers.api.errors import ApiError
from workers.api.functions.deployed import (
    find_deployment,
    insert_deployment,
    new_row,
    require_deployment,
    slot_of,
    waiting_row,
)
from workers.api.functions.lookup import check_reach, lock_function, require_function
from workers.api.params import MAX_ID_CHARS, Body
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import Services, services_of
from workers.api.uploads.copying import store_copy
from workers.api.uploads.pending import Slot, Stored, drop_upload, finish_upload, store_upload
from workers.api.uploads.receiving import receive_upload
from workers.files.store import MissingFileError
from workers.files.threads import in_thread
from workers.functions.archives import InvalidArchiveError, check_archive
from workers.models.functions import Deployment, deployment_model
from workers.models.people import Row
from workers.store.ids import new_id

router = APIRouter(tags=["functions"])

_NO_SOURCE = "This server gets deployments by upload only. Create one with the code as a tar.gz."

Writer = Annotated[Caller, Depends(requires("functions.write"))]


class NewDeployment(Body):
    """What a form says of a deployment, beside its code."""

    activate: bool
    entrypoint: Annotated[str, BodyField(max_length=1028)] | None = None
    commands: Annotated[str, BodyField(max_length=8192)] | None = None


class Original(Body):
    """Which deployment there is to be another one of."""

    deploymentId: str
    buildId: str = ""


@router.post(
    "/v1/functions/{functionId}/deployments",
    response_model=None,
    responses=documented(Deployment, 202),
    operation_id="functionsCreateDeployment",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["code", "activate"],
                        "properties": {
                            "code": {
                                "type": "string",
                                "format": "binary",
                                "description": "A tar.gz; in chunks if it is large, as files.",
                            },
                            "activate": {"type": "boolean"},
                            "entrypoint": {"type": "string", "maxLength": 1028},
                            "commands": {"type": "string", "maxLength": 8192},
                        },
                    }
                }
            },
        }
    },
)
async def create_deployment(request: Request, functionId: str, caller: Writer) -> Response:
    """Upload the code of a function, as a tar.gz; with ``activate`` it is executed from then on."""
    services = services_of(request)
    function = await _function(services, caller, functionId)
    async with receive_upload(
        request, max_bytes=services.settings.functions_deployment_max_bytes, part="code"
    ) as received:
        said = received.validated(NewDeployment)
        entrypoint = function["entrypoint"] if said.entrypoint is None else said.entrypoint
        if not entrypoint:
            raise refuse(Problem.FUNCTION_ENTRYPOINT)
        deployment_id = received.resource_id or new_id()
        if not is_valid_id(deployment_id) or len(deployment_id) > MAX_ID_CHARS:
            raise refuse(Problem.UPLOAD_NOT_FOUND)
        if existing := await _existing(services, caller, functionId, deployment_id):
            return respond(existing, 202)
        slot = slot_of(caller.project, functionId, deployment_id)
        details = {
            "activate": said.activate,
            "entrypoint": entrypoint,
            "commands": function["commands"] if said.commands is None else said.commands,
        }
        try:
            stored = await store_upload(services, slot, received, details=details)
        except ApiError as error:
            # Another request may have brought the same chunk, and completed the upload since.
            existing = await _existing(services, caller, functionId, deployment_id)
            if existing is None or error.type != Problem.UPLOAD_NOT_FOUND.value.type:
                raise
            return respond(existing, 202)
    if not stored.is_complete:
        return respond(deployment_model(waiting_row(functionId, deployment_id, stored)), 202)
    return respond(await _keep(services, caller, slot, functionId, deployment_id, stored), 202)


async def _function(services: Services, caller: Caller, function_id: str) -> Row:
    """Return a function that the caller may deploy to, before anything is read of what they send."""
    async with services.store.read() as connection:
        function = await require_function(connection, caller.project.id, function_id)
    check_reach(caller, function)
    return function


async def _existing(
    services: Services, caller: Caller, function_id: str, deployment_id: str
) -> Deployment | None:
    """Return the model of a deployment that is complete: the request is one that is made again."""
    async with services.store.read() as connection:
        row = await find_deployment(connection, caller.project.id, function_id, deployment_id)
    return None if row is None else deployment_model(row)


async def _keep(
    services: Services, caller: Caller, slot: Slot, function_id: str, deployment_id: str, stored: Stored
) -> Deployment:
    """Make a deployment of an upload that is complete, unless its archive is of no use; return its model."""
    try:
        await _check(services, stored)
    except InvalidArchiveError as error:
        async with services.store.write(caller.project) as tx:
            await drop_upload(tx, slot)
        raise refuse(Problem.DEPLOYMENT_ARCHIVE, reason=str(error)) from error
    return await _insert(services, caller, function_id, deployment_id, stored)


async def _insert(
    services: Services, caller: Caller, function_id: str, deployment_id: str, stored: Stored
) -> Deployment:
    """Make a deployment of bytes that are stored, unless that was done or given up meanwhile; return its model."""
    async with services.store.write(caller.project) as tx:
        function = await lock_function(tx, caller, function_id)
        if not await finish_upload(tx, stored):
            found = await require_deployment(tx.connection, caller.project.id, function_id, deployment_id)
            return deployment_model(found)
        row = new_row(
            tx,
            function_id,
            deployment_id,
            **stored.details,
            storage_key=stored.key,
            size_bytes=stored.total_bytes,
        )
        return await insert_deployment(tx, services, function, row)


async def _check(services: Services, stored: Stored) -> None:
    """Look through the archive. Raises :class:`InvalidArchiveError`."""
    with tempfile.TemporaryFile(dir=services.settings.data_dir) as file:
        async for block in services.files.read(stored.key, 0, stored.total_bytes):
            await in_thread(file.write, block)
        file.seek(0)
        await in_thread(check_archive, file)


@router.post(
    "/v1/functions/{functionId}/deployments/duplicate",
    response_model=None,
    responses=documented(Deployment, 202),
    operation_id="functionsCreateDuplicateDeployment",
)
async def duplicate_deployment(request: Request, functionId: str, body: Original, caller: Writer) -> Response:
    """Make another deployment of the same archive, with the function's settings of now, and activate it."""
    services = services_of(request)
    function = await _function(services, caller, functionId)
    async with services.store.read() as connection:
        original = await require_deployment(connection, caller.project.id, functionId, body.deploymentId)
    deployment_id = new_id()
    slot = slot_of(caller.project, functionId, deployment_id)
    details = {
        "activate": True,
        "entrypoint": function["entrypoint"] or original["entrypoint"],
        "commands": function["commands"],
    }
    try:
        stored = await store_copy(
            services, slot, original["storage_key"], original["size_bytes"], details=details
        )
    except MissingFileError as error:
        # The original was deleted meanwhile, or was lost with its bytes.
        raise refuse(Problem.DEPLOYMENT_NOT_FOUND) from error
    try:
        model = await _insert(services, caller, functionId, deployment_id, stored)
    except BaseException:
        async with services.store.write(caller.project) as tx:
            await drop_upload(tx, slot)
        raise
    return respond(model, 202)


@router.post(
    "/v1/functions/{functionId}/deployments/template",
    response_model=None,
    responses=documented(Deployment, 202),
    operation_id="functionsCreateTemplateDeployment",
)
async def create_from_template(functionId: str, caller: Writer) -> Response:
    """Refuse: this server gets no code from elsewhere."""
    del functionId, caller
    raise refuse(Problem.DEPLOYMENT_SOURCE, reason=_NO_SOURCE)


@router.post(
    "/v1/functions/{functionId}/deployments/vcs",
    response_model=None,
    responses=documented(Deployment, 202),
    operation_id="functionsCreateVcsDeployment",
)
async def create_from_vcs(functionId: str, caller: Writer) -> Response:
    """Refuse: this server is not connected to version control."""
    del functionId, caller
    raise refuse(Problem.DEPLOYMENT_SOURCE, reason=_NO_SOURCE)
