"""Having functions run by the clock: each due time of each enabled function becomes one execution in the store.

How far a function's schedule is done with stands beside it in the store. Any number of workers look, and whoever moves
it on to a due time first makes the execution, in the same transaction: one for each time, none twice, also if a worker
dies. If nobody looked for a while, the last of the times that were missed is made up for, and the others are not.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog
from redis import RedisError
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.triggers.store import TriggerStore
from workers.functions.calls import Request
from workers.functions.cron import last_due, next_due
from workers.functions.rows import new_row
from workers.store.ids import new_id
from workers.store.metrics import WorkerMetrics
from workers.store.sealing import Sealer
from workers.store.store import Store
from workers.store.tables import executions, functions
from workers.store.times import to_text

log = structlog.get_logger("realtime.functions")

TICK_S = 1.0
"""How often it is looked for changed schedules, at least; whoever waits for the next due time does so shorter."""

RELOAD_S = 60.0
"""How often all schedules are read, even if nothing says that one has changed."""

_AT_ONCE = 100
"""How many functions one transaction is for."""

_DONE_AT = func.coalesce(functions.c.schedule_done_at, functions.c.updated_at)


@dataclass(frozen=True, slots=True)
class _Scheduled:
    """A function with a schedule."""

    seq: int
    project_id: str
    function_id: str
    schedule: str
    due_at: datetime
    """When it is due next; or was, if nobody has seen to it."""


class Schedules:
    """Makes the executions that are due. For one event loop; any number of processes have one of these."""

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        triggers: TriggerStore,
        *,
        wake: Callable[[], None],
        metrics: WorkerMetrics | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Make it.

        Args:
            store: where functions and executions are.
            sealer: what requests are encrypted with.
            triggers: what tells that functions have changed.
            wake: called when there are new executions.
            metrics: where executions are counted.
            clock: the time, in UTC.
        """
        self._store = store
        self._sealer = sealer
        self._triggers = triggers
        self._wake = wake
        self._metrics = metrics or WorkerMetrics()
        self._clock = clock
        self._known: dict[int, _Scheduled] = {}
        # Of what is known; None if it has to be read.
        self._versions: list[int] | None = None
        self._read_at = 0.0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Schedules"]:
        """Make what is due until the block ends."""
        loop = asyncio.create_task(self._serve(), name="realtime-schedules")
        try:
            yield self
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)

    async def _serve(self) -> None:
        while True:
            pause_s = TICK_S
            try:
                await self.tick()
                pause_s = self._pause_s()
            except (SQLAlchemyError, OSError) as error:
                log.warning("schedules wait for the database", error=type(error).__name__)
            except Exception:
                log.exception("schedules wait")
            await asyncio.sleep(pause_s)

    async def tick(self) -> None:
        """Heed what has changed, and make what is due now. What fails is tried again by the next call."""
        await self._refresh()
        now = self._clock()
        due = sorted((each for each in self._known.values() if each.due_at <= now), key=lambda each: each.seq)
        for start in range(0, len(due), _AT_ONCE):
            await self._fire(due[start : start + _AT_ONCE], now)

    def _pause_s(self) -> float:
        now = self._clock()
        soonest = min((each.due_at for each in self._known.values()), default=now + timedelta(days=1))
        return min(TICK_S, max(0.01, (soonest - now).total_seconds()))

    async def _refresh(self) -> None:
        """Read the schedules again, if one of them may have changed."""
        now_s = asyncio.get_running_loop().time()
        try:
            # Before they are read: what changes afterwards has another version.
            versions = await self._triggers.versions()
        except RedisError:
            versions = None
        if versions is not None and versions == self._versions and now_s - self._read_at < RELOAD_S:
            return
        async with self._store.read() as connection:
            self._known = {each.seq: each for each in await _load(connection)}
        self._versions, self._read_at = versions, now_s

    async def _fire(self, due: Sequence[_Scheduled], now: datetime) -> None:
        async with self._store.database.writing() as connection:
            made = [each for each in due if await self._make(connection, each, now)]
        for each in due:
            following = next_due(each.schedule, now)
            if following is None:
                del self._known[each.seq]
            else:
                self._known[each.seq] = replace(each, due_at=following)
        for each in made:
            log.debug("a schedule is due", project=each.project_id, function=each.function_id)
            self._metrics.count_schedule_fired()
        if made:
            self._wake()

    async def _make(self, connection: AsyncConnection, due: _Scheduled, now: datetime) -> bool:
        """Make the execution for the last due time; return False if another worker did, or nobody is to any more."""
        due_at = last_due(due.schedule, now)
        if due_at is None:
            return False
        moved = await connection.execute(
            update(functions)
            .where(
                functions.c.seq == due.seq,
                functions.c.enabled,
                functions.c.schedule == due.schedule,
                to_text(due_at) > _DONE_AT,
            )
            .values(schedule_done_at=to_text(due_at))
            .returning(functions.c.deployment_id)
        )
        row = moved.one_or_none()
        if row is None:
            return False
        columns = new_row(
            due.project_id,
            new_id(),
            due.function_id,
            trigger="schedule",
            depth=1,
            now=to_text(now),
            deployment_id=row.deployment_id or "",
            scheduled_at=to_text(due_at),
            sealed_request=Request().seal(self._sealer),
        )
        await connection.execute(insert(executions), columns)
        return True


async def _load(connection: AsyncConnection) -> list[_Scheduled]:
    """Return all functions of all projects that are due some day."""
    found = await connection.execute(
        select(
            functions.c.seq,
            functions.c.project_id,
            functions.c.id,
            functions.c.schedule,
            _DONE_AT.label("done_at"),
        ).where(functions.c.schedule != "", functions.c.enabled)
    )
    loaded = []
    for row in found:
        due_at = next_due(row.schedule, datetime.fromisoformat(row.done_at))
        if due_at is not None:
            loaded.append(_Scheduled(row.seq, row.project_id, row.id, row.schedule, due_at))
    return loaded
