"""Listing, reading and deleting users."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import func, select

from realtime.identity.model import Project
from tests.api import PROJECT, Api, until_blocked
from workers.api.people.users import find_user
from workers.api.teams.lookup import find_team
from workers.store import tables

PEOPLE = [
    {"userId": "ada", "name": "Ada Lovelace", "email": "ada@example.com"},
    {"userId": "bob", "name": "Bob", "email": "bob@example.org", "phone": "+15550100"},
    {"userId": "eve", "name": "Eve"},
]

QUERIES: list[tuple[dict[str, Any], list[str]]] = [
    ({"method": "equal", "attribute": "email", "values": ["bob@example.org"]}, ["bob"]),
    ({"method": "equal", "attribute": "phone", "values": ["+15550100"]}, ["bob"]),
    ({"method": "equal", "attribute": "name", "values": ["Eve", "Bob"]}, ["bob", "eve"]),
    ({"method": "equal", "attribute": "status", "values": [False]}, ["bob"]),
    ({"method": "equal", "attribute": "emailVerification", "values": [True]}, ["ada"]),
    ({"method": "contains", "attribute": "labels", "values": ["vip"]}, ["eve"]),
    ({"method": "equal", "attribute": "impersonator", "values": [True]}, []),
    ({"method": "isNull", "attribute": "phone", "values": []}, ["ada", "eve"]),
    ({"method": "greaterThan", "attribute": "registration", "values": ["2020-01-01"]}, ["ada", "bob", "eve"]),
    ({"method": "orderDesc", "attribute": "name"}, ["eve", "bob", "ada"]),
    ({"method": "limit", "values": [1]}, ["ada"]),
    ({"method": "offset", "values": [2]}, ["eve"]),
    ({"method": "cursorAfter", "values": ["ada"]}, ["bob", "eve"]),
]

SEARCHES = {
    "love": ["ada"],
    "EXAMPLE.": ["ada", "bob"],
    "5550": ["bob"],
    "eve": ["eve"],
    "%": [],
    "_": [],
    "nobody": [],
}


@pytest.fixture
async def people(api: Api) -> list[dict[str, Any]]:
    """Three users, oldest first."""
    return [(await api.server.post("/v1/users", json=person)).json() for person in PEOPLE]


async def listed(api: Api, *queries: dict[str, Any], **params: str) -> dict[str, Any]:
    """Return the IDs of a list of users, and its total."""
    named = {f"queries[{number}]": json.dumps(query) for number, query in enumerate(queries)}
    response = await api.server.get("/v1/users", params=named | params)
    assert response.status_code == 200, response.text
    page = response.json()
    return {"total": page["total"], "ids": [user["$id"] for user in page["users"]]}


class TestList:
    async def test_no_query_lists_everybody_as_they_were_made(
        self, api: Api, people: list[dict[str, Any]]
    ) -> None:
        assert (await api.server.get("/v1/users")).json() == {"total": 3, "users": people}

    async def test_queries_choose_and_order(self, api: Api, people: list[dict[str, Any]]) -> None:
        await api.server.patch("/v1/users/bob/status", json={"status": False})
        await api.server.patch("/v1/users/ada/verification", json={"emailVerification": True})
        await api.server.put("/v1/users/eve/labels", json={"labels": ["vip"]})

        for query, ids in QUERIES:
            assert (await listed(api, query))["ids"] == ids, query

    async def test_search_looks_at_names_and_addresses(self, api: Api, people: list[dict[str, Any]]) -> None:
        for search, ids in SEARCHES.items():
            assert (await listed(api, search=search))["ids"] == ids, search

    async def test_total_counts_beyond_the_page_unless_it_is_not_asked_for(
        self, api: Api, people: list[dict[str, Any]]
    ) -> None:
        one = {"method": "limit", "values": [1]}

        assert await listed(api, one) == {"total": 3, "ids": ["ada"]}
        assert await listed(api, one, total="false") == {"total": 0, "ids": ["ada"]}

    async def test_password_is_nothing_to_list_by(self, api: Api) -> None:
        query = json.dumps({"method": "startsWith", "attribute": "password", "values": ["$argon2"]})

        response = await api.server.get("/v1/users", params={"queries[0]": query})

        assert response.status_code == 400
        assert response.json()["type"] == "general_query_invalid"


class TestGet:
    async def test_user_is_shown_as_they_were_made(self, api: Api, people: list[dict[str, Any]]) -> None:
        assert (await api.server.get("/v1/users/bob")).json() == people[1]

    async def test_nobody_is_not_found(self, api: Api) -> None:
        response = await api.server.get("/v1/users/nobody")

        assert response.status_code == 404
        assert response.json()["type"] == "user_not_found"


class TestDelete:
    async def test_everything_of_the_user_is_deleted_and_nothing_of_others(
        self, api: Api, people: list[dict[str, Any]]
    ) -> None:
        await api.server.post("/v1/teams", json={"teamId": "red", "name": "Red"})
        for user_id in ("ada", "bob"):
            await api.server.post(f"/v1/users/{user_id}/sessions")
            await api.server.post(f"/v1/users/{user_id}/tokens", json={})
            body = {"userId": user_id, "roles": ["player"], "url": "http://localhost"}
            assert (await api.server.post("/v1/teams/red/memberships", json=body)).status_code == 201

        response = await api.server.delete("/v1/users/bob")

        assert response.status_code == 204
        assert not response.content
        assert (await api.server.get("/v1/users/bob")).status_code == 404
        owned = (tables.sessions, tables.tokens, tables.targets, tables.memberships)
        async with api.services.store.read() as connection:
            for table in owned:
                counted = select(table.c.user_id, func.count()).group_by(table.c.user_id)
                assert (await connection.execute(counted)).all() == [("ada", 1)], table.name
        assert (await api.server.get("/v1/teams/red")).json()["total"] == 1

    async def test_transactions_of_the_user_do_not_pass_to_the_next_one_of_that_id(
        self, api: Api, people: list[dict[str, Any]]
    ) -> None:
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            times = {"created_at": tx.now_text, "updated_at": tx.now_text}
            for user_id in ("ada", "bob", ""):
                opened = {"id": f"by-{user_id}", "user_id": user_id, "status": "pending", **times}
                opened |= {"project_id": PROJECT, "expires_at": "2999-01-01T00:00:00.000+00:00"}
                await tx.connection.execute(tables.transactions.insert().values(opened))
                staged = {"project_id": PROJECT, "transaction_id": f"by-{user_id}", "operation": {}}
                await tx.connection.execute(tables.operations.insert().values(staged))

        await api.server.delete("/v1/users/bob")

        async with api.services.store.read() as connection:
            for column in (tables.transactions.c.id, tables.operations.c.transaction_id):
                assert (await connection.execute(select(column).order_by(column))).scalars().all() == [
                    "by-",
                    "by-ada",
                ]

    async def test_it_waits_for_who_takes_the_user_into_a_team_without_holding_the_team(
        self, api: Api, people: list[dict[str, Any]]
    ) -> None:
        await api.server.post("/v1/teams", json={"teamId": "red", "name": "Red"})
        body = {"userId": "bob", "roles": [], "url": "http://localhost"}
        await api.server.post("/v1/teams/red/memberships", json=body)
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await find_user(tx.connection, PROJECT, "bob", lock=True)
            deleting = asyncio.create_task(api.server.delete("/v1/users/bob"))
            if tx.connection.dialect.name == "postgresql":
                await until_blocked(api)
            # Those who delete somebody while holding the team would wait for us, and we for them.
            await asyncio.wait_for(find_team(tx.connection, PROJECT, "red", lock=True), 0.5)
        assert (await deleting).status_code == 204

    async def test_event_tells_who_it_was_to_whoever_held_the_role(
        self, api: Api, people: list[dict[str, Any]]
    ) -> None:
        await api.server.delete("/v1/users/bob")

        event = (await api.published())[-1]
        assert event.name == "users.bob.delete"
        assert event.roles == ["user:bob"]
        assert event.payload["email"] == "bob@example.org"
        assert [target["identifier"] for target in event.payload["targets"]] == [
            "bob@example.org",
            "+15550100",
        ]
        assert "password" not in event.payload

    async def test_user_is_gone_for_hubs_when_the_answer_comes(
        self, api: Api, people: list[dict[str, Any]]
    ) -> None:
        assert await api.services.identities.get_user("demo", "bob") is not None

        await api.server.delete("/v1/users/bob")

        assert await api.services.identities.get_user("demo", "bob") is None

    async def test_id_and_addresses_may_be_used_again(self, api: Api, people: list[dict[str, Any]]) -> None:
        await api.server.delete("/v1/users/bob")

        response = await api.server.post("/v1/users", json=PEOPLE[1])

        assert response.status_code == 201
        assert len(response.json()["targets"]) == 2

    async def test_nobody_is_not_found(self, api: Api) -> None:
        assert (await api.server.delete("/v1/users/nobody")).status_code == 404
        assert await api.names() == []
