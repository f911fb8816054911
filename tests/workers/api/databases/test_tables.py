"""Tables themselves, on both databases: the same table in both vocabularies."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.api import Api

AddColumn = Callable[..., Awaitable[dict[str, Any]]]
TABLES = "/v1/tablesdb/main/tables"
COLLECTIONS = "/v1/databases/main/collections"

INVALID: list[tuple[dict[str, Any], str]] = [
    ({"columns": [{"key": "a", "type": "colour"}]}, "column_type_invalid"),
    ({"columns": [{"key": "a", "type": ["string"]}]}, "column_type_invalid"),
    ({"columns": [{"key": "a", "type": "string"}]}, "general_argument_invalid"),
    ({"columns": [{"type": "boolean"}]}, "general_argument_invalid"),
    ({"columns": [{"key": "a", "type": "integer", "default": "x"}]}, "column_value_invalid"),
    ({"indexes": [{"key": "i", "type": "key", "columns": ["a"]}]}, "column_not_found"),
    ({"indexes": [{"key": "i"}]}, "general_argument_invalid"),
    (
        {"columns": [{"type": "relationship", "relatedTableId": "none", "relationType": "oneToOne"}]},
        "table_not_found",
    ),
    ({"columns": [{"key": "a", "type": "string", "format": "colour"}]}, "column_type_invalid"),
    ({"permissions": ['read("nobody:x")']}, "general_argument_invalid"),
    ({"permissions": ['read("any")'] * 101}, "general_argument_invalid"),
]
"""Members of a body, and the refusal."""


class TestCreateTable:
    async def test_columns_and_indexes_come_with_it(self, api: Api, posts: str) -> None:
        body = {
            "tableId": "cards",
            "name": "Cards",
            "rowSecurity": True,
            "permissions": ['read("any")', 'write("users")', 'read("any")'],
            "columns": [
                {"key": "title", "type": "string", "size": 100, "required": True},
                {"key": "place", "type": "float", "default": 1},
                {"key": "mail", "type": "string", "format": "email"},
                {
                    "key": "board",
                    "type": "relationship",
                    "relatedTableId": "posts",
                    "relationType": "manyToOne",
                },
            ],
            "indexes": [{"key": "by_place", "type": "key", "columns": ["place"], "orders": ["desc"]}],
        }
        answer = await api.server.post(TABLES, json=body)
        assert answer.status_code == 201, answer.text
        model = answer.json()
        assert model["$permissions"] == [
            'read("any")',
            'create("users")',
            'update("users")',
            'delete("users")',
        ]
        assert model["rowSecurity"] is True
        assert [(column["key"], column["type"]) for column in model["columns"]] == [
            ("title", "string"),
            ("place", "double"),
            ("mail", "string"),
            ("board", "relationship"),
        ]
        assert model["columns"][1]["default"] == 1.0
        (index,) = model["indexes"]
        assert (index["columns"], index["orders"], index["status"]) == (["place"], ["DESC"], "available")
        assert (await api.server.get(f"{TABLES}/cards")).json() == model
        (event,) = [event for event in await api.published() if event.payload["$id"] == "cards"]
        assert event.name == "tablesdb.main.tables.cards.create"
        assert event.payload == model

    async def test_collection_is_the_same_table(self, api: Api, posts: str) -> None:
        body = {
            "collectionId": "cards",
            "name": "Cards",
            "documentSecurity": True,
            "attributes": [{"key": "title", "type": "string", "size": 9}],
        }
        made = (await api.server.post(COLLECTIONS, json=body)).json()
        table = (await api.server.get(f"{TABLES}/cards")).json()
        assert made["documentSecurity"] is table["rowSecurity"] is True
        assert made["attributes"] == table["columns"]
        assert not made.keys() & {"rowSecurity", "columns"}

    async def test_events_of_a_legacy_database_have_the_words_that_were_called(self, api: Api) -> None:
        await api.server.post("/v1/databases", json={"databaseId": "main", "name": "Main"})
        await api.server.post(COLLECTIONS, json={"collectionId": "a", "name": "A"})
        await api.server.post(TABLES, json={"tableId": "b", "name": "B"})
        assert (await api.names())[1:] == [
            "databases.main.collections.a.create",
            "databases.main.tables.b.create",
        ]

    async def test_invalid_definition_makes_nothing(self, api: Api, posts: str) -> None:
        for members, problem in INVALID:
            answer = await api.server.post(TABLES, json={"tableId": "cards", "name": "Cards", **members})
            assert answer.json()["type"] == problem
            assert answer.status_code in (400, 404)
        assert (await api.server.get(f"{TABLES}/cards")).status_code == 404

    async def test_equal_keys_are_a_conflict(self, api: Api, posts: str) -> None:
        columns = [{"key": "a", "type": "boolean"}] * 2
        answer = await api.server.post(TABLES, json={"tableId": "cards", "name": "Cards", "columns": columns})
        assert (answer.status_code, answer.json()["type"]) == (409, "column_already_exists")

    async def test_taken_id_is_a_conflict_in_the_words_that_were_called(self, api: Api, posts: str) -> None:
        answer = await api.server.post(TABLES, json={"tableId": "posts", "name": "Again"})
        assert (answer.status_code, answer.json()["type"]) == (409, "table_already_exists")
        answer = await api.server.post(COLLECTIONS, json={"collectionId": "posts", "name": "Again"})
        assert (answer.status_code, answer.json()["type"]) == (409, "collection_already_exists")

    async def test_table_may_lead_to_itself(self, api: Api, posts: str) -> None:
        column = {
            "key": "next",
            "type": "relationship",
            "relatedTableId": "cards",
            "relationType": "oneToOne",
        }
        body = {"tableId": "cards", "name": "Cards", "columns": [column]}
        assert (await api.server.post(TABLES, json=body)).status_code == 201
        assert (await api.server.delete(f"{TABLES}/cards")).status_code == 204

    async def test_unknown_database_is_not_found(self, api: Api) -> None:
        answer = await api.server.post(TABLES, json={"tableId": "cards", "name": "Cards"})
        assert (answer.status_code, answer.json()["type"]) == (404, "database_not_found")


class TestGetTable:
    async def test_unknown_table_is_not_found_in_the_words_that_were_called(
        self, api: Api, posts: str
    ) -> None:
        answer = await api.server.get(f"{TABLES}/none")
        assert (answer.status_code, answer.json()["type"]) == (404, "table_not_found")
        answer = await api.server.get(f"{COLLECTIONS}/none")
        assert (answer.status_code, answer.json()["type"]) == (404, "collection_not_found")


class TestListTables:
    async def test_tables_of_the_database_are_listed(self, api: Api, posts: str) -> None:
        await api.server.post("/v1/tablesdb", json={"databaseId": "other", "name": "Other"})
        await api.server.post("/v1/tablesdb/other/tables", json={"tableId": "x", "name": "X"})
        await api.server.post(TABLES, json={"tableId": "cards", "name": "Cards", "rowSecurity": True})
        page = (await api.server.get(TABLES)).json()
        assert (page["total"], [model["$id"] for model in page["tables"]]) == (2, ["posts", "cards"])
        query = json.dumps({"method": "equal", "attribute": "documentSecurity", "values": [True]})
        page = (await api.server.get(COLLECTIONS, params={"queries[]": query})).json()
        assert [model["$id"] for model in page["collections"]] == ["cards"]

    async def test_cursor_goes_on_after_a_table(self, api: Api, posts: str) -> None:
        await api.server.post(TABLES, json={"tableId": "cards", "name": "Cards"})
        query = json.dumps({"method": "cursorAfter", "values": ["posts"]})
        page = (await api.server.get(TABLES, params={"queries[0]": query})).json()
        assert [model["$id"] for model in page["tables"]] == ["cards"]


class TestUpdateTable:
    async def test_what_is_left_out_stays(self, api: Api, posts: str, add_column: AddColumn) -> None:
        await add_column("boolean", "done")
        answer = await api.server.put(posts, json={"name": "Renamed"})
        assert answer.json()["$permissions"] == ['read("any")']
        answer = await api.server.put(posts, json={"permissions": [], "rowSecurity": True, "enabled": False})
        model = answer.json()
        assert (model["name"], model["enabled"], model["rowSecurity"]) == ("Renamed", False, True)
        assert model["$permissions"] == []
        assert [column["key"] for column in model["columns"]] == ["done"]
        assert (await api.server.get(posts)).json() == model
        events = await api.published()
        assert (events[-1].name, events[-1].payload) == ("tablesdb.main.tables.posts.update", model)


class TestDeleteTable:
    async def test_relationships_to_it_go_with_it(self, api: Api, posts: str, add_column: AddColumn) -> None:
        await api.server.post(TABLES, json={"tableId": "cards", "name": "Cards"})
        await add_column("relationship", "cards", relatedTableId="cards", type="oneToMany")
        await add_column("boolean", "done")
        assert (await api.server.delete(f"{TABLES}/cards")).status_code == 204
        columns = (await api.server.get(posts)).json()["columns"]
        assert [column["key"] for column in columns] == ["done"]
        assert (await api.names())[-1] == "tablesdb.main.tables.cards.delete"
        # The SQL column is gone too, and the table takes rows.
        row = await api.server.post(f"{posts}/rows", json={"rowId": "one", "data": {"done": True}})
        assert row.status_code == 201, row.text

    async def test_unknown_table_is_not_found(self, api: Api, posts: str) -> None:
        assert (await api.server.delete(f"{TABLES}/none")).status_code == 404


class TestConcurrentChanges:
    async def test_columns_that_are_added_at_once_are_all_there(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        keys = [f"k{number}" for number in range(8)]
        await asyncio.gather(*(add_column("integer", key) for key in keys))
        columns = (await api.server.get(posts)).json()["columns"]
        assert sorted(column["key"] for column in columns) == keys
        row = await api.server.post(
            f"{posts}/rows", json={"rowId": "one", "data": {key: number for number, key in enumerate(keys)}}
        )
        assert [row.json()[key] for key in keys] == list(range(8))

    async def test_tables_that_lead_to_each_other_can_be_deleted_at_once(self, api: Api, posts: str) -> None:
        for name, other in (("a", "posts"), ("b", "a"), ("c", "b")):
            column = {
                "key": "to",
                "type": "relationship",
                "relatedTableId": other,
                "relationType": "oneToOne",
            }
            made = await api.server.post(TABLES, json={"tableId": name, "name": name, "columns": [column]})
            assert made.status_code == 201
        answers = await asyncio.gather(*(api.server.delete(f"{TABLES}/{name}") for name in "abc"))
        assert [answer.status_code for answer in answers] == [204] * 3
