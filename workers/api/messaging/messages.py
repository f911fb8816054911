"""Routes of messages of every kind: list, get, their targets, delete; and what all changes of messages share."""

from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import RowMapping, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller, requires
from workers.api.listing import ListParams, list_params
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.users.targets import FIELDS as TARGET_FIELDS
from workers.models.messaging import Message, MessageList, message_model
from workers.models.people import Row, target_model
from workers.models.users import TargetList
from workers.store.conditions import contains_text
from workers.store.fields import Field
from workers.store.pages import fetch_page
from workers.store.tables import messages, targets

router = APIRouter(tags=["messaging"])

FIELDS = {
    "$id": Field(messages.c.id, "id"),
    "$createdAt": Field(messages.c.created_at, "datetime"),
    "$updatedAt": Field(messages.c.updated_at, "datetime"),
    "scheduledAt": Field(messages.c.scheduled_at, "datetime"),
    "deliveredAt": Field(messages.c.delivered_at, "datetime"),
    "deliveredTotal": Field(messages.c.delivered_total, "integer"),
    "status": Field(messages.c.status, "string"),
    "providerType": Field(messages.c.provider_type, "string"),
}
"""What messages are listed by."""

Reader = Annotated[Caller, Depends(requires("messages.read"))]
Writer = Annotated[Caller, Depends(requires("messages.write"))]

_SEARCHED = [
    messages.c.id,
    *(messages.c.data[name].as_string() for name in ("subject", "title", "content", "body")),
]


@router.get(
    "/v1/messaging/messages",
    response_model=None,
    responses=documented(MessageList),
    operation_id="messagingListMessages",
)
async def list_messages(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List messages."""
    query = params.query(FIELDS)
    where = [messages.c.project_id == caller.project.id]
    if params.search:
        where.append(contains_text(_SEARCHED, params.search))
    async with services_of(request).store.read() as connection:
        page = await fetch_page(connection, messages, FIELDS, query, where=where, count=params.total)
    return respond({"total": page.total, "messages": [message_model(row) for row in page.rows]})


@router.get(
    "/v1/messaging/messages/{messageId}",
    response_model=None,
    responses=documented(Message),
    operation_id="messagingGetMessage",
)
async def get_message(request: Request, messageId: str, caller: Reader) -> Response:
    """Return a message, with what became of it."""
    async with services_of(request).store.read() as connection:
        return respond(message_model(await require_message(connection, caller.project.id, messageId)))


@router.get(
    "/v1/messaging/messages/{messageId}/targets",
    response_model=None,
    responses=documented(TargetList),
    operation_id="messagingListTargets",
)
async def list_targets(
    request: Request, messageId: str, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the targets that a message names; not those of the users and topics that it names."""
    query = params.query(TARGET_FIELDS)
    async with services_of(request).store.read() as connection:
        row = await require_message(connection, caller.project.id, messageId)
        where = [targets.c.project_id == caller.project.id, targets.c.id.in_(row["targets"])]
        page = await fetch_page(connection, targets, TARGET_FIELDS, query, where=where, count=params.total)
    return respond({"total": page.total, "targets": [target_model(row) for row in page.rows]})


@router.delete(
    "/v1/messaging/messages/{messageId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="messagingDeleteMessage",
)
async def delete_message(request: Request, messageId: str, caller: Writer) -> Response:
    """Delete a message that is not being sent, or whose sending makes no progress.

    What was sent stays with whoever got it, and so do up to 25 letters that a sender hands over meanwhile.
    """
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_message(tx.connection, tx.project.id, messageId, lock=True)
        if row["status"] == "processing" and not _is_stuck(row):
            raise refuse(Problem.MESSAGE_PROCESSING)
        await tx.connection.execute(delete(messages).where(messages.c.seq == row["seq"]))
    return respond(None)


async def require_message(
    connection: AsyncConnection, project_id: str, message_id: str, *, lock: bool = False
) -> RowMapping:
    """Return the row of a message. With ``lock`` nobody else changes it meanwhile.

    Raises:
        ApiError: 404 ``message_not_found``.
    """
    statement = select(messages).where(messages.c.project_id == project_id, messages.c.id == message_id)
    found = await connection.execute(statement.with_for_update() if lock else statement)
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.MESSAGE_NOT_FOUND)
    return row


def _is_stuck(row: Row) -> bool:
    """Tell whether the sending of a message had to be begun again, from where it was or because no server was there."""
    return bool(row["claims"] > 1 or row["attempts"])
