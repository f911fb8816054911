"""The relay: publishes what the outbox holds, in its order, each event once, and forgets it then.

Every API process has one. It is woken after each commit of its own, and looks now and then for what a process left
behind that died between its commit and its publish. For one project only one relay works at a time, whatever the number
of processes, so that what was committed first is published first. Between publishing and forgetting, a crash leaves a
batch in doubt: Redis remembers the last batch of each outbox (:meth:`realtime.bus.RedisBus.relay`), and whoever finds
it again publishes only what is missing.

What read models are to know (:mod:`workers.store.write_through`) stands in the same outbox, in the same order, and is
written through in its turn. Events that are not published because too many wait for webhooks or functions stay in the
outbox, and those after them too; read models do not wait for them, or nobody could even disable a webhook.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import groupby
from typing import NamedTuple

import structlog
from redis.exceptions import RedisError
from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.bus import RedisBus
from realtime.bus.backoff import backoff_s
from realtime.bus.work import WorkFullError
from workers.store.database import Database
from workers.store.locks import RelayLock
from workers.store.tables import outbox, store_info
from workers.store.write_through import WriteThrough

log = structlog.get_logger("realtime.relay")

BATCH = 200
"""How many entries are read, published and forgotten at a time."""

PACE_S = 0.005
"""How long a relay lets events gather after a pass, if more came meanwhile: a pass costs about as much as a request,
whether it publishes one event or many."""

SWEEP_INTERVAL_S = 1.0
"""How often a relay looks for what others left behind."""

FLUSH_TIMEOUT_S = 5.0
"""How long a request waits for its own changes to reach the read models."""


_PASSING = (RedisError, SQLAlchemyError, OSError)
"""What it looks like when Redis or the database is away for a while."""


class Entry(NamedTuple):
    """A row of the outbox."""

    seq: int
    kind: str
    body: bytes


class _Progress:
    """How far the work for one project has come, in passes over its outbox."""

    def __init__(self) -> None:
        # How often it was asked for, and what of that is done.
        self.asked = 0
        self.done = 0
        # For how often the read models have all that there was, whether or not the events are published.
        self.written = 0
        self.advanced = asyncio.Condition()
        self.task: asyncio.Task[None] | None = None


class Relay:
    """Publishes the outbox of one database. For one event loop; :meth:`running` opens and closes it."""

    def __init__(self, database: Database, bus: RedisBus, through: WriteThrough) -> None:
        self._database = database
        self._bus = bus
        self._through = through
        self._lock = RelayLock(database)
        self._projects: dict[str, _Progress] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._store_id = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Relay"]:
        """Look for what was left behind, now and from time to time, until the block ends.

        What was woken before its end is published first, if Redis can be reached.
        """
        self._sweeper = asyncio.create_task(self._sweep(), name="realtime-relay-sweep")
        try:
            yield self
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Publish what was woken, unless that takes too long, and stop."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        tasks = [progress.task for progress in self._projects.values() if progress.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=FLUSH_TIMEOUT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._lock.close()

    def wake(self, project_id: str) -> None:
        """Have what the outbox holds for ``project_id`` published soon. Never blocks, never fails."""
        progress = self._projects.setdefault(project_id, _Progress())
        progress.asked += 1
        if progress.task is None:
            progress.task = asyncio.create_task(
                self._pump(project_id, progress), name=f"realtime-relay-{project_id}"
            )

    async def flush(self, project_id: str) -> bool:
        """Have what is committed for ``project_id`` published and written through now.

        Returns:
            False when that took too long, since Redis cannot be reached, or when events have to wait for workers while
            the read models have everything; what is committed is then still published, later.
        """
        self.wake(project_id)
        progress = self._projects[project_id]
        goal = progress.asked
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S), progress.advanced:
                await progress.advanced.wait_for(lambda: max(progress.done, progress.written) >= goal)
        except TimeoutError:
            return False
        return progress.done >= goal

    async def _pump(self, project_id: str, progress: _Progress) -> None:
        """Make passes until nothing more is asked for; again and again while Redis or SQL fails."""
        attempt = 0
        while progress.done < progress.asked:
            goal = progress.asked
            try:
                await self._drain(project_id)
            except Exception as error:
                if isinstance(error, WorkFullError):
                    log.error("events wait in the outbox", project=project_id, reason=str(error))  # noqa: TRY400
                    async with progress.advanced:
                        progress.written = goal
                        progress.advanced.notify_all()
                elif isinstance(error, _PASSING):
                    log.warning("events wait in the outbox", project=project_id, error=type(error).__name__)
                else:
                    # Whatever it is, what waits must not be given up.
                    log.exception("events wait in the outbox", project=project_id)
                await asyncio.sleep(backoff_s(attempt, random.random()))  # noqa: S311 - not a secret
                attempt += 1
                continue
            attempt = 0
            async with progress.advanced:
                progress.done = goal
                progress.advanced.notify_all()
            if progress.done < progress.asked:
                await asyncio.sleep(PACE_S)
        # Nothing was awaited since the comparison, so whoever asks from here on starts a new task.
        del self._projects[project_id]

    async def _drain(self, project_id: str) -> None:
        """Publish everything that is committed for one project."""
        is_more = True
        while is_more:
            async with self._lock.held(project_id) as holder:
                try:
                    async with self._reading(holder) as connection:
                        entries = await self._read(connection, project_id)
                        await self._apply(connection, project_id, entries)
                except WorkFullError:
                    await self._overtake(holder, project_id)
                    raise
                if entries:
                    async with self._writing(holder) as connection:
                        await self._forget(connection, project_id, entries)
            is_more = len(entries) == BATCH

    def _reading(self, holder: AsyncConnection | None) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._database.reading() if holder is None else contextlib.nullcontext(holder)

    def _writing(self, holder: AsyncConnection | None) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._database.writing() if holder is None else contextlib.nullcontext(holder)

    async def _overtake(self, holder: AsyncConnection | None, project_id: str) -> None:
        """Write through what the outbox has for read models, past the events that wait."""
        is_more = True
        while is_more:
            async with self._reading(holder) as connection:
                entries = await self._read(connection, project_id, outbox.c.kind != "event")
                await self._apply(connection, project_id, entries)
            if entries:
                async with self._writing(holder) as connection:
                    await self._forget(connection, project_id, entries)
            is_more = len(entries) == BATCH

    async def _read(
        self, connection: AsyncConnection, project_id: str, *conditions: ColumnElement[bool]
    ) -> list[Entry]:
        if not self._store_id:
            self._store_id = (await connection.execute(select(store_info.c.store_id))).scalar_one()
        found = await connection.execute(
            select(outbox.c.seq, outbox.c.kind, outbox.c.body)
            .where(outbox.c.project_id == project_id, *conditions)
            .order_by(outbox.c.seq)
            .limit(BATCH)
        )
        return [Entry(*row) for row in found]

    async def _apply(self, connection: AsyncConnection, project_id: str, entries: Sequence[Entry]) -> None:
        events: list[tuple[int, bytes]] = []
        for kind, run in groupby(entries, key=lambda entry: entry.kind):
            if kind == "event":
                # With those before what is written through: all stay in doubt until they are forgotten together.
                events += [(entry.seq, bytes(entry.body)) for entry in run]
                await self._bus.relay(project_id, self._store_id, events)
            else:
                ids = list(dict.fromkeys(bytes(entry.body).decode() for entry in run))
                await self._through.write(connection, kind, project_id, ids)

    async def _forget(self, connection: AsyncConnection, project_id: str, entries: Sequence[Entry]) -> None:
        # By number, not up to the last number: a transaction with a lower one may be committed meanwhile.
        numbers = [entry.seq for entry in entries]
        await connection.execute(
            delete(outbox).where(outbox.c.project_id == project_id, outbox.c.seq.in_(numbers))
        )

    async def _sweep(self) -> None:
        while True:
            try:
                async with self._database.reading() as connection:
                    found = await connection.execute(select(outbox.c.project_id).distinct())
                    waiting = [project_id for (project_id,) in found]
            except (SQLAlchemyError, OSError) as error:
                log.warning("the outbox cannot be read", error=type(error).__name__)
            else:
                for project_id in waiting:
                    if project_id not in self._projects:
                        self.wake(project_id)
            await asyncio.sleep(SWEEP_INTERVAL_S)
