"""Executions that are run while the caller waits. What waits in the store is in ``test_waiting.py``."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import httpx
import pytest
import sqlalchemy as sa

from tests.api import PROJECT, Api
from workers.functions.executor import Call
from workers.functions.pace import Limits
from workers.functions.places import Places
from workers.store.tables import executions

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]
Deploy = Callable[..., Awaitable[dict[str, Any]]]

PATH = "/v1/functions/hello/executions"


class ToldExecutor(Protocol):
    """See the fixture ``executor``."""

    calls: list[Call]
    cancelled: int
    may_end: asyncio.Event

    async def until_called(self, count: int) -> None: ...


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestSync:
    async def test_answer_has_the_response_and_the_record_has_not(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        deployment = await deploy()
        body = {
            "body": "hi",
            "path": "/greet?loud=1",
            "method": "PUT",
            "headers": {"Content-Type": "text/plain", "X-Secret": "s", "X-Appwrite-User-Id": "forged"},
        }
        answer = await api.server.post(PATH, json=body)
        assert answer.status_code == 201
        execution = answer.json()
        shown = {
            "$id": execution["$id"],
            "$createdAt": execution["$createdAt"],
            "$updatedAt": execution["$updatedAt"],
            "$permissions": [],
            "functionId": "hello",
            "deploymentId": deployment["$id"],
            "trigger": "http",
            "status": "completed",
            "requestMethod": "PUT",
            "requestPath": "/greet?loud=1",
            "requestHeaders": [
                {"name": "content-type", "value": "text/plain"},
                {"name": "x-appwrite-client-ip", "value": "127.0.0.1"},
            ],
            "responseStatusCode": 200,
            "responseBody": "hi",
            "responseHeaders": [
                {"name": "content-type", "value": "text/plain"},
                {"name": "X-Custom", "value": "yes"},
                {"name": "content-length", "value": "2"},
            ],
            "logs": "It ran.",
            "errors": "",
            "duration": 0.25,
            "scheduledAt": "",
        }
        assert execution == shown
        kept = (await api.server.get(f"{PATH}/{execution['$id']}")).json()
        assert kept["responseBody"] == ""
        assert [header["name"] for header in kept["responseHeaders"]] == ["content-type", "content-length"]
        assert kept["logs"] == "It ran."
        (call,) = executor.calls
        assert (call.method, call.path, call.body) == ("PUT", "/greet?loud=1", b"hi")
        assert call.headers["x-secret"] == "s"
        assert call.headers["x-appwrite-user-id"] == ""
        assert call.headers["x-appwrite-user-jwt"] == ""
        assert call.headers["x-appwrite-execution-id"] == execution["$id"]

    async def test_user_has_a_token_in_the_call_and_one_event_which_only_they_may_read(
        self, api: Api, deploy: Deploy, executor: ToldExecutor, sign_up: SignUp
    ) -> None:
        await deploy(execute=["users"])
        ada = await sign_up("ada")
        before = len(await api.published())
        execution = (await ada.post(PATH, json={"body": "hi"})).json()
        assert execution["status"] == "completed"
        assert execution["responseBody"] == "hi"
        assert (execution["logs"], execution["errors"]) == ("", "")
        assert execution["$permissions"] == ['read("user:ada")']
        (event,) = (await api.published())[before:]
        assert event.name == f"functions.hello.executions.{execution['$id']}.create"
        assert event.roles == ["user:ada"]
        assert "executions" in event.channels
        assert event.payload["responseBody"] == ""
        assert event.payload["logs"] == ""
        assert event.payload["status"] == "completed"
        (call,) = executor.calls
        assert call.headers["x-appwrite-user-id"] == "ada"
        acting = api.guest(**{"X-Appwrite-JWT": call.headers["x-appwrite-user-jwt"]})
        assert (await acting.get("/v1/account")).json()["$id"] == "ada"

    async def test_variables_are_in_the_call_also_if_they_are_secret(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        for key, secret in (("A", True), ("B", False)):
            body = {"variableId": "unique()", "key": key, "value": f"value of {key}", "secret": secret}
            assert (await api.server.post("/v1/functions/hello/variables", json=body)).status_code == 201
        await api.server.post(PATH, json={})
        assert executor.calls[0].variables() == {"A": "value of A", "B": "value of B"}

    async def test_what_goes_wrong_is_a_failed_execution(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy(timeout=1)
        crashed = (await api.server.post(PATH, json={"path": "/crash"})).json()
        assert (crashed["status"], crashed["responseStatusCode"]) == ("failed", 500)
        assert "RuntimeError" in crashed["errors"]
        assert "secret" not in crashed["errors"]
        failed = (await api.server.post(PATH, json={"path": "fail"})).json()
        assert (failed["status"], failed["responseStatusCode"]) == ("failed", 503)
        assert failed["errors"] == "It failed."
        hung = (await api.server.post(PATH, json={"path": "/hang"})).json()
        assert (hung["status"], hung["responseStatusCode"]) == ("failed", 500)
        assert "after 1 seconds" in hung["errors"]
        assert hung["duration"] >= 1
        assert executor.cancelled == 1

    async def test_without_an_executor_the_execution_fails_and_says_why(
        self, api: Api, deploy: Deploy
    ) -> None:
        await deploy(logging=False)
        execution = (await api.server.post(PATH, json={})).json()
        assert (execution["status"], execution["responseStatusCode"]) == ("failed", 500)
        assert "no executor" in execution["errors"]

    async def test_without_logging_nothing_of_what_the_code_says_is_kept(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy(logging=False)
        assert (await api.server.post(PATH, json={})).json()["logs"] == ""
        assert (await api.server.post(PATH, json={"path": "/fail"})).json()["errors"] == ""
        assert len(executor.calls) == 2

    async def test_more_than_may_run_at_once_are_refused(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        api.services.executions._places = Places(Limits(total=1, of_project=1, of_function=1))
        first = asyncio.create_task(api.server.post(PATH, json={"path": "/hang"}))
        await executor.until_called(1)
        assert (await api.server.post(PATH, json={})).status_code == 503
        executor.may_end.set()
        assert (await first).status_code == 201
        assert (await api.server.post(PATH, json={})).status_code == 201

    async def test_guest_leaves_places_to_others(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        """One address has half of what a project may have; a server can have its functions run in any case."""
        await deploy(execute=["any"])
        held = [asyncio.create_task(api.guest().post(PATH, json={"path": "/hang"})) for _ in range(7)]
        await executor.until_called(7)
        refused = await api.guest().post(PATH, json={})
        assert (refused.status_code, refused.json()["type"]) == (429, "general_rate_limit_exceeded")
        assert (await api.server.post(PATH, json={})).status_code == 201
        executor.may_end.set()
        assert {(await each).status_code for each in held} == {201}
        assert (await api.guest().post(PATH, json={})).status_code == 201


class TestCutOff:
    """The process stops, or dies, while an execution is run whose caller waits."""

    async def test_execution_is_in_the_store_from_its_beginning(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        before = len(await api.published())
        running = asyncio.create_task(api.server.post(PATH, json={"path": "/hang"}))
        await executor.until_called(1)
        (execution,) = (await api.server.get(PATH)).json()["executions"]
        assert execution["status"] == "processing"
        refused = await api.server.delete(f"{PATH}/{execution['$id']}")
        assert refused.json()["type"] == "execution_in_progress"
        assert len(await api.published()) == before
        executor.may_end.set()
        assert (await running).json()["$id"] == execution["$id"]
        assert [event.payload["status"] for event in (await api.published())[before:]] == ["completed"]

    async def test_process_that_stops_says_so_and_keeps_that_it_failed(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        before = len(await api.published())
        running = asyncio.create_task(api.server.post(PATH, json={"path": "/hang"}))
        await executor.until_called(1)
        async with api.services.executions.ending():
            # As the server does with the tasks of requests that take too long to end.
            running.cancel()
        answer = await running
        assert (answer.status_code, answer.json()["type"]) == (503, "general_service_unavailable")
        assert executor.cancelled == 1
        (execution,) = (await api.server.get(PATH)).json()["executions"]
        assert (execution["status"], execution["responseStatusCode"]) == ("failed", 500)
        assert "cut off" in execution["errors"]
        assert [event.payload["status"] for event in (await api.published())[before:]] == ["failed"]

    async def test_execution_whose_process_died_fails_and_is_not_run_again(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        running = asyncio.create_task(api.server.post(PATH, json={"path": "/hang"}))
        await executor.until_called(1)
        async with api.services.store.database.writing() as connection:
            await connection.execute(sa.update(executions).values(due_at="2020-01-01T00:00:00.000+00:00"))
        api.services.executions.wake()
        async with asyncio.timeout(10):
            while True:
                (execution,) = (await api.server.get(PATH)).json()["executions"]
                if execution["status"] == "failed":
                    break
                await asyncio.sleep(0.01)
        assert "cut off" in execution["errors"]
        executor.may_end.set()
        # It was not dead after all.
        assert (await running).status_code == 503
        assert len(executor.calls) == 1

    async def test_function_that_is_deleted_meanwhile_takes_its_execution_along(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        running = asyncio.create_task(api.server.post(PATH, json={"path": "/hang"}))
        await executor.until_called(1)
        assert (await api.server.delete("/v1/functions/hello")).status_code == 204
        executor.may_end.set()
        assert (await running).json()["type"] == "function_not_found"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestAccess:
    async def test_only_whom_the_function_names_may_have_it_run(
        self, api: Api, deploy: Deploy, executor: ToldExecutor, sign_up: SignUp
    ) -> None:
        await deploy(execute=["user:ada"])
        ada, bob = await sign_up("ada"), await sign_up("bob")
        assert (await ada.post(PATH, json={})).status_code == 201
        for other in (bob, api.guest()):
            answer = await other.post(PATH, json={})
            assert (answer.status_code, answer.json()["type"]) == (401, "user_unauthorized")
        assert len(executor.calls) == 1

    async def test_guests_may_if_anybody_may(self, api: Api, deploy: Deploy, executor: ToldExecutor) -> None:
        await deploy(execute=["any"])
        execution = (await api.guest().post(PATH, json={})).json()
        assert execution["status"] == "completed"
        assert execution["$permissions"] == []
        assert executor.calls[0].headers["x-appwrite-user-id"] == ""
        # What a guest had run, nobody can tell from what others had.
        assert (await api.guest().get(PATH)).status_code == 401

    async def test_function_that_is_disabled_is_there_for_servers_only(
        self, api: Api, deploy: Deploy, executor: ToldExecutor, sign_up: SignUp
    ) -> None:
        await deploy(execute=["any"], enabled=False)
        ada = await sign_up("ada")
        for answer in (await ada.post(PATH, json={}), await ada.get(PATH)):
            assert (answer.status_code, answer.json()["type"]) == (404, "function_not_found")
        assert (await api.server.post(PATH, json={})).status_code == 201
        assert len(executor.calls) == 1

    async def test_users_see_their_own_executions_only(
        self, api: Api, deploy: Deploy, executor: ToldExecutor, sign_up: SignUp
    ) -> None:
        await deploy(execute=["users"])
        ada, bob = await sign_up("ada"), await sign_up("bob")
        own = (await ada.post(PATH, json={})).json()["$id"]
        other = (await bob.post(PATH, json={})).json()["$id"]
        assert [each["$id"] for each in (await ada.get(PATH)).json()["executions"]] == [own]
        assert (await ada.get(f"{PATH}/{own}")).json()["logs"] == ""
        assert (await ada.get(f"{PATH}/{other}")).json()["type"] == "execution_not_found"
        assert (await api.server.get(PATH)).json()["total"] == 2
        assert (await ada.delete(f"{PATH}/{own}")).status_code == 401
        assert len(executor.calls) == 2

    async def test_function_without_code_cannot_be_run(self, api: Api) -> None:
        body = {"functionId": "hello", "name": "Hello", "runtime": "node-22"}
        await api.server.post("/v1/functions", json=body)
        answer = await api.server.post(PATH, json={})
        assert (answer.status_code, answer.json()["type"]) == (404, "deployment_not_found")
        answer = await api.server.post("/v1/functions/other/executions", json={})
        assert (answer.status_code, answer.json()["type"]) == (404, "function_not_found")

    async def test_body_that_breaks_a_rule_is_refused(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy()
        wrong: tuple[dict[str, Any], ...] = (
            {"method": "TRACE"},
            {"path": "/a b"},
            {"path": "/" + "p" * 2048},
            {"headers": {"bad name": "x"}},
            {"headers": {"name": "two\nlines"}},
            {"headers": {f"x-{number}": "x" for number in range(101)}},
            {"headers": []},
            {"body": 1},
            {"async": True, "scheduledAt": "soon"},
            {"async": True, "scheduledAt": "2020-01-01T00:00:00Z"},
            {"scheduledAt": "2099-01-01T00:00:00Z"},
        )
        for body in wrong:
            answer = await api.server.post(PATH, json=body)
            assert (answer.status_code, answer.json()["type"]) == (400, "general_argument_invalid"), body
        # Half of a character, which JSON can name.
        for content in (b'{"path":"/\\ud800"}', b'{"body":"\\ud800"}', b'{"headers":{"a":"\\ud800"}}'):
            answer = await api.server.post(
                PATH, content=content, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 400, content
        assert executor.calls == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestKey:
    """The API key that a call brings along."""

    async def test_function_may_do_what_its_scopes_say_and_no_more(
        self, api: Api, deploy: Deploy, executor: ToldExecutor
    ) -> None:
        await deploy(scopes=["users.read", "events.write"])
        await api.server.post(PATH, json={"headers": {"X-Appwrite-Key": "forged"}})
        secret = executor.calls[0].headers["x-appwrite-key"]
        function = api.holder(secret)
        assert (await function.get("/v1/users")).status_code == 200
        body = {"userId": "eve", "name": "Eve"}
        refused = await function.post("/v1/users", json=body)
        assert (refused.status_code, refused.json()["type"]) == (401, "general_unauthorized_scope")
        event = {"event": "teams.red.create", "payload": {"$id": "red"}}
        assert (await function.post("/v1/events", json=event)).status_code == 202
        altered = api.holder(f"{secret[:-3]}abc")
        assert (await altered.get("/v1/users")).status_code == 401
        assert (await altered.post("/v1/events", json=event)).status_code == 401

    async def test_key_of_another_project_is_none(self, api: Api, deploy: Deploy) -> None:
        await deploy()
        secret = api.services.executions.keys.issue("other", ["*"], life_s=60)
        assert (await api.holder(secret).get("/v1/users")).status_code == 401
        secret = api.services.executions.keys.issue(PROJECT, ["*"], life_s=-1)
        assert (await api.holder(secret).get("/v1/users")).status_code == 401
