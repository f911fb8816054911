"""From events to deliveries: what the work stream says is written to the store, for each webhook that wants it.

An event and its deliveries have IDs that are made of nothing but what they are, and those that are there already are
left alone: the same event may come any number of times. When :meth:`Recording.record` has returned, they are committed.
"""

import base64
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.work import WorkEvent
from realtime.triggers.index import TriggerIndex
from workers.store.database import Database
from workers.store.dialects import matching
from workers.store.metrics import WorkerMetrics
from workers.store.tables import deliveries, webhook_events, webhooks
from workers.store.times import to_text
from workers.webhooks.backlog import Backlog

log = structlog.get_logger("realtime.webhooks")

TOO_MANY = "Too many deliveries wait for the webhook."
"""Why a delivery is a dead letter from the start."""

_ID_CHARACTERS = 26
"""130 bits, so that no two are the same."""


def delivery_id(webhook_seq: int, project_id: str, event_id: str) -> str:
    """Return the ID of the delivery of an event to a webhook: the same each time, and no other's."""
    named = f"{webhook_seq}\0{project_id}\0{event_id}".encode()
    letters = base64.b32encode(hashlib.sha256(named).digest()).decode().lower()
    return f"msg_{letters[:_ID_CHARACTERS]}"


class Recording:
    """What writes deliveries to the store. For one event loop.

    Args:
        database: the store's.
        max_pending: how many deliveries may wait for one webhook, about.
        metrics: what counts dead letters.
        announce: is told the webhooks that something was recorded for: ``seq`` and project.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        database: Database,
        metrics: WorkerMetrics,
        *,
        max_pending: int,
        announce: Callable[[Mapping[int, str]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._announce = announce
        self._clock = clock
        self._backlog = Backlog(max_pending)

    async def record(self, batch: Sequence[tuple[WorkEvent, TriggerIndex]]) -> None:
        """Record a delivery of each event to each webhook that it matches, and that still exists.

        Raises:
            sqlalchemy.exc.SQLAlchemyError, OSError: nothing was recorded, or nobody knows whether it was.
        """
        wanted = [
            (event, webhook_ids)
            for event, index in batch
            if (webhook_ids := [webhook.id for webhook in index.webhooks(event.events)])
        ]
        if not wanted:
            return
        now = to_text(datetime.now(UTC))
        async with self._database.writing() as connection:
            numbers = await _find_webhooks(connection, wanted)
            events, pending = _rows(wanted, numbers, now)
            await self._bury_excess(connection, pending)
            # In the order of their keys, so that those who insert the same wait for each other one way round.
            await _insert(connection, webhook_events, sorted(events, key=_event_key))
            dead = await _insert_deliveries(connection, sorted(pending, key=_delivery_key))
        self._tell(dead)
        self._announce({row["webhook_seq"]: row["project_id"] for row in pending})

    async def _bury_excess(self, connection: AsyncConnection, pending: Sequence[dict[str, Any]]) -> None:
        """Make dead letters of those deliveries that there is no room for."""
        now = self._clock()
        counts = Counter(row["webhook_seq"] for row in pending)
        for number, count in counts.items():
            if (limit := self._backlog.uncertain(number, count, now)) is not None:
                waiting = await _count_waiting(connection, number, limit)
                self._backlog.learn(number, waiting, now)
        rooms = {number: self._backlog.take(number, count) for number, count in counts.items()}
        for row in pending:
            number = row["webhook_seq"]
            if rooms[number] > 0:
                rooms[number] -= 1
            else:
                row |= {"status": "dead", "error": TOO_MANY, "due_at": None}

    def _tell(self, dead: Counter[tuple[str, str]]) -> None:
        """Count dead letters, by project and webhook, and say so."""
        for _ in range(dead.total()):
            self._metrics.count_delivery("dead")
        for (project_id, webhook_id), count in dead.items():
            log.warning(
                "too many deliveries wait", project=project_id, webhook=webhook_id, dead_letters=count
            )


async def _find_webhooks(
    connection: AsyncConnection, wanted: Sequence[tuple[WorkEvent, Sequence[str]]]
) -> dict[tuple[str, str], int]:
    """Return the ``seq`` of webhooks, by project and ID; of those that are gone there is none."""
    keys = sorted(
        {(event.project, webhook_id) for event, webhook_ids in wanted for webhook_id in webhook_ids}
    )
    listed, matches = matching(webhooks.c.project_id, webhooks.c.id, keys)
    found = await connection.execute(
        select(webhooks.c.project_id, webhooks.c.id, webhooks.c.seq)
        .select_from(listed)
        .join(webhooks, matches)
    )
    return {(project_id, webhook_id): seq for project_id, webhook_id, seq in found}


def _rows(
    wanted: Sequence[tuple[WorkEvent, Sequence[str]]], numbers: dict[tuple[str, str], int], now: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of the events that anybody is told of, and those of their deliveries, in order."""
    events: list[dict[str, Any]] = []
    pending: list[dict[str, Any]] = []
    for event, webhook_ids in wanted:
        there = [
            (webhook_id, numbers[event.project, webhook_id])
            for webhook_id in webhook_ids
            if (event.project, webhook_id) in numbers
        ]
        if there:
            events.append(event_row(event, now))
        pending += [delivery_row(event, webhook_id, number, now) for webhook_id, number in there]
    return events, pending


