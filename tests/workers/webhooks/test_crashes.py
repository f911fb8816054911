"""Tests of what a process leaves behind that is killed, or cut off from its database, between any two steps."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.store.database import Database
from workers.store.store import Store
from workers.store.tables import attempts, deliveries, webhook_events


class FailingConnection:
    """A connection whose statements and commits are steps that may be the last."""

    def __init__(self, connection: AsyncConnection, step: Callable[[], None]) -> None:
        self._connection = connection
        self._step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        self._step()
        return await self._connection.execute(*args, **kwargs)


class FailingDatabase(Database):
    """A database that can only be written to for so many steps: statements, commits, and answers to commits.

    Those who ask for more get nothing any more, for ever or only once.
    """

    def __init__(self, database: Database, steps: int, *, for_ever: bool) -> None:
        super().__init__(database.engine, database.pool_size, read_timeout_s=database.read_timeout_s)
        # One writer at a time in this process, whichever of the two it asks.
        self._writer = database._writer
        self._left = steps
        self._for_ever = for_ever
        self.has_failed = False

    def _step(self) -> None:
        self._left -= 1
        if self._left == -1 or (self._left < 0 and self._for_ever):
            self.has_failed = True
            raise OperationalError("", None, OSError("cut off"))

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        async with super().writing() as connection:
            failing: Any = FailingConnection(connection, self._step)
            yield failing
            self._step()
        # It is committed, and nobody hears of it.
        self._step()


class TestDelivering:
    async def test_killed_between_any_two_steps_repeats_and_loses_nothing(self, world: Any) -> None:
        await world.put_webhooks("a", "b")
        for steps in itertools.count():
            world.sender.seen.clear()
            await world.record(f"{steps}-0", f"{steps}-1")
            database = FailingDatabase(world.store.database, steps, for_ever=True)
            async with world.running(store=Store(database, world.store._relay)):
                async with asyncio.timeout(20):
                    while not database.has_failed and await world.rows(deliveries, status="pending"):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            # The leases of the dead are over.
            await _expire(world)
            async with world.running():
                rows = await world.until_rows(4 * (steps + 1), deliveries, status="delivered")
            seen = Counter(delivery.delivery_id for _, delivery in world.sender.seen)
            assert set(seen) == {row["id"] for row in rows[-4:]}
            await _check_log(world, seen)
            if not database.has_failed:
                break
        # Otherwise there was nothing to be cut off from.
        assert steps > 8

    async def test_cut_off_for_a_moment_goes_on_by_itself(self, world: Any) -> None:
        await world.put_webhooks("a", "b")
        for steps in itertools.count():
            world.sender.seen.clear()
            await world.record(f"{steps}-0", f"{steps}-1")
            database = FailingDatabase(world.store.database, steps, for_ever=False)
            async with world.running(store=Store(database, world.store._relay)):
                # What was claimed without anybody hearing of it waits for the end of its lease.
                async with asyncio.timeout(20):
                    while await world.rows(deliveries, status="pending"):
                        if not world.sender.running.total():
                            await _expire(world)
                        await asyncio.sleep(0.01)
            seen = Counter(delivery.delivery_id for _, delivery in world.sender.seen)
            assert len(seen) == 4
            await _check_log(world, seen)
            if not database.has_failed:
                break
        assert steps > 8


class TestRecording:
    async def test_killed_between_any_two_steps_records_all_or_nothing(self, world: Any) -> None:
        await world.put_webhooks("a", "b")
        whole = world.store
        for steps in itertools.count():
            database = FailingDatabase(whole.database, steps, for_ever=True)
            world.store = Store(database, whole._relay)
            with contextlib.suppress(OperationalError):
                await world.record(f"{steps}-0", f"{steps}-1")
            world.store = whole
            rows = [row["event_id"] for row in await world.rows(deliveries)]
            assert len(rows) in (4 * steps, 4 * (steps + 1))
            # It comes again, since it was not acknowledged.
            await world.record(f"{steps}-0", f"{steps}-1")
            assert len(await world.rows(deliveries)) == 4 * (steps + 1)
            assert len(await world.rows(webhook_events)) == 2 * (steps + 1)
            if not database.has_failed:
                break
        assert steps > 3


async def _expire(world: Any) -> None:
    for row in await world.rows(deliveries, held=True):
        # One by one, so that nobody waits for another one meanwhile.
        async with world.store.database.writing() as connection:
            await connection.execute(
                update(deliveries)
                .where(deliveries.c.seq == row["seq"], deliveries.c.held)
                .values(due_at="2026-01-01T00:00:00.000+00:00")
            )


async def _check_log(world: Any, seen: Counter[str]) -> None:
    """Check that no attempt is in the log that was not made, and that each delivery's last one is."""
    logged = Counter(row["delivery_id"] for row in await world.rows(attempts))
    for delivery_id, count in seen.items():
        assert 1 <= logged[delivery_id] <= count
