"""Rows lead only to rows that are there and that whoever makes them lead there may read, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from realtime.identity.model import Project
from tests.api import PROJECT, Api, until_blocked
from workers.api.databases.lookup import find_table
from workers.api.databases.words import TABLES
from workers.api.rows import references
from workers.api.rows.statements import delete_rows, find_row

Login = Callable[..., Awaitable[httpx.AsyncClient]]

MAIN = "/v1/tablesdb/main"
BOOKS = f"{MAIN}/tables/books/rows"
AUTHORS = f"{MAIN}/tables/authors/rows"


@pytest.fixture
async def make_tables(api: Api) -> Callable[..., Awaitable[None]]:
    """Make the tables `authors` and `books`, of which the second leads to the first by `by`; a row `ada` for Ada."""

    async def make(relation_type: str = "manyToOne", **authors: Any) -> None:
        await api.server.post("/v1/tablesdb", json={"databaseId": "main", "name": "Main"})
        open_ = {"permissions": ['read("any")', 'write("any")']}
        for name, members in (("authors", {"rowSecurity": True} | authors), ("books", open_)):
            body = {"tableId": name, "name": name} | members
            made = await api.server.post(f"{MAIN}/tables", json=body)
            assert made.status_code == 201, made.text
        relation = {"relatedTableId": "authors", "type": relation_type, "key": "by"}
        made = await api.server.post(f"{MAIN}/tables/books/columns/relationship", json=relation)
        assert made.status_code == 202, made.text
        ada = {"rowId": "ada", "data": {}, "permissions": ['read("user:ada")', 'delete("user:ada")']}
        assert (await api.server.post(AUTHORS, json=ada)).status_code == 201

    return make


MakeTables = Callable[..., Awaitable[None]]


async def put(client: httpx.AsyncClient, row_id: str, by: Any) -> httpx.Response:
    return await client.put(f"{BOOKS}/{row_id}", json={"data": {"by": by}})


class TestCheckReferences:
    async def test_row_that_may_not_be_read_is_refused_like_one_that_is_not_there(
        self, api: Api, make_tables: MakeTables, login: Login
    ) -> None:
        await make_tables()
        ada, bob = await login("ada"), await login("bob")
        assert (await put(bob, "trap", None)).status_code == 201
        for row_id in ("ada", "nobody"):
            for refused in (
                await put(bob, "new", row_id),
                await put(bob, "trap", row_id),
                await bob.post(BOOKS, json={"rowId": "new", "data": {"by": row_id}}),
                await bob.patch(f"{BOOKS}/trap", json={"data": {"by": row_id}}),
            ):
                assert (refused.status_code, refused.json()["type"]) == (400, "row_invalid_structure")
                assert refused.json()["message"].endswith(
                    f'Attribute "by" leads to "{row_id}", which could not be found'
                )
        # So nothing keeps Ada from deleting what is hers.
        assert (await put(ada, "hers", "ada")).status_code == 201
        assert (await ada.delete(f"{BOOKS}/hers")).status_code == 204
        assert (await ada.delete(f"{AUTHORS}/ada")).status_code == 204

    async def test_table_that_is_disabled_is_not_to_be_led_to(
        self, api: Api, make_tables: MakeTables, login: Login
    ) -> None:
        await make_tables(enabled=False)
        assert (await put(await login("ada"), "new", "ada")).status_code == 400
        assert (await put(api.server, "new", "ada")).status_code == 201

    async def test_api_keys_may_lead_to_every_row_that_is_there(
        self, api: Api, make_tables: MakeTables
    ) -> None:
        await make_tables("manyToMany")
        assert (await put(api.server, "new", ["ada", None])).status_code == 201
        rows = [{"$id": "one", "by": ["ada"]}, {"$id": "two", "by": ["ada", "nobody"]}]
        for refused in (
            await api.server.post(BOOKS, json={"rows": rows}),
            await api.server.put(BOOKS, json={"rows": rows}),
            await api.server.patch(BOOKS, json={"data": {"by": ["ada", "nobody"]}}),
        ):
            assert (refused.status_code, refused.json()["type"]) == (400, "row_invalid_structure")
        assert (await api.server.get(BOOKS)).json()["total"] == 1

    async def test_only_what_is_added_is_judged(
        self, api: Api, make_tables: MakeTables, login: Login
    ) -> None:
        await make_tables("manyToMany")
        for author in ("bob", "gone"):
            assert (await api.server.put(f"{AUTHORS}/{author}", json={"data": {}})).status_code == 201
        assert (await put(api.server, "new", ["ada", "bob", "gone"])).status_code == 201
        assert (await api.server.delete(f"{AUTHORS}/gone")).status_code == 204
        guest = api.guest()
        assert (await put(guest, "new", ["gone", "ada"])).status_code == 201
        assert (await put(guest, "new", ["gone", "ada", "bob"])).status_code == 400

    async def test_list_that_leads_to_too_many_is_refused(
        self, api: Api, make_tables: MakeTables, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(references, "MAX_REFERENCES", 1)
        await make_tables("manyToMany")
        assert (await api.server.put(f"{AUTHORS}/bob", json={"data": {}})).status_code == 201
        assert (await put(api.server, "new", ["ada", "bob"])).status_code == 400
        assert (await put(api.server, "new", ["ada", "ada"])).status_code == 201
        assert (await put(api.server, "new", ["ada", "bob"])).status_code == 201

    async def test_rows_of_one_transaction_lead_to_each_other(
        self, api: Api, make_tables: MakeTables
    ) -> None:
        await make_tables()
        transactions = f"{MAIN.rpartition('/')[0]}/transactions"
        for author, status in (("new", 200), ("nobody", 400)):
            transaction = (await api.server.post(transactions, json={})).json()["$id"]
            staged = {"transactionId": transaction, "data": {}}
            made = await api.server.put(f"{AUTHORS}/new", json=staged)
            assert made.status_code == 201
            book = staged | {"data": {"by": author}}
            assert (await api.server.put(f"{BOOKS}/{author}", json=book)).status_code == 201
            path = f"{transactions}/{transaction}"
            assert (await api.server.patch(path, json={"commit": True})).status_code == status


# Writers of SQLite come one after another.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
class TestLocks:
    async def test_row_that_is_being_deleted_cannot_be_led_to(
        self, api: Api, make_tables: MakeTables
    ) -> None:
        await make_tables()
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            authors = await find_table(tx.connection, PROJECT, "main", "authors", words=TABLES)
            row = await find_row(tx.connection, authors, "ada", lock=True)
            assert row is not None
            book = asyncio.create_task(put(api.server, "new", "ada"))
            await until_blocked(api)
            await delete_rows(tx.connection, authors, [row["seq"]])
        assert (await book).status_code == 400
