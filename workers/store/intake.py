"""Taking events off a work queue: the loop that workers of webhooks and workers of functions share.

An entry is done when what it leads to is recorded, so a crash at any point repeats an event and loses none: whatever
handles events records the same one only once.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Self, TypeAlias, TypeVar

import msgspec
import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from realtime.bus.backoff import backoff_s
from realtime.bus.work import WorkItem, WorkQueue
from realtime.events.work import WorkEvent, decode_work
from realtime.triggers.index import TriggerIndex
from realtime.triggers.watch import TriggerWatch
from workers.store.failures import Failure, failure_of
from workers.store.metrics import WorkerMetrics

log = structlog.get_logger("realtime.work")

BATCH = 200
"""How many events are read and handled at a time, about."""

BLOCK_S = 2.0
"""How long a read waits for events."""

CLAIM_IDLE_S = 15.0
"""How long an entry may be with a worker that does not finish it before another takes it over; the one that is slow may
still finish it, since handling an event twice does no harm."""

CLAIM_INTERVAL_S = 5.0
"""How often an intake looks for such entries."""

FORGET_INTERVAL_S = 3600.0
"""How often an intake has the streams forget workers of which nothing was heard for as long, and which hold nothing."""

MAX_READS = 5
"""How often an event that fails for what it is may be read before it is laid aside."""

STOP_TIMEOUT_S = 5.0
"""How long what is being handled may take when the intake stops; after that another worker repeats it."""

T = TypeVar("T")

Handle: TypeAlias = Callable[[Sequence[tuple[WorkEvent, TriggerIndex]]], Awaitable[object]]
"""Records what events lead to, by the triggers of their projects. When it returns, all of it is recorded; when it
raises, nothing or some of it may be, and the same events come again, together or one by one."""


class Intake:
    """Reads events and has them handled, batch after batch. For one event loop; :meth:`running` starts and ends it.

    While Redis or the database is away, what was read is tried again until they are back. An event that fails for what
    it is holds up none of the others: those that were read with it are handled one by one, it is left until it is
    claimed like the events of the dead, and after :data:`MAX_READS` times it is laid aside, with a line in the log.
    """

    def __init__(
        self,
        queue: WorkQueue,
        watch: TriggerWatch,
        handle: Handle,
        metrics: WorkerMetrics | None = None,
        *,
        claim_idle_s: float = CLAIM_IDLE_S,
        claim_interval_s: float = CLAIM_INTERVAL_S,
    ) -> None:
        """Read from ``queue``; ``claim_idle_s`` and ``claim_interval_s`` as the constants of the module say."""
        self._queue = queue
        self._watch = watch
        self._handle = handle
        self._metrics = metrics or WorkerMetrics()
        self._claim_idle_s = claim_idle_s
        self._claim_interval_s = claim_interval_s
        self._stopping = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Handle events until the block ends; then finish those at hand, unless that takes too long."""
        self._stopping.clear()
        task = asyncio.create_task(self._run(), name=f"realtime-intake-{self._queue.kind}")
        try:
            yield self
        finally:
            self._stopping.set()
            _, late = await asyncio.wait([task], timeout=STOP_TIMEOUT_S)
            for each in late:
                each.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        now = asyncio.get_running_loop().time
        next_claim = next_forget = now()
        while not self._stopping.is_set():
            if now() >= next_forget:
                await self._persist(self._forget)
                next_forget = now() + FORGET_INTERVAL_S
            if now() >= next_claim:
                await self._take(await self._persist(self._claim) or [])
                next_claim = now() + self._claim_interval_s * random.uniform(0.75, 1.25)  # noqa: S311 - not a secret
            await self._take(await self._persist(self._read) or [])

    async def _forget(self) -> None:
        await self._queue.forget_consumers(idle_s=FORGET_INTERVAL_S)

    async def _claim(self) -> list[WorkItem]:
        return await self._queue.claim(BATCH, idle_s=self._claim_idle_s)

    async def _read(self) -> list[WorkItem]:
        """Read what is new; nothing when the intake stops meanwhile."""
        reading = asyncio.ensure_future(self._queue.read(BATCH, block_s=min(BLOCK_S, self._claim_interval_s)))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else []
        finally:
            for task in (reading, stopping):
                task.cancel()
            await asyncio.gather(reading, stopping, return_exceptions=True)

    async def _take(self, items: Sequence[WorkItem]) -> None:
        """Have entries handled, in batches; those that are left when the intake stops are another worker's."""
        for start in range(0, len(items), BATCH):
            left = list(items[start : start + BATCH])
            await self._persist(lambda left=left: self._finish(left))  # type: ignore[misc]

    async def _persist(self, act: Callable[[], Awaitable[T]]) -> T | None:
        """Do something, again and again while Redis or SQL is away; None if the intake stops before it is done."""
        attempt = 0
        while not self._stopping.is_set():
            try:
                return await act()
            except Exception as error:
                if _is_passing(error):
                    log.warning("events wait", kind=self._queue.kind, error=type(error).__name__)
                else:
                    # Whatever it is, no event may be given up for it.
                    log.exception("events wait", kind=self._queue.kind)
            with contextlib.suppress(TimeoutError):
                pause_s = backoff_s(attempt, random.random())  # noqa: S311 - not a secret
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            attempt += 1
        return None

    async def _finish(self, left: list[WorkItem]) -> None:
        """Handle entries, together or else one by one; remove from the list what is dealt with.

        Raises:
            Exception: a server is away; what is left is to be handled again.
        """
        batch = list(left)
        while left:
            try:
                await self._handle_all(batch)
            except Exception as error:
                if _is_passing(error):
                    raise
                if len(batch) == 1:
                    await self._fail(batch[0], error)
                    del left[0]
            else:
                del left[: len(batch)]
            batch = left[:1]

    async def _handle_all(self, items: Sequence[WorkItem]) -> None:
        events = [decode_work(item) for item in items]
        indexes = await self._watch.indexes({event.project for event in events})
        await self._handle([(event, indexes[event.project]) for event in events])
        await self._queue.done(items)
        self._metrics.count_handled(self._queue.kind, len(items))

    async def _fail(self, item: WorkItem, error: Exception) -> None:
        """Leave an entry that failed to be claimed again; lay it aside if that happened too often, or never helps."""
        facts = {"kind": self._queue.kind, "bucket": item.bucket, "position": item.event_id}
        if item.times_read < MAX_READS and not isinstance(error, msgspec.MsgspecError):
            log.warning("an event could not be handled and is tried again", **facts, exc_info=error)
            return
        await self._queue.bury(item, f"{type(error).__name__}: {error}")
        self._metrics.count_buried(self._queue.kind)
        log.error("an event cannot be handled and was laid aside", **facts, exc_info=error)


def _is_passing(error: Exception) -> bool:
    """Tell whether it is a server that fails, whatever the event: Redis, SQL, or tables that are not up to date."""
    if isinstance(error, SQLAlchemyError):
        return failure_of(error) in (Failure.UNAVAILABLE, Failure.MISTAKE)
    return isinstance(error, RedisError | OSError)
