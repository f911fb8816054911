"""The list of presences: who sees what, by queries, and from a cache."""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.api import Api

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]

PUBLIC = ['read("any")']


@pytest.fixture
async def crowd(api: Api, sign_up: SignUp) -> dict[str, httpx.AsyncClient]:
    """Four people; `eve` shows herself to nobody else."""
    people = {name: await sign_up(name) for name in ("ada", "bob", "cyd", "eve")}
    for number, (name, client) in enumerate(people.items()):
        body: dict[str, Any] = {"status": ("Online", "Away")[number % 2], "metadata": {"n": number}}
        if name != "eve":
            body["permissions"] = [*PUBLIC, f'write("user:{name}")']
        response = await client.put(f"/v1/presences/p-{name}", json=body)
        assert response.status_code == 200, response.text
    return people


async def listed(client: httpx.AsyncClient, *queries: dict[str, Any], **params: Any) -> dict[str, Any]:
    texts = {f"queries[{number}]": json.dumps(query) for number, query in enumerate(queries)}
    response = await client.get("/v1/presences", params=texts | params)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    assert list(page) == ["total", "presences"]
    return page


async def users(client: httpx.AsyncClient, *queries: dict[str, Any]) -> list[str]:
    return [each["userId"] for each in (await listed(client, *queries))["presences"]]


def query(method: str, attribute: str = "", *values: Any) -> dict[str, Any]:
    return {"method": method, "attribute": attribute, "values": list(values)}


class TestWho:
    async def test_everybody_sees_what_they_may_read(
        self, api: Api, crowd: dict[str, httpx.AsyncClient]
    ) -> None:
        assert await users(crowd["ada"]) == ["ada", "bob", "cyd"]
        assert await users(crowd["eve"]) == ["ada", "bob", "cyd", "eve"]
        assert await users(api.server) == ["ada", "bob", "cyd", "eve"]
        assert (await listed(crowd["ada"]))["total"] == 3
        assert (await api.guest().get("/v1/presences")).status_code == 401

    async def test_model_is_that_of_a_single_one(self, api: Api, crowd: dict[str, httpx.AsyncClient]) -> None:
        shown = (await listed(api.server))["presences"][0]
        assert shown == (await crowd["ada"].get("/v1/presences/p-ada")).json()


class TestQueries:
    async def test_filters_orders_and_pages(self, api: Api, crowd: dict[str, httpx.AsyncClient]) -> None:
        assert crowd
        online = query("equal", "status", "Online")
        assert await users(api.server, online) == ["ada", "cyd"]
        assert await users(api.server, query("startsWith", "status", "aw")) == ["bob", "eve"]
        assert await users(api.server, query("orderDesc", "userId"), query("limit", "", 2)) == ["eve", "cyd"]
        assert await users(api.server, query("orderDesc"), query("offset", "", 3)) == ["ada"]
        assert await users(api.server, query("cursorAfter", "", "p-bob")) == ["cyd", "eve"]
        assert await users(api.server, query("cursorBefore", "", "p-bob")) == ["ada"]
        assert await users(api.server, query("greaterThan", "expiresAt", "2020-01-01")) == [
            "ada", "bob", "cyd", "eve",
        ]  # fmt: skip
        assert sorted(await users(api.server, query("orderRandom"))) == ["ada", "bob", "cyd", "eve"]

    async def test_total_counts_what_the_filters_leave_or_nothing(
        self, api: Api, crowd: dict[str, httpx.AsyncClient]
    ) -> None:
        assert crowd
        page = query("limit", "", 1)
        assert (await listed(api.server, query("equal", "status", "Online"), page))["total"] == 2
        assert (await listed(api.server, page, total="false"))["total"] == 0

    async def test_select_names_what_is_shown(self, api: Api, crowd: dict[str, httpx.AsyncClient]) -> None:
        assert crowd
        shown = (await listed(api.server, query("select", "", "status")))["presences"][0]
        assert list(shown) == ["$id", "$createdAt", "$updatedAt", "$permissions", "status"]
        every = (await listed(api.server, query("select", "", "*")))["presences"][0]
        assert every["metadata"] == {"n": 0}

    @pytest.mark.parametrize(
        ("wrong", "kind"),
        [
            (query("equal", "mood", "x"), "general_query_invalid"),
            (query("equal", "metadata", "x"), "general_query_invalid"),
            (query("orderAsc", "metadata"), "general_query_invalid"),
            (query("equal", "status", 5), "general_query_invalid"),
            (query("contains", "expiresAt", "2026"), "general_query_invalid"),
            (query("cursorAfter", "", "nobody"), "general_cursor_not_found"),
            (query("limit", "", 0), "general_query_invalid"),
        ],
    )
    async def test_wrong_one_is_refused(self, api: Api, wrong: dict[str, Any], kind: str) -> None:
        response = await api.server.get("/v1/presences", params={"queries[0]": json.dumps(wrong)})
        assert (response.status_code, response.json()["type"]) == (400, kind)

    async def test_cursor_of_what_one_may_not_read_is_none(self, crowd: dict[str, httpx.AsyncClient]) -> None:
        texts = {"queries[0]": json.dumps(query("cursorAfter", "", "p-eve"))}
        assert (await crowd["ada"].get("/v1/presences", params=texts)).status_code == 400


