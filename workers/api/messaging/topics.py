"""Routes of topics: create, list, get, update, delete."""

from typing import Annotated, Any

import pydantic
from fastapi import APIRouter, Depends
from pydantic import AfterValidator
from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from realtime.events.event import Event
from realtime.permissions import validate_role
from workers.api.access import Caller, requires
from workers.api.listing import ListParams, list_params
from workers.api.params import Body, CustomId, Name
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.messaging import Topic, TopicList, topic_model
from workers.models.people import Row
from workers.store.conditions import contains_text
from workers.store.fields import Field
from workers.store.ids import choose_id
from workers.store.pages import fetch_page
from workers.store.store import Transaction
from workers.store.tables import subscribers, topics

router = APIRouter(tags=["messaging"])

FIELDS = {
    "$id": Field(topics.c.id, "id"),
    "$createdAt": Field(topics.c.created_at, "datetime"),
    "$updatedAt": Field(topics.c.updated_at, "datetime"),
    "name": Field(topics.c.name, "string"),
    "emailTotal": Field(topics.c.email_total, "integer"),
    "smsTotal": Field(topics.c.sms_total, "integer"),
    "pushTotal": Field(topics.c.push_total, "integer"),
}
"""What topics are listed by."""

MAX_ROLES = 100
"""How many roles may subscribe to a topic."""

Reader = Annotated[Caller, Depends(requires("topics.read"))]
Writer = Annotated[Caller, Depends(requires("topics.write"))]


def _check_roles(roles: list[str]) -> list[str]:
    return list(dict.fromkeys(map(validate_role, roles)))


SubscribeRoles = Annotated[
    list[Annotated[str, pydantic.Field(max_length=64)]],
    pydantic.Field(max_length=MAX_ROLES, description="The roles that may subscribe by themselves."),
    AfterValidator(_check_roles),
]


class NewTopic(Body):
    """A topic to be made."""

    topicId: CustomId
    name: Name
    subscribe: SubscribeRoles = pydantic.Field(default=["users"])


class TopicChanges(Body):
    """What of a topic is to change; what is left out stays."""

    name: Annotated[str | None, pydantic.Field(max_length=128)] = None
    subscribe: SubscribeRoles | None = None


@router.get(
    "/v1/messaging/topics",
    response_model=None,
    responses=documented(TopicList),
    operation_id="messagingListTopics",
)
async def list_topics(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List topics."""
    query = params.query(FIELDS)
    where = [topics.c.project_id == caller.project.id]
    if params.search:
        where.append(contains_text([topics.c.id, topics.c.name], params.search))
    async with services_of(request).store.read() as connection:
        page = await fetch_page(connection, topics, FIELDS, query, where=where, count=params.total)
    return respond({"total": page.total, "topics": [topic_model(row) for row in page.rows]})


@router.post(
    "/v1/messaging/topics",
    response_model=None,
    responses=documented(Topic, 201),
    operation_id="messagingCreateTopic",
)
async def create_topic(request: Request, body: NewTopic, caller: Writer) -> Response:
    """Create a topic, to which users may subscribe unless it says otherwise."""
    async with services_of(request).store.write(caller.project) as tx:
        statement = insert(topics).values(
            project_id=tx.project.id,
            id=choose_id(body.topicId),
            name=body.name,
            subscribe=body.subscribe,
            created_at=tx.now_text,
            updated_at=tx.now_text,
        )
        try:
            inserted = await tx.connection.execute(statement.returning(topics))
        except IntegrityError as error:
            raise refuse(Problem.TOPIC_EXISTS) from error
        row = inserted.mappings().one()
        _emit(tx, "create", row)
    return respond(topic_model(row), 201)


@router.get(
    "/v1/messaging/topics/{topicId}",
    response_model=None,
    responses=documented(Topic),
    operation_id="messagingGetTopic",
)
async def get_topic(request: Request, topicId: str, caller: Reader) -> Response:
    """Return a topic."""
    async with services_of(request).store.read() as connection:
        return respond(topic_model(await require_topic(connection, caller.project.id, topicId)))


@router.patch(
    "/v1/messaging/topics/{topicId}",
    response_model=None,
    responses=documented(Topic),
    operation_id="messagingUpdateTopic",
)
async def update_topic(request: Request, topicId: str, body: TopicChanges, caller: Writer) -> Response:
    """Rename a topic, or say anew who may subscribe. Who has subscribed stays."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_topic(tx.connection, tx.project.id, topicId, lock=True)
        changes: dict[str, Any] = {"updated_at": tx.now_text}
        if body.name:
            changes["name"] = body.name
        if body.subscribe is not None:
            changes["subscribe"] = body.subscribe
        statement = update(topics).where(topics.c.seq == row["seq"]).values(changes)
        row = (await tx.connection.execute(statement.returning(topics))).mappings().one()
        _emit(tx, "update", row)
    return respond(topic_model(row))


@router.delete(
    "/v1/messaging/topics/{topicId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="messagingDeleteTopic",
)
async def delete_topic(request: Request, topicId: str, caller: Writer) -> Response:
    """Delete a topic with its subscribers, of whom no event tells. Messages that name it reach the others."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_topic(tx.connection, tx.project.id, topicId, lock=True)
        await tx.connection.execute(
            delete(subscribers).where(
                subscribers.c.project_id == tx.project.id, subscribers.c.topic_id == topicId
            )
        )
        await tx.connection.execute(delete(topics).where(topics.c.seq == row["seq"]))
        _emit(tx, "delete", row)
    return respond(None)


async def require_topic(
    connection: AsyncConnection, project_id: str, topic_id: str, *, lock: bool = False
) -> RowMapping:
    """Return the row of a topic. With ``lock`` nobody else changes it, or who is subscribed to it, meanwhile.

    Raises:
        ApiError: 404 ``topic_not_found``.
    """
    statement = select(topics).where(topics.c.project_id == project_id, topics.c.id == topic_id)
    found = await connection.execute(statement.with_for_update() if lock else statement)
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.TOPIC_NOT_FOUND)
    return row


def _emit(tx: Transaction, action: str, row: Row) -> None:
    tx.emit(Event(f"topics.[topicId].{action}", topic_model(row), params={"topicId": row["id"]}))
