"""Removing deliveries, with the attempts at them: what maintenance, workers and those who delete a webhook share."""

from collections.abc import Sequence

from sqlalchemy import delete, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.store.dialects import matching
from workers.store.tables import attempts, deliveries, webhook_events


async def remove_deliveries(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    """Remove the deliveries with these ``seq``, a batch, and the attempts at them. Their events stay for others."""
    removed = await connection.execute(
        delete(deliveries)
        .where(deliveries.c.seq.in_(numbers))
        .returning(deliveries.c.project_id, deliveries.c.id)
    )
    listed, matches = matching(
        attempts.c.project_id,
        attempts.c.delivery_id,
        [(project_id, delivery_id) for project_id, delivery_id in removed],
    )
    of_them = select(attempts.c.seq).select_from(listed).join(attempts, matches)
    await connection.execute(delete(attempts).where(attempts.c.seq.in_(of_them)))


async def remove_deliveries_to(connection: AsyncConnection, project_id: str, webhook_id: str) -> int:
    """Remove all deliveries to a webhook, the attempts at them, and events that no other webhook is told of.

    Returns:
        How many deliveries there were.
    """
    of_webhook = (deliveries.c.project_id == project_id, deliveries.c.webhook_id == webhook_id)
    counted = await connection.scalar(select(func.count()).select_from(deliveries).where(*of_webhook))
    if not counted:
        return 0
    ids = select(deliveries.c.id).where(*of_webhook)
    await connection.execute(
        delete(attempts).where(attempts.c.project_id == project_id, attempts.c.delivery_id.in_(ids))
    )
    await connection.execute(delete(deliveries).where(*of_webhook))
    is_told_of = select(literal(1)).where(
        deliveries.c.project_id == webhook_events.c.project_id,
        deliveries.c.event_id == webhook_events.c.event_id,
    )
    await connection.execute(
        delete(webhook_events).where(webhook_events.c.project_id == project_id, ~is_told_of.exists())
    )
    return counted
