"""Functions themselves, on both databases."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from realtime.triggers.model import FunctionTrigger
from realtime.triggers.store import TriggerStore
from tests.api import PROJECT, Api

Deploy = Callable[..., Awaitable[dict[str, Any]]]

NEW = {"functionId": "hello", "name": "Hello", "runtime": "python-3.11"}

BAD_SETTINGS: tuple[dict[str, Any], ...] = (
    {"name": ""},
    {"name": "n" * 129},
    {"runtime": "cobol-85"},
    {"execute": "any"},
    {"execute": ["everybody"]},
    {"execute": ["user:" + "u" * 60]},
    {"execute": [f"user:u{number}" for number in range(101)]},
    {"events": ["users.*.explode"]},
    {"events": ["functions.*.create"]},
    {"events": ["nothing"]},
    {"schedule": "every day"},
    {"schedule": "* * * * * *"},
    {"schedule": "61 * * * *"},
    {"timeout": 0},
    {"timeout": 901},
    {"entrypoint": "e" * 1029},
    {"commands": "c" * 8193},
    {"scopes": ["everything"]},
    {"installationId": "git"},
    {"providerBranches": ["main"]},
    {"runtimeSpecification": "s-1vcpu-512mb"},
    {"deploymentRetention": 7},
)


class TestCreate:
    async def test_function_has_the_defaults_and_an_event(self, api: Api) -> None:
        answer = await api.server.post("/v1/functions", json=NEW)
        assert answer.status_code == 201
        function = answer.json()
        assert function == {
            "$id": "hello",
            "$createdAt": function["$createdAt"],
            "$updatedAt": function["$createdAt"],
            "execute": [],
            "name": "Hello",
            "enabled": True,
            "live": True,
            "logging": True,
            "runtime": "python-3.11",
            "deploymentRetention": 0,
            "deploymentId": "",
            "deploymentCreatedAt": "",
            "latestDeploymentId": "",
            "latestDeploymentCreatedAt": "",
            "latestDeploymentStatus": "",
            "scopes": [],
            "vars": [],
            "events": [],
            "schedule": "",
            "timeout": 15,
            "entrypoint": "",
            "commands": "",
            "version": "v5",
            "installationId": "",
            "providerRepositoryId": "",
            "providerBranch": "",
            "providerRootDirectory": "",
            "providerSilentMode": False,
            "providerBranches": [],
            "providerPaths": [],
            "buildSpecification": "unbounded",
            "runtimeSpecification": "unbounded",
        }
        (event,) = await api.published()
        assert event.name == "functions.hello.create"
        assert event.payload == function
        # Nobody listens to what servers define.
        assert event.channels == []

    async def test_id_that_is_taken_is_refused(self, api: Api) -> None:
        await api.server.post("/v1/functions", json=NEW)
        answer = await api.server.post("/v1/functions", json=NEW)
        assert (answer.status_code, answer.json()["type"]) == (409, "function_already_exists")

    async def test_settings_that_break_a_rule_are_refused(self, api: Api) -> None:
        for settings in BAD_SETTINGS:
            answer = await api.server.post("/v1/functions", json=NEW | settings)
            assert (answer.status_code, answer.json()["type"]) == (400, "general_argument_invalid"), settings
            assert f"`{next(iter(settings))}" in answer.json()["message"], settings
        assert (await api.server.get("/v1/functions")).json()["total"] == 0

    async def test_event_of_functions_is_refused_with_the_reason(self, api: Api) -> None:
        answer = await api.server.post(
            "/v1/functions", json=NEW | {"events": ["functions.*.executions.*.create"]}
        )
        assert "Triggering a function on a function event is not allowed." in answer.json()["message"]

    async def test_users_and_guests_make_and_see_no_functions(self, api: Api) -> None:
        await api.server.post("/v1/functions", json=NEW)
        for answer in (
            await api.guest().post("/v1/functions", json=NEW),
            await api.guest().get("/v1/functions"),
            await api.guest().get("/v1/functions/hello"),
            await api.guest().delete("/v1/functions/hello"),
        ):
            assert (answer.status_code, answer.json()["type"]) == (401, "general_unauthorized_scope")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestScopes:
    async def test_key_hands_out_no_scope_that_it_has_not(self, api: Api) -> None:
        key = await api.add_key("functions.write", "rows.read")
        assert (await key.post("/v1/functions", json=NEW | {"scopes": ["users.write"]})).status_code == 400
        assert (await key.post("/v1/functions", json=NEW | {"scopes": ["rows.read"]})).status_code == 201

    async def test_key_decides_not_what_runs_with_scopes_that_it_has_not(
        self, api: Api, archive: Callable[..., bytes], deploy: Deploy
    ) -> None:
        deployment = await deploy(scopes=["users.write"])
        key = await api.add_key("functions.write")
        path = "/v1/functions/hello"
        files = {"code": ("code.tar.gz", archive())}
        for answer in (
            await key.put(path, json={"name": "Mine", "entrypoint": "other.py"}),
            await key.post(f"{path}/deployments", data={"activate": "true"}, files=files),
            await key.post(f"{path}/deployments/duplicate", json={"deploymentId": deployment["$id"]}),
            await key.patch(f"{path}/deployment", json={"deploymentId": deployment["$id"]}),
            await key.post(f"{path}/variables", json={"variableId": "v", "key": "PATH", "value": "/mine"}),
        ):
            assert (answer.status_code, answer.json()["type"]) == (401, "general_unauthorized_scope")
        assert (await api.server.get(f"{path}/deployments")).json()["total"] == 1


class TestList:
    async def test_queries_and_search_choose(self, api: Api) -> None:
        for function_id, runtime in (("red", "node-22"), ("blue", "node-22"), ("pink", "python-3.12")):
            body = {"functionId": function_id, "name": function_id.title(), "runtime": runtime}
            assert (await api.server.post("/v1/functions", json=body)).status_code == 201
        query = json.dumps({"method": "equal", "attribute": "runtime", "values": ["node-22"]})
        listed = (await api.server.get("/v1/functions", params={"queries[0]": query})).json()
        assert (listed["total"], [each["$id"] for each in listed["functions"]]) == (2, ["red", "blue"])
        listed = (await api.server.get("/v1/functions", params={"search": "python"})).json()
        assert [each["$id"] for each in listed["functions"]] == ["pink"]

    async def test_each_has_its_own_variables_and_deployments(self, api: Api, deploy: Deploy) -> None:
        first = await deploy()
        await deploy(functionId="other")
        body = {"variableId": "v", "key": "A", "value": "1", "secret": False}
        await api.server.post("/v1/functions/hello/variables", json=body)
        hello, other = (await api.server.get("/v1/functions")).json()["functions"]
        assert [variable["value"] for variable in hello["vars"]] == ["1"]
        assert (hello["deploymentId"], hello["latestDeploymentStatus"]) == (first["$id"], "ready")
        assert hello["deploymentCreatedAt"] == first["$createdAt"]
        assert other["vars"] == []
        assert other["deploymentId"] not in ("", first["$id"])


class TestUpdate:
    async def test_what_is_left_out_gets_its_default_but_for_the_runtime(self, api: Api) -> None:
        await api.server.post("/v1/functions", json=NEW | {"events": ["users.*.create"], "timeout": 30})
        body = {"name": "Other", "schedule": " */5  * * * * ", "enabled": False}
        answer = await api.server.put("/v1/functions/hello", json=body)
        assert answer.status_code == 200
        function = answer.json()
        assert (function["name"], function["schedule"], function["enabled"]) == (
            "Other",
            "*/5 * * * *",
            False,
        )
        assert (function["events"], function["timeout"]) == ([], 15)
        assert function["runtime"] == "python-3.11"
        assert (await api.server.get("/v1/functions/hello")).json() == function
        event = (await api.published())[-1]
        assert (event.name, event.payload) == ("functions.hello.update", function)

    async def test_deployment_of_other_settings_is_not_live(self, api: Api, deploy: Deploy) -> None:
        await deploy()
        assert (await api.server.get("/v1/functions/hello")).json()["live"] is True
        body = {"name": "Hello", "entrypoint": "other.py"}
        assert (await api.server.put("/v1/functions/hello", json=body)).json()["live"] is False

    async def test_missing_function_is_not_found(self, api: Api) -> None:
        for answer in (
            await api.server.get("/v1/functions/none"),
            await api.server.put("/v1/functions/none", json={"name": "None"}),
            await api.server.delete("/v1/functions/none"),
            await api.server.get("/v1/functions/none/variables"),
            await api.server.get("/v1/functions/none/deployments"),
            await api.server.get("/v1/functions/none/executions"),
        ):
            assert (answer.status_code, answer.json()["type"]) == (404, "function_not_found")


class TestDelete:
    async def test_function_goes_with_what_it_is_made_of(self, api: Api, deploy: Deploy) -> None:
        deployment = await deploy()
        body = {"variableId": "v", "key": "A", "value": "1", "secret": False}
        await api.server.post("/v1/functions/hello/variables", json=body)
        assert (await api.server.delete("/v1/functions/hello")).status_code == 204
        event = (await api.published())[-1]
        assert event.name == "functions.hello.delete"
        # The event names the variable, and does not tell its value.
        assert [(each["key"], each["value"]) for each in event.payload["vars"]] == [("A", "")]
        await api.server.post("/v1/functions", json=NEW)
        assert (await api.server.get("/v1/functions/hello/variables")).json()["total"] == 0
        answer = await api.server.get(f"/v1/functions/hello/deployments/{deployment['$id']}")
        assert answer.json()["type"] == "deployment_not_found"

    async def test_two_who_delete_at_once_fire_one_event(self, api: Api) -> None:
        await api.server.post("/v1/functions", json=NEW)
        answers = await asyncio.gather(*(api.server.delete("/v1/functions/hello") for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [204, 404, 404]
        assert (await api.names()).count("functions.hello.delete") == 1


class TestTriggers:
    async def test_workers_know_of_each_change_when_it_is_answered(self, api: Api, deploy: Deploy) -> None:
        store = TriggerStore(api.services.bus.redis)
        deployment = await deploy(events=["users.*.create"], schedule="0 0 * * *", timeout=20)
        wanted = FunctionTrigger(
            id="hello",
            name="Hello",
            events=("users.*.create",),
            schedule="0 0 * * *",
            timeout_s=20,
            deployment_id=deployment["$id"],
        )
        assert (await store.read(PROJECT)).functions == (wanted,)
        await api.server.put("/v1/functions/hello", json={"name": "Hello", "enabled": False})
        (known,) = (await store.read(PROJECT)).functions
        assert (known.events, known.enabled) == ((), False)
        await api.server.delete("/v1/functions/hello")
        assert (await store.read(PROJECT)).functions == ()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestOffers:
    async def test_every_runtime_can_be_chosen(self, api: Api) -> None:
        offered = (await api.server.get("/v1/functions/runtimes")).json()
        assert offered["total"] == len(offered["runtimes"])
        names = {runtime["$id"] for runtime in offered["runtimes"]}
        assert {"node-22", "python-3.11"} <= names
        chosen = {**NEW, "runtime": offered["runtimes"][-1]["$id"]}
        assert (await api.server.post("/v1/functions", json=chosen)).status_code == 201

    @pytest.mark.parametrize("name", ["buildSpecification", "runtimeSpecification"])
    async def test_every_specification_can_be_chosen(self, api: Api, name: str) -> None:
        offered = (await api.server.get("/v1/functions/specifications")).json()
        assert offered["total"] == 1
        (specification,) = offered["specifications"]
        chosen = {**NEW, name: specification["slug"]}
        assert (await api.server.post("/v1/functions", json=chosen)).status_code == 201
