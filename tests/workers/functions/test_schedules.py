"""Executions that the clock begins, on both databases."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from realtime.bus import connect
from realtime.triggers.model import FunctionTrigger
from realtime.triggers.store import TriggerStore
from workers.functions import schedules as module
from workers.functions.calls import Request
from workers.functions.schedules import Schedules
from workers.store.metrics import WorkerMetrics
from workers.store.sealing import Sealer
from workers.store.store import Store
from workers.store.tables import functions
from workers.store.times import to_text

PutFunction = Callable[..., Awaitable[None]]
Kept = Callable[..., Awaitable[list[sa.RowMapping]]]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOURLY = "0 * * * *"


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def triggers(redis_url: str) -> AsyncIterator[TriggerStore]:
    redis = connect(redis_url)
    yield TriggerStore(redis)
    await redis.aclose()


@pytest.fixture
def worker(store: Store, sealer: Sealer, triggers: TriggerStore, clock: Clock) -> Callable[..., Schedules]:
    """Return what a worker has that starts now."""

    def make(**options: Any) -> Schedules:
        return Schedules(store, sealer, triggers, **{"wake": lambda: None, "clock": clock, **options})

    return make


async def change(store: Store, triggers: TriggerStore, function_id: str, **columns: Any) -> None:
    """Change a function, and say so, as the API does."""
    async with store.database.writing() as connection:
        await connection.execute(sa.update(functions).where(functions.c.id == function_id).values(columns))
    await triggers.put_function("demo", FunctionTrigger(function_id, to_text(datetime.now(UTC))))


def times(rows: list[sa.RowMapping]) -> list[str]:
    """Return when executions were due, as hours and minutes."""
    return [row["scheduled_at"][11:16] for row in rows]


class TestTick:
    async def test_function_is_run_at_each_due_time_and_not_before(
        self,
        worker: Callable[..., Schedules],
        put_function: PutFunction,
        kept: Kept,
        clock: Clock,
        sealer: Sealer,
    ) -> None:
        woken: list[None] = []
        metrics = WorkerMetrics()
        await put_function("f", schedule=HOURLY)
        schedules = worker(wake=lambda: woken.append(None), metrics=metrics)
        await schedules.tick()
        clock.forward(minutes=59, seconds=59)
        await schedules.tick()
        assert await kept() == []
        clock.forward(seconds=1.5)
        await schedules.tick()
        await schedules.tick()
        (row,) = await kept()
        assert (row["function_id"], row["trigger"], row["status"]) == ("f", "schedule", "waiting")
        assert (row["depth"], row["user_id"], row["permissions"]) == (1, None, [])
        assert row["scheduled_at"] == "2026-03-01T13:00:00.000+00:00"
        assert row["due_at"] == row["created_at"] == "2026-03-01T13:00:00.500+00:00"
        assert row["deployment_id"] == "live-f"
        assert Request.unseal(sealer, row["sealed_request"]) == Request()
        assert woken == [None]
        clock.forward(hours=1)
        await schedules.tick()
        assert times(await kept()) == ["13:00", "14:00"]
        assert b"realtime_schedules_fired_total 2.0" in metrics.render()

    async def test_any_number_of_workers_make_one_execution_of_each_time(
        self, worker: Callable[..., Schedules], put_function: PutFunction, kept: Kept, clock: Clock
    ) -> None:
        for number in range(5):
            await put_function(f"f{number}", schedule="* * * * *")
        workers = [worker() for _ in range(3)]
        for _ in range(4):
            await asyncio.gather(*(each.tick() for each in workers))
            clock.forward(minutes=1)
        found = [(row["function_id"], row["scheduled_at"]) for row in await kept()]
        assert len(found) == len(set(found)) == 15

    async def test_of_times_that_were_missed_the_last_is_made_up_for(
        self, worker: Callable[..., Schedules], put_function: PutFunction, kept: Kept, clock: Clock
    ) -> None:
        await put_function("f", schedule=HOURLY)
        await worker().tick()
        clock.forward(hours=5, minutes=20)
        restarted = worker()
        await restarted.tick()
        await restarted.tick()
        assert times(await kept()) == ["17:00"]
        clock.forward(minutes=40)
        await restarted.tick()
        assert times(await kept()) == ["17:00", "18:00"]

    async def test_execution_that_was_deleted_does_not_come_again(
        self,
        store: Store,
        worker: Callable[..., Schedules],
        put_function: PutFunction,
        kept: Kept,
        clock: Clock,
    ) -> None:
        await put_function("f", schedule=HOURLY)
        clock.forward(hours=1)
        await worker().tick()
        assert len(await kept()) == 1
        async with store.database.writing() as connection:
            await connection.execute(sa.text("DELETE FROM executions"))
        await worker().tick()
        assert await kept() == []

    async def test_what_was_before_the_schedule_is_not_made_up_for(
        self, worker: Callable[..., Schedules], put_function: PutFunction, kept: Kept, clock: Clock
    ) -> None:
        since = to_text(NOON - timedelta(minutes=1))
        await put_function("f", schedule="0 11 * * *", schedule_done_at=since)
        await worker().tick()
        assert await kept() == []

    async def test_function_without_a_deployment_gets_its_execution_too(
        self, worker: Callable[..., Schedules], put_function: PutFunction, kept: Kept, clock: Clock
    ) -> None:
        """It fails, and says why."""
        await put_function("f", schedule=HOURLY, deployed=False)
        clock.forward(hours=1)
        await worker().tick()
        assert [row["deployment_id"] for row in await kept()] == [""]

    async def test_more_functions_than_one_transaction_is_for_are_all_run(
        self,
        worker: Callable[..., Schedules],
        put_function: PutFunction,
        kept: Kept,
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(module, "_AT_ONCE", 2)
        for number in range(5):
            await put_function(f"f{number}", schedule=HOURLY)
        clock.forward(hours=1)
        await worker().tick()
        assert {row["function_id"] for row in await kept()} == {f"f{number}" for number in range(5)}


class TestChanges:
    async def test_new_and_changed_schedules_are_heeded_by_the_next_look(
        self,
        store: Store,
        triggers: TriggerStore,
        worker: Callable[..., Schedules],
        put_function: PutFunction,
        kept: Kept,
        clock: Clock,
    ) -> None:
        await put_function("f", schedule=HOURLY)
        await put_function("g")
        schedules = worker()
        await schedules.tick()
        await change(store, triggers, "f", schedule="30 * * * *", schedule_done_at=to_text(NOON))
        await change(store, triggers, "g", schedule="15 * * * *", schedule_done_at=to_text(NOON))
        await schedules.tick()
        for _ in range(4):
            clock.forward(minutes=15)
            await schedules.tick()
        assert [(row["function_id"], *times([row])) for row in await kept()] == [
            ("g", "12:15"),
            ("f", "12:30"),
        ]

    async def test_function_that_is_disabled_or_gone_is_not_run_also_if_nobody_heard_of_it(
        self,
        store: Store,
        worker: Callable[..., Schedules],
        put_function: PutFunction,
        kept: Kept,
        clock: Clock,
    ) -> None:
        for name in ("off", "gone", "other"):
            await put_function(name, schedule=HOURLY)
        schedules = worker()
        await schedules.tick()
        async with store.database.writing() as connection:
            await connection.execute(
                sa.update(functions).where(functions.c.id == "off").values(enabled=False)
            )
            await connection.execute(sa.delete(functions).where(functions.c.id == "gone"))
            # Nor is one whose schedule is another by now.
            changed = sa.update(functions).where(functions.c.id == "other")
            await connection.execute(changed.values(schedule="59 23 * * *"))
        clock.forward(hours=1)
        await schedules.tick()
        assert await kept() == []

    async def test_without_redis_the_database_tells_what_changed(
        self,
        store: Store,
        sealer: Sealer,
        put_function: PutFunction,
        kept: Kept,
        clock: Clock,
        free_port: Callable[[], int],
    ) -> None:
        redis = connect(f"redis://127.0.0.1:{free_port()}")
        schedules = Schedules(store, sealer, TriggerStore(redis), wake=lambda: None, clock=clock)
        await schedules.tick()
        await put_function("f", schedule=HOURLY)
        clock.forward(hours=1)
        await schedules.tick()
        await redis.aclose()
        assert times(await kept()) == ["13:00"]


class TestRunning:
    async def test_due_times_are_met_by_themselves(
        self, worker: Callable[..., Schedules], put_function: PutFunction, kept: Kept
    ) -> None:
        # By the real clock, the last minute was missed.
        await put_function("f", schedule="* * * * *", schedule_done_at=to_text(NOON))
        async with worker(clock=lambda: datetime.now(UTC)).running(), asyncio.timeout(10):
            while True:
                if await kept():
                    break
                await asyncio.sleep(0.01)
        (row,) = await kept()
        late = datetime.now(UTC) - datetime.fromisoformat(row["scheduled_at"])
        assert late < timedelta(minutes=1, seconds=10)
