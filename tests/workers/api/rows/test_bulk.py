"""Many rows at once, by API key: all or none of them, with an event for each."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from realtime.identity.model import Project
from tests.api import PROJECT, Api, until_blocked
from workers.api.databases.lookup import find_table
from workers.api.databases.words import TABLES
from workers.api.rows import bulk
from workers.api.rows.statements import find_row, update_rows
from workers.store.schema import TableRecord

MakeTable = Callable[..., Awaitable[None]]

ROWS = "/v1/tablesdb/main/tables/posts/rows"
DOCUMENTS = "/v1/databases/main/collections/posts/documents"


async def fill(api: Api, *row_ids: str, **data: Any) -> None:
    rows = [{"$id": row_id, "title": f"Title of {row_id}"} | data for row_id in row_ids]
    assert (await api.server.post(ROWS, json={"rows": rows})).status_code == 201


async def stored(api: Api) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await api.server.get(ROWS)).json()["rows"]
    return rows


def query(method: str, *values: Any, attribute: str = "") -> str:
    return json.dumps({"method": method, "attribute": attribute, "values": values})


class TestCreateMany:
    async def test_rows_are_created_in_order_with_their_permissions(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table(row_security=True)
        rows = [
            {"$id": "a", "title": "A", "$permissions": ['read("any")']},
            {"$id": "unique()", "title": "B", "votes": 5},
            {"$id": "c", "title": "C", "$permissions": ['read("any")', 'write("users")']},
        ]
        created = await api.server.post(ROWS, json={"rows": rows})
        assert created.status_code == 201
        shown = created.json()
        assert shown["total"] == 3
        assert [row["title"] for row in shown["rows"]] == ["A", "B", "C"]
        assert [row["$sequence"] for row in shown["rows"]] == ["1", "2", "3"]
        assert shown["rows"] == await stored(api)
        readable = (await api.guest().get(ROWS)).json()["rows"]
        assert [row["$id"] for row in readable] == ["a", "c"]
        events = await api.published()
        assert [event.payload for event in events] == shown["rows"]
        assert events[2].roles == ["any"]

    async def test_one_that_is_refused_refuses_all(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await fill(api, "old")
        new = {"$id": "new", "title": "x"}
        for other, status in (
            ({"$id": "old", "title": "x"}, 409),
            ({"$id": "other", "votes": 1}, 400),
            ({"title": "x"}, 400),
            ({"$id": "new", "title": "x"}, 400),
            ("x", 400),
        ):
            refused = await api.server.post(ROWS, json={"rows": [new, other]})
            assert refused.status_code == status, other
        for rows in ([], "x", None, [new] * 1001):
            assert (await api.server.post(ROWS, json={"rows": rows})).status_code == 400
        assert [row["$id"] for row in await stored(api)] == ["old"]
        assert len(await api.names()) == 1

    async def test_as_many_as_allowed_are_taken(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await fill(api, *(f"r{number}" for number in range(1000)))
        assert (await api.server.get(ROWS)).json()["total"] == 1000


class TestUpsertMany:
    async def test_rows_are_created_or_changed(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await fill(api, "a", "b", votes=3)
        rows = [{"$id": "c", "title": "C"}, {"$id": "a", "title": "A"}]
        answer = await api.server.put(DOCUMENTS, json={"documents": rows})
        assert answer.status_code == 201
        shown = answer.json()
        assert [(row["$id"], row["title"], row["votes"]) for row in shown["documents"]] == [
            ("c", "C", 0), ("a", "A", 3),
        ]  # fmt: skip
        assert [row["title"] for row in await stored(api)] == ["A", "Title of b", "C"]
        assert (await api.names())[2:] == [
            f"tablesdb.main.tables.posts.rows.{row_id}.upsert" for row_id in ("c", "a")
        ]

    async def test_unique_value_of_another_row_refuses_all(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await fill(api, "a", slug="taken")
        await fill(api, "b")
        rows = [{"$id": "c", "title": "C"}, {"$id": "b", "title": "B", "slug": "taken"}]
        refused = await api.server.put(ROWS, json={"rows": rows})
        assert (refused.status_code, refused.json()["type"]) == (409, "row_already_exists")
        assert [row["title"] for row in await stored(api)] == ["Title of a", "Title of b"]


class TestUpdateMany:
    async def test_rows_that_meet_the_queries_change(self, api: Api, make_table: MakeTable) -> None:
        await make_table(row_security=True)
        await fill(api, "a", "b", votes=1)
        await fill(api, "c", votes=2)
        body = {
            "data": {"done": True, "$permissions": ['read("any")']},
            "queries": [query("equal", 1, attribute="votes"), query("orderDesc")],
        }
        shown = (await api.server.patch(ROWS, json=body)).json()
        assert [(row["$id"], row["done"]) for row in shown["rows"]] == [("b", True), ("a", True)]
        assert [row["done"] for row in await stored(api)] == [True, True, False]
        assert (await api.guest().get(ROWS)).json()["total"] == 2
        events = (await api.published())[3:]
        assert [event.name.rpartition(".rows.")[2] for event in events] == ["b.update", "a.update"]
        assert [event.payload for event in events] == shown["rows"]

    async def test_all_rows_change_without_queries(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await fill(api, *(f"r{number}" for number in range(30)))
        shown = (await api.server.patch(ROWS, json={"data": {"votes": 9}})).json()
        assert shown["total"] == 30
        limited = await api.server.patch(ROWS, json={"data": {"votes": 8}, "queries": [query("limit", 2)]})
        assert limited.json()["total"] == 2
        assert [row["votes"] for row in await stored(api)][:4] == [8, 8, 9, 9]

    async def test_more_rows_than_a_request_may_change_are_refused(
        self, api: Api, make_table: MakeTable, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk, "MAX_MATCHED", 3)
        await make_table()
        await fill(api, "a", "b", "c")
        assert (await api.server.patch(ROWS, json={"data": {"votes": 9}})).status_code == 200
        await fill(api, "d")
        for refused in (
            await api.server.patch(ROWS, json={"data": {"votes": 8}}),
            await api.server.delete(ROWS),
        ):
            assert (refused.status_code, refused.json()["type"]) == (400, "general_argument_invalid")
        assert [row["votes"] for row in await stored(api)] == [9, 9, 9, 0]
        limited = {"data": {"votes": 8}, "queries": [query("limit", 3)]}
        assert (await api.server.patch(ROWS, json=limited)).json()["total"] == 3

    async def test_nothing_that_matches_is_no_error(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        answer = await api.server.patch(ROWS, json={"data": {"votes": 1}})
        assert answer.json() == {"total": 0, "rows": []}

    async def test_data_or_queries_that_are_wrong_are_refused(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await fill(api, "a", "b")
        for body, status in (
            ({"data": {"votes": "x"}}, 400),
            ({"data": {}}, 400),
            ({}, 400),
            ({"data": {"votes": 1}, "queries": "x"}, 400),
            ({"data": {"votes": 1}, "queries": ["x"]}, 400),
            ({"data": {"slug": "same"}}, 409),
        ):
            assert (await api.server.patch(ROWS, json=body)).status_code == status, body
        assert [row["slug"] for row in await stored(api)] == [None, None]


class TestDeleteMany:
    async def test_rows_that_meet_the_queries_go(self, api: Api, make_table: MakeTable) -> None:
        await make_table(permissions=['read("users")'], row_security=True)
        await fill(api, "a", votes=1, **{"$permissions": ['read("any")']})
        await fill(api, "b", votes=2)
        shown = await api.server.request(
            "DELETE", ROWS, json={"queries": [query("lessThan", 2, attribute="votes")]}
        )
        assert shown.status_code == 200
        assert [row["$id"] for row in shown.json()["rows"]] == ["a"]
        assert [row["$id"] for row in await stored(api)] == ["b"]
        event = (await api.published())[-1]
        assert event.name == "tablesdb.main.tables.posts.rows.a.delete"
        assert event.roles == ["users", "any"]
        assert event.payload == shown.json()["rows"][0]

    async def test_all_rows_go_without_queries(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await fill(api, *(f"r{number}" for number in range(600)))
        assert (await api.server.delete(ROWS)).json()["total"] == 600
        assert await stored(api) == []


async def change_meanwhile(api: Api, record: TableRecord, change: Callable[[], Awaitable[Any]]) -> Any:
    """Return what ``change`` answers, while which another request gives 50 votes to row `a`."""
    async with api.services.store.write(Project(id=PROJECT)) as tx:
        row = await find_row(tx.connection, record, "a", lock=True)
        assert row is not None
        answer = asyncio.ensure_future(change())
        await until_blocked(api)
        await update_rows(tx.connection, record, [row["seq"]], {"c2": 50})
    return (await answer).json()


# Writers of SQLite come one after another.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
class TestRowsThatChangeMeanwhile:
    @pytest.fixture
    async def record(self, api: Api, make_table: MakeTable) -> TableRecord:
        await make_table()
        await fill(api, "a", "b", votes=1)
        async with api.services.store.read() as connection:
            return await find_table(connection, PROJECT, "main", "posts", words=TABLES)

    async def test_row_that_does_not_match_any_more_is_not_deleted(
        self, api: Api, record: TableRecord
    ) -> None:
        queries = {"queries": [query("equal", 1, attribute="votes")]}
        shown = await change_meanwhile(api, record, lambda: api.server.request("DELETE", ROWS, json=queries))
        assert [row["$id"] for row in shown["rows"]] == ["b"]
        assert [(row["$id"], row["votes"]) for row in await stored(api)] == [("a", 50)]

    async def test_row_that_does_not_match_any_more_is_not_changed(
        self, api: Api, record: TableRecord
    ) -> None:
        body = {"data": {"votes": 9}, "queries": [query("lessThan", 10, attribute="votes")]}
        shown = await change_meanwhile(api, record, lambda: api.server.patch(ROWS, json=body))
        assert [row["$id"] for row in shown["rows"]] == ["b"]
        assert [row["votes"] for row in await stored(api)] == [50, 9]
