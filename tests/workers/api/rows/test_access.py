"""Rows under permissions: guests, users and API keys at tables and rows that let them in, or not."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.api import Api

MakeTable = Callable[..., Awaitable[None]]
Login = Callable[..., Awaitable[httpx.AsyncClient]]

DATA = {"title": "x"}
ADA = ['read("user:ada")', 'update("user:ada")', 'delete("user:ada")']


def rows_of(table_id: str) -> str:
    return f"/v1/tablesdb/main/tables/{table_id}/rows"


async def add(api: Api, table_id: str, row_id: str, permissions: list[str]) -> None:
    body = {"rowId": row_id, "data": DATA, "permissions": permissions}
    assert (await api.server.post(rows_of(table_id), json=body)).status_code == 201


class TestRights:
    async def test_each_action_needs_its_own_permission(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        """The table decides about each role and action, and the row does besides if there is row security.

        What somebody may read but not change is forbidden to them; what they may not even read is not found.
        """
        ada = await login("ada")
        guest = api.guest()
        for place, granted, row_security in itertools.product(
            ("table", "row"), ("read", "update", "delete"), (False, True)
        ):
            table_id = f"{place}-{granted}-{row_security}"
            permissions = [f'{granted}("user:ada")']
            await make_table(
                table_id,
                permissions=permissions if place == "table" else [],
                row_security=row_security,
            )
            await add(api, table_id, "r", permissions if place == "row" else [])
            path = f"{rows_of(table_id)}/r"
            counts = place == "table" or row_security
            for client, holds in ((ada, True), (guest, False)):
                rights = {granted} if counts and holds else set()
                hidden = 401 if "read" in rights else 404
                assert (await client.get(path)).status_code == (200 if "read" in rights else 404)
                updated = await client.patch(path, json={"data": {"votes": 1}})
                assert updated.status_code == (200 if "update" in rights else hidden), (table_id, rights)
                counted = await client.patch(f"{path}/votes/increment", json={})
                assert counted.status_code == (200 if "update" in rights else hidden)
                upserted = await client.put(path, json={"data": DATA})
                assert upserted.status_code == (201 if "update" in rights else 401)
                deleted = await client.delete(path)
                assert deleted.status_code == (204 if "delete" in rights else hidden)

    async def test_who_may_change_and_not_read_is_shown_only_what_they_sent(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table("posts", permissions=['update("any")', 'create("any")'])
        path = f"{rows_of('posts')}/r"
        row = {"title": "secret", "votes": 7, "slug": "s"}
        body = {"rowId": "r", "data": row, "permissions": ['read("user:ada")']}
        whole = (await api.server.post(rows_of("posts"), json=body)).json()
        guest = api.guest()
        times = {"$createdAt", "$updatedAt"}
        head = {name: value for name, value in whole.items() if name[0] == "$" and name not in times}
        for answer, shown in (
            (await guest.patch(path, json={"data": {"score": 2.5}}), {"score": 2.5}),
            (await guest.put(path, json={"data": {"done": True}}), {"done": True}),
            (
                await guest.patch(path, json={"permissions": ['read("any")']}),
                {"$permissions": ['read("any")']},
            ),
            (await guest.patch(f"{path}/votes/increment", json={}), {}),
        ):
            assert answer.status_code in (200, 201), answer.text
            found = {name: value for name, value in answer.json().items() if name not in times}
            assert found == head | {"$permissions": []} | shown
        # The event, and who may read, have it all.
        assert (await api.published())[-1].payload["title"] == "secret"
        read = (await api.server.get(path)).json()
        assert (read["title"], read["votes"], read["score"]) == ("secret", 8, 2.5)
        # Who makes a row knows it.
        made = await guest.post(rows_of("posts"), json={"rowId": "new", "data": {"title": "x"}})
        assert (made.json()["title"], made.json()["votes"]) == ("x", 0)

    async def test_who_stages_a_change_and_may_not_read_is_shown_only_what_they_sent(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        await make_table("posts", permissions=['update("users")'])
        await add(api, "posts", "r", [])
        ada = await login("ada")
        transaction = (await ada.post("/v1/tablesdb/transactions", json={})).json()["$id"]
        body = {"data": {"score": 2.5}, "transactionId": transaction}
        shown = (await ada.patch(f"{rows_of('posts')}/r", json=body)).json()
        assert shown["score"] == 2.5
        assert "title" not in shown

    async def test_creating_is_for_the_table_to_allow(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        await make_table("open", permissions=['create("users")'], row_security=True)
        await make_table("closed", permissions=['read("any")', 'update("any")'], row_security=True)
        ada = await login("ada")
        body = {"rowId": "unique()", "data": DATA}
        assert (await ada.post(rows_of("open"), json=body)).status_code == 201
        for client, table_id in ((ada, "closed"), (api.guest(), "open"), (api.guest(), "closed")):
            refused = await client.post(rows_of(table_id), json=body)
            assert (refused.status_code, refused.json()["type"]) == (401, "user_unauthorized")
            refused = await client.put(f"{rows_of(table_id)}/new", json={"data": DATA})
            assert (refused.status_code, refused.json()["type"]) == (401, "user_unauthorized")

    async def test_keys_bypass_permissions_within_their_scopes(self, api: Api, make_table: MakeTable) -> None:
        await make_table("posts")
        reader = await api.add_key("rows.read")
        writer = await api.add_key("documents.write")
        assert (await writer.post(rows_of("posts"), json={"rowId": "r", "data": DATA})).status_code == 201
        assert (await reader.get(f"{rows_of('posts')}/r")).status_code == 200
        for refused in (
            await writer.get(f"{rows_of('posts')}/r"),
            await reader.delete(f"{rows_of('posts')}/r"),
        ):
            assert (refused.status_code, refused.json()["type"]) == (401, "general_unauthorized_scope")

    @pytest.mark.parametrize(
        ("state", "error"),
        [({"enabled": False}, "table_not_found"), ({"database_enabled": False}, "database_not_found")],
    )
    async def test_disabled_table_is_there_for_servers_only(
        self, api: Api, make_table: MakeTable, state: dict[str, Any], error: str
    ) -> None:
        await make_table("posts", permissions=['read("any")', 'create("any")'], **state)
        await add(api, "posts", "r", [])
        for refused in (
            await api.guest().get(f"{rows_of('posts')}/r"),
            await api.guest().get(rows_of("posts")),
            await api.guest().post(rows_of("posts"), json={"rowId": "s", "data": DATA}),
        ):
            assert (refused.status_code, refused.json()["type"]) == (404, error)


class TestGrants:
    async def test_creator_gets_the_rights_to_the_row(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        await make_table("posts", permissions=['create("any")'], row_security=True)
        body = {"rowId": "unique()", "data": DATA}
        by_user = await (await login("ada")).post(rows_of("posts"), json=body)
        assert by_user.json()["$permissions"] == ADA
        by_guest = await api.guest().post(rows_of("posts"), json=body)
        assert by_guest.json()["$permissions"] == []
        by_key = await api.server.post(rows_of("posts"), json=body)
        assert by_key.json()["$permissions"] == []

    async def test_user_grants_only_roles_that_they_hold(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        await make_table("posts", permissions=['create("users")'], row_security=True)
        ada = await login("ada", labels=["vip"])
        for number, (role, status) in enumerate(
            {
                "any": 201,
                "users": 201,
                "label:vip": 201,
                "guests": 401,
                "user:bob": 401,
                "team:red": 401,
            }.items()
        ):
            body = {"rowId": f"r{number}", "data": DATA, "permissions": [*ADA, f'read("{role}")']}
            created = await ada.post(rows_of("posts"), json=body)
            assert created.status_code == status, role
        assert created.json()["type"] == "user_unauthorized"
        assert created.json()["message"].startswith("Permissions must be one of: (any, label:vip, user")
        updated = await ada.patch(f"{rows_of('posts')}/r0", json={"permissions": ['read("user:bob")']})
        assert updated.status_code == 401

    async def test_permissions_among_the_data_grant_nothing(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        """A client that sends back a model, with the permissions in it, does not mean to change them."""
        await make_table("posts", permissions=['create("users")'], row_security=True)
        ada = await login("ada")
        data = DATA | {"$permissions": ['read("user:bob")'], "$createdAt": "2020-01-01T00:00:00Z"}
        created = (await ada.post(rows_of("posts"), json={"rowId": "r", "data": data})).json()
        assert created["$permissions"] == ADA
        assert not created["$createdAt"].startswith("2020")


class TestLists:
    async def test_list_holds_what_the_caller_may_read(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        await make_table("posts", row_security=True)
        await add(api, "posts", "hers", ['read("user:ada")', 'read("users")'])
        await add(api, "posts", "everyones", ['read("any")'])
        await add(api, "posts", "changeable", ['update("any")'])
        await add(api, "posts", "nobodys", [])
        for client, expected in (
            (await login("ada"), ["hers", "everyones"]),
            (api.guest(), ["everyones"]),
            (api.server, ["hers", "everyones", "changeable", "nobodys"]),
        ):
            shown = (await client.get(rows_of("posts"))).json()
            assert [row["$id"] for row in shown["rows"]] == expected
            assert shown["total"] == len(expected)

    async def test_permissions_that_were_taken_away_hide_the_row(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table("posts", row_security=True)
        await add(api, "posts", "r", ['read("any")'])
        path = f"{rows_of('posts')}/r"
        await api.server.patch(path, json={"permissions": ['update("any")']})
        assert (await api.guest().get(rows_of("posts"))).json() == {"total": 0, "rows": []}
        await api.server.patch(path, json={"permissions": ['read("guests")']})
        assert (await api.guest().get(rows_of("posts"))).json()["total"] == 1

    async def test_row_that_takes_the_place_of_a_deleted_one_is_not_shown_for_it(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table("posts", row_security=True)
        await add(api, "posts", "r", ['read("any")'])
        await api.server.delete(f"{rows_of('posts')}/r")
        await add(api, "posts", "r", [])
        assert (await api.guest().get(rows_of("posts"))).json()["total"] == 0

    async def test_table_without_row_security_lets_read_all_or_nothing(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        await make_table("posts", permissions=['read("users")'])
        await add(api, "posts", "r", ['read("any")'])
        assert (await (await login("ada")).get(rows_of("posts"))).json()["total"] == 1
        refused = await api.guest().get(rows_of("posts"))
        assert (refused.status_code, refused.json()["type"]) == (401, "user_unauthorized")

    async def test_caller_may_hold_more_roles_than_a_statement_has_parameters(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        await make_table("posts", permissions=['create("users")'], row_security=True)
        await add(api, "posts", "hers", ['read("label:l39999")'])
        await add(api, "posts", "his", ['read("user:bob")'])
        ada = await login("ada", labels=[f"l{number}" for number in range(40_000)])
        shown = (await ada.get(rows_of("posts"))).json()
        assert [row["$id"] for row in shown["rows"]] == ["hers"]
        body = {"rowId": "new", "data": DATA, "permissions": ['read("user:bob")']}
        refused = await ada.post(rows_of("posts"), json=body)
        assert refused.status_code == 401
        message = refused.json()["message"]
        assert len(message) < 1000
        assert message.endswith(", ...)")


class TestBulk:
    async def test_only_servers_change_many_rows_at_once(
        self, api: Api, make_table: MakeTable, login: Login
    ) -> None:
        await make_table("posts", permissions=['read("any")', 'write("any")'])
        ada = await login("ada")
        path = rows_of("posts")
        for refused in (
            await ada.post(path, json={"rows": [{"$id": "a"} | DATA]}),
            await ada.put(path, json={"rows": [{"$id": "a"} | DATA]}),
            await ada.patch(path, json={"data": DATA}),
            await ada.delete(path),
        ):
            assert (refused.status_code, refused.json()["type"]) == (401, "user_unauthorized")
