"""Lists of rows: queries reach the columns, pages and totals are right, related rows are shown when asked for."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from realtime.identity.model import Project
from tests.api import PROJECT, Api
from workers.store import tables
from workers.store.schema import Column, Relation

MakeTable = Callable[..., Awaitable[None]]

ROWS = "/v1/tablesdb/main/tables/posts/rows"
NOW = "2026-01-02T03:04:05.678+00:00"


def column(number: int, key: str, type_: Any, **rest: Any) -> Column:
    return Column(number=number, key=key, type=type_, created_at=NOW, updated_at=NOW, **rest)


async def fill(api: Api, count: int) -> None:
    rows = [
        {"$id": f"r{number}", "title": f"Title {number}", "votes": number % 3, "tags": [f"t{number % 2}"]}
        for number in range(count)
    ]
    assert (await api.server.post(ROWS, json={"rows": rows})).status_code == 201


async def listed(api: Api, *queries: dict[str, Any], **params: str) -> Any:
    texts = {f"queries[{position}]": json.dumps(query) for position, query in enumerate(queries)}
    answer = await api.server.get(ROWS, params=texts | params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(shown: Any) -> list[str]:
    return [row["$id"] for row in shown["rows"]]


class TestListRows:
    async def test_page_is_25_long_and_counts_all(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await fill(api, 30)
        shown = await listed(api)
        assert (shown["total"], len(shown["rows"])) == (30, 25)
        assert ids(shown)[0] == "r0"
        assert (await listed(api, total="false"))["total"] == 0

    async def test_filters_orders_and_bounds_reach_columns(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await fill(api, 6)
        shown = await listed(
            api,
            {"method": "contains", "attribute": "tags", "values": ["t1"]},
            {"method": "greaterThan", "attribute": "votes", "values": [0]},
            {"method": "orderDesc", "attribute": "title"},
        )
        assert ids(shown) == ["r5", "r1"]
        after = await listed(
            api,
            {"method": "orderDesc", "attribute": "votes"},
            {"method": "cursorAfter", "values": ["r2"]},
            {"method": "limit", "values": [2]},
            {"method": "select", "values": ["votes"]},
        )
        assert ids(after) == ["r4", "r1"]
        assert [name for name in after["rows"][0] if not name.startswith("$")] == ["votes"]
        own = await listed(api, {"method": "equal", "attribute": "$id", "values": ["r3", "r0"]})
        assert ids(own) == ["r0", "r3"]

    async def test_documents_are_listed_in_their_words(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await fill(api, 2)
        shown = (await api.server.get("/v1/databases/main/collections/posts/documents")).json()
        assert [document["$collectionId"] for document in shown["documents"]] == ["posts", "posts"]

    async def test_query_that_is_wrong_is_refused(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        for query in (
            {"method": "equal", "attribute": "color", "values": ["red"]},
            {"method": "equal", "attribute": "votes", "values": ["red"]},
            {"method": "limit", "values": [0]},
        ):
            refused = await api.server.get(ROWS, params={"queries[0]": json.dumps(query)})
            assert (refused.status_code, refused.json()["type"]) == (400, "general_query_invalid")


class TestRelationships:
    async def make(self, api: Api, make_table: MakeTable) -> None:
        await make_table(
            "authors",
            permissions=['read("users")'],
            columns=[column(1, "name", "string", size=20)],
            indexes=[],
        )
        await make_table(
            "posts",
            permissions=['read("any")'],
            columns=[
                column(1, "title", "string", size=20),
                column(
                    2, "author", "relationship",
                    relation=Relation(related_table_id="authors", relation_type="manyToOne"),
                ),
                column(
                    3, "readers", "relationship", array=True,
                    relation=Relation(related_table_id="authors", relation_type="manyToMany"),
                ),
            ],
            indexes=[],
        )  # fmt: skip
        authors = [{"$id": row_id, "name": row_id.capitalize()} for row_id in ("ada", "bob", "nobody")]
        await api.server.post("/v1/tablesdb/main/tables/authors/rows", json={"rows": authors})
        data = {"title": "x", "author": "ada", "readers": ["bob", None, "nobody", "ada"]}
        await api.server.post(ROWS, json={"rowId": "first", "data": data})
        await api.server.delete("/v1/tablesdb/main/tables/authors/rows/nobody")

    async def test_ids_are_shown_unless_select_asks_for_more(self, api: Api, make_table: MakeTable) -> None:
        await self.make(api, make_table)
        [row] = (await listed(api))["rows"]
        assert (row["author"], row["readers"]) == ("ada", ["bob", None, "nobody", "ada"])

    async def test_related_rows_are_shown_by_select(self, api: Api, make_table: MakeTable) -> None:
        await self.make(api, make_table)
        select = {"method": "select", "values": ["*", "author.*", "readers.name"]}
        [row] = (await listed(api, select))["rows"]
        assert row["author"]["$id"] == "ada"
        assert row["author"]["$tableId"] == "authors"
        assert [reader["name"] for reader in row["readers"]] == ["Bob", "Ada"]
        assert row["title"] == "x"

    async def test_rows_that_the_caller_may_not_read_are_left_out(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await self.make(api, make_table)
        select = json.dumps({"method": "select", "values": ["author.*", "readers.*"]})
        row = (await api.guest().get(f"{ROWS}/first", params={"queries[]": select})).json()
        assert (row["author"], row["readers"]) == (None, [])
        assert "title" not in row

    async def test_table_that_is_gone_leaves_nothing(self, api: Api, make_table: MakeTable) -> None:
        await make_table("gone")
        await api.server.post(
            "/v1/tablesdb/main/tables/gone/rows", json={"rowId": "ada", "data": {"title": "x"}}
        )
        gone = Relation(related_table_id="gone", relation_type="manyToOne")
        await make_table(columns=[column(1, "author", "relationship", relation=gone)], indexes=[])
        made = await api.server.post(ROWS, json={"rowId": "first", "data": {"author": "ada"}})
        assert made.status_code == 201, made.text
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await tx.connection.execute(tables.tables.delete().where(tables.tables.c.id == "gone"))
            await tx.change_schema()
        [row] = (await listed(api, {"method": "select", "values": ["author.*"]}))["rows"]
        assert row["author"] is None

    async def test_realtime_does_not_show_relationships(self, api: Api, make_table: MakeTable) -> None:
        await self.make(api, make_table)
        [payload] = [event.payload for event in await api.published() if event.payload["$id"] == "first"]
        assert payload["title"] == "x"
        assert "author" not in payload
        assert "readers" not in payload
