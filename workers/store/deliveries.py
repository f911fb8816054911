"""Removing deliveries, with the attempts at them: what maintenance, workers and those who purge share.

Who deletes a webhook leaves its deliveries where they are, however many: no worker attempts one, nobody is shown one,
and they are removed a few at a time.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import delete, select, text
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


class Gone(NamedTuple):
    """A webhook that was deleted and has left deliveries."""

    project_id: str
    webhook_id: str
    webhook_seq: int


async def find_gone(connection: AsyncConnection) -> list[Gone]:
    """Return webhooks that were deleted and have left deliveries.

    Of those that had the same ID, only the one that did so first: what the next one left is found once its is removed.
    """
    statement = _GONE_SQLITE if connection.dialect.name == "sqlite" else _GONE_POSTGRESQL
    return [Gone(*row) for row in await connection.execute(statement)]


async def remove_left(
    connection: AsyncConnection, gone: Gone, *, after_seq: int, limit: int
) -> Sequence[int]:
    """Remove the first ``limit`` deliveries that a deleted webhook has left, with all that belongs to them alone.

    Those that somebody is changing now are passed over.

    Returns:
        Their ``seq``, ascending.
    """
    found = await connection.execute(
        _LEFT_SQLITE if connection.dialect.name == "sqlite" else _LEFT_POSTGRESQL,
        gone._asdict() | {"after_seq": after_seq, "limit": limit},
    )
    # Those of a webhook that was made anew under the same ID come after them.
    seqs = [seq for seq, webhook_seq in found if webhook_seq == gone.webhook_seq]
    await remove_deliveries_and_events(connection, seqs)
    return seqs


async def remove_deliveries_and_events(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    """Remove a batch of deliveries as :func:`remove_deliveries` does, and the events that nobody else is told of.

    For webhooks that were deleted: whoever still has deliveries recorded does not tell them of an event again.
    """
    found = await connection.execute(
        select(deliveries.c.project_id, deliveries.c.event_id).where(deliveries.c.seq.in_(numbers)).distinct()
    )
    told_of = [(project_id, event_id) for project_id, event_id in found]
    await remove_deliveries(connection, numbers)
    listed, matches = matching(webhook_events.c.project_id, webhook_events.c.event_id, told_of)
    # Not NOT EXISTS, which PostgreSQL may read the whole table for.
    delivery = (
        select(deliveries.c.seq)
        .where(
            deliveries.c.project_id == webhook_events.c.project_id,
            deliveries.c.event_id == webhook_events.c.event_id,
        )
        .limit(1)
        .scalar_subquery()
    )
    untold = (
        select(webhook_events.c.seq)
        .select_from(listed)
        .join(webhook_events, matches)
        .where(delivery.is_(None))
    )
    await connection.execute(delete(webhook_events).where(webhook_events.c.seq.in_(untold)))


# Who looks for the first deliveries to a webhook gives SQLite the columns of the index one by one. PostgreSQL is given
# them as one row, so that it does not choose the index by ``seq`` instead, and read the deliveries to all others.
_OF_WEBHOOK_SQLITE = (
    "project_id = {project_id} AND webhook_id = {webhook_id} AND seq > {after_seq} ORDER BY seq"
)
_OF_WEBHOOK_POSTGRESQL = """
    (project_id, webhook_id, seq) > ({project_id}, {webhook_id}, {after_seq})
    AND project_id <= {project_id} AND webhook_id <= {webhook_id} ORDER BY project_id, webhook_id, seq
"""

_GONE = """
    WITH RECURSIVE recipient(project_id, webhook_id) AS (
        SELECT min(project_id), CAST('' AS VARCHAR) FROM deliveries
        UNION ALL
        SELECT
            CASE WHEN (
                SELECT min(webhook_id) FROM deliveries
                WHERE project_id = recipient.project_id AND webhook_id > recipient.webhook_id
            ) IS NOT NULL THEN project_id
            ELSE (SELECT min(project_id) FROM deliveries WHERE project_id > recipient.project_id) END,
            coalesce((
                SELECT min(webhook_id) FROM deliveries
                WHERE project_id = recipient.project_id AND webhook_id > recipient.webhook_id
            ), '')
        FROM recipient WHERE project_id IS NOT NULL
    )
    SELECT project_id, webhook_id, webhook_seq FROM (
        SELECT project_id, webhook_id, (
            SELECT webhook_seq FROM deliveries WHERE {of_webhook} LIMIT 1
        ) AS webhook_seq FROM recipient WHERE project_id IS NOT NULL AND webhook_id <> ''
    ) AS first
    WHERE NOT EXISTS (SELECT 1 FROM webhooks WHERE seq = first.webhook_seq)
"""
"""A skip scan: from one webhook to the next in the index, by project and ID, and to its first delivery."""

_FIRST = {"project_id": "recipient.project_id", "webhook_id": "recipient.webhook_id", "after_seq": "0"}
_GONE_SQLITE = text(_GONE.format(of_webhook=_OF_WEBHOOK_SQLITE.format(**_FIRST)))
_GONE_POSTGRESQL = text(_GONE.format(of_webhook=_OF_WEBHOOK_POSTGRESQL.format(**_FIRST)))

_LEFT = "SELECT seq, webhook_seq FROM deliveries WHERE {of_webhook} LIMIT :limit"
_GIVEN = {name: f":{name}" for name in _FIRST}
_LEFT_SQLITE = text(_LEFT.format(of_webhook=_OF_WEBHOOK_SQLITE.format(**_GIVEN)))
_LEFT_POSTGRESQL = text(
    _LEFT.format(of_webhook=_OF_WEBHOOK_POSTGRESQL.format(**_GIVEN)) + " FOR UPDATE SKIP LOCKED"
)
