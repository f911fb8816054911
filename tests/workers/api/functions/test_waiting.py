"""Executions that wait in the store, on both databases: asynchronous and scheduled ones, and what bounds them."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import httpx
import pytest
import sqlalchemy as sa

from realtime.identity.model import Project
from tests.api import PROJECT, Api
from workers.functions.executions import Executions
from workers.functions.executor import Call, Executor
from workers.store import tables
from workers.store.maintenance import Maintenance
from workers.store.tables import executions

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]
Deploy = Callable[..., Awaitable[dict[str, Any]]]

PATH = "/v1/functions/hello/executions"


class ToldExecutor(Executor, Protocol):
    """See the fixture ``executor``."""

    calls: list[Call]
    cancelled: int
    may_end: asyncio.Event

    async def until_called(self, count: int) -> None: ...


async def until_ended(client: httpx.AsyncClient, execution_id: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            execution: dict[str, Any] = (await client.get(f"{PATH}/{execution_id}")).json()
            if execution["status"] in ("completed", "failed"):
                return execution
            await asyncio.sleep(0.01)


class TestAsync:
    async def test_execution_waits_and_is_then_run_with_an_event_for_each(
        self, api: Api, deploy: Deploy, executor: ToldExecutor, sign_up: SignUp
    ) -> None:
        await deploy(execute=["users"])
        ada = await sign_up("ada")
        before = len(await api.published())
        answer = await ada.post(PATH, json={"async": True, "body": "hi", "headers": {"X-Secret": "s"}})
        assert answer.status_code == 202
        waiting = answer.json()
        assert (waiting["status"], waiting["responseStatusCode"]) == ("waiting", 0)
        ended = await until_ended(api.server, waiting["$id"])
        assert (ended["status"], ended["responseStatusCode"]) == ("completed", 200)
        assert (ended["logs"], ended["duration"]) == ("It ran.", 0.25)
        events = (await api.published())[before:]
        name = f"functions.hello.executions.{waiting['$id']}"
        assert [event.name for event in events] == [f"{name}.create", f"{name}.update"]
        assert [event.payload["status"] for event in events] == ["waiting", "completed"]
        assert [event.roles for event in events] == [["user:ada"]] * 2
        assert events[1].payload["logs"] == ""
        (call,) = executor.calls
        assert (call.body, call.headers["x-secret"]) == (b"hi", "s")
        acting = api.guest(**{"X-Appwrite-JWT": call.headers["x-appwrite-user-jwt"]})
        assert (await acting.get("/v1/account")).json()["$id"] == "ada"

    async def test_request_is_sealed_while_it_waits_and_forgotten_then(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        body = {"async": True, "path": "/hang", "headers": {"Authorization": "top-secret"}}
        execution_id = (await api.server.post(PATH, json=body)).json()["$id"]
        assert "top-secret" not in (await kept(api, execution_id))["sealed_request"]
        executor.may_end.set()
        await until_ended(api.server, execution_id)
        assert (await kept(api, execution_id))["sealed_request"] == ""

    async def test_execution_of_a_process_that_died_is_run_by_another(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        execution_id = (await api.server.post(PATH, json={"async": True, "path": "/hang"})).json()["$id"]
        await executor.until_called(1)
        # The claim has run out, and what made it answers nothing.
        await change(api, execution_id, due_at="2020-01-01T00:00:00.000+00:00")
        api.services.executions.wake()
        await executor.until_called(2)
        executor.may_end.set()
        ended = await until_ended(api.server, execution_id)
        assert ended["status"] == "completed"
        assert (await api.names()).count(f"functions.hello.executions.{execution_id}.update") == 1

    async def test_several_processes_run_each_execution_once(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        services = api.services
        others = [
            Executions(services.store, services.sealer, executor, secrets=(), concurrency=3) for _ in range(2)
        ]
        async with others[0].dispatching(), others[1].dispatching():
            made = []
            for _ in range(12):
                answer = await api.server.post(PATH, json={"async": True})
                made.append(answer.json()["$id"])
                for each in others:
                    each.wake()
            for execution_id in made:
                assert (await until_ended(api.server, execution_id))["status"] == "completed"
        assert sorted(call.execution_id for call in executor.calls) == sorted(made)

    async def test_execution_whose_process_died_each_time_is_given_up(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        body = {"async": True, "scheduledAt": later}
        execution_id = (await api.server.post(PATH, json=body)).json()["$id"]
        await change(
            api, execution_id, status="processing", attempts=5, due_at="2020-01-01T00:00:00.000+00:00"
        )
        api.services.executions.wake()
        ended = await until_ended(api.server, execution_id)
        assert (ended["status"], ended["responseStatusCode"]) == ("failed", 500)
        assert "given up" in ended["errors"]
        assert executor.calls == []

    async def test_execution_that_was_running_when_the_process_stopped_goes_back(
        self, api: Api, deploy: Deploy, executor: ToldExecutor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await deploy()
        monkeypatch.setattr("workers.functions.executions.STOP_TIMEOUT_S", 0.01)
        execution_id = (await api.server.post(PATH, json={"async": True, "path": "/hang"})).json()["$id"]
        await executor.until_called(1)
        await api.services.executions._stop()
        assert executor.cancelled == 1
        # Its first attempt does not count; whoever serves next takes it at once.
        executor.may_end.set()
        api.services.executions.wake()
        assert (await until_ended(api.server, execution_id))["status"] == "completed"
        assert (await kept(api, execution_id))["attempts"] == 1

    async def test_deployment_that_is_gone_by_then_fails_the_execution(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        deployment = await deploy()
        later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        body = {"async": True, "scheduledAt": later}
        execution_id = (await api.server.post(PATH, json=body)).json()["$id"]
        await api.server.delete(f"/v1/functions/hello/deployments/{deployment['$id']}")
        await change(api, execution_id, due_at="2020-01-01T00:00:00.000+00:00")
        api.services.executions.wake()
        ended = await until_ended(api.server, execution_id)
        assert (ended["status"], ended["responseStatusCode"]) == ("failed", 0)
        assert "no active deployment" in ended["errors"]
        assert executor.calls == []


class TestStopped:
    """What was allowed when it was asked for, and is not when it is to be run."""

    @staticmethod
    async def ask(client: httpx.AsyncClient) -> str:
        later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        answer = await client.post(PATH, json={"async": True, "scheduledAt": later})
        assert answer.status_code == 202, answer.text
        execution_id: str = answer.json()["$id"]
        return execution_id

    @staticmethod
    async def when_due(api: Api, execution_id: str) -> dict[str, Any]:
        await change(api, execution_id, due_at="2020-01-01T00:00:00.000+00:00")
        api.services.executions.wake()
        return await until_ended(api.server, execution_id)

    async def test_function_that_was_disabled_runs_for_nobody(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy(execute=["any"])
        asked = [await self.ask(client) for client in (api.guest(), api.server)]
        settings = {"name": "Hello", "execute": ["any"], "entrypoint": "main.py", "enabled": False}
        assert (await api.server.put("/v1/functions/hello", json=settings)).status_code == 200
        for execution_id in asked:
            ended = await self.when_due(api, execution_id)
            assert (ended["status"], ended["responseStatusCode"]) == ("failed", 0)
            assert ended["errors"] == "The function was not run: it is disabled."
        assert executor.calls == []
        # Whoever asks for it all the same, by a key, knows what they do.
        assert (await self.when_due(api, await self.ask(api.server)))["status"] == "completed"

    async def test_right_that_was_taken_counts_and_is_not_asked_of_keys(
        self, api: Api, deploy: Deploy, executor: ToldExecutor, sign_up: SignUp
    ) -> None:
        await deploy(execute=["any"])
        of_key, *others = [
            await self.ask(client) for client in (api.server, api.guest(), await sign_up("ada"))
        ]
        settings = {"name": "Hello", "execute": ["user:bob"], "entrypoint": "main.py"}
        assert (await api.server.put("/v1/functions/hello", json=settings)).status_code == 200
        for execution_id in others:
            ended = await self.when_due(api, execution_id)
            assert (ended["status"], ended["responseStatusCode"]) == ("failed", 0)
            assert "may not execute it any more" in ended["errors"]
        assert executor.calls == []
        assert (await self.when_due(api, of_key))["status"] == "completed"

    async def test_user_who_was_blocked_has_nothing_run_and_others_have(
        self, api: Api, deploy: Deploy, executor: ToldExecutor, sign_up: SignUp
    ) -> None:
        await deploy(execute=["any"])
        of_ada, of_bob, of_guest = [
            await self.ask(client) for client in (await sign_up("ada"), await sign_up("bob"), api.guest())
        ]
        assert (await api.server.patch("/v1/users/ada/status", json={"status": False})).status_code == 200
        ended = await self.when_due(api, of_ada)
        assert (ended["status"], ended["responseStatusCode"]) == ("failed", 0)
        assert "is blocked, or gone" in ended["errors"]
        assert executor.calls == []
        for execution_id in (of_bob, of_guest):
            assert (await self.when_due(api, execution_id))["status"] == "completed"


class TestBounds:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"functions_concurrency": 2}

    async def test_one_project_leaves_room_for_others(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        for path in ("/hang", "/later"):
            answer = await api.server.post(PATH, json={"async": True, "path": path})
            assert answer.status_code == 202
        await executor.until_called(1)
        async with api.services.store.write(Project(id="other", team_id="")) as tx:
            for table in (tables.projects, tables.functions, tables.deployments):
                found = await tx.connection.execute(table.select().limit(1))
                row = dict(found.mappings().one())
                del row["seq"]
                row["id" if table is tables.projects else "project_id"] = "other"
                await tx.connection.execute(table.insert().values(row))
            found = await tx.connection.execute(executions.select().where(executions.c.status == "waiting"))
            row = dict(found.mappings().one()) | {"project_id": "other", "request_path": "/other"}
            del row["seq"]
            await tx.connection.execute(executions.insert().values(row))
        api.services.executions.wake()
        await executor.until_called(2)
        assert [call.path for call in executor.calls] == ["/hang", "/other"]
        executor.may_end.set()
        await executor.until_called(3)
        assert executor.calls[2].path == "/later"

    async def test_what_ended_long_ago_is_deleted_and_what_waits_is_not(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        waiting = (await api.server.post(PATH, json={"async": True, "scheduledAt": later})).json()["$id"]
        old, new = [(await api.server.post(PATH, json={})).json()["$id"] for _ in range(2)]
        for execution_id in (waiting, old):
            await change(api, execution_id, updated_at="2020-01-01T00:00:00.000+00:00")
        removed = await Maintenance(api.services.store, api.settings).run()
        assert removed["executions"] == 1
        listed = (await api.server.get(PATH)).json()["executions"]
        assert {execution["$id"] for execution in listed} == {waiting, new}
        assert len(executor.calls) == 2

    async def test_rate_of_a_user_is_limited(self, api: Api, deploy: Deploy, executor: ToldExecutor) -> None:
        await deploy(execute=["any"])
        api.app.state.services = dataclasses.replace(
            api.services, settings=api.settings.model_copy(update={"limits": "on"})
        )
        answer = await api.guest().post(PATH, json={})
        assert answer.headers["X-RateLimit-Limit"] == "60"
        assert len(executor.calls) == 1


class TestScheduled:
    async def test_execution_is_run_when_its_time_has_come_and_not_before(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        later = datetime.now(UTC) + timedelta(seconds=0.5)
        body = {"async": True, "scheduledAt": later.isoformat()}
        answer = await api.server.post(PATH, json=body)
        assert answer.status_code == 202
        scheduled = answer.json()
        assert scheduled["status"] == "scheduled"
        assert scheduled["scheduledAt"] == later.isoformat(timespec="milliseconds")
        ended = await until_ended(api.server, scheduled["$id"])
        assert ended["status"] == "completed"
        assert ended["$updatedAt"] >= scheduled["scheduledAt"]

    async def test_scheduled_execution_can_be_deleted_and_is_not_run_then(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        body = {"async": True, "scheduledAt": later}
        scheduled = (await api.server.post(PATH, json=body)).json()
        assert (await api.server.delete(f"{PATH}/{scheduled['$id']}")).status_code == 204
        event = (await api.published())[-1]
        assert event.name == f"functions.hello.executions.{scheduled['$id']}.delete"
        assert event.payload == scheduled
        assert (await api.server.get(f"{PATH}/{scheduled['$id']}")).status_code == 404


class TestDelete:
    async def test_user_takes_their_executions_along(
        self, api: Api, deploy: Deploy, executor: ToldExecutor, sign_up: SignUp
    ) -> None:
        await deploy(execute=["users"])
        ada = await sign_up("ada")
        await ada.post(PATH, json={"path": "/of/ada"})
        await api.server.post(PATH, json={})
        assert (await api.server.delete("/v1/users/ada")).status_code == 204
        again = await sign_up("ada")
        assert (await again.get(PATH)).json()["total"] == 0
        assert (await api.server.get(PATH)).json()["total"] == 1
        assert len(executor.calls) == 2

    async def test_execution_that_runs_cannot_be_deleted(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        execution_id = (await api.server.post(PATH, json={"async": True, "path": "/hang"})).json()["$id"]
        await executor.until_called(1)
        answer = await api.server.delete(f"{PATH}/{execution_id}")
        assert (answer.status_code, answer.json()["type"]) == (400, "execution_in_progress")
        executor.may_end.set()
        await until_ended(api.server, execution_id)
        assert (await api.server.delete(f"{PATH}/{execution_id}")).status_code == 204

    async def test_function_takes_its_executions_along_also_those_that_run(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        execution_id = (await api.server.post(PATH, json={"async": True, "path": "/hang"})).json()["$id"]
        await executor.until_called(1)
        assert (await api.server.delete("/v1/functions/hello")).status_code == 204
        executor.may_end.set()
        await deploy()
        assert (await api.server.get(PATH)).json()["total"] == 0
        assert f"functions.hello.executions.{execution_id}.update" not in await api.names()


async def kept(api: Api, execution_id: str) -> sa.RowMapping:
    async with api.services.store.read() as connection:
        found = await connection.execute(
            sa.select(executions).where(executions.c.project_id == PROJECT, executions.c.id == execution_id)
        )
        return found.mappings().one()


async def change(api: Api, execution_id: str, **values: Any) -> None:
    async with api.services.store.database.writing() as connection:
        await connection.execute(
            sa.update(executions).where(executions.c.id == execution_id).values(**values)
        )
