"""The ends of executions on their way to the store, on both databases."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from realtime.identity.model import Project
from workers.functions import recorder as module
from workers.functions.executor import Outcome
from workers.functions.recorder import End, Recorder
from workers.functions.rows import new_row
from workers.store.metrics import WorkerMetrics
from workers.store.store import Store, Transaction
from workers.store.tables import executions

Kept = Callable[..., Awaitable[list[sa.RowMapping]]]

NOW = "2026-03-01T12:00:00.000+00:00"


@pytest.fixture
def claim(store: Store, kept: Kept) -> Callable[..., Awaitable[list[sa.RowMapping]]]:
    """Make executions that are claimed, and return their rows."""

    async def claim(count: int, **columns: Any) -> list[sa.RowMapping]:
        rows = [
            new_row(
                "demo", f"e{number}", "f", trigger="event", depth=1, now=NOW, status="processing", attempts=1
            )
            | columns
            for number in range(count)
        ]
        async with store.database.writing() as connection:
            await connection.execute(executions.insert(), rows)
        return await kept()

    return claim


class TestRecorder:
    async def test_what_comes_while_one_transaction_is_made_is_the_next_one(
        self, store: Store, claim: Any, kept: Kept, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MAX_AT_ONCE", 4)
        transactions = []
        write = store.write

        @contextlib.asynccontextmanager
        async def counted(project: Project) -> AsyncIterator[Transaction]:
            transactions.append(project.id)
            async with write(project) as tx:
                yield tx

        monkeypatch.setattr(store, "write", counted)
        recorder = Recorder(store, WorkerMetrics())
        async with recorder.running(stop_timeout_s=10):
            for row in await claim(10):
                recorder.add(End(row, Outcome(200), logging=True))
            assert recorder.pending == 10
        assert recorder.pending == 0
        assert {row["status"] for row in await kept()} == {"completed"}
        assert transactions == ["demo"] * 3

    async def test_end_waits_while_the_database_is_away(
        self, store: Store, claim: Any, kept: Kept, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failures = [OSError(), OSError()]
        write = store.write

        @contextlib.asynccontextmanager
        async def failing(project: Project) -> AsyncIterator[Transaction]:
            if failures:
                raise failures.pop()
            async with write(project) as tx:
                yield tx

        monkeypatch.setattr(store, "write", failing)
        monkeypatch.setattr(module, "backoff_s", lambda _attempt, _chance: 0.0)
        recorder = Recorder(store, WorkerMetrics())
        with capture_logs() as logs:
            async with recorder.running(stop_timeout_s=10):
                for row in await claim(2):
                    recorder.add(End(row, Outcome(200), logging=True))
        assert {row["status"] for row in await kept()} == {"completed"}
        assert [line["event"] for line in logs] == ["the ends of executions wait"] * 2

    async def test_end_that_cannot_be_kept_holds_up_no_other(
        self, store: Store, claim: Any, kept: Kept
    ) -> None:
        recorder = Recorder(store, WorkerMetrics())
        with capture_logs() as logs:
            async with recorder.running(stop_timeout_s=10):
                for number, row in enumerate(await claim(3)):
                    outcome: Any = Outcome(200, logs="x") if number != 1 else "no outcome"
                    recorder.add(End(row, outcome, logging=True))
        assert [row["status"] for row in await kept()] == ["completed", "processing", "completed"]
        assert [line["execution"] for line in logs] == ["e1"]

    async def test_what_is_not_written_when_it_closes_is_left_to_others(
        self, store: Store, claim: Any, kept: Kept, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @contextlib.asynccontextmanager
        async def away(project: Project) -> AsyncIterator[Transaction]:
            if project.id:
                raise OSError
            yield Transaction(None, project, datetime.now(UTC))  # type: ignore[arg-type]

        monkeypatch.setattr(store, "write", away)
        recorder = Recorder(store, WorkerMetrics())
        with capture_logs():
            async with recorder.running(stop_timeout_s=0.05):
                for row in await claim(1):
                    recorder.add(End(row, Outcome(200), logging=True))
        (row,) = await kept()
        assert (row["status"], row["due_at"]) == ("processing", NOW)
