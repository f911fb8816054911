"""Routes that create and change messages: e-mails, text messages and push notifications.

A message that is no draft is sent when its time has come, or at once; from then on nobody changes it.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request
from starlette.responses import Response

from realtime.events.event import Event
from workers.api.access import Caller, requires
from workers.api.messaging.bodies import (
    CONTENTS,
    EmailChanges,
    MessageChanges,
    NewEmail,
    NewMessage,
    NewPush,
    NewSms,
    PushChanges,
    SmsChanges,
)
from workers.api.messaging.messages import require_message
from workers.api.messaging.recipients import check_recipients
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.messaging import Message, message_model
from workers.models.people import Row
from workers.store.ids import choose_id
from workers.store.store import Transaction
from workers.store.tables import messages

router = APIRouter(tags=["messaging"])

Writer = Annotated[Caller, Depends(requires("messages.write"))]
Kind = Literal["email", "sms", "push"]

_UNCHANGEABLE = {
    "processing": Problem.MESSAGE_PROCESSING,
    "sent": Problem.MESSAGE_SENT,
    "failed": Problem.MESSAGE_FAILED,
}


@router.post(
    "/v1/messaging/messages/email",
    response_model=None,
    responses=documented(Message, 201),
    operation_id="messagingCreateEmail",
)
async def create_email(request: Request, body: NewEmail, caller: Writer) -> Response:
    """Create an e-mail, and send it now, later, or not yet."""
    return await _create(request, caller, "email", body)


@router.post(
    "/v1/messaging/messages/sms",
    response_model=None,
    responses=documented(Message, 201),
    operation_id="messagingCreateSMS",
)
async def create_sms(request: Request, body: NewSms, caller: Writer) -> Response:
    """Create a text message. There is nobody here who sends it: unless it is a draft, it fails."""
    return await _create(request, caller, "sms", body)


@router.post(
    "/v1/messaging/messages/push",
    response_model=None,
    responses=documented(Message, 201),
    operation_id="messagingCreatePush",
)
async def create_push(request: Request, body: NewPush, caller: Writer) -> Response:
    """Create a push notification. There is nobody here who sends it: unless it is a draft, it fails."""
    return await _create(request, caller, "push", body)


@router.patch(
    "/v1/messaging/messages/email/{messageId}",
    response_model=None,
    responses=documented(Message),
    operation_id="messagingUpdateEmail",
)
async def update_email(request: Request, messageId: str, body: EmailChanges, caller: Writer) -> Response:
    """Change an e-mail that is a draft or scheduled; what is left out stays."""
    return await _update(request, caller, "email", messageId, body)


@router.patch(
    "/v1/messaging/messages/sms/{messageId}",
    response_model=None,
    responses=documented(Message),
    operation_id="messagingUpdateSMS",
)
async def update_sms(request: Request, messageId: str, body: SmsChanges, caller: Writer) -> Response:
    """Change a text message that is a draft or scheduled; what is left out stays."""
    return await _update(request, caller, "sms", messageId, body)


@router.patch(
    "/v1/messaging/messages/push/{messageId}",
    response_model=None,
    responses=documented(Message),
    operation_id="messagingUpdatePush",
)
async def update_push(request: Request, messageId: str, body: PushChanges, caller: Writer) -> Response:
    """Change a push notification that is a draft or scheduled; what is left out stays."""
    return await _update(request, caller, "push", messageId, body)


async def _create(request: Request, caller: Caller, kind: Kind, body: NewMessage) -> Response:
    services = services_of(request)
    async with services.store.write(caller.project) as tx:
        values: dict[str, Any] = {
            "project_id": tx.project.id,
            "id": choose_id(body.messageId),
            "provider_type": kind,
            "topics": body.topics,
            "users": body.users,
            "targets": body.targets,
            "data": _content(kind, body),
            "scheduled_at": body.scheduledAt,
            "delivery_errors": [],
            "depth": tx.acting.depth,
            "created_at": tx.now_text,
            "updated_at": tx.now_text,
        }
        values |= _planned(tx, is_draft=body.draft, scheduled_at=body.scheduledAt)
        await _check(tx, values)
        try:
            inserted = await tx.connection.execute(insert(messages).values(values).returning(messages))
        except IntegrityError as error:
            raise refuse(Problem.MESSAGE_EXISTS) from error
        row = inserted.mappings().one()
        _emit(tx, "create", row)
    services.dispatcher.wake()
    return respond(message_model(row), 201)


async def _update(
    request: Request, caller: Caller, kind: Kind, message_id: str, body: MessageChanges
) -> Response:
    services = services_of(request)
    async with services.store.write(caller.project) as tx:
        row = await require_message(tx.connection, tx.project.id, message_id, lock=True)
        if row["provider_type"] != kind:
            raise refuse(Problem.MESSAGE_NOT_FOUND)
        if row["status"] in _UNCHANGEABLE:
            raise refuse(_UNCHANGEABLE[row["status"]])
        is_draft = row["status"] == "draft" if body.draft is None else body.draft
        changes = body.model_dump(include={"topics", "users", "targets"}, exclude_none=True)
        changes |= {
            "data": row["data"] | _content(kind, body),
            "scheduled_at": body.scheduledAt or row["scheduled_at"],
            "updated_at": tx.now_text,
            "depth": tx.acting.depth,
        }
        changes |= _planned(tx, is_draft=is_draft, scheduled_at=changes["scheduled_at"])
        await _check(tx, {**row, **changes})
        statement = update(messages).where(messages.c.seq == row["seq"]).values(changes)
        row = (await tx.connection.execute(statement.returning(messages))).mappings().one()
        _emit(tx, "update", row)
    services.dispatcher.wake()
    return respond(message_model(row))


def _content(kind: Kind, body: NewMessage | MessageChanges) -> dict[str, Any]:
    """Return what a request has a message say; what it leaves out is not in it."""
    return body.model_dump(include=set(CONTENTS[kind]), exclude_none=True)


def _planned(tx: Transaction, *, is_draft: bool, scheduled_at: str | None) -> dict[str, Any]:
    """Return the columns that say what is to become of a message, and when."""
    if is_draft:
        return {"status": "draft", "due_at": None}
    if scheduled_at is not None:
        return {"status": "scheduled", "due_at": scheduled_at}
    return {"status": "processing", "due_at": tx.now_text}


async def _check(tx: Transaction, values: Row) -> None:
    """Check that a message reaches people who exist, and somebody at all, unless it is a draft."""
    copies = [*values["data"].get("cc", ()), *values["data"].get("bcc", ())]
    await check_recipients(
        tx.connection,
        tx.project.id,
        values["provider_type"],
        topic_ids=values["topics"],
        user_ids=values["users"],
        target_ids=[*values["targets"], *copies],
    )
    if values["status"] != "draft" and not (values["topics"] or values["users"] or values["targets"]):
        raise refuse(Problem.MESSAGE_NO_TARGET)


def _emit(tx: Transaction, action: str, row: Row) -> None:
    tx.emit(Event(f"messages.[messageId].{action}", message_model(row), params={"messageId": row["id"]}))
