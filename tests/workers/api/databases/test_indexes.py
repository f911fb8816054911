"""Indexes of tables, on both databases."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.api import Api

AddColumn = Callable[..., Awaitable[dict[str, Any]]]
INDEXES = "/v1/databases/main/collections/posts/indexes"


class TestCreateIndex:
    async def test_every_type_is_made_and_shown_in_both_vocabularies(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        await add_column("string", "title", size=100)
        await add_column("text", "body")
        await add_column("string", "tags", size=10, array=True)
        await add_column("point", "place")
        indexes: dict[str, dict[str, Any]] = {
            "plain": {"type": "key", "columns": ["title", "$createdAt"], "orders": ["asc", "DESC"]},
            "long": {"type": "key", "columns": ["body"], "lengths": [200]},
            "list": {"type": "key", "columns": ["tags"]},
            "words": {"type": "fulltext", "columns": ["title", "body"]},
            "where": {"type": "spatial", "columns": ["place"]},
            "once": {"type": "unique", "columns": ["title"]},
        }
        for key, body in indexes.items():
            answer = await api.server.post(f"{posts}/indexes", json={"key": key, **body})
            assert answer.status_code == 202, answer.text
            model = answer.json()
            assert (model["$id"], model["key"], model["status"]) == (key, key, "available")
            assert model["columns"] == body["columns"]
            assert (await api.server.get(f"{posts}/indexes/{key}")).json() == model
            mirrored = (await api.server.get(f"{INDEXES}/{key}")).json()
            assert (mirrored["attributes"], "columns" in mirrored) == (body["columns"], False)
        assert (await api.names())[-1] == "tablesdb.main.tables.posts.indexes.once.create"
        row = {"title": "a", "body": "b " * 4000, "tags": ["x", "y"], "place": [1, 2]}
        made = await api.server.post(f"{posts}/rows", json={"rowId": "one", "data": row})
        assert made.status_code == 201, made.text

    async def test_unique_index_refuses_a_second_row(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        await add_column("string", "title", size=100)
        body = {"key": "once", "type": "unique", "attributes": ["title"]}
        assert (await api.server.post(INDEXES, json=body)).status_code == 202
        for row_id, status in (("one", 201), ("two", 409)):
            row = {"rowId": row_id, "data": {"title": "same"}}
            assert (await api.server.post(f"{posts}/rows", json=row)).status_code == status

    async def test_unique_index_on_equal_rows_changes_nothing(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        await add_column("string", "title", size=100)
        for row_id in ("one", "two"):
            await api.server.post(f"{posts}/rows", json={"rowId": row_id, "data": {"title": "same"}})
        body = {"key": "once", "type": "unique", "columns": ["title"]}
        answer = await api.server.post(f"{posts}/indexes", json=body)
        assert (answer.status_code, answer.json()["type"]) == (400, "column_index_invalid")
        assert (await api.server.get(f"{posts}/indexes")).json() == {"total": 0, "indexes": []}
        assert not any("indexes" in name for name in await api.names())
        row = await api.server.post(f"{posts}/rows", json={"rowId": "three", "data": {"title": "same"}})
        assert row.status_code == 201

    async def test_text_too_long_for_an_index_is_refused_or_kept(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        """PostgreSQL cannot index 768 characters of four bytes each; what matters is that nobody meets a 500."""
        await add_column("string", "title", size=768)
        body = {"key": "plain", "type": "key", "columns": ["title"]}
        assert (await api.server.post(f"{posts}/indexes", json=body)).status_code == 202
        # As good as random, so that it cannot be compressed.
        title = "".join(chr(0x20000 + number * 7919 % 42_000) for number in range(768))
        made = await api.server.post(f"{posts}/rows", json={"rowId": "one", "data": {"title": title}})
        if api.services.store.database.is_sqlite:
            assert made.json()["title"] == title
        else:
            assert (made.status_code, made.json()["type"]) == (400, "general_argument_invalid")

    async def test_refusals_are_in_the_words_that_were_called(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        await add_column("boolean", "done")
        body = {"key": "i", "type": "key", "columns": ["done"]}
        assert (await api.server.post(f"{posts}/indexes", json=body)).status_code == 202
        answer = await api.server.post(f"{posts}/indexes", json=body)
        assert (answer.status_code, answer.json()["type"]) == (409, "column_index_already_exists")
        answer = await api.server.post(INDEXES, json=body)
        assert (answer.status_code, answer.json()["type"]) == (409, "index_already_exists")
        answer = await api.server.post(INDEXES, json=body | {"key": "j", "type": "fulltext"})
        assert (answer.status_code, answer.json()["type"]) == (400, "index_invalid")
        answer = await api.server.post(INDEXES, json=body | {"key": "j", "columns": ["none"]})
        assert (answer.status_code, answer.json()["type"]) == (404, "attribute_not_found")


class TestDeleteIndex:
    async def test_index_is_gone_and_its_key_free(self, api: Api, posts: str, add_column: AddColumn) -> None:
        await add_column("boolean", "done")
        body = {"key": "i", "type": "unique", "columns": ["done"]}
        for _ in range(2):
            assert (await api.server.post(f"{posts}/indexes", json=body)).status_code == 202
            assert (await api.server.delete(f"{posts}/indexes/i")).status_code == 204
        assert (await api.names())[-1] == "tablesdb.main.tables.posts.indexes.i.delete"
        for row_id in ("one", "two"):
            row = {"rowId": row_id, "data": {"done": True}}
            assert (await api.server.post(f"{posts}/rows", json=row)).status_code == 201
        for path, problem in (
            (f"{posts}/indexes/i", "column_index_not_found"),
            (f"{INDEXES}/i", "index_not_found"),
        ):
            for method in ("GET", "DELETE"):
                answer = await api.server.request(method, path)
                assert (answer.status_code, answer.json()["type"]) == (404, problem)
