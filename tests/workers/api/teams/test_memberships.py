"""Memberships that exist: who sees them, who changes them, and what follows; on both databases."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import httpx
import pytest

from realtime.identity.model import Project
from tests.api import PROJECT, Api
from workers.store import tables

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]
MEMBERSHIPS = "/v1/teams/red/memberships"


async def add(api: Api, user_id: str, *roles: str) -> str:
    """Take a user into the team and return the ID of the membership."""
    response = await api.server.post(MEMBERSHIPS, json={"userId": user_id, "roles": list(roles)})
    assert response.status_code == 201
    membership_id: str = response.json()["$id"]
    return membership_id


@pytest.fixture
async def people(api: Api, sign_up: SignUp) -> dict[str, httpx.AsyncClient]:
    """Ada, who made the team red; Bob, a member; Eve, who is not in it."""
    people = {name: await sign_up(name) for name in ("ada", "bob", "eve")}
    await people["ada"].post("/v1/teams", json={"teamId": "red", "name": "Red"})
    await add(api, "bob", "player")
    return people


async def total(api: Api) -> int:
    found: int = (await api.server.get("/v1/teams/red")).json()["total"]
    return found


class TestList:
    async def test_members_see_each_other(self, people: dict[str, httpx.AsyncClient]) -> None:
        listed = (await people["bob"].get(MEMBERSHIPS)).json()
        assert listed["total"] == 2
        ada, bob = listed["memberships"]
        assert (ada["userId"], ada["userName"], ada["userEmail"]) == ("ada", "Ada", "ada@example.com")
        assert (bob["teamId"], bob["teamName"], bob["roles"]) == ("red", "Red", ["player"])
        assert bob["joined"] == bob["invited"] != ""

    async def test_queries_and_search_choose(self, people: dict[str, httpx.AsyncClient]) -> None:
        query = json.dumps({"method": "equal", "attribute": "userId", "values": ["bob"]})
        for params in ({"queries[0]": query}, {"search": "bo"}):
            found = (await people["ada"].get(MEMBERSHIPS, params=params)).json()
            assert [membership["userId"] for membership in found["memberships"]] == ["bob"]
            assert found["total"] == 1

    async def test_what_the_project_hides_is_neither_shown_nor_found(
        self, api: Api, people: dict[str, httpx.AsyncClient]
    ) -> None:
        hidden = {"userId": False, "userName": False, "userEmail": False, "userAccessedAt": True}
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await tx.connection.execute(
                tables.projects.update().values(policies={"membership-privacy": hidden})
            )
        bob = (await people["ada"].get(MEMBERSHIPS)).json()["memberships"][1]
        assert (bob["userId"], bob["userName"], bob["userEmail"]) == ("", "", "")
        assert bob["userAccessedAt"] != ""
        assert (await people["ada"].get(MEMBERSHIPS, params={"search": "bo"})).json()["total"] == 0
        bob = (await api.server.get(MEMBERSHIPS)).json()["memberships"][1]
        assert (bob["userId"], bob["userName"]) == ("bob", "Bob")
        await api.server.patch(f"{MEMBERSHIPS}/{bob['$id']}", json={"roles": []})
        event = (await api.published())[-1]
        assert event.payload["userName"] == ""
        assert event.user_id == "bob"


class TestGet:
    async def test_membership_of_another_team_is_told_apart(
        self, api: Api, people: dict[str, httpx.AsyncClient]
    ) -> None:
        await people["ada"].post("/v1/teams", json={"teamId": "blue", "name": "Blue"})
        (blue,) = (await people["ada"].get("/v1/teams/blue/memberships")).json()["memberships"]
        response = await people["ada"].get(f"{MEMBERSHIPS}/{blue['$id']}")
        assert (response.status_code, response.json()["type"]) == (404, "team_membership_mismatch")
        response = await people["ada"].get(f"{MEMBERSHIPS}/unknown")
        assert (response.status_code, response.json()["type"]) == (404, "membership_not_found")


class TestRoles:
    async def test_change_of_roles_counts_at_once(
        self, api: Api, people: dict[str, httpx.AsyncClient]
    ) -> None:
        bob = (await people["bob"].get(MEMBERSHIPS)).json()["memberships"][1]
        refused = await people["bob"].put("/v1/teams/red", json={"name": "Bobs"})
        assert (refused.status_code, refused.json()["type"]) == (401, "user_unauthorized")
        response = await people["ada"].patch(f"{MEMBERSHIPS}/{bob['$id']}", json={"roles": ["owner"]})
        assert response.status_code == 200
        assert response.json()["roles"] == ["owner"]
        assert (await people["bob"].put("/v1/teams/red", json={"name": "Bobs"})).status_code == 200
        event = (await api.published())[-2]
        assert event.name == f"teams.red.memberships.{bob['$id']}.update"
        assert event.payload == response.json()
        assert event.roles == ["team:red"]
        assert event.user_id == "bob"
        assert event.permissions_changed


class TestDelete:
    async def test_member_who_is_removed_is_out_at_once(
        self, api: Api, people: dict[str, httpx.AsyncClient]
    ) -> None:
        bob = (await people["ada"].get(MEMBERSHIPS)).json()["memberships"][1]
        response = await people["ada"].delete(f"{MEMBERSHIPS}/{bob['$id']}")
        assert response.status_code == 204
        assert (await people["bob"].get("/v1/teams/red")).status_code == 404
        assert await total(api) == 1
        event = (await api.published())[-1]
        assert event.name == f"teams.red.memberships.{bob['$id']}.delete"
        assert event.payload == bob
        assert event.user_id == "bob"
        assert event.permissions_changed

    async def test_member_may_leave_and_an_owner_too(
        self, api: Api, people: dict[str, httpx.AsyncClient]
    ) -> None:
        ada, bob = (await people["ada"].get(MEMBERSHIPS)).json()["memberships"]
        assert (await people["bob"].delete(f"{MEMBERSHIPS}/{bob['$id']}")).status_code == 204
        assert (await people["ada"].delete(f"{MEMBERSHIPS}/{ada['$id']}")).status_code == 204
        assert await total(api) == 0

    async def test_total_is_right_however_many_come_and_go_at_once(
        self, api: Api, people: dict[str, httpx.AsyncClient]
    ) -> None:
        bob = (await people["ada"].get(MEMBERSHIPS)).json()["memberships"][1]["$id"]
        bodies = [{"email": f"p{number}@example.com", "roles": []} for number in range(8)]
        answers = await asyncio.gather(
            *(api.server.post(MEMBERSHIPS, json=body) for body in bodies),
            *(api.server.delete(f"{MEMBERSHIPS}/{bob}") for _ in range(3)),
        )
        assert [answer.status_code for answer in answers[:8]] == [201] * 8
        assert sorted(answer.status_code for answer in answers[8:]) == [204, 404, 404]
        assert await total(api) == 9
        assert (await api.server.get(MEMBERSHIPS)).json()["total"] == 9

    async def test_total_is_right_after_a_user_is_deleted(
        self, api: Api, people: dict[str, httpx.AsyncClient]
    ) -> None:
        assert (await api.server.delete("/v1/users/bob")).status_code == 204
        assert await total(api) == 1
        assert (await api.server.get(MEMBERSHIPS)).json()["total"] == 1

    async def test_nobody_waits_in_a_circle(self, api: Api, people: dict[str, httpx.AsyncClient]) -> None:
        """Users and teams are locked in one order, whatever is done to them at once."""
        for round_number in range(3):
            name = f"p{round_number}"
            await api.server.post("/v1/users", json={"userId": name})
            answers = await asyncio.gather(
                *(api.server.post(MEMBERSHIPS, json={"userId": name, "roles": []}) for _ in range(3)),
                api.server.delete(f"/v1/users/{name}"),
                people["ada"].post("/v1/teams", json={"teamId": "unique()", "name": "Other"}),
                api.server.put("/v1/teams/red", json={"name": "Reds"}),
            )
            assert {answer.status_code for answer in answers} <= {200, 201, 204, 404, 409}
        assert await total(api) == (await api.server.get(MEMBERSHIPS)).json()["total"] == 2