class TestCache:
    async def ask(self, client: httpx.AsyncClient, ttl: int = 60, **params: Any) -> tuple[str, int]:
        response = await client.get("/v1/presences", params={"ttl": ttl} | params)
        assert response.status_code == 200
        return response.headers.get("X-Appwrite-Cache", ""), response.json()["total"]

    async def test_second_answer_is_the_first_one(
        self, api: Api, crowd: dict[str, httpx.AsyncClient]
    ) -> None:
        ada = crowd["ada"]
        assert await self.ask(ada) == ("miss", 3)
        await crowd["eve"].patch("/v1/presences/p-eve", json={"permissions": PUBLIC})
        assert await self.ask(ada) == ("hit", 3)
        assert await self.ask(ada, ttl=0) == ("", 4)
        assert await self.ask(ada, total="false") == ("miss", 0)

    async def test_it_is_each_ones_own(self, api: Api, crowd: dict[str, httpx.AsyncClient]) -> None:
        assert await self.ask(crowd["ada"]) == ("miss", 3)
        assert await self.ask(crowd["eve"]) == ("miss", 4)
        assert await self.ask(api.server) == ("miss", 4)
        assert await self.ask(api.server) == ("hit", 4)

    async def test_deletion_and_purge_make_it_void(
        self, api: Api, crowd: dict[str, httpx.AsyncClient]
    ) -> None:
        assert await self.ask(api.server) == ("miss", 4)
        await crowd["ada"].delete("/v1/presences/p-ada")
        assert await self.ask(api.server) == ("miss", 3)
        await crowd["bob"].patch("/v1/presences/p-bob", json={"status": "x", "purge": True})
        assert await self.ask(api.server) == ("miss", 3)
        await crowd["bob"].patch("/v1/presences/p-bob", json={"status": "y"})
        assert await self.ask(api.server) == ("hit", 3)

    async def test_each_asker_says_how_old_it_may_be(
        self, api: Api, crowd: dict[str, httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert crowd
        assert await self.ask(api.server, ttl=86_400) == ("miss", 4)
        monkeypatch.setattr(api.services.lists, "_clock", lambda: time.monotonic() + 3_600)
        assert await self.ask(api.server, ttl=86_400) == ("hit", 4)
        assert await self.ask(api.server, ttl=1) == ("miss", 4)

    async def test_user_who_is_deleted_is_in_none(
        self, api: Api, crowd: dict[str, httpx.AsyncClient]
    ) -> None:
        assert crowd
        assert await self.ask(api.server) == ("miss", 4)
        assert (await api.server.delete("/v1/users/ada")).status_code == 204
        assert "presences.p-ada.delete" in await api.names()
        assert await self.ask(api.server) == ("miss", 3)

    async def test_long_questions_take_no_room(self, api: Api, crowd: dict[str, httpx.AsyncClient]) -> None:
        texts = [json.dumps(query("equal", "status", "x" * 3_900 + str(number))) for number in range(15)]
        for _ in range(2):
            response = await crowd["ada"].get("/v1/presences", params={"ttl": 60, "queries[]": texts})
            assert response.status_code == 200
        assert response.headers["X-Appwrite-Cache"] == "hit"
        assert [len(digest) for digest in api.services.lists._answers] == [32]

    @pytest.mark.parametrize("ttl", [-1, 86_401, "soon"])
    async def test_bad_ttl_is_refused(self, api: Api, ttl: object) -> None:
        response = await api.server.get("/v1/presences", params={"ttl": str(ttl)})
        assert response.status_code == 400
        assert "`ttl`" in response.json()["message"]