def event_row(event: WorkEvent, now: str) -> dict[str, Any]:
    """Return the row of an event that webhooks are told of; ``now`` is a time of the store."""
    return {
        "project_id": event.project,
        "event_id": event.event_id,
        "names": event.events,
        "actor_id": event.actor_id,
        "payload": event.payload,
        "created_at": now,
    }


def delivery_row(event: WorkEvent, webhook_id: str, number: int, now: str) -> dict[str, Any]:
    """Return the row of a delivery to the webhook with the ``seq`` ``number``, which is due at once."""
    return {
        "project_id": event.project,
        "id": delivery_id(number, event.project, event.event_id),
        "webhook_id": webhook_id,
        "webhook_seq": number,
        "event_id": event.event_id,
        "event": event.events[0],
        "status": "pending",
        "attempts": 0,
        "round": 0,
        "response_status": 0,
        "error": "",
        "due_at": now,
        "held": False,
        "created_at": now,
        "updated_at": now,
    }


def _event_key(row: dict[str, Any]) -> tuple[str, str]:
    return row["project_id"], row["event_id"]


def _delivery_key(row: dict[str, Any]) -> tuple[str, ...]:
    return row["project_id"], row["event_id"], row["webhook_id"]


async def _count_waiting(connection: AsyncConnection, number: int, limit: int) -> int:
    """Count what waits for a webhook, up to ``limit``."""
    some = select(deliveries.c.seq).where(
        deliveries.c.webhook_seq == number, deliveries.c.due_at.is_not(None)
    )
    counted = select(func.count()).select_from(some.limit(limit).subquery())
    return await connection.scalar(counted) or 0


async def _insert(connection: AsyncConnection, table: Any, rows: list[dict[str, Any]]) -> None:
    """Insert rows, but for those whose keys are there already."""
    if rows:
        await connection.execute(_insertion(connection, table), rows)


async def _insert_deliveries(
    connection: AsyncConnection, rows: list[dict[str, Any]]
) -> Counter[tuple[str, str]]:
    """Insert deliveries in the same way, and return how many of those inserted are dead, by project and webhook."""
    if all(row["status"] != "dead" for row in rows):
        # As nearly always: nobody has to be told which they are.
        await _insert(connection, deliveries, rows)
        return Counter()
    told = (deliveries.c.project_id, deliveries.c.webhook_id, deliveries.c.status)
    inserted = await connection.execute(_insertion(connection, deliveries).returning(*told), rows)
    return Counter(
        (project_id, webhook_id) for project_id, webhook_id, status in inserted if status == "dead"
    )


def _insertion(connection: AsyncConnection, table: Any) -> Any:
    module = sqlite if connection.dialect.name == "sqlite" else postgresql
    return module.insert(table).on_conflict_do_nothing()
