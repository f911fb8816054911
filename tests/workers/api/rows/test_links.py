"""What relationships say about rows that are deleted, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from realtime.identity.model import Project
from tests.api import PROJECT, Api, until_blocked
from workers.api.databases.lookup import find_table
from workers.api.databases.words import TABLES
from workers.api.rows.statements import find_row

Login = Callable[..., Awaitable[Any]]
MAIN = "/v1/tablesdb/main"


async def make_tables(api: Api, relation_type: str, on_delete: str, **members: Any) -> None:
    """Make the tables `authors` and `books`, of which the second leads to the first by `by`."""
    await api.server.post("/v1/tablesdb", json={"databaseId": "main", "name": "Main"})
    for name in ("authors", "books"):
        made = await api.server.post(f"{MAIN}/tables", json={"tableId": name, "name": name, **members})
        assert made.status_code == 201, made.text
    body = {"relatedTableId": "authors", "type": relation_type, "key": "by", "onDelete": on_delete}
    made = await api.server.post(f"{MAIN}/tables/books/columns/relationship", json=body)
    assert made.status_code == 202, made.text


async def put(api: Api, table: str, row_id: str, **data: Any) -> None:
    made = await api.server.put(f"{MAIN}/tables/{table}/rows/{row_id}", json={"data": data})
    assert made.status_code == 201, made.text


async def delete(api: Api, table: str, row_id: str) -> int:
    return (await api.server.delete(f"{MAIN}/tables/{table}/rows/{row_id}")).status_code


async def ids(api: Api, table: str) -> list[str]:
    return [row["$id"] for row in (await api.server.get(f"{MAIN}/tables/{table}/rows")).json()["rows"]]


class TestManyToOne:
    async def test_restrict_keeps_the_one_while_others_lead_to_it(self, api: Api) -> None:
        await make_tables(api, "manyToOne", "restrict")
        await put(api, "authors", "ada")
        await put(api, "books", "notes", by="ada")
        answer = await api.server.delete(f"{MAIN}/tables/authors/rows/ada")
        assert (answer.status_code, answer.json()["type"]) == (403, "row_delete_restricted")
        assert await delete(api, "books", "notes") == 204
        assert await delete(api, "authors", "ada") == 204

    async def test_cascade_deletes_those_that_lead_to_it(self, api: Api) -> None:
        await make_tables(api, "manyToOne", "cascade")
        for author in ("ada", "bob"):
            await put(api, "authors", author)
        for book, author in (("one", "ada"), ("two", "ada"), ("other", "bob")):
            await put(api, "books", book, by=author)
        assert await delete(api, "authors", "ada") == 204
        assert await ids(api, "books") == ["other"]
        rows = [name for name in await api.names() if name.endswith(".delete")]
        assert rows == [
            "tablesdb.main.tables.books.rows.one.delete",
            "tablesdb.main.tables.books.rows.two.delete",
            "tablesdb.main.tables.authors.rows.ada.delete",
        ]

    async def test_set_null_lets_go_of_it(self, api: Api) -> None:
        await make_tables(api, "manyToOne", "setNull")
        await put(api, "authors", "ada")
        await put(api, "books", "notes", by="ada")
        assert await delete(api, "authors", "ada") == 204
        assert (await api.server.get(f"{MAIN}/tables/books/rows/notes")).json()["by"] is None
        assert (await api.names())[-2:] == [
            "tablesdb.main.tables.books.rows.notes.update",
            "tablesdb.main.tables.authors.rows.ada.delete",
        ]


class TestOthers:
    @pytest.mark.parametrize("relation_type", ["oneToMany", "manyToMany"])
    async def test_restrict_keeps_a_row_with_related_rows(self, api: Api, relation_type: str) -> None:
        await make_tables(api, relation_type, "restrict")
        for author in ("ada", "gone"):
            await put(api, "authors", author)
        await put(api, "books", "notes", by=["ada", "gone"])
        assert await delete(api, "authors", "gone") == 204
        assert await delete(api, "books", "notes") == 403
        assert await delete(api, "authors", "ada") == 204
        # Whom it led to is gone.
        assert await delete(api, "books", "notes") == 204

    async def test_cascade_deletes_related_rows(self, api: Api) -> None:
        await make_tables(api, "oneToMany", "cascade")
        for author in ("ada", "bob", "eve"):
            await put(api, "authors", author)
        await put(api, "books", "notes", by=["ada", "bob"])
        bulk = await api.server.request("DELETE", f"{MAIN}/tables/books/rows", json={"queries": []})
        assert bulk.status_code == 200, bulk.text
        assert await ids(api, "authors") == ["eve"]

    async def test_one_to_one_becomes_null_whatever_it_says(self, api: Api) -> None:
        await make_tables(api, "oneToOne", "restrict")
        await put(api, "authors", "ada")
        await put(api, "books", "notes", by="ada")
        assert await delete(api, "authors", "ada") == 204
        assert (await api.server.get(f"{MAIN}/tables/books/rows/notes")).json()["by"] is None

    async def test_circle_ends(self, api: Api) -> None:
        await make_tables(api, "manyToOne", "cascade")
        body = {"relatedTableId": "books", "type": "manyToOne", "key": "best", "onDelete": "cascade"}
        assert (
            await api.server.post(f"{MAIN}/tables/authors/columns/relationship", json=body)
        ).status_code == 202
        await put(api, "authors", "ada")
        await put(api, "books", "notes", by="ada")
        await put(api, "authors", "ada", best="notes")
        assert await delete(api, "authors", "ada") == 204
        assert (await ids(api, "authors"), await ids(api, "books")) == ([], [])

    async def test_user_cannot_delete_through_a_relationship_what_is_not_theirs(self, api: Api) -> None:
        permissions = ['read("any")', 'create("any")']
        await make_tables(api, "oneToMany", "cascade", permissions=permissions)
        opened = await api.server.put(
            f"{MAIN}/tables/books", json={"permissions": [*permissions, 'delete("any")']}
        )
        assert opened.status_code == 200
        await put(api, "authors", "ada")
        guest = api.guest()
        book = {"rowId": "trick", "data": {"by": ["ada"]}}
        assert (await guest.post(f"{MAIN}/tables/books/rows", json=book)).status_code == 201
        answer = await guest.delete(f"{MAIN}/tables/books/rows/trick")
        assert (answer.status_code, answer.json()["type"]) == (401, "user_unauthorized")
        assert (await ids(api, "authors"), await ids(api, "books")) == (["ada"], ["trick"])


class TestTransactions:
    async def test_reading_what_is_staged_deletes_and_tells_nothing(self, api: Api) -> None:
        await make_tables(api, "manyToOne", "cascade")
        await put(api, "authors", "ada")
        await put(api, "books", "notes", by="ada")
        before = await api.names()
        transaction = (await api.server.post("/v1/tablesdb/transactions", json={})).json()["$id"]
        path, staged = f"{MAIN}/tables/authors/rows/ada", {"transactionId": transaction}
        assert (await api.server.request("DELETE", path, json=staged)).status_code == 204
        seen = await api.server.get(f"{MAIN}/tables/books/rows", params=staged)
        assert seen.json()["rows"] == []
        assert await api.names() == before
        assert await ids(api, "books") == ["notes"]
        done = await api.server.patch(f"/v1/tablesdb/transactions/{transaction}", json={"commit": True})
        assert done.status_code == 200, done.text
        assert await ids(api, "books") == []
        assert (await api.names())[len(before) :] == [
            "tablesdb.main.tables.books.rows.notes.delete",
            "tablesdb.main.tables.authors.rows.ada.delete",
        ]


# Writers of SQLite come one after another.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
class TestLocks:
    async def test_deletion_that_another_one_waits_for_is_made_once_that_is_done(self, api: Api) -> None:
        await make_tables(api, "oneToOne", "cascade")
        await put(api, "authors", "ada")
        await put(api, "books", "notes", by="ada")
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            # Of the two that wait for each other, it is the request that is ended.
            await tx.connection.execute(sa.text("SET LOCAL deadlock_timeout = '10s'"))
            authors = await find_table(tx.connection, PROJECT, "main", "authors", words=TABLES)
            books = await find_table(tx.connection, PROJECT, "main", "books", words=TABLES)
            await find_row(tx.connection, authors, "ada", lock=True)
            deletion = asyncio.create_task(delete(api, "books", "notes"))
            await until_blocked(api)
            await find_row(tx.connection, books, "notes", lock=True)
        assert await deletion == 204
        assert (await ids(api, "authors"), await ids(api, "books")) == ([], [])
