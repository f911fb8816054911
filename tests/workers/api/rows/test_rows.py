"""Single rows by API key, in both vocabularies, on both databases."""

from collections.abc import Awaitable, Callable

import pytest

from tests.api import Api

MakeTable = Callable[..., Awaitable[None]]

ROWS = "/v1/tablesdb/main/tables/posts/rows"
DOCUMENTS = "/v1/databases/main/collections/posts/documents"


class TestCreate:
    async def test_row_with_all_kinds_of_values_is_shown_as_stored(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        data = {
            "title": "Hello",
            "votes": 3,
            "score": 1,
            "done": True,
            "due": "2026-05-06T07:08:09+02:00",
            "tags": ["a", "b"],
            "slug": "hello",
        }
        created = await api.server.post(ROWS, json={"rowId": "first", "data": data})
        assert created.status_code == 201
        row = created.json()
        assert list(row) == [
            "$id", "$sequence", "$createdAt", "$updatedAt", "$permissions", "$databaseId", "$tableId", *data,
        ]  # fmt: skip
        assert row["$id"] == "first"
        assert row["$sequence"] == "1"
        assert row["$permissions"] == []
        assert (row["$databaseId"], row["$tableId"]) == ("main", "posts")
        assert row["score"] == 1.0
        assert row["due"] == "2026-05-06T05:08:09.000+00:00"
        assert (await api.server.get(f"{ROWS}/first")).json() == row

    async def test_columns_that_are_not_given_have_their_defaults(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        created = await api.server.post(ROWS, json={"rowId": "unique()", "data": {"title": "x"}})
        row = created.json()
        assert len(row["$id"]) == 20
        assert (row["votes"], row["score"], row["done"], row["tags"]) == (0, None, False, [])
