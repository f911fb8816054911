"""From events to executions, on both databases."""

from collections.abc import Awaitable, Callable

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from realtime.events.work import WorkEvent
from realtime.permissions import is_valid_id
from realtime.triggers.index import TriggerIndex
from realtime.triggers.model import FunctionTrigger, Triggers
from workers.functions import triggering
from workers.functions.calls import Request
from workers.functions.triggering import Triggering
from workers.store.metrics import WorkerMetrics
from workers.store.sealing import Sealer
from workers.store.store import Store
from workers.store.tables import functions

PutFunction = Callable[..., Awaitable[None]]
Kept = Callable[..., Awaitable[list[sa.RowMapping]]]

CREATED = ["teams.red.create", "teams.red", "teams.*.create", "teams.*", "teams"]
PAYLOAD = b'{"$id":"red"}'


def event(number: int = 1, *, project: str = "demo", actor_id: str = "", depth: int = 0) -> WorkEvent:
    return WorkEvent(project, f"{number}-0", CREATED, actor_id, depth, "", PAYLOAD)


def index(*function_ids: str) -> TriggerIndex:
    """Return the index of functions that wait for teams."""
    return TriggerIndex(
        Triggers(1, (), tuple(FunctionTrigger(each, each, ("teams.*.create",)) for each in function_ids))
    )


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics()


@pytest.fixture
def woken() -> list[None]:
    """Grows by one when there are new executions."""
    return []


@pytest.fixture
def trigger(store: Store, sealer: Sealer, metrics: WorkerMetrics, woken: list[None]) -> Triggering:
    return Triggering(store, sealer, max_depth=3, wake=lambda: woken.append(None), metrics=metrics)


class TestHandle:
    async def test_each_function_that_waits_for_an_event_gets_an_execution(
        self, trigger: Triggering, put_function: PutFunction, kept: Kept, sealer: Sealer, woken: list[None]
    ) -> None:
        for function_id in ("a", "b", "c"):
            await put_function(function_id)
        await trigger.handle([(event(actor_id="ada", depth=1), index("a", "b"))])
        found = await kept()
        assert [row["function_id"] for row in found] == ["a", "b"]
        row = found[0]
        assert (row["trigger"], row["status"], row["depth"]) == ("event", "waiting", 2)
        assert (row["user_id"], row["origin"]) == ("ada", None)
        assert row["permissions"] == ['read("user:ada")']
        assert (row["request_method"], row["request_path"]) == ("POST", "/")
        assert row["request_headers"] == [{"name": "content-type", "value": "application/json"}]
        assert row["deployment_id"] == "live-a"
        assert is_valid_id(row["id"])
        request = Request.unseal(sealer, row["sealed_request"])
        assert request == Request(body=PAYLOAD, user_id="ada", event="teams.red.create")
        assert "red" not in row["sealed_request"]
        assert woken == [None]

    async def test_event_by_nobody_known_leaves_nobody_who_may_read(
        self, trigger: Triggering, put_function: PutFunction, kept: Kept
    ) -> None:
        await put_function("a")
        await trigger.handle([(event(), index("a"))])
        (row,) = await kept()
        assert (row["user_id"], row["permissions"], row["depth"]) == (None, [], 1)

    async def test_event_that_comes_again_adds_nothing(
        self, store: Store, sealer: Sealer, trigger: Triggering, put_function: PutFunction, kept: Kept
    ) -> None:
        """A worker that died before it was done with an event, or two at once, or both in one batch."""
        await put_function("a")
        await trigger.handle([(event(1), index("a")), (event(1), index("a"))])
        other = Triggering(store, sealer, max_depth=3, wake=lambda: None)
        await other.handle([(event(1), index("a")), (event(2), index("a"))])
        found = await kept()
        assert len(found) == 2
        assert len({row["id"] for row in found}) == 2

    async def test_same_position_in_another_project_is_another_event(
        self, trigger: Triggering, put_function: PutFunction, kept: Kept
    ) -> None:
        for project_id in ("demo", "other"):
            await put_function("a", project_id=project_id)
        await trigger.handle([(event(project=each), index("a")) for each in ("demo", "other")])
        found = await kept()
        assert [row["project_id"] for row in found] == ["demo", "other"]
        assert found[0]["id"] != found[1]["id"]

    async def test_function_that_is_gone_or_disabled_gets_nothing_and_others_do(
        self, store: Store, trigger: Triggering, put_function: PutFunction, kept: Kept
    ) -> None:
        await put_function("a")
        await put_function("b")
        async with store.database.writing() as connection:
            await connection.execute(sa.update(functions).where(functions.c.id == "a").values(enabled=False))
        await trigger.handle([(event(), index("a", "b", "gone"))])
        assert [row["function_id"] for row in await kept()] == ["b"]

    async def test_event_that_nobody_waits_for_touches_nothing(
        self, trigger: Triggering, kept: Kept, woken: list[None]
    ) -> None:
        await trigger.handle([(event(), index())])
        assert await kept() == []
        assert woken == []

    async def test_many_events_of_many_functions_are_all_there(
        self, trigger: Triggering, put_function: PutFunction, kept: Kept, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(triggering, "_AT_ONCE", 2)
        names = [f"f{number}" for number in range(5)]
        for name in names:
            await put_function(name)
        await trigger.handle([(event(number), index(*names)) for number in range(40)])
        assert len(await kept()) == 200


class TestDepth:
    async def test_chain_that_is_too_long_ends_in_a_record_that_says_so(
        self, trigger: Triggering, put_function: PutFunction, kept: Kept, metrics: WorkerMetrics
    ) -> None:
        await put_function("a")
        with capture_logs() as logs:
            await trigger.handle([(event(1, depth=2), index("a")), (event(2, depth=3), index("a"))])
        runs, cut = await kept()
        assert (runs["status"], runs["depth"]) == ("waiting", 3)
        assert (cut["status"], cut["depth"], cut["response_status"]) == ("failed", 4, 0)
        assert cut["due_at"] is None
        assert cut["sealed_request"] == ""
        assert "functions set off 3 functions" in cut["errors"]
        assert "REALTIME_FUNCTIONS_MAX_DEPTH" in cut["errors"]
        assert [line["event"] for line in logs] == ["a chain of functions is cut: it is too long"]
        assert b"realtime_chains_cut_total 1.0" in metrics.render()


class TestBound:
    async def test_event_of_a_function_for_which_too_many_wait_is_kept_as_a_failure(
        self, trigger: Triggering, put_function: PutFunction, kept: Kept, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(triggering, "MAX_WAITING", 2)
        monkeypatch.setattr(triggering, "_COUNTED_FOR_S", 0.0)
        await put_function("a")
        await put_function("b")
        await trigger.handle([(event(1), index("a")), (event(2), index("a"))])
        with capture_logs() as logs:
            await trigger.handle([(event(3), index("a", "b"))])
        found = {(row["function_id"], row["status"]): row for row in await kept()}
        assert ("b", "waiting") in found
        assert "2 executions of it wait already" in found["a", "failed"]["errors"]
        assert "teams.red.create" in found["a", "failed"]["errors"]
        assert logs[0]["log_level"] == "error"
        assert len(await kept(function_id="a", status="waiting")) == 2
