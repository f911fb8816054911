"""Functions that events set off, over the whole API: what they are called with, and how far a chain of them goes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from realtime.bus.work import WorkQueue
from realtime.triggers.store import TriggerStore
from realtime.triggers.watch import TriggerWatch
from tests.api import Api
from workers.functions.executor import Call, Outcome
from workers.functions.schedules import Schedules
from workers.functions.triggering import Triggering
from workers.store.intake import Intake

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]
Deploy = Callable[..., Awaitable[dict[str, Any]]]

TEAMS = {"events": ["teams.*.create"], "scopes": ["teams.write", "executions.write"]}


class ActingExecutor:
    """Does with the key of each call what it is told, and answers."""

    def __init__(self, api: Api) -> None:
        self.calls: list[Call] = []
        self._api = api
        self.act: Callable[[httpx.AsyncClient], Awaitable[object]] | None = None

    async def execute(self, call: Call) -> Outcome:
        self.calls.append(call)
        if self.act is not None:
            # In a task of its own, as in a process of its own: nothing but the key tells where it comes from.
            key = self._api.holder(call.headers["x-appwrite-key"])
            await asyncio.create_task(_awaiting(self.act(key)))
        return Outcome(200)


async def _awaiting(awaitable: Awaitable[object]) -> None:
    await awaitable


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"functions_max_depth": 3}


@pytest.fixture
def executor(api: Api) -> ActingExecutor:
    executor = ActingExecutor(api)
    api.services.executions.executor = executor
    return executor


@pytest.fixture
def working(api: Api) -> Callable[[], contextlib.AbstractAsyncContextManager[None]]:
    """Have events set off functions, as a worker does; several times for several workers."""
    services = api.services

    @contextlib.asynccontextmanager
    async def work() -> AsyncIterator[None]:
        triggers, wake = TriggerStore(services.bus.redis), services.executions.wake
        triggering = Triggering(
            services.store, services.sealer, max_depth=services.settings.functions_max_depth, wake=wake
        )
        queue = WorkQueue(services.bus.redis, "functions", f"worker-{id(triggering)}")
        schedules = Schedules(services.store, services.sealer, triggers, wake=wake)
        async with (
            schedules.running(),
            Intake(queue, TriggerWatch(triggers), triggering.handle).running(),
        ):
            yield

    return work


async def until_all_ended(api: Api, count: int, function_id: str = "hello") -> list[dict[str, Any]]:
    """Wait until a function has ``count`` executions, which have ended; return them, the first one first."""
    async with asyncio.timeout(15):
        while True:
            answer = await api.server.get(f"/v1/functions/{function_id}/executions")
            found: list[dict[str, Any]] = answer.json()["executions"]
            if len(found) >= count and all(each["status"] in ("completed", "failed") for each in found):
                return found
            await asyncio.sleep(0.01)


async def make_team(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/teams", json={"teamId": "unique()", "name": "Chain"})
    assert answer.status_code == 201, answer.text


class TestEvents:
    async def test_function_is_called_with_the_event_and_who_acted_may_read_the_execution(
        self, api: Api, deploy: Deploy, executor: ActingExecutor, sign_up: SignUp, working: Any
    ) -> None:
        await deploy(**TEAMS)
        ada = await sign_up("ada")
        async with working():
            made = await ada.post("/v1/teams", json={"teamId": "red", "name": "Red"})
            (execution,) = await until_all_ended(api, 1)
        (call,) = executor.calls
        assert json.loads(call.body) == made.json()
        assert (call.method, call.path, call.trigger) == ("POST", "/", "event")
        assert call.headers["x-appwrite-event"] == "teams.red.create"
        assert call.headers["x-appwrite-trigger"] == "event"
        assert call.headers["x-appwrite-user-id"] == "ada"
        assert call.headers["x-appwrite-user-jwt"] == ""
        assert call.headers["x-appwrite-execution-id"] == execution["$id"]
        assert (execution["trigger"], execution["status"]) == ("event", "completed")
        assert execution["$permissions"] == ['read("user:ada")']
        own = await ada.get(f"/v1/functions/hello/executions/{execution['$id']}")
        assert own.json()["trigger"] == "event"
        published = await api.published()
        assert published[-1].name == f"functions.hello.executions.{execution['$id']}.update"
        assert published[-1].roles == ["user:ada"]

    async def test_function_that_fails_keeps_no_other_from_being_run(
        self, api: Api, deploy: Deploy, executor: ActingExecutor, working: Any
    ) -> None:
        """Unlike with the original, where those after it in the list are not run."""
        for name in ("first", "second"):
            await deploy(functionId=name, **TEAMS)

        async def crash(_: httpx.AsyncClient) -> None:
            raise RuntimeError("It broke.")

        executor.act = crash
        async with working():
            await make_team(api.server)
            for name in ("first", "second"):
                (execution,) = await until_all_ended(api, 1, name)
                assert (execution["status"], execution["responseStatusCode"]) == ("failed", 500)
        names = await api.names()
        assert sum(name.startswith("functions.") and ".executions." in name for name in names) == 2

    async def test_function_without_a_deployment_fails_without_an_event(
        self, api: Api, executor: ActingExecutor, working: Any
    ) -> None:
        body = {"functionId": "hello", "name": "Hello", "runtime": "node-22", **TEAMS}
        assert (await api.server.post("/v1/functions", json=body)).status_code == 201
        async with working():
            await make_team(api.server)
            (execution,) = await until_all_ended(api, 1)
        assert (execution["status"], execution["responseStatusCode"]) == ("failed", 0)
        assert "no active deployment" in execution["errors"]
        assert not any(".executions." in name for name in await api.names())

    async def test_several_workers_run_each_function_once_an_event(
        self, api: Api, deploy: Deploy, executor: ActingExecutor, working: Any
    ) -> None:
        await deploy(**TEAMS)
        async with working(), working():
            for _ in range(10):
                await make_team(api.server)
            found = await until_all_ended(api, 10)
        assert len(found) == len(executor.calls) == 10


class TestDepth:
    async def test_function_that_sets_itself_off_by_an_event_is_stopped(
        self, api: Api, deploy: Deploy, executor: ActingExecutor, working: Any
    ) -> None:
        await deploy(**TEAMS)
        executor.act = make_team
        async with working():
            await make_team(api.server)
            *run, cut = await until_all_ended(api, 4)
        assert [each["status"] for each in run] == ["completed"] * 3
        assert (cut["status"], cut["trigger"], cut["responseStatusCode"]) == ("failed", "event", 0)
        assert "functions set off 3 functions" in cut["errors"]
        assert len(executor.calls) == 3

    @pytest.mark.parametrize("is_async", [True, False])
    async def test_function_that_calls_itself_is_stopped(
        self, api: Api, deploy: Deploy, executor: ActingExecutor, is_async: bool
    ) -> None:
        await deploy(**TEAMS)

        async def call_again(client: httpx.AsyncClient) -> None:
            answer = await client.post("/v1/functions/hello/executions", json={"async": is_async})
            assert answer.status_code == (202 if is_async else 201), answer.text

        executor.act = call_again
        await call_again(api.server)
        found = await until_all_ended(api, 4)
        assert sorted(each["status"] for each in found) == ["completed"] * 3 + ["failed"]
        (cut,) = [each for each in found if each["status"] == "failed"]
        assert (cut["trigger"], cut["responseStatusCode"]) == ("http", 0)
        assert "functions set off 3 functions" in cut["errors"]
        assert len(executor.calls) == 3

    async def test_chain_over_events_and_calls_is_counted_as_one(
        self, api: Api, deploy: Deploy, executor: ActingExecutor, working: Any
    ) -> None:
        await deploy(**TEAMS)
        await deploy(functionId="other", scopes=["teams.write"])

        async def take_turns(client: httpx.AsyncClient) -> None:
            if executor.calls[-1].code.function_id == "hello":
                await client.post("/v1/functions/other/executions", json={"async": True})
            else:
                await make_team(client)

        executor.act = take_turns
        async with working():
            await make_team(api.server)
            # hello, other, hello, and not other.
            hellos = await until_all_ended(api, 2)
            (other, cut) = await until_all_ended(api, 2, "other")
        assert [each["status"] for each in (*hellos, other, cut)] == ["completed"] * 3 + ["failed"]
        assert len(executor.calls) == 3


class TestSchedules:
    async def test_schedule_of_a_function_is_heeded_from_when_it_is_set(
        self, api: Api, deploy: Deploy, executor: ActingExecutor, working: Any
    ) -> None:
        await deploy(schedule="* * * * *")
        async with api.services.store.database.writing() as connection:
            # As if it had been set long ago.
            await connection.exec_driver_sql(
                "UPDATE functions SET schedule_done_at = '2026-01-01T00:00:00.000+00:00'"
            )
        async with working():
            (execution, *_) = await until_all_ended(api, 1)
        assert (execution["trigger"], execution["status"]) == ("schedule", "completed")
        assert execution["scheduledAt"].endswith(":00.000+00:00")
        (call, *_) = executor.calls
        assert call.headers["x-appwrite-trigger"] == "schedule"
        assert "x-appwrite-event" not in call.headers

    async def test_what_is_past_when_a_schedule_is_set_or_a_function_enabled_is_not_made_up_for(
        self, api: Api, deploy: Deploy
    ) -> None:
        await deploy()
        marks: list[str] = []
        # Later each time, but for a change of something else.
        for settings in ({"schedule": "0 0 * * *", "enabled": False}, {"schedule": "0 0 * * *"}):
            await api.server.put("/v1/functions/hello", json={"name": "Hello", **settings})
            marks.append(await done_at(api))
        await api.server.put("/v1/functions/hello", json={"name": "Another", "schedule": "0 0 * * *"})
        assert marks[0] < marks[1] == await done_at(api)


async def done_at(api: Api) -> str:
    await asyncio.sleep(0.002)
    async with api.services.store.read() as connection:
        found = await connection.exec_driver_sql("SELECT schedule_done_at FROM functions")
        return str(found.scalar_one())
