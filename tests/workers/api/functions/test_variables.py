"""Variables of functions, on both databases."""

from typing import Any

import pytest
import sqlalchemy as sa

from tests.api import Api
from workers.api.functions import variables as routes
from workers.store import tables

PATH = "/v1/functions/hello/variables"

BAD_VARIABLES: tuple[dict[str, Any], ...] = (
    {"key": ""},
    {"key": "k" * 256},
    {"key": "A=B"},
    {"key": "A\nB"},
    {"value": "v" * 8193},
    {"value": 1},
    {"variableId": "-v"},
    {"secret": "perhaps"},
)


@pytest.fixture
async def function(api: Api) -> str:
    body = {"functionId": "hello", "name": "Hello", "runtime": "node-22"}
    assert (await api.server.post("/v1/functions", json=body)).status_code == 201
    return "hello"


async def create(api: Api, variable_id: str, key: str, value: str = "value", **more: Any) -> dict[str, Any]:
    body = {"variableId": variable_id, "key": key, "value": value, **more}
    answer = await api.server.post(PATH, json=body)
    assert answer.status_code == 201, answer.text
    variable: dict[str, Any] = answer.json()
    return variable


@pytest.mark.usefixtures("function")
class TestVariables:
    async def test_variable_is_shown_unless_it_is_secret(self, api: Api) -> None:
        shown = await create(api, "a", "A", secret=False)
        assert shown == {
            "$id": "a",
            "$createdAt": shown["$createdAt"],
            "$updatedAt": shown["$createdAt"],
            "key": "A",
            "value": "value",
            "secret": False,
            "resourceType": "function",
            "resourceId": "hello",
        }
        assert (await api.server.get(f"{PATH}/a")).json() == shown
        hidden = await create(api, "b", "B")
        assert (hidden["secret"], hidden["value"]) == (True, "")
        listed = (await api.server.get(PATH)).json()
        assert (listed["total"], [each["value"] for each in listed["variables"]]) == (2, ["value", ""])

    async def test_no_value_is_in_an_event_or_readable_in_the_database(self, api: Api) -> None:
        await create(api, "a", "A", "tell-nobody", secret=False)
        await api.server.put(f"{PATH}/a", json={"value": "tell-nobody either"})
        await api.server.delete(f"{PATH}/a")
        await create(api, "b", "B", "tell-nobody")
        events = (await api.published())[1:]
        name = "functions.hello.variables.a"
        assert [event.name for event in events[:3]] == [f"{name}.create", f"{name}.update", f"{name}.delete"]
        assert "tell-nobody" not in str([event.payload for event in events])
        async with api.services.store.read() as connection:
            found = await connection.execute(sa.select(tables.variables.c.sealed_value))
            (sealed,) = found.scalars()
        assert "tell-nobody" not in sealed
        assert api.services.sealer.unseal(sealed) == "tell-nobody"

    async def test_change_keeps_what_it_does_not_name(self, api: Api) -> None:
        await create(api, "a", "A", "1", secret=False)
        changed = (await api.server.put(f"{PATH}/a", json={"key": "B"})).json()
        assert (changed["key"], changed["value"], changed["secret"]) == ("B", "1", False)
        changed = (await api.server.put(f"{PATH}/a", json={"key": "B", "value": "2", "secret": True})).json()
        assert (changed["value"], changed["secret"]) == ("", True)

    async def test_secret_stays_secret(self, api: Api) -> None:
        await create(api, "a", "A")
        answer = await api.server.put(f"{PATH}/a", json={"key": "A", "secret": False})
        assert (answer.status_code, answer.json()["type"]) == (400, "variable_cannot_unset_secret")

    async def test_key_that_is_taken_is_refused(self, api: Api) -> None:
        await create(api, "a", "A")
        await create(api, "b", "B")
        body = {"variableId": "c", "key": "A", "value": ""}
        for answer in (
            await api.server.post(PATH, json=body),
            await api.server.put(f"{PATH}/b", json={"key": "A"}),
        ):
            assert (answer.status_code, answer.json()["type"]) == (409, "variable_already_exists")

    async def test_body_that_breaks_a_rule_is_refused(self, api: Api) -> None:
        for wrong in BAD_VARIABLES:
            body = {"variableId": "a", "key": "A", "value": "1"} | wrong
            answer = await api.server.post(PATH, json=body)
            assert (answer.status_code, answer.json()["type"]) == (400, "general_argument_invalid"), wrong
        assert (await api.server.get(PATH)).json()["total"] == 0

    async def test_there_is_an_end_to_how_many_there_are(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(routes, "MAX_VARIABLES", 1)
        await create(api, "a", "A")
        answer = await api.server.post(PATH, json={"variableId": "b", "key": "B", "value": ""})
        assert (answer.status_code, answer.json()["type"]) == (400, "variable_limit_exceeded")

    async def test_variable_of_another_function_is_not_found(self, api: Api) -> None:
        await create(api, "a", "A")
        body = {"functionId": "other", "name": "Other", "runtime": "node-22"}
        await api.server.post("/v1/functions", json=body)
        for answer in (
            await api.server.get("/v1/functions/other/variables/a"),
            await api.server.put("/v1/functions/other/variables/a", json={"value": "2"}),
            await api.server.delete("/v1/functions/other/variables/a"),
        ):
            assert (answer.status_code, answer.json()["type"]) == (404, "variable_not_found")
