"""Columns of tables, on both databases: each kind is made, shown, changed and deleted, and rows follow."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.api import Api

AddColumn = Callable[..., Awaitable[dict[str, Any]]]
ATTRIBUTES = "/v1/databases/main/collections/posts/attributes"

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "string": ({"size": 30}, {"type": "string", "size": 30, "encrypt": False}),
    "varchar": ({"size": 30}, {"type": "varchar", "size": 30, "encrypt": False}),
    "text": ({}, {"type": "text", "encrypt": False}),
    "mediumtext": ({}, {"type": "mediumtext", "encrypt": False}),
    "longtext": ({}, {"type": "longtext", "encrypt": False}),
    "email": ({"default": "a@example.com"}, {"type": "string", "format": "email"}),
    "enum": ({"elements": ["a", "b"]}, {"type": "string", "format": "enum", "elements": ["a", "b"]}),
    "url": ({}, {"type": "string", "format": "url"}),
    "ip": ({}, {"type": "string", "format": "ip"}),
    "integer": ({"min": 1, "default": 2}, {"type": "integer", "min": 1, "max": None}),
    "bigint": ({"max": 2**62}, {"type": "bigint", "min": None, "max": 2**62}),
    "float": ({"default": 1.5}, {"type": "double", "min": None, "max": None}),
    "boolean": ({"array": True}, {"type": "boolean", "array": True}),
    "datetime": ({}, {"type": "datetime", "format": ""}),
    "point": ({"default": [1.0, 2.0]}, {"type": "point"}),
    "line": ({}, {"type": "linestring"}),
    "polygon": ({}, {"type": "polygon"}),
}
"""What is said of a column of each kind, and what is shown of it besides."""


class TestCreateColumn:
    async def test_every_kind_is_made_and_shown_in_both_vocabularies(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        for kind, (given, shown) in KINDS.items():
            model = await add_column(kind, kind, **given)
            expected = {
                "key": kind,
                "status": "available",
                "error": "",
                "required": False,
                "array": False,
                "default": given.get("default"),
                "$createdAt": model["$createdAt"],
                "$updatedAt": model["$createdAt"],
                **shown,
            }
            assert model == expected
            assert (await api.server.get(f"{posts}/columns/{kind}")).json() == model
            assert (await api.server.get(f"{ATTRIBUTES}/{kind}")).json() == model
        events = [event for event in await api.published() if ".columns." in event.name]
        assert [event.name for event in events] == [
            f"tablesdb.main.tables.posts.columns.{kind}.create" for kind in KINDS
        ]
        assert events[0].channels == ["console", "projects.demo"]

    async def test_relationship_names_the_other_table_in_the_words_that_were_called(
        self, api: Api, posts: str
    ) -> None:
        body = {"relatedCollectionId": "posts", "type": "oneToMany", "key": "answers", "onDelete": "cascade"}
        made = (await api.server.post(f"{ATTRIBUTES}/relationship", json=body)).json()
        assert (made["relatedCollection"], made["relationType"]) == ("posts", "oneToMany")
        shown = (await api.server.get(f"{posts}/columns/answers")).json()
        assert {name: shown[name] for name in ("relatedTable", "onDelete", "twoWay", "array", "side")} == {
            "relatedTable": "posts",
            "onDelete": "cascade",
            "twoWay": False,
            "array": False,
            "side": "parent",
        }
        answer = await api.server.post(
            f"{posts}/columns/relationship", json={"relatedTableId": "none", "type": "oneToOne"}
        )
        assert (answer.status_code, answer.json()["type"]) == (404, "table_not_found")

    async def test_refusals_leave_the_table_as_it_was(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        await add_column("boolean", "done")
        for path, status, problem in (
            (f"{posts}/columns/boolean", 409, "column_already_exists"),
            (f"{ATTRIBUTES}/boolean", 409, "attribute_already_exists"),
            (f"{posts}/columns/string", 400, "general_argument_invalid"),
            ("/v1/tablesdb/main/tables/none/columns/boolean", 404, "table_not_found"),
        ):
            answer = await api.server.post(path, json={"key": "done", "required": False})
            assert (answer.status_code, answer.json()["type"]) == (
                status,
                problem,
            ) or answer.status_code == 405
        body = {"key": "other", "required": True, "default": True}
        answer = await api.server.post(f"{ATTRIBUTES}/boolean", json=body)
        assert (answer.status_code, answer.json()["type"]) == (400, "attribute_default_unsupported")
        assert (await api.server.get(f"{posts}/columns")).json()["total"] == 1

    async def test_required_column_may_come_to_a_table_with_rows(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        await api.server.post(f"{posts}/rows", json={"rowId": "old", "data": {}})
        await add_column("string", "title", size=10, required=True)
        assert (await api.server.get(f"{posts}/rows/old")).json()["title"] is None
        answer = await api.server.post(f"{posts}/rows", json={"rowId": "new", "data": {}})
        assert (answer.status_code, answer.json()["type"]) == (400, "row_invalid_structure")


class TestListColumns:
    async def test_queries_choose_in_both_vocabularies(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        for kind in ("email", "integer", "url"):
            await add_column(kind, kind)
        query = json.dumps({"method": "equal", "attribute": "type", "values": ["string"]})
        page = (await api.server.get(f"{posts}/columns", params={"queries[0]": query})).json()
        assert (page["total"], [column["key"] for column in page["columns"]]) == (2, ["email", "url"])
        page = (await api.server.get(ATTRIBUTES, params={"total": "false"})).json()
        assert (page["total"], len(page["attributes"])) == (0, 3)
        answer = await api.server.get(
            ATTRIBUTES, params={"queries[0]": '{"method":"cursorAfter","values":["none"]}'}
        )
        assert (answer.status_code, answer.json()["type"]) == (400, "general_cursor_not_found")


class TestChangeColumn:
    async def test_rows_keep_their_values_under_the_new_name(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        await add_column("string", "title", size=10)
        await api.server.post(f"{posts}/rows", json={"rowId": "one", "data": {"title": "abc"}})
        body = {"required": False, "default": "none", "size": 5, "newKey": "name"}
        model = (await api.server.patch(f"{posts}/columns/string/title", json=body)).json()
        assert (model["key"], model["default"], model["size"]) == ("name", "none", 5)
        assert (await api.server.get(f"{posts}/rows/one")).json()["name"] == "abc"
        assert (await api.server.get(f"{posts}/columns/title")).status_code == 404
        events = await api.published()
        assert events[-1].name == "tablesdb.main.tables.posts.columns.name.update"
        assert events[-1].payload == model

    async def test_size_below_a_value_is_refused(self, api: Api, posts: str, add_column: AddColumn) -> None:
        await add_column("varchar", "title", size=10)
        await api.server.post(f"{posts}/rows", json={"rowId": "one", "data": {"title": "🙂🙂🙂"}})
        path = f"{ATTRIBUTES}/varchar/title"
        answer = await api.server.patch(path, json={"required": False, "default": None, "size": 2})
        assert (answer.status_code, answer.json()["type"]) == (400, "attribute_invalid_resize")
        answer = await api.server.patch(path, json={"required": False, "default": None, "size": 3})
        assert (answer.status_code, answer.json()["size"]) == (200, 3)

    async def test_every_kind_can_be_changed_and_only_as_what_it_is(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        for kind, (given, _) in KINDS.items():
            await add_column(kind, kind, **given)
            body = {"required": True, "elements": ["c"], "newKey": f"new-{kind}"}
            answer = await api.server.patch(f"{ATTRIBUTES}/{kind}/{kind}", json=body)
            assert (answer.status_code, answer.json()["required"]) == (200, True)
        answer = await api.server.patch(f"{posts}/columns/email/new-url", json={"required": True})
        assert (answer.status_code, answer.json()["type"]) == (400, "column_type_invalid")
        answer = await api.server.patch(f"{posts}/columns/email/none", json={"required": True})
        assert (answer.status_code, answer.json()["type"]) == (404, "column_not_found")

    async def test_relationship_is_changed_under_both_paths(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        await add_column("relationship", "to", relatedTableId="posts", type="oneToOne")
        path = f"{posts}/columns/to/relationship"
        assert (await api.server.patch(path, json={"onDelete": "setNull"})).json()["onDelete"] == "setNull"
        answer = await api.server.patch(f"{ATTRIBUTES}/relationship/to", json={"newKey": "next"})
        assert (answer.json()["key"], answer.json()["onDelete"]) == ("next", "setNull")
        await add_column("boolean", "done")
        answer = await api.server.patch(f"{posts}/columns/done/relationship", json={})
        assert (answer.status_code, answer.json()["type"]) == (400, "column_type_invalid")


class TestDeleteColumn:
    async def test_values_and_indexes_go_with_it(self, api: Api, posts: str, add_column: AddColumn) -> None:
        await add_column("string", "title", size=10)
        await add_column("boolean", "done")
        for key, columns in (("both", ["title", "done"]), ("done", ["done"])):
            body = {"key": key, "type": "unique", "columns": columns}
            assert (await api.server.post(f"{posts}/indexes", json=body)).status_code == 202
        await api.server.post(f"{posts}/rows", json={"rowId": "one", "data": {"title": "abc", "done": True}})
        assert (await api.server.delete(f"{ATTRIBUTES}/title")).status_code == 204
        assert (await api.names())[-1] == "tablesdb.main.tables.posts.columns.title.delete"
        row = (await api.server.get(f"{posts}/rows/one")).json()
        assert ("title" in row, row["done"]) == (False, True)
        indexes = (await api.server.get(f"{posts}/indexes")).json()["indexes"]
        assert [index["key"] for index in indexes] == ["done"]
        # Its name is free again, and what was in it does not come back.
        await add_column("string", "title", size=10)
        assert (await api.server.get(f"{posts}/rows/one")).json()["title"] is None
