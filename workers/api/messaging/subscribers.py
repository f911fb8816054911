"""Routes of subscribers: the targets that get what is sent to a topic.

Users subscribe and unsubscribe their own targets, to topics whose ``subscribe`` roles let them; API keys anybody's.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field as Bounds
from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from realtime.events.event import Event
from realtime.permissions import ANY
from workers.api.access import Caller, requires
from workers.api.listing import ListParams, list_params
from workers.api.messaging.topics import require_topic
from workers.api.params import MAX_ID_CHARS, Body, CustomId
from workers.api.people.subscriptions import subscribe, unsubscribe
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.messaging import Subscriber, SubscriberList, subscriber_model
from workers.models.people import Row
from workers.store.conditions import contains_text
from workers.store.fields import Field
from workers.store.ids import choose_id
from workers.store.pages import fetch_page
from workers.store.store import Transaction
from workers.store.tables import subscribers, targets, users

router = APIRouter(tags=["messaging"])

FIELDS = {
    "$id": Field(subscribers.c.id, "id"),
    "$createdAt": Field(subscribers.c.created_at, "datetime"),
    "$updatedAt": Field(subscribers.c.updated_at, "datetime"),
    "targetId": Field(subscribers.c.target_id, "id"),
    "topicId": Field(subscribers.c.topic_id, "id"),
    "userId": Field(subscribers.c.user_id, "id"),
    "providerType": Field(subscribers.c.provider_type, "string"),
}
"""What subscribers are listed by."""

Reader = Annotated[Caller, Depends(requires("subscribers.read"))]
Writer = Annotated[Caller, Depends(requires("subscribers.write"))]

_LIMITS = [Depends(rate_limit(limit=60, window_s=60, by=("user", "url")))]


class NewSubscriber(Body):
    """A target that is to get what is sent to a topic."""

    subscriberId: CustomId
    targetId: Annotated[str, Bounds(max_length=MAX_ID_CHARS)]


@router.get(
    "/v1/messaging/topics/{topicId}/subscribers",
    response_model=None,
    responses=documented(SubscriberList),
    operation_id="messagingListSubscribers",
)
async def list_subscribers(
    request: Request, topicId: str, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the subscribers of a topic."""
    query = params.query(FIELDS)
    where = [subscribers.c.project_id == caller.project.id, subscribers.c.topic_id == topicId]
    if params.search:
        columns = [subscribers.c.id, subscribers.c.target_id, subscribers.c.user_id]
        where.append(contains_text(columns, params.search))
    async with services_of(request).store.read() as connection:
        await require_topic(connection, caller.project.id, topicId)
        page = await fetch_page(connection, subscribers, FIELDS, query, where=where, count=params.total)
        models = await _models(connection, caller.project.id, page.rows)
    return respond({"total": page.total, "subscribers": models})


@router.post(
    "/v1/messaging/topics/{topicId}/subscribers",
    response_model=None,
    responses=documented(Subscriber, 201),
    operation_id="messagingCreateSubscriber",
    dependencies=_LIMITS,
)
async def create_subscriber(request: Request, topicId: str, body: NewSubscriber, caller: Writer) -> Response:
    """Subscribe a target to a topic: one of the user's own, or any for an API key."""
    async with services_of(request).store.write(caller.project) as tx:
        target = await _require_target(tx, caller, body.targetId)
        topic = await require_topic(tx.connection, tx.project.id, topicId, lock=True)
        if not caller.is_privileged and not _may_subscribe(topic["subscribe"], caller):
            raise refuse(Problem.USER_UNAUTHORIZED)
        row = await subscribe(tx, choose_id(body.subscriberId), topic, target)
        (model,) = await _models(tx.connection, tx.project.id, [row])
        _emit(tx, "create", model)
    return respond(model, 201)


@router.get(
    "/v1/messaging/topics/{topicId}/subscribers/{subscriberId}",
    response_model=None,
    responses=documented(Subscriber),
    operation_id="messagingGetSubscriber",
)
async def get_subscriber(request: Request, topicId: str, subscriberId: str, caller: Reader) -> Response:
    """Return a subscriber of a topic."""
    async with services_of(request).store.read() as connection:
        await require_topic(connection, caller.project.id, topicId)
        row = await _require(connection, caller, topicId, subscriberId)
        models = await _models(connection, caller.project.id, [row])
    if not models:
        raise refuse(Problem.SUBSCRIBER_NOT_FOUND)
    return respond(models[0])


@router.delete(
    "/v1/messaging/topics/{topicId}/subscribers/{subscriberId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="messagingDeleteSubscriber",
    dependencies=_LIMITS,
)
async def delete_subscriber(request: Request, topicId: str, subscriberId: str, caller: Writer) -> Response:
    """Unsubscribe a target from a topic: one of the user's own, or any for an API key."""
    async with services_of(request).store.write(caller.project) as tx:
        await require_topic(tx.connection, tx.project.id, topicId, lock=True)
        row = await _require(tx.connection, caller, topicId, subscriberId)
        (model,) = await _models(tx.connection, tx.project.id, [row])
        await unsubscribe(tx, row)
        _emit(tx, "delete", model)
    return respond(None)


def _may_subscribe(roles: list[str], caller: Caller) -> bool:
    return ANY in roles or not caller.roles.isdisjoint(roles)


async def _require_target(tx: Transaction, caller: Caller, target_id: str) -> RowMapping:
    """Return the row of a target that the caller may subscribe, locked; or refuse."""
    where = [targets.c.project_id == tx.project.id, targets.c.id == target_id]
    if not caller.is_privileged:
        where.append(targets.c.user_id == caller.user_id)
    found = await tx.connection.execute(select(targets).where(*where).with_for_update())
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.USER_TARGET_NOT_FOUND)
    return row


async def _require(
    connection: AsyncConnection, caller: Caller, topic_id: str, subscriber_id: str
) -> RowMapping:
    """Return the row of a subscriber that the caller may see, or refuse with 404 ``subscriber_not_found``."""
    where = [
        subscribers.c.project_id == caller.project.id,
        subscribers.c.topic_id == topic_id,
        subscribers.c.id == subscriber_id,
    ]
    if not caller.is_privileged:
        where.append(subscribers.c.user_id == caller.user_id)
    found = await connection.execute(select(subscribers).where(*where))
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.SUBSCRIBER_NOT_FOUND)
    return row


async def _models(connection: AsyncConnection, project_id: str, rows: list[RowMapping]) -> list[Subscriber]:
    """Return the models of rows of ``subscribers``, with their targets and the names of their users.

    Those are left out whose target was deleted since they were read.
    """
    found_targets = await _by_id(connection, targets, project_id, {row["target_id"] for row in rows})
    found_users = await _by_id(connection, users, project_id, {row["user_id"] for row in rows})
    return [
        subscriber_model(
            row,
            target=found_targets[row["target_id"]],
            user_name=found_users[row["user_id"]]["name"] if row["user_id"] in found_users else "",
        )
        for row in rows
        if row["target_id"] in found_targets
    ]


async def _by_id(connection: AsyncConnection, table: Any, project_id: str, ids: set[str]) -> dict[str, Row]:
    found = await connection.execute(
        select(table).where(table.c.project_id == project_id, table.c.id.in_(ids))
    )
    return {row["id"]: row for row in found.mappings()}


def _emit(tx: Transaction, action: str, model: Subscriber) -> None:
    params = {"topicId": model["topicId"], "subscriberId": model["$id"]}
    tx.emit(Event(f"topics.[topicId].subscribers.[subscriberId].{action}", model, params=params))
