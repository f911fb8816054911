"""The records of deployments: how they are found, made, and told of.

A deployment is the archive as it was uploaded. Nothing is built of it, so it is ready as soon as it is complete, and
until then it is an upload, which can be canceled, and nothing else.
"""

from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.event import Event
from realtime.identity.model import Project
from workers.api.functions.lookup import emit_function
from workers.api.problems import Problem, refuse
from workers.api.services import Services
from workers.api.uploads.pending import Slot, Stored
from workers.functions.calls import READY
from workers.models.functions import Deployment, deployment_model
from workers.models.people import Row
from workers.store.store import Transaction
from workers.store.tables import deployments, functions

_NOTHING_TO_BUILD = "There is nothing to build: the archive is run as it is.\n"

_COMMANDS_LATER = (
    "Nothing is built now: the commands run before the first execution, where that is run. If they fail, so does the "
    "execution, with what they wrote in its errors.\n"
)


def slot_of(project: Project, function_id: str, deployment_id: str) -> Slot:
    """Return what an upload of a deployment is for."""
    return Slot(project, "deployment", f"{function_id}/{deployment_id}")


async def find_deployment(
    connection: AsyncConnection, project_id: str, function_id: str, deployment_id: str
) -> Row | None:
    """Return the row of a deployment; None when there is none, or its upload is not complete."""
    found = await connection.execute(
        select(deployments).where(
            deployments.c.project_id == project_id,
            deployments.c.function_id == function_id,
            deployments.c.id == deployment_id,
        )
    )
    return found.mappings().one_or_none()


async def require_deployment(
    connection: AsyncConnection, project_id: str, function_id: str, deployment_id: str
) -> Row:
    """Return the row of a deployment.

    Raises:
        ApiError: 404 ``deployment_not_found``.
    """
    row = await find_deployment(connection, project_id, function_id, deployment_id)
    if row is None:
        raise refuse(Problem.DEPLOYMENT_NOT_FOUND)
    return row


def waiting_row(function_id: str, deployment_id: str, stored: Stored) -> Row:
    """Return what the row of a deployment would be that is still being uploaded."""
    return {
        "id": deployment_id,
        "function_id": function_id,
        "status": "waiting",
        "size_bytes": stored.total_bytes,
        "build_logs": "",
        "created_at": stored.created_at,
        "updated_at": stored.created_at,
        **stored.details,
    }


def new_row(tx: Transaction, function_id: str, deployment_id: str, **said: Any) -> dict[str, Any]:
    """Return the row of a new deployment; ``said`` are the columns about its code."""
    return {
        "project_id": tx.project.id,
        "id": deployment_id,
        "function_id": function_id,
        "status": READY,
        "build_logs": _COMMANDS_LATER if said["commands"] else _NOTHING_TO_BUILD,
        "created_at": tx.now_text,
        "updated_at": tx.now_text,
        **said,
    }


async def insert_deployment(
    tx: Transaction, services: Services, function: Row, row: dict[str, Any]
) -> Deployment:
    """Make a deployment, and activate it if it is meant to be; return its model."""
    await tx.connection.execute(insert(deployments), row)
    changes: dict[str, Any] = {"updated_at": tx.now_text}
    if row["activate"]:
        changes["deployment_id"] = row["id"]
    await tx.connection.execute(update(functions).where(functions.c.seq == function["seq"]).values(changes))
    model = emit_deployment(tx, "create", row)
    if row["activate"]:
        await emit_function(tx, services.sealer, "update", {**function, **changes})
    return model


def emit_deployment(tx: Transaction, action: str, row: Row) -> Deployment:
    """Record that a deployment was made or deleted; return its model."""
    model = deployment_model(row)
    tx.emit(
        Event(
            f"functions.[functionId].deployments.[deploymentId].{action}",
            model,
            params={"functionId": row["function_id"], "deploymentId": row["id"]},
        )
    )
    return model
