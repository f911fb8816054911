"""Teams themselves, on both databases."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from realtime.identity.jwt import mint
from realtime.identity.model import Project
from tests.api import PROJECT, Api
from workers.api import rates
from workers.api.teams.lookup import MAX_ROLES
from workers.store import tables

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]


BAD_TEAMS: tuple[dict[str, object], ...] = (
    {"name": "Red"},
    {"teamId": "red"},
    {"teamId": "-red", "name": "Red"},
    {"teamId": "r" * 37, "name": "Red"},
    {"teamId": "red", "name": ""},
    {"teamId": "red", "name": "r" * 129},
    {"teamId": "red", "name": 1},
    {"teamId": "red", "name": "Red", "roles": "owner"},
    {"teamId": "red", "name": "Red", "roles": ["own/er"]},
    {"teamId": "red", "name": "Red", "roles": ["owner\n"]},
    {"teamId": "red", "name": "Red", "roles": ["r" * 37]},
    {"teamId": "red", "name": "Red", "roles": [f"r{number}" for number in range(101)]},
)


async def create(client: httpx.AsyncClient, team_id: str, name: str = "Red") -> httpx.Response:
    return await client.post("/v1/teams", json={"teamId": team_id, "name": name})


class TestCreate:
    async def test_user_who_creates_becomes_owner(self, api: Api, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        response = await create(ada, "red")
        assert response.status_code == 201
        team = response.json()
        assert team == {
            "$id": "red",
            "$createdAt": team["$createdAt"],
            "$updatedAt": team["$createdAt"],
            "name": "Red",
            "total": 1,
            "prefs": {},
        }
        members = (await ada.get("/v1/teams/red/memberships")).json()
        assert members["total"] == 1
        (membership,) = members["memberships"]
        assert membership["userId"] == "ada"
        assert membership["roles"] == ["owner"]
        assert membership["confirm"] is True

    async def test_user_may_choose_the_roles_they_get(self, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        body = {"teamId": "red", "name": "Red", "roles": ["owner", "developer", "owner"]}
        await ada.post("/v1/teams", json=body)
        (membership,) = (await ada.get("/v1/teams/red/memberships")).json()["memberships"]
        assert membership["roles"] == ["owner", "developer"]

    async def test_event_reaches_the_creator_with_their_new_roles(self, api: Api, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        team = (await create(ada, "red")).json()
        event = (await api.published())[-1]
        assert event.events == ["teams.red.create", "teams.*.create", "teams.red", "teams.*"]
        assert event.channels == ["teams", "teams.red", "teams.create", "teams.red.create"]
        assert event.roles == ["team:red"]
        assert event.payload == team
        assert event.user_id == "ada"
        assert event.permissions_changed

    async def test_key_makes_a_team_without_members(self, api: Api) -> None:
        team = (await create(api.server, "unique()")).json()
        assert team["total"] == 0
        assert len(team["$id"]) == 20
        (event,) = await api.published()
        assert event.user_id is None

    async def test_id_that_is_taken_is_refused(self, api: Api) -> None:
        await create(api.server, "red")
        response = await create(api.server, "red", "Other")
        assert response.status_code == 409
        assert response.json()["type"] == "team_already_exists"
        assert await api.names() == ["teams.red.create"]

    async def test_token_without_a_user_makes_no_team(self, api: Api) -> None:
        token = mint({"sub": "elsewhere", "exp": 2**31}, api.settings.secrets[-1])
        response = await create(api.guest(**{"X-Appwrite-JWT": token}), "red")
        assert (response.status_code, response.json()["type"]) == (404, "user_not_found")
        assert await api.published() == []

    async def test_body_that_breaks_a_rule_is_refused(self, api: Api) -> None:
        for body in BAD_TEAMS:
            response = await api.server.post("/v1/teams", json=body)
            assert (response.status_code, response.json()["type"]) == (400, "general_argument_invalid"), body
        assert await api.published() == []


class TestBounds:
    """What one person may come to hold."""

    @pytest.fixture
    async def full(self, api: Api, sign_up: SignUp) -> httpx.AsyncClient:
        """Ada, who owns one team and holds all roles but one that anybody may."""
        ada = await sign_up("ada")
        await create(ada, "own")
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            held = await tx.connection.execute(tables.memberships.select())
            row = {**held.mappings().one(), "id": "m", "team_id": "red", "roles": ["r"] * (MAX_ROLES - 6)}
            del row["seq"]
            await tx.connection.execute(tables.memberships.insert().values(row))
            tx.change_user("ada")
        return ada

    async def test_further_team_or_role_is_refused_and_leaves_nothing(
        self, api: Api, full: httpx.AsyncClient
    ) -> None:
        own = (await full.get("/v1/teams/own/memberships")).json()["memberships"][0]["$id"]
        path = f"/v1/teams/own/memberships/{own}"
        assert (await full.patch(path, json={"roles": ["owner", "one"]})).status_code == 200
        for answer in (
            await create(full, "blue"),
            await full.patch(path, json={"roles": ["owner", "one", "two"]}),
        ):
            assert (answer.status_code, answer.json()["type"]) == (400, "team_roles_limit_exceeded")
        assert (await full.get(path)).json()["roles"] == ["owner", "one"]
        assert (await api.server.get("/v1/teams/blue")).status_code == 404
        assert (await api.server.patch(path, json={"roles": ["owner", "one", "two"]})).status_code == 200
        # Above the limit by a server, they may still hold fewer.
        assert (await full.patch(path, json={"roles": ["owner", "two"]})).status_code == 200


class TestRate:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"limits": "on"}

    async def test_user_makes_a_hundred_teams_an_hour(
        self, api: Api, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The hour must not end meanwhile.
        monkeypatch.setattr(rates, "time", SimpleNamespace(time=lambda: 1_000_000_000.0))
        ada = await sign_up("ada")
        first = await create(ada, "red")
        assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("100", "99")
        refused = [await create(ada, "red") for _ in range(100)]
        assert [answer.status_code for answer in refused] == [409] * 99 + [429]


class TestList:
    async def test_user_sees_their_own_teams_only(self, api: Api, sign_up: SignUp) -> None:
        ada, bob = await sign_up("ada"), await sign_up("bob")
        await create(ada, "red")
        await create(bob, "blue")
        await create(api.server, "green")
        listed = (await ada.get("/v1/teams")).json()
        assert listed["total"] == 1
        assert [team["$id"] for team in listed["teams"]] == ["red"]
        assert (await api.server.get("/v1/teams")).json()["total"] == 3

    async def test_user_without_teams_sees_none(self, api: Api, sign_up: SignUp) -> None:
        await create(api.server, "green")
        assert (await (await sign_up("ada")).get("/v1/teams")).json() == {"total": 0, "teams": []}

    async def test_queries_and_search_choose(self, api: Api) -> None:
        for team_id, name in (("red", "Red Foxes"), ("blue", "Blue Birds"), ("pink", "Pink Foxes")):
            await create(api.server, team_id, name)
        queries = [
            json.dumps({"method": "orderDesc", "attribute": "name"}),
            json.dumps({"method": "limit", "values": [2]}),
        ]
        found = await api.server.get("/v1/teams", params={"queries[0]": queries[0], "queries[1]": queries[1]})
        assert [team["$id"] for team in found.json()["teams"]] == ["red", "pink"]
        assert found.json()["total"] == 3
        found = await api.server.get("/v1/teams", params={"search": "foxes", "total": "false"})
        assert [team["$id"] for team in found.json()["teams"]] == ["red", "pink"]
        assert found.json()["total"] == 0

    async def test_unknown_attribute_is_refused(self, api: Api) -> None:
        query = json.dumps({"method": "equal", "attribute": "prefs", "values": ["x"]})
        response = await api.server.get("/v1/teams", params={"queries[0]": query})
        assert (response.status_code, response.json()["type"]) == (400, "general_query_invalid")


class TestChange:
    async def test_name_is_changed_with_an_event(self, api: Api) -> None:
        await create(api.server, "red")
        response = await api.server.put("/v1/teams/red", json={"name": "Reds"})
        assert response.status_code == 200
        assert response.json()["name"] == "Reds"
        assert (await api.server.get("/v1/teams/red")).json() == response.json()
        event = (await api.published())[-1]
        assert event.name == "teams.red.update"
        assert event.payload == response.json()
        assert event.roles == ["team:red"]

    async def test_preferences_are_replaced_with_an_event(self, api: Api) -> None:
        await create(api.server, "red")
        await api.server.put("/v1/teams/red/prefs", json={"prefs": {"theme": "dark", "size": 1}})
        response = await api.server.put("/v1/teams/red/prefs", json={"prefs": {"theme": "light"}})
        assert response.json() == {"theme": "light"}
        assert (await api.server.get("/v1/teams/red/prefs")).json() == {"theme": "light"}
        assert (await api.server.get("/v1/teams/red")).json()["prefs"] == {"theme": "light"}
        event = (await api.published())[-1]
        assert "teams.red.update.prefs" in event.events
        assert event.payload == {"theme": "light"}

    async def test_preferences_that_are_no_object_or_too_large_are_refused(self, api: Api) -> None:
        await create(api.server, "red")
        wrong: tuple[object, ...] = (None, [], "text", {"text": "x" * 65_536})
        for prefs in wrong:
            response = await api.server.put("/v1/teams/red/prefs", json={"prefs": prefs})
            assert response.status_code == 400, prefs
        assert (await api.server.get("/v1/teams/red/prefs")).json() == {}


class TestDelete:
    async def test_team_goes_with_its_memberships_and_rights(self, api: Api, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        team = (await create(ada, "red")).json()
        assert (await ada.delete("/v1/teams/red")).status_code == 204
        event = (await api.published())[-1]
        assert event.name == "teams.red.delete"
        assert event.payload == team
        assert event.roles == ["team:red"]
        assert (await ada.get("/v1/teams/red")).json()["type"] == "team_not_found"
        user = await api.services.identities.get_user("demo", "ada")
        assert user is not None
        assert user.memberships == ()
        # A team of the same name is another team.
        await create(api.server, "red")
        assert (await ada.get("/v1/teams/red")).status_code == 404
        assert (await api.server.get("/v1/teams/red/memberships")).json()["total"] == 0

    async def test_two_who_delete_at_once_fire_one_event(self, api: Api) -> None:
        await create(api.server, "red")
        answers = await asyncio.gather(*(api.server.delete("/v1/teams/red") for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404]
        assert (await api.names()).count("teams.red.delete") == 1
