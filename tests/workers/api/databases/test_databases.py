"""Databases themselves, on both databases and in both vocabularies."""

import json

import pytest

from tests.api import Api

PREFIXES = {"/v1/tablesdb": "tablesdb", "/v1/databases": "legacy"}
TABLES = {"/v1/tablesdb": "tables", "/v1/databases": "collections"}


@pytest.fixture(params=PREFIXES)
def prefix(request: pytest.FixtureRequest) -> str:
    """Where the routes of one vocabulary begin."""
    chosen: str = request.param
    return chosen


async def create(api: Api, prefix: str, database_id: str, name: str = "Main") -> None:
    answer = await api.server.post(prefix, json={"databaseId": database_id, "name": name})
    assert answer.status_code == 201, answer.text


class TestCreateDatabase:
    async def test_answer_and_event_are_the_database(self, api: Api, prefix: str) -> None:
        answer = await api.server.post(
            prefix, json={"databaseId": "main", "name": "Main", "enabled": False, "replicas": 2}
        )
        assert answer.status_code == 201
        model = answer.json()
        assert model["$createdAt"] == model["$updatedAt"]
        assert {name: model[name] for name in ("$id", "name", "enabled", "type")} == {
            "$id": "main",
            "name": "Main",
            "enabled": False,
            "type": PREFIXES[prefix],
        }
        (event,) = await api.published()
        assert event.name == f"{prefix.removeprefix('/v1/')}.main.create"
        assert event.payload == model
        assert event.channels == []

    async def test_unique_makes_an_id(self, api: Api) -> None:
        await create(api, "/v1/tablesdb", "unique()")
        (model,) = (await api.server.get("/v1/tablesdb")).json()["databases"]
        assert len(model["$id"]) == 20

    async def test_taken_id_is_a_conflict(self, api: Api) -> None:
        await create(api, "/v1/tablesdb", "main")
        answer = await api.server.post("/v1/databases", json={"databaseId": "main", "name": "Again"})
        assert (answer.status_code, answer.json()["type"]) == (409, "database_already_exists")
        assert await api.names() == ["tablesdb.main.create"]

    async def test_invalid_body_is_refused(self, api: Api) -> None:
        for body in (
            {},
            {"databaseId": "main"},
            {"databaseId": "-main", "name": "Main"},
            {"databaseId": "m" * 37, "name": "Main"},
            {"databaseId": "main", "name": ""},
            {"databaseId": "main", "name": "n" * 129},
        ):
            answer = await api.server.post("/v1/tablesdb", json=body)
            assert (answer.status_code, answer.json()["type"]) == (400, "general_argument_invalid"), body

    @pytest.mark.parametrize("prefix", ["/v1/databases"])
    async def test_others_than_keys_with_the_scope_are_refused(self, api: Api, prefix: str) -> None:
        body = {"databaseId": "main", "name": "Main"}
        reader = await api.add_key("databases.read")
        for client in (api.guest(), reader):
            answer = await client.post(prefix, json=body)
            assert (answer.status_code, answer.json()["type"]) == (401, "general_unauthorized_scope")
        assert (await reader.get(prefix)).status_code == 200


class TestListDatabases:
    async def test_both_kinds_are_listed_in_either_vocabulary(self, api: Api) -> None:
        await create(api, "/v1/tablesdb", "new")
        await create(api, "/v1/databases", "old")
        for prefix in PREFIXES:
            page = (await api.server.get(prefix)).json()
            assert page["total"] == 2
            assert [model["$id"] for model in page["databases"]] == ["new", "old"]

    async def test_queries_and_search_choose(self, api: Api) -> None:
        await create(api, "/v1/tablesdb", "one", "Apples")
        await create(api, "/v1/tablesdb", "two", "Pears")
        query = json.dumps({"method": "equal", "attribute": "name", "values": ["Pears"]})
        found = await api.server.get("/v1/tablesdb", params={"queries[0]": query})
        assert [model["$id"] for model in found.json()["databases"]] == ["two"]
        found = await api.server.get("/v1/tablesdb", params={"search": "appl", "total": "false"})
        assert [model["$id"] for model in found.json()["databases"]] == ["one"]
        assert found.json()["total"] == 0
        query = json.dumps({"method": "equal", "attribute": "secret", "values": ["x"]})
        answer = await api.server.get("/v1/tablesdb", params={"queries[0]": query})
        assert (answer.status_code, answer.json()["type"]) == (400, "general_query_invalid")


class TestUpdateDatabase:
    async def test_what_is_left_out_stays(self, api: Api, prefix: str) -> None:
        await create(api, prefix, "main")
        answer = await api.server.put(f"{prefix}/main", json={"enabled": False})
        assert (answer.json()["name"], answer.json()["enabled"]) == ("Main", False)
        answer = await api.server.put(f"{prefix}/main", json={"name": "Renamed"})
        assert (answer.json()["name"], answer.json()["enabled"]) == ("Renamed", False)
        assert (await api.server.get(f"{prefix}/main")).json() == answer.json()
        events = await api.published()
        assert events[-1].name == f"{prefix.removeprefix('/v1/')}.main.update"
        assert events[-1].payload == answer.json()

    async def test_unknown_database_is_not_found(self, api: Api) -> None:
        for method, body in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", None)):
            answer = await api.server.request(method, "/v1/databases/none", json=body)
            assert (answer.status_code, answer.json()["type"]) == (404, "database_not_found")


class TestDeleteDatabase:
    async def test_tables_go_with_it(self, api: Api, prefix: str) -> None:
        await create(api, prefix, "main")
        body = {"tableId": "posts", "collectionId": "posts", "name": "Posts"}
        path = f"{prefix}/main/{TABLES[prefix]}"
        assert (await api.server.post(path, json=body)).status_code == 201
        assert (await api.server.delete(f"{prefix}/main")).status_code == 204
        assert (await api.server.get(f"{prefix}/main")).status_code == 404
        assert (await api.names())[-1] == f"{prefix.removeprefix('/v1/')}.main.delete"
        # One that comes later under the same names is empty.
        await create(api, prefix, "main")
        assert (await api.server.get(path)).json()["total"] == 0
        assert (await api.server.post(path, json=body)).status_code == 201

    async def test_other_projects_databases_are_out_of_reach(self, api: Api) -> None:
        await create(api, "/v1/tablesdb", "main")
        stranger = api.guest(**{"X-Appwrite-Project": "other"})
        assert (await stranger.get("/v1/tablesdb/main")).status_code == 404
