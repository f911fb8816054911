"""Recording how executions ended, many in one transaction: what comes while one is committed is the next one."""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError

from realtime.bus.backoff import backoff_s
from realtime.identity.model import Project
from workers.functions import queue
from workers.functions.executor import Failure, Outcome
from workers.functions.record import ended
from workers.models.people import Row
from workers.store.identities import load_project
from workers.store.metrics import WorkerMetrics
from workers.store.store import Store

log = structlog.get_logger("realtime.functions")

MAX_AT_ONCE = 100
"""How many ends one transaction records."""

PASSING = (SQLAlchemyError, OSError)
"""What it looks like when the database is away for a while."""

_NOTHING_RAN = frozenset({Failure.NO_DEPLOYMENT, Failure.NO_EXECUTOR})


class End(NamedTuple):
    """What came of an execution that was claimed."""

    claimed: Row
    outcome: Outcome
    logging: bool
    """Whether the function wants its logs kept."""


class Recorder:
    """Writes ends to the store. For one event loop; :meth:`running` opens and closes it.

    What is not written when it closes is repeated by another process, when its claim has run out.
    """

    def __init__(self, store: Store, metrics: WorkerMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._waiting: list[End] = []
        self._writing = 0
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def pending(self) -> int:
        """How many ends are not written yet."""
        return len(self._waiting) + self._writing

    def add(self, end: End) -> None:
        """Have an end written soon. Never blocks."""
        self._waiting.append(end)
        self._idle.clear()
        self._woken.set()

    @contextlib.asynccontextmanager
    async def running(self, *, stop_timeout_s: float) -> AsyncIterator[None]:
        """Write what is added until the block ends; then write the rest, for at most ``stop_timeout_s`` seconds."""
        loop = asyncio.create_task(self._serve(), name="realtime-execution-ends")
        try:
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(stop_timeout_s):
                    await self._idle.wait()
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)

    async def _serve(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_AT_ONCE], self._waiting[MAX_AT_ONCE:]
                self._writing = len(batch)
                of_projects: defaultdict[str, list[End]] = defaultdict(list)
                for end in batch:
                    of_projects[end.claimed["project_id"]].append(end)
                for project_id, ends in of_projects.items():
                    await self._write_surely(project_id, ends)
                    self._writing -= len(ends)
            self._idle.set()

    async def _write_surely(self, project_id: str, ends: list[End]) -> None:
        """Write the ends of one project, again and again while the database is away.

        What cannot be written for what it is, is left out, and so repeated: it must not hold up the others.
        """
        attempt = 0
        while True:
            try:
                await self._write(project_id, ends)
            except PASSING as error:
                log.warning("the ends of executions wait", count=len(ends), error=type(error).__name__)
                await asyncio.sleep(backoff_s(attempt, random.random()))  # noqa: S311 - not a secret
                attempt += 1
            except Exception:
                if len(ends) == 1:
                    log.exception("the end of an execution cannot be kept", execution=ends[0].claimed["id"])
                    return
                for end in ends:
                    await self._write_surely(project_id, [end])
                return
            else:
                return

    async def _write(self, project_id: str, ends: list[End]) -> None:
        async with self._store.read() as connection:
            project = await load_project(connection, project_id)
        by_number = {end.claimed["seq"]: end for end in ends}
        async with self._store.write(project or Project(id=project_id)) as tx:
            columns = [(end.claimed, ended(end.outcome, logging=end.logging)) for end in ends]
            written = await queue.end(tx, columns)
            for row in written:
                if _is_told(by_number[row["seq"]]):
                    queue.emit_execution(tx, "update", row)
        for row in written:
            self._metrics.count_execution(row["trigger"], row["status"], row["duration_s"])


def _is_told(end: End) -> bool:
    """Tell whether there is an event for an end: not if nobody asked for it and nothing ran (specification 12.3)."""
    return end.claimed["trigger"] == "http" or end.outcome.failure not in _NOTHING_RAN
