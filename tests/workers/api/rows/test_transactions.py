"""Transactions: operations are staged, seen as if they were made, and made together or not at all."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from realtime.identity.model import Project
from tests.api import PROJECT, Api, until_blocked
from workers.api.databases.lookup import find_table
from workers.api.databases.words import TABLES
from workers.api.rows.statements import find_row
from workers.store import tables
from workers.store.row_tables import rows_table

MakeTable = Callable[..., Awaitable[None]]
Login = Callable[..., Awaitable[httpx.AsyncClient]]

ROWS = "/v1/tablesdb/main/tables/posts/rows"
DOCUMENTS = "/v1/databases/main/collections/posts/documents"
TRANSACTIONS = "/v1/tablesdb/transactions"
LONG_AGO = "2020-01-01T00:00:00.000+00:00"


async def begin(client: httpx.AsyncClient, path: str = TRANSACTIONS, **body: Any) -> str:
    opened = await client.post(path, json=body)
    assert opened.status_code == 201, opened.text
    transaction_id: str = opened.json()["$id"]
    return transaction_id


async def end(client: httpx.AsyncClient, transaction_id: str, **body: Any) -> httpx.Response:
    return await client.patch(f"{TRANSACTIONS}/{transaction_id}", json=body or {"commit": True})


async def status_of(client: httpx.AsyncClient, transaction_id: str) -> str:
    status: str = (await client.get(f"{TRANSACTIONS}/{transaction_id}")).json()["status"]
    return status


async def create(client: httpx.AsyncClient, row_id: str, **body: Any) -> httpx.Response:
    return await client.post(ROWS, json={"rowId": row_id, "data": {"title": "x"}} | body)


async def expire(api: Api, expires_at: str) -> None:
    async with api.services.store.write(Project(id=PROJECT)) as tx:
        await tx.connection.execute(tables.transactions.update().values(expires_at=expires_at))


def operation(action: str, row_id: str = "", data: Any = None, **rest: Any) -> dict[str, Any]:
    found = {"action": action, "databaseId": "main", "tableId": "posts", "data": data} | rest
    return found | ({"rowId": row_id} if row_id else {})


class TestLifetime:
    async def test_transaction_is_opened_shown_listed_and_deleted(self, api: Api) -> None:
        opened = await api.server.post("/v1/databases/transactions", json={"ttl": 60})
        assert opened.status_code == 201
        model = opened.json()
        assert (model["status"], model["operations"]) == ("pending", 0)
        assert model["expiresAt"] > model["$createdAt"]
        path = f"{TRANSACTIONS}/{model['$id']}"
        assert (await api.server.get(path)).json() == model
        assert (await api.server.get(TRANSACTIONS)).json() == {"total": 1, "transactions": [model]}
        query = json.dumps({"method": "equal", "attribute": "status", "values": ["failed"]})
        assert (await api.server.get(TRANSACTIONS, params={"queries[0]": query})).json()["total"] == 0
        assert (await api.server.delete(path)).status_code == 204
        for gone in (await api.server.get(path), await api.server.delete(path)):
            assert (gone.status_code, gone.json()["type"]) == (404, "transaction_not_found")

    async def test_bounds_are_checked(self, api: Api) -> None:
        for body in ({"ttl": 59}, {"ttl": 3601}, {"ttl": "soon"}):
            assert (await api.server.post(TRANSACTIONS, json=body)).status_code == 400
        assert (await api.server.post(TRANSACTIONS)).status_code == 201
        transaction_id = await begin(api.server)
        for ending in ({"commit": True, "rollback": True}, {"commit": False}):
            assert (await end(api.server, transaction_id, **ending)).status_code == 400
        assert await status_of(api.server, transaction_id) == "pending"

    async def test_users_have_their_own_and_guests_none(self, api: Api, login: Login) -> None:
        ada, bob = await login("ada"), await login("bob")
        hers = await begin(ada)
        servers = await begin(api.server)
        assert (await ada.get(TRANSACTIONS)).json()["total"] == 1
        assert (await bob.get(TRANSACTIONS)).json()["total"] == 0
        assert (await api.server.get(TRANSACTIONS)).json()["total"] == 2
        for client, transaction_id in (
            (bob, hers),
            (ada, servers),
            (api.guest(), hers),
            (api.guest(), servers),
        ):
            for refused in (
                await client.get(f"{TRANSACTIONS}/{transaction_id}"),
                await end(client, transaction_id),
                await client.delete(f"{TRANSACTIONS}/{transaction_id}"),
            ):
                assert refused.status_code == 404
        refused = await api.guest().post(TRANSACTIONS, json={})
        assert (refused.status_code, refused.json()["type"]) == (401, "user_unauthorized")

    async def test_expired_transaction_takes_nothing_and_is_forgotten_a_day_later(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        transaction_id = await begin(api.server)
        await create(api.server, "r", transactionId=transaction_id)
        await expire(api, "2026-01-01T00:00:00.000+00:00")
        for refused in (
            await create(api.server, "s", transactionId=transaction_id),
            await end(api.server, transaction_id),
            await end(api.server, transaction_id, rollback=True),
        ):
            assert (refused.status_code, refused.json()["type"]) == (410, "transaction_expired")
        assert await status_of(api.server, transaction_id) == "pending"
        await expire(api, LONG_AGO)
        await begin(api.server)
        assert (await api.server.get(f"{TRANSACTIONS}/{transaction_id}")).status_code == 404
        async with api.services.store.read() as connection:
            assert (await connection.execute(tables.operations.select())).first() is None


class TestStage:
    async def test_staged_changes_are_answered_as_if_made(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api.server, "old")
        transaction_id = await begin(api.server)
        staged = {"transactionId": transaction_id}
        created = await create(api.server, "r", **staged)
        assert created.status_code == 201
        assert (created.json()["title"], created.json()["votes"]) == ("x", 0)
        updated = await api.server.patch(f"{ROWS}/r", json={"data": {"votes": 5}} | staged)
        assert (updated.json()["title"], updated.json()["votes"]) == ("x", 5)
        counted = await api.server.patch(f"{ROWS}/r/votes/increment", json=staged)
        assert counted.json()["votes"] == 6
        upserted = await api.server.put(f"{ROWS}/old", json={"data": {"votes": 1}} | staged)
        assert (upserted.status_code, upserted.json()["title"]) == (201, "x")
        deleted = await api.server.request("DELETE", f"{ROWS}/old", json=staged)
        assert deleted.status_code == 204
        again = await api.server.request("DELETE", f"{ROWS}/old", json=staged)
        assert again.status_code == 404
        assert (await api.server.get(f"{TRANSACTIONS}/{transaction_id}")).json()["operations"] == 5

    async def test_reading_sees_them_only_within_the_transaction(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        await create(api.server, "old")
        transaction_id = await begin(api.server)
        await create(api.server, "new", transactionId=transaction_id)
        await api.server.request("DELETE", f"{ROWS}/old", json={"transactionId": transaction_id})
        inside = {"transactionId": transaction_id}
        assert (await api.server.get(f"{ROWS}/new", params=inside)).status_code == 200
        assert (await api.server.get(f"{ROWS}/old", params=inside)).status_code == 404
        shown = (await api.server.get(ROWS, params=inside)).json()
        assert [row["$id"] for row in shown["rows"]] == ["new"]
        assert (await api.server.get(f"{ROWS}/new")).status_code == 404
        shown = (await api.server.get(ROWS)).json()
        assert [row["$id"] for row in shown["rows"]] == ["old"]
        assert len(await api.names()) == 1

    async def test_what_would_be_refused_is_refused_at_once(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        await make_table(permissions=['create("users")'], row_security=True)
        await create(api.server, "servers")
        ada = await login("ada")
        transaction_id = await begin(ada)
        staged = {"transactionId": transaction_id}
        assert (await create(ada, "hers", **staged)).status_code == 201
        for refused, status in (
            (await create(ada, "hers", **staged), 409),
            (await create(ada, "r", data={}, **staged), 400),
            (await create(ada, "r", permissions=['read("user:bob")'], **staged), 401),
            (await ada.patch(f"{ROWS}/servers", json={"data": {"votes": 1}} | staged), 404),
            (await ada.patch(f"{ROWS}/none", json={"data": {"votes": 1}} | staged), 404),
            (await create(ada, "r", transactionId="none"), 404),
        ):
            assert refused.status_code == status, refused.text
        assert (await ada.get(f"{TRANSACTIONS}/{transaction_id}")).json()["operations"] == 1

    async def test_users_stage_a_hundred_at_most(self, api: Api, make_table: MakeTable, login: Login) -> None:
        await make_table(permissions=['create("users")'])
        ada = await login("ada")
        transaction_id = await begin(ada)
        operations = [operation("create", f"r{number}", {"title": "x"}) for number in range(100)]
        path = f"{TRANSACTIONS}/{transaction_id}/operations"
        staged = await ada.post(path, json={"operations": operations})
        assert (staged.status_code, staged.json()["operations"]) == (201, 100)
        refused = await create(ada, "more", transactionId=transaction_id)
        assert (refused.status_code, refused.json()["type"]) == (400, "transaction_limit_exceeded")
        by_key = await create(api.server, "more", transactionId=transaction_id)
        assert by_key.status_code == 201


class TestOperations:
    async def test_every_action_is_made_on_commit(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await api.server.post(
            ROWS, json={"rows": [{"$id": row_id, "title": "x"} for row_id in ("a", "b", "c")]}
        )
        before = len(await api.names())
        equal = json.dumps({"method": "equal", "attribute": "$id", "values": ["c"]})
        operations = [
            operation("create", "n", {"title": "new"}, permissions=['read("any")']),
            operation("update", "a", {"title": "A"}),
            operation("upsert", "b", {"title": "B"}),
            operation("increment", "a", {"column": "votes", "value": 3, "max": 5}),
            operation("decrement", "a", {"column": "votes"}),
            operation("delete", "n"),
            operation("bulkCreate", data=[{"$id": "d", "title": "d"}, {"$id": "e", "title": "e"}]),
            operation("bulkUpsert", data=[{"$id": "d", "title": "D"}, {"$id": "f", "title": "F"}]),
            operation("bulkUpdate", data={"data": {"done": True}, "queries": []}),
            operation("bulkDelete", data={"queries": [equal]}),
        ]
        transaction_id = await begin(api.server)
        staged = await api.server.post(
            f"{TRANSACTIONS}/{transaction_id}/operations", json={"operations": operations}
        )
        assert staged.status_code == 201, staged.text
        assert len(await api.names()) == before
        committed = await end(api.server, transaction_id)
        assert (committed.status_code, committed.json()["status"]) == (200, "committed")
        shown = (await api.server.get(ROWS)).json()["rows"]
        assert [(row["$id"], row["title"], row["votes"], row["done"]) for row in shown] == [
            ("a", "A", 2, True), ("b", "B", 0, True), ("d", "D", 0, True), ("e", "e", 0, True), ("f", "F", 0, True),
        ]  # fmt: skip
        # One event for each single operation, an upsert told as an update; none for bulk ones.
        assert [name.rpartition(".rows.")[2] for name in (await api.names())[before:]] == [
            "n.create", "a.update", "b.update", "a.update", "a.update", "n.delete",
        ]  # fmt: skip

    async def test_documents_are_staged_in_their_words(self, api: Api, make_table: MakeTable) -> None:
        await make_table(database_type="legacy")
        transaction_id = await begin(api.server, "/v1/databases/transactions")
        base = {"databaseId": "main", "collectionId": "posts", "documentId": "r"}
        operations = [
            base | {"action": "create", "data": {"title": "x"}},
            base | {"action": "increment", "data": {"attribute": "votes"}},
        ]
        path = f"/v1/databases/transactions/{transaction_id}/operations"
        assert (await api.server.post(path, json={"operations": operations})).status_code == 201
        assert (await end(api.server, transaction_id)).status_code == 200
        events = await api.published()
        assert events[1].name == "databases.main.collections.posts.documents.r.update"
        assert events[1].payload["$collectionId"] == "posts"
        assert events[1].payload["votes"] == 1

    async def test_operation_that_is_none_refuses_all(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        await make_table(permissions=['write("users")'])
        ada = await login("ada")
        transaction_id = await begin(ada)
        path = f"{TRANSACTIONS}/{transaction_id}/operations"
        good = operation("create", "r", {"title": "x"})
        for bad, status in (
            ("x", 400),
            ({}, 400),
            (operation("explode", "s", {}), 400),
            (operation("create", "s"), 400),
            (operation("create", "-", {"title": "x"}), 400),
            (operation("create", data={"title": "x"}), 400),
            (operation("update", data={"title": "x"}), 400),
            (operation("create", "s", {"title": "x"}, databaseId=5), 400),
            (operation("create", "s", {"title": "x"}, tableId="none"), 404),
            (operation("increment", "r", {"column": "title"}), 400),
            (operation("bulkDelete", data={}), 401),
        ):
            refused = await ada.post(path, json={"operations": [good, bad]})
            assert refused.status_code == status, (bad, refused.text)
        for operations in ([], "x", [good] * 1001):
            assert (await ada.post(path, json={"operations": operations})).status_code == 400
        assert (await ada.get(f"{TRANSACTIONS}/{transaction_id}")).json()["operations"] == 0

    async def test_bulk_requests_can_be_staged(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        staged = {"transactionId": await begin(api.server)}
        rows = [{"$id": "a", "title": "x"}]
        empty = {"total": 0, "rows": []}
        for answer, status in (
            (await api.server.post(ROWS, json={"rows": rows} | staged), 201),
            (await api.server.put(ROWS, json={"rows": rows} | staged), 201),
            (await api.server.patch(ROWS, json={"data": {"votes": 3}} | staged), 200),
        ):
            assert (answer.status_code, answer.json()) == (status, empty)
        assert (await end(api.server, staged["transactionId"])).status_code == 200
        [row] = (await api.server.get(ROWS)).json()["rows"]
        assert (row["$id"], row["votes"]) == ("a", 3)
        assert await api.names() == []
        deleting = {"transactionId": await begin(api.server)}
        await api.server.request("DELETE", ROWS, json=deleting)
        assert (await end(api.server, deleting["transactionId"])).status_code == 200
        assert (await api.server.get(ROWS)).json() == empty


class TestEnd:
    async def test_rollback_leaves_nothing_and_tells_nothing(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        transaction_id = await begin(api.server)
        await create(api.server, "r", transactionId=transaction_id)
        ended = await end(api.server, transaction_id, rollback=True)
        assert (ended.status_code, ended.json()["status"]) == (200, "rolled_back")
        assert (await api.server.get(f"{ROWS}/r")).status_code == 404
        assert await api.names() == []
        for refused in (
            await end(api.server, transaction_id),
            await create(api.server, "s", transactionId=transaction_id),
            await api.server.get(ROWS, params={"transactionId": transaction_id}),
        ):
            assert (refused.status_code, refused.json()["type"]) == (400, "transaction_not_ready")
        assert await status_of(api.server, transaction_id) == "rolled_back"

    @pytest.mark.parametrize("foreign", ["update", "delete", "create", "unique"])
    async def test_change_by_others_is_a_conflict_that_undoes_all(
        self, api: Api, make_table: MakeTable, foreign: str
    ) -> None:
        await make_table()
        await create(api.server, "old")
        transaction_id = await begin(api.server)
        staged = {"transactionId": transaction_id}
        await create(api.server, "first", **staged)
        await create(api.server, "new", data={"title": "x", "slug": "s"}, **staged)
        await api.server.patch(f"{ROWS}/old", json={"data": {"votes": 1}} | staged)
        match foreign:
            case "update":
                # Later than the staging, whatever the resolution of the clock.
                data = {"votes": 2, "$updatedAt": "2099-01-01T00:00:00Z"}
                assert (await api.server.patch(f"{ROWS}/old", json={"data": data})).status_code == 200
            case "delete":
                await api.server.delete(f"{ROWS}/old")
            case "create":
                await create(api.server, "new")
            case "unique":
                await create(api.server, "other", data={"title": "x", "slug": "s"})
        before = await api.names()
        refused = await end(api.server, transaction_id)
        assert (refused.status_code, refused.json()["type"]) == (409, "transaction_conflict")
        assert await status_of(api.server, transaction_id) == "failed"
        assert (await api.server.get(f"{ROWS}/first")).status_code == 404
        assert await api.names() == before

    async def test_counts_by_others_are_no_conflict(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api.server, "r")
        transaction_id = await begin(api.server)
        staged = {"transactionId": transaction_id}
        await api.server.patch(f"{ROWS}/r/votes/increment", json={"value": 2} | staged)
        data = {"votes": 10, "$updatedAt": "2099-01-01T00:00:00Z"}
        await api.server.patch(f"{ROWS}/r", json={"data": data})
        assert (await end(api.server, transaction_id)).status_code == 200
        assert (await api.server.get(f"{ROWS}/r")).json()["votes"] == 12

    async def test_right_that_was_lost_refuses_the_commit(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        await make_table(permissions=['read("any")'], row_security=True)
        await create(api.server, "r", permissions=['update("user:ada")'])
        ada = await login("ada")
        transaction_id = await begin(ada)
        staged = {"transactionId": transaction_id}
        assert (await ada.patch(f"{ROWS}/r", json={"data": {"votes": 1}} | staged)).status_code == 200
        body = {"permissions": [], "data": {"$updatedAt": "2020-01-01T00:00:00Z"}}
        await api.server.patch(f"{ROWS}/r", json=body)
        refused = await end(ada, transaction_id)
        assert (refused.status_code, refused.json()["type"]) == (401, "user_unauthorized")
        assert await status_of(ada, transaction_id) == "failed"

    async def test_key_that_commits_for_a_user_acts_with_their_rights(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        await make_table(permissions=['create("users")'], row_security=True)
        ada = await login("ada")
        transaction_id = await begin(ada)
        await create(ada, "hers", transactionId=transaction_id)
        await create(api.server, "servers", transactionId=transaction_id, permissions=['read("user:bob")'])
        committed = await end(api.server, transaction_id)
        assert committed.json()["status"] == "committed"
        shown = (await api.server.get(ROWS)).json()["rows"]
        assert [row["$permissions"] for row in shown] == [
            ['read("user:ada")', 'update("user:ada")', 'delete("user:ada")'],
            ['read("user:bob")'],
        ]

    async def test_key_cannot_commit_for_a_user_who_is_gone(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        await make_table(permissions=['create("users")'])
        ada = await login("ada")
        transaction_id = await begin(ada)
        await create(ada, "hers", transactionId=transaction_id)
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await tx.connection.execute(tables.users.delete())
            tx.change_user("ada")
        assert (await end(api.server, transaction_id)).status_code == 401


# Writers of SQLite come one after another.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
class TestLocks:
    async def test_rows_are_locked_in_one_order_whatever_order_they_were_staged_in(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        for row_id in ("a", "b"):
            await create(api.server, row_id)
        transaction = await begin(api.server)
        operations = [operation("increment", row_id, {"column": "votes"}) for row_id in ("b", "a")]
        staged = await api.server.post(
            f"{TRANSACTIONS}/{transaction}/operations", json={"operations": operations}
        )
        assert staged.status_code == 201, staged.text
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            record = await find_table(tx.connection, PROJECT, "main", "posts", words=TABLES)
            await find_row(tx.connection, record, "a", lock=True)
            commit = asyncio.create_task(end(api.server, transaction))
            await until_blocked(api)
            rows = rows_table(record)
            # Fails at once if the commit has locked it already.
            free = await tx.connection.execute(
                rows.select().where(rows.c.id == "b").with_for_update(nowait=True)
            )
            assert free.first() is not None
        assert (await commit).json()["status"] == "committed"
