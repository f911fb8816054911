"""The delivery log: deliveries chosen by what they are, shown, counted, made anew and removed, in the store.

A delivery that is made anew keeps its ID and its attempts; it is due at once, and gets all attempts of the schedule
again. Whoever delivers finds it there like any other.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple

import orjson
from sqlalchemy import ColumnElement, func, insert, literal_column, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.work import WorkEvent
from workers.models.deliveries import DeliveryDetails, details_model
from workers.models.people import Row
from workers.models.webhooks import webhook_model
from workers.store.deliveries import remove_deliveries
from workers.store.ids import new_id
from workers.store.tables import attempts, deliveries, webhook_events, webhooks
from workers.store.times import to_text
from workers.webhooks.recording import delivery_row, event_row

Status = Literal["pending", "delivered", "dead"]
"""What can have become of a delivery."""

BATCH = 500
"""How many deliveries are changed in one transaction, so that those who deliver need not wait for it."""

MAX_HISTORY = 100
"""How many attempts of a delivery are shown."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which deliveries of a project: those that meet all that is said. What is empty says nothing."""

    project_id: str
    webhook_ids: tuple[str, ...] = ()
    status: Status | None = None
    event_id: str = ""
    since: str = ""
    """Recorded at this time or later, as the store writes times."""
    until: str = ""
    """Recorded before this time."""
    ids: tuple[str, ...] = ()
    """Of deliveries."""

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what a row of ``deliveries`` must meet."""
        columns = deliveries.c
        where = [columns.project_id == self.project_id]
        if self.webhook_ids:
            where.append(columns.webhook_id.in_(self.webhook_ids))
        if self.status == "dead":
            # Spelt out: a plan that is to serve any parameters could not use the index of dead letters alone.
            where.append(columns.status == literal_column("'dead'"))
        elif self.status:
            where.append(columns.status == self.status)
        if self.event_id:
            where.append(columns.event_id == self.event_id)
        if self.since:
            where.append(columns.created_at >= self.since)
        if self.until:
            where.append(columns.created_at < self.until)
        if self.ids:
            where.append(columns.id.in_(self.ids))
        return where


class Batch(NamedTuple):
    """What one step through a selection did."""

    changed: int
    """How many deliveries were changed or removed."""
    last_seq: int | None
    """The ``seq`` after which to go on; None when there is nothing after it."""


async def load_details(connection: AsyncConnection, row: Row) -> DeliveryDetails:
    """Return the whole model of a row of ``deliveries``, with its last :data:`MAX_HISTORY` attempts."""
    of_event = select(webhook_events).where(
        webhook_events.c.project_id == row["project_id"], webhook_events.c.event_id == row["event_id"]
    )
    of_delivery = (
        select(attempts)
        .where(attempts.c.project_id == row["project_id"], attempts.c.delivery_id == row["id"])
        .order_by(attempts.c.number.desc(), attempts.c.seq.desc())
        .limit(MAX_HISTORY)
    )
    event = (await connection.execute(of_event)).mappings().one_or_none()
    history = (await connection.execute(of_delivery)).mappings().all()
    return details_model(row, event, history)


async def count_selected(connection: AsyncConnection, selection: Selection) -> int:
    """Count the deliveries of a selection."""
    counted = select(func.count()).select_from(deliveries).where(*selection.conditions())
    return await connection.scalar(counted) or 0


async def count_redeliverable(connection: AsyncConnection, selection: Selection) -> int:
    """Count what :func:`redeliver` would change, in all its steps."""
    counted = select(func.count()).select_from(deliveries).where(*_redeliverable(selection))
    return await connection.scalar(counted) or 0


async def count_pending(connection: AsyncConnection, selection: Selection) -> int:
    """Count what :func:`redeliver` would change, were those of a selection meant that wait for their next attempt."""
    pending = replace(selection, status="pending")
    # Said once more, for the index of what is to be done.
    where = [*_redeliverable(pending), deliveries.c.due_at.is_not(None)]
    return await connection.scalar(select(func.count()).select_from(deliveries).where(*where)) or 0


async def find_disabled(connection: AsyncConnection, selection: Selection) -> list[str]:
    """Return the IDs of webhooks that are disabled, so that deliveries of a selection are not made anew."""
    found = await connection.execute(
        select(webhooks.c.id)
        .where(webhooks.c.project_id == selection.project_id, not_(webhooks.c.enabled))
        .where(
            select(deliveries.c.seq)
            .where(*selection.conditions())
            .where(deliveries.c.webhook_seq == webhooks.c.seq, deliveries.c.webhook_id == webhooks.c.id)
            .exists()
        )
        .order_by(webhooks.c.seq)
    )
    return list(found.scalars())


async def find_states(connection: AsyncConnection, project_id: str) -> dict[str, bool]:
    """Return whether each webhook of a project is enabled, by its ID."""
    found = await connection.execute(
        select(webhooks.c.id, webhooks.c.enabled).where(webhooks.c.project_id == project_id)
    )
    return {row.id: row.enabled for row in found}


async def redeliver(
    connection: AsyncConnection,
    selection: Selection,
    now: datetime,
    *,
    after_seq: int = 0,
    limit: int = BATCH,
) -> Batch:
    """Have deliveries made anew, at once: the first ``limit`` of a selection, in the order of their recording.

    Left out are those of webhooks that are disabled, and those that are being attempted.

    Args:
        connection: a transaction that writes.
        selection: which.
        now: the time, aware.
        after_seq: where the step before ended.
        limit: how many at most.
    """
    seqs = await _next(connection, _redeliverable(selection), after_seq, limit)
    now_text = to_text(now)
    await connection.execute(
        update(deliveries)
        .where(deliveries.c.seq.in_(seqs))
        .values(status="pending", round=0, due_at=now_text, updated_at=now_text)
    )
    return _batch(seqs, limit)


async def ping(connection: AsyncConnection, webhook: Row, now: datetime) -> str:
    """Record the event ``webhooks.W.ping``, of which this webhook alone is told, with itself as the payload.

    Args:
        connection: a transaction that writes.
        webhook: its row.
        now: the time, aware.

    Returns:
        The ID of the delivery.
    """
    now_text = to_text(now)
    event = WorkEvent(
        project=webhook["project_id"],
        # No position in a log, since it is in none.
        event_id=f"ping-{new_id()}",
        events=[f"webhooks.{webhook['id']}.ping"],
        actor_id="",
        depth=0,
        timestamp=now_text,
        payload=orjson.dumps(webhook_model(webhook)),
    )
    row = delivery_row(event, webhook["id"], webhook["seq"], now_text)
    await connection.execute(insert(webhook_events), event_row(event, now_text))
    await connection.execute(insert(deliveries), row)
    return str(row["id"])


async def purge(
    connection: AsyncConnection, selection: Selection, *, after_seq: int = 0, limit: int = BATCH
) -> Batch:
    """Remove the first ``limit`` deliveries of a selection with their attempts; their events go with maintenance.

    One that is pending is not attempted again after that.
    """
    seqs = await _next(connection, selection.conditions(), after_seq, limit)
    await remove_deliveries(connection, seqs)
    return _batch(seqs, limit)


def _redeliverable(selection: Selection) -> list[ColumnElement[bool]]:
    enabled = select(webhooks.c.seq).where(webhooks.c.project_id == selection.project_id, webhooks.c.enabled)
    return [*selection.conditions(), deliveries.c.webhook_seq.in_(enabled), not_(deliveries.c.held)]


async def _next(
    connection: AsyncConnection, where: list[ColumnElement[bool]], after_seq: int, limit: int
) -> list[int]:
    """Return the first ``limit`` numbers of deliveries, locked. What others are changing just now is passed over."""
    found: Any = await connection.execute(
        select(deliveries.c.seq)
        .where(*where, deliveries.c.seq > after_seq)
        .order_by(deliveries.c.seq)
        .limit(limit)
        .with_for_update(skip_locked=True, of=deliveries)
    )
    return list(found.scalars())


def _batch(seqs: list[int], limit: int) -> Batch:
    return Batch(len(seqs), seqs[-1] if len(seqs) == limit else None)
