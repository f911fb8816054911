"""Running what waits in the store, on both databases: who is served when, and what becomes of claims."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import pytest
import sqlalchemy as sa

from workers.functions import executions as module
from workers.functions.calls import Request
from workers.functions.executions import Executions
from workers.functions.executor import Call, Executor
from workers.functions.rows import new_row
from workers.store.metrics import WorkerMetrics
from workers.store.sealing import Sealer
from workers.store.store import Store
from workers.store.tables import executions, functions, outbox

PutFunction = Callable[..., Awaitable[None]]
Kept = Callable[..., Awaitable[list[sa.RowMapping]]]
Run = Callable[..., AbstractAsyncContextManager[Executions]]

PAST = "2026-03-01T12:00:00.000+00:00"


class CountingExecutor(Executor, Protocol):
    """See the fixture ``executor``."""

    calls: list[Call]
    may_end: asyncio.Event
    duration_s: float
    most: dict[str, int]


@pytest.fixture
def put(store: Store, sealer: Sealer) -> Callable[..., Awaitable[None]]:
    """Have executions of a function wait."""

    async def put(function_id: str, count: int = 1, *, project_id: str = "demo", **columns: Any) -> None:
        start = await _count(store)
        rows = [
            new_row(
                project_id,
                f"e{start + number}",
                function_id,
                **{
                    "trigger": "event",
                    "depth": 2,
                    "now": PAST,
                    "user_id": "ada",
                    "sealed_request": Request(event="teams.red.create", user_id="ada").seal(sealer),
                    **columns,
                },
            )
            for number in range(count)
        ]
        async with store.database.writing() as connection:
            await connection.execute(executions.insert(), rows)

    return put


@pytest.fixture
def run(store: Store, sealer: Sealer, executor: CountingExecutor) -> Run:
    """Run what waits, as one process does."""

    @contextlib.asynccontextmanager
    async def run(**settings: Any) -> AsyncIterator[Executions]:
        options = {"secrets": (), "concurrency": 8, "function_concurrency": 3, **settings}
        async with Executions(store, sealer, executor, **options).dispatching() as running:
            yield running

    return run


async def _count(store: Store, *where: Any) -> int:
    async with store.read() as connection:
        found = await connection.execute(sa.select(sa.func.count()).select_from(executions).where(*where))
        return int(found.scalar_one())


async def until_at_most(store: Store, count: int, *where: Any) -> None:
    """Wait until no more than ``count`` executions are so."""
    async with asyncio.timeout(10):
        while True:
            if await _count(store, *where) <= count:
                return
            await asyncio.sleep(0.01)


async def until_ended(store: Store) -> None:
    await until_at_most(store, 0, executions.c.due_at.is_not(None))


async def until_called(executor: CountingExecutor, count: int) -> None:
    async with asyncio.timeout(10):
        while True:
            if len(executor.calls) >= count:
                return
            await asyncio.sleep(0.01)


class TestDispatching:
    async def test_each_that_waits_is_run_once_and_its_end_recorded(
        self,
        store: Store,
        executor: CountingExecutor,
        put_function: PutFunction,
        put: Any,
        run: Run,
        kept: Kept,
    ) -> None:
        await put_function("quick")
        await put("quick", 300)
        metrics = WorkerMetrics()
        async with run(metrics=metrics):
            await until_ended(store)
        found = await kept()
        assert {row["status"] for row in found} == {"completed"}
        assert {(row["attempts"], row["logs"], row["sealed_request"]) for row in found} == {
            (1, "It ran.", "")
        }
        assert sorted(call.execution_id for call in executor.calls) == sorted(row["id"] for row in found)
        assert b'realtime_executions_total{outcome="completed",trigger="event"} 300.0' in metrics.render()
        async with store.read() as connection:
            told = (await connection.execute(sa.select(outbox.c.body))).scalars().all()
        assert len(told) == 300
        assert all(b'"actorId":"ada","depth":2' in body for body in told)

    async def test_function_that_is_full_keeps_nobody_else_waiting(
        self, store: Store, executor: CountingExecutor, put_function: PutFunction, put: Any, run: Run
    ) -> None:
        """The backlog of one is older than what the others have, and its runs do not end."""
        for name in ("slow", "late"):
            await put_function(name)
        await put_function("other", project_id="other")
        await put("slow", 500)
        executor.may_end.clear()
        async with run() as running:
            await until_called(executor, 3)
            await put("late", now="2026-03-01T13:00:00.000+00:00")
            await put("other", project_id="other", now="2026-03-01T13:00:00.000+00:00")
            running.wake()
            await until_called(executor, 5)
            assert [call.code.function_id for call in executor.calls[3:]] in (
                ["late", "other"],
                ["other", "late"],
            )
            assert executor.most["slow"] == 3
            executor.may_end.set()
            await until_ended(store)
        assert executor.most["slow"] == 3
        assert len(executor.calls) == 502

    async def test_project_has_at_most_three_quarters_however_many_functions_it_has(
        self, store: Store, executor: CountingExecutor, put_function: PutFunction, put: Any, run: Run
    ) -> None:
        names = [f"f{number}" for number in range(6)]
        for name in names:
            await put_function(name)
            await put(name, 3)
        await put_function("other", project_id="other")
        await put("other", 3, project_id="other", now="2026-03-01T13:00:00.000+00:00")
        executor.may_end.clear()
        async with run(function_concurrency=2):
            await until_called(executor, 8)
            assert sum(call.project_id == "demo" for call in executor.calls) == 6
            executor.may_end.set()
            await until_ended(store)

    @pytest.mark.parametrize("lanes", [["demo"], ["demo", "more"]])
    async def test_backlogs_of_others_keep_nobody_waiting_however_long_their_runs_take(
        self,
        store: Store,
        executor: CountingExecutor,
        put_function: PutFunction,
        put: Any,
        run: Run,
        monkeypatch: pytest.MonkeyPatch,
        lanes: list[str],
    ) -> None:
        """Theirs are older, and there are looks while theirs run."""
        monkeypatch.setattr(module, "POLL_INTERVAL_S", 0.02)
        executor.duration_s = 0.06
        for project_id in lanes:
            for name in ("a", "b"):
                await put_function(name, project_id=project_id)
                await put(name, 100, project_id=project_id)
        await put_function("late", project_id="late" if lanes[1:] else "demo")
        async with run(concurrency=4, function_concurrency=2) as running:
            await until_called(executor, 4)
            await put(
                "late",
                project_id="late" if lanes[1:] else "demo",
                now="2026-03-01T13:00:00.000+00:00",
            )
            running.wake()
            before = len(executor.calls)
            await until_called(executor, before + 40)
            executor.duration_s = 0.0
        assert "late" in {call.code.function_id for call in executor.calls[before : before + 40]}

    async def test_functions_take_turns_in_different_looks(
        self,
        store: Store,
        executor: CountingExecutor,
        put_function: PutFunction,
        put: Any,
        run: Run,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Of six, three at a time are looked at, and all have a backlog."""
        monkeypatch.setattr(module, "MAX_LANES", 3)
        # Nothing but what is begun at once.
        monkeypatch.setattr("workers.functions.pace.AHEAD_S", 0.0)
        executor.duration_s = 0.02
        names = {f"f{number}" for number in range(6)}
        for name in names:
            await put_function(name)
            await put(name, 20)
        async with run(concurrency=2, function_concurrency=2):
            await until_called(executor, 20)
            executor.duration_s = 0.0
        assert {call.code.function_id for call in executor.calls[:20]} == names

    async def test_those_that_wait_longest_are_run_first(
        self, store: Store, executor: CountingExecutor, put_function: PutFunction, put: Any, run: Run
    ) -> None:
        await put_function("f")
        for minute in (3, 1, 2):
            await put("f", now=f"2026-03-01T12:0{minute}:00.000+00:00")
        async with run(concurrency=1):
            await until_ended(store)
        assert [call.execution_id for call in executor.calls] == ["e1", "e2", "e0"]

    async def test_look_goes_on_where_the_last_one_ended(
        self,
        store: Store,
        executor: CountingExecutor,
        put_function: PutFunction,
        put: Any,
        run: Run,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """There are more functions than one look goes by, and most of what they have is not due."""
        monkeypatch.setattr(module, "MAX_LANES", 2)
        for number in range(7):
            await put_function(f"f{number}")
            await put(f"f{number}", now="2126-01-01T00:00:00.000+00:00" if number % 3 else PAST)
        async with run():
            await until_called(executor, 3)
        assert {call.code.function_id for call in executor.calls} == {"f0", "f3", "f6"}

    async def test_claim_that_waits_too_long_for_its_turn_is_left_to_others(
        self,
        store: Store,
        sealer: Sealer,
        executor: CountingExecutor,
        put_function: PutFunction,
        put: Any,
        run: Run,
        kept: Kept,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The function was quick, and what was claimed for that reason has to wait for what is not any more."""
        monkeypatch.setattr(module, "MAX_HELD_S", 0.3)
        await put_function("f")
        await put("f", 1)
        async with run(function_concurrency=2) as running:
            await until_ended(store)
            executor.may_end.clear()
            await put("f", 39)
            running.wake()
            # All are claimed, two of which run.
            await until_at_most(store, 0, executions.c.status == "waiting")
            await until_at_most(store, 2, executions.c.status == "processing")
            executor.may_end.set()
            await until_ended(store)
        assert {(row["status"], row["attempts"]) for row in await kept()} == {("completed", 1)}
        assert len(executor.calls) == 40


class TestWhatIsNotRun:
    async def test_function_without_a_deployment_fails_without_an_event(
        self,
        store: Store,
        executor: CountingExecutor,
        put_function: PutFunction,
        put: Any,
        run: Run,
        kept: Kept,
    ) -> None:
        await put_function("f", deployed=False)
        await put("f")
        async with run():
            await until_ended(store)
        (row,) = await kept()
        assert (row["status"], row["response_status"]) == ("failed", 0)
        assert "no active deployment" in row["errors"]
        assert executor.calls == []
        async with store.read() as connection:
            assert (await connection.execute(sa.select(outbox))).all() == []

    async def test_function_that_was_disabled_since_is_not_run(
        self,
        store: Store,
        executor: CountingExecutor,
        put_function: PutFunction,
        put: Any,
        run: Run,
        kept: Kept,
    ) -> None:
        await put_function("f", enabled=False)
        await put("f")
        async with run():
            await until_ended(store)
        (row,) = await kept()
        assert row["errors"] == "The function was not run: it is disabled."
        assert executor.calls == []

    async def test_execution_whose_process_died_each_time_is_given_up(
        self,
        store: Store,
        executor: CountingExecutor,
        put_function: PutFunction,
        put: Any,
        run: Run,
        kept: Kept,
    ) -> None:
        await put_function("f")
        await put("f", attempts=module.MAX_ATTEMPTS, status="processing")
        async with run():
            await until_ended(store)
        (row,) = await kept()
        assert (row["status"], row["response_status"]) == ("failed", 500)
        assert executor.calls == []


class TestSeveral:
    async def test_two_processes_run_each_once(
        self,
        store: Store,
        executor: CountingExecutor,
        put_function: PutFunction,
        put: Any,
        run: Run,
        kept: Kept,
    ) -> None:
        for name in ("a", "b", "c"):
            await put_function(name)
            await put(name, 60)
        async with run(), run():
            await until_ended(store)
        assert len(executor.calls) == len({call.execution_id for call in executor.calls}) == 180
        assert {row["attempts"] for row in await kept()} == {1}

    async def test_end_that_comes_after_another_process_took_over_is_not_kept(
        self,
        store: Store,
        executor: CountingExecutor,
        put_function: PutFunction,
        put: Any,
        run: Run,
        kept: Kept,
    ) -> None:
        await put_function("f")
        await put("f")
        executor.may_end.clear()
        async with run():
            await until_called(executor, 1)
            async with store.database.writing() as connection:
                await connection.execute(sa.update(executions).values(attempts=2))
            executor.may_end.set()
        (row,) = await kept()
        assert (row["status"], row["attempts"]) == ("processing", 2)
        async with store.read() as connection:
            assert (await connection.execute(sa.select(outbox))).all() == []

    async def test_function_that_is_deleted_meanwhile_takes_its_executions_along(
        self,
        store: Store,
        executor: CountingExecutor,
        put_function: PutFunction,
        put: Any,
        run: Run,
        kept: Kept,
    ) -> None:
        await put_function("f")
        await put("f", 3)
        executor.may_end.clear()
        async with run():
            await until_called(executor, 3)
            async with store.database.writing() as connection:
                await connection.execute(sa.delete(executions))
                await connection.execute(sa.delete(functions))
            executor.may_end.set()
        assert await kept() == []
