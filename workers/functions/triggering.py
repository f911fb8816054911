"""Having functions run for events: each event that a function waits for becomes an execution in the store.

An execution that is there is run (:mod:`workers.functions.executions`), and an event is done with once its executions
are there: so it sets each function off at least once. As the IDs of executions follow from the event's, reading an
event again adds none. Source: wire specification 12; functions do not hold up one another, whatever becomes of them.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import structlog
from sqlalchemy import func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.work import WorkEvent
from realtime.triggers.index import TriggerIndex
from workers.functions.calls import Request
from workers.functions.headers import kept_request_headers
from workers.functions.rows import deterministic_id, never_run, new_row, too_deep
from workers.functions.shares import Lane
from workers.models.functions import header_list
from workers.store.metrics import WorkerMetrics
from workers.store.sealing import Sealer
from workers.store.store import Store
from workers.store.tables import executions, functions
from workers.store.times import to_text

log = structlog.get_logger("realtime.functions")

MAX_WAITING = 100_000
"""How many executions of one function may wait. Further events are recorded as executions that have failed."""

_COUNTED_FOR_S = 5.0
"""For how long it is believed how many wait."""

_AT_ONCE = 500
"""How many functions are looked for in one statement."""

_REQUEST_HEADERS = header_list(kept_request_headers({"content-type": "application/json"}))


class _Match(NamedTuple):
    event: WorkEvent
    lane: Lane


class Triggering:
    """Turns events into executions. For one event loop."""

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        *,
        max_depth: int,
        wake: Callable[[], None],
        metrics: WorkerMetrics | None = None,
    ) -> None:
        """Make it.

        Args:
            store: where executions wait.
            sealer: what their requests are encrypted with.
            max_depth: how long a chain of functions may be of which each sets off the next.
            wake: called when there are new executions.
            metrics: where chains that are cut are counted.
        """
        self._store = store
        self._sealer = sealer
        self._max_depth = max_depth
        self._wake = wake
        self._metrics = metrics or WorkerMetrics()
        # How many executions wait, by function, and when that was counted.
        self._counted: dict[Lane, tuple[float, int]] = {}

    async def handle(self, batch: Sequence[tuple[WorkEvent, TriggerIndex]]) -> None:
        """Record the executions that events set off, each event with the triggers of its project.

        When this returns they are committed. It may be repeated with any of the events, and adds nothing then.
        """
        matches = [
            _Match(event, Lane(event.project, function.id))
            for event, index in batch
            for function in index.functions(event.events)
        ]
        if not matches:
            return
        async with self._store.database.writing() as connection:
            deployments = await _lock_enabled(connection, {match.lane for match in matches})
            full = await self._find_full(connection, deployments)
            rows = self._rows([match for match in matches if match.lane in deployments], deployments, full)
            if rows:
                await _insert_new(connection, rows)
        self._tell(rows)
        self._wake()

    def _rows(
        self, matches: Sequence[_Match], deployments: dict[Lane, str], full: Collection[Lane]
    ) -> list[dict[str, Any]]:
        now = to_text(datetime.now(UTC))
        sealed: dict[tuple[str, str], str] = {}
        rows = []
        for event, lane in matches:
            depth = event.depth + 1
            row = new_row(
                lane.project_id,
                deterministic_id(lane.project_id, lane.function_id, event.event_id),
                lane.function_id,
                trigger="event",
                depth=depth,
                now=now,
                deployment_id=deployments[lane],
                user_id=event.actor_id or None,
                permissions=[f'read("user:{event.actor_id}")'] if event.actor_id else [],
                request_headers=_REQUEST_HEADERS,
            )
            if depth > self._max_depth:
                row |= never_run(too_deep(self._max_depth))
            elif lane in full:
                row |= never_run(
                    f"{MAX_WAITING} executions of it wait already. Its event was {event.events[0]}."
                )
            else:
                key = (event.project, event.event_id)
                if key not in sealed:
                    sealed[key] = _request(event).seal(self._sealer)
                row["sealed_request"] = sealed[key]
            rows.append(row)
        return rows

    async def _find_full(self, connection: AsyncConnection, lanes: Collection[Lane]) -> set[Lane]:
        """Return the lanes in which too many wait; a few more may, until they are counted again."""
        now = time.monotonic()
        self._counted = {
            lane: (counted_at, count)
            for lane, (counted_at, count) in self._counted.items()
            if now - counted_at < _COUNTED_FOR_S
        }
        for lane in lanes:
            if lane not in self._counted:
                self._counted[lane] = (now, await _count_waiting(connection, lane))
        return {lane for lane in lanes if self._counted[lane][1] >= MAX_WAITING}

    def _tell(self, rows: Sequence[dict[str, Any]]) -> None:
        """Log what is not run, once for each function of a batch, and count it."""
        cut: Counter[Lane] = Counter()
        refused: Counter[Lane] = Counter()
        for row in rows:
            if row["status"] == "failed":
                told = cut if row["depth"] > self._max_depth else refused
                told[Lane(row["project_id"], row["function_id"])] += 1
        for lane, count in cut.items():
            log.warning(
                "a chain of functions is cut: it is too long",
                project=lane.project_id,
                function=lane.function_id,
                max_depth=self._max_depth,
                events=count,
            )
            for _ in range(count):
                self._metrics.count_chain_cut()
        for lane, count in refused.items():
            log.error(
                "a function is not run: too many executions of it wait",
                project=lane.project_id,
                function=lane.function_id,
                events=count,
            )


def _request(event: WorkEvent) -> Request:
    return Request(body=event.payload, user_id=event.actor_id, event=event.events[0])


async def _lock_enabled(connection: AsyncConnection, lanes: Collection[Lane]) -> dict[Lane, str]:
    """Return those functions that are there and enabled, with their active deployments; empty for none.

    They cannot be deleted before the transaction ends: what is added now would be left of them.
    """
    found: dict[Lane, str] = {}
    wanted = sorted(lanes)
    for start in range(0, len(wanted), _AT_ONCE):
        rows = await connection.execute(
            select(functions.c.project_id, functions.c.id, functions.c.deployment_id)
            .where(
                tuple_(functions.c.project_id, functions.c.id).in_(wanted[start : start + _AT_ONCE]),
                functions.c.enabled,
            )
            .with_for_update(read=True, key_share=True)
        )
        found |= {Lane(row.project_id, row.id): row.deployment_id or "" for row in rows}
    return found


async def _count_waiting(connection: AsyncConnection, lane: Lane) -> int:
    """Return how many executions of a function wait or run, but no more than :data:`MAX_WAITING`."""
    waiting = (
        select(executions.c.seq)
        .where(
            executions.c.project_id == lane.project_id,
            executions.c.function_id == lane.function_id,
            executions.c.due_at > "",
        )
        .limit(MAX_WAITING)
        .subquery()
    )
    return int((await connection.execute(select(func.count()).select_from(waiting))).scalar_one())


async def _insert_new(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert those rows whose IDs are not there yet."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(executions).on_conflict_do_nothing(index_elements=["project_id", "id"])
    await connection.execute(statement, list(rows))
