"""Who is subscribed to topics: the rows, and the totals of the topics, which are always true.

Whoever changes them locks the person or their target first and the topics after that, in the order of their numbers, so
that two never wait for each other.
"""

from sqlalchemy import ColumnElement, RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from workers.api.problems import Problem, refuse
from workers.models.people import Row
from workers.store.store import Transaction
from workers.store.tables import subscribers, topics

_TOTALS = {
    "email": topics.c.email_total,
    "sms": topics.c.sms_total,
    "push": topics.c.push_total,
}


async def subscribe(tx: Transaction, subscriber_id: str, topic: Row, target: Row) -> RowMapping:
    """Subscribe a target to a topic, both of whose rows are locked, and return the row of the subscriber.

    Raises:
        ApiError: 409 ``subscriber_already_exists``, for the ID or the target.
    """
    statement = insert(subscribers).values(
        project_id=tx.project.id,
        id=subscriber_id,
        topic_id=topic["id"],
        target_id=target["id"],
        user_id=target["user_id"],
        provider_type=target["provider_type"],
        created_at=tx.now_text,
        updated_at=tx.now_text,
    )
    try:
        inserted = await tx.connection.execute(statement.returning(subscribers))
    except IntegrityError as error:
        raise refuse(Problem.SUBSCRIBER_EXISTS) from error
    await _count(tx, topic["id"], target["provider_type"], 1)
    row: RowMapping = inserted.mappings().one()
    return row


async def unsubscribe(tx: Transaction, subscriber: Row) -> None:
    """Delete a subscriber of a topic whose row is locked."""
    deleted = await tx.connection.execute(delete(subscribers).where(subscribers.c.seq == subscriber["seq"]))
    await _count(tx, subscriber["topic_id"], subscriber["provider_type"], -deleted.rowcount)


async def unsubscribe_target(tx: Transaction, target_id: str) -> None:
    """Delete every subscriber with this target, which is deleted and so locked. No event tells of it."""
    await _unsubscribe_all(tx, subscribers.c.target_id == target_id)


async def unsubscribe_user(tx: Transaction, user_id: str) -> None:
    """Delete every subscriber of a user who is deleted, and so locked. No event tells of it."""
    await _unsubscribe_all(tx, subscribers.c.user_id == user_id)


async def _unsubscribe_all(tx: Transaction, condition: ColumnElement[bool]) -> None:
    ours = (subscribers.c.project_id == tx.project.id, condition)
    await tx.connection.execute(
        select(topics.c.seq)
        .where(
            topics.c.project_id == tx.project.id,
            topics.c.id.in_(select(subscribers.c.topic_id).where(*ours)),
        )
        .order_by(topics.c.seq)
        .with_for_update()
    )
    deleted = await tx.connection.execute(
        delete(subscribers).where(*ours).returning(subscribers.c.topic_id, subscribers.c.provider_type)
    )
    for topic_id, provider_type in deleted.all():
        await _count(tx, topic_id, provider_type, -1)


async def _count(tx: Transaction, topic_id: str, provider_type: str, change: int) -> None:
    total = _TOTALS[provider_type]
    await tx.connection.execute(
        update(topics)
        .where(topics.c.project_id == tx.project.id, topics.c.id == topic_id)
        .values({total: total + change})
    )
