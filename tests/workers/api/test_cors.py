"""Pages of which origins may call, and what browsers are told; on a running API."""

import time
from typing import Any

import httpx
import pytest

from realtime.identity.model import DevKey, Platform, Project
from realtime.identity.secrets import hash_secret
from tests.api import KEY, Api
from workers.api.cors import EXPOSED_HEADERS, METHODS, REQUEST_HEADERS

EVENT = {"event": "teams.red.create", "payload": {"$id": "red"}}
EVIL = "https://evil.example"
LOCAL = "http://localhost:3000"
ROOT_KEY = "the-root-key"


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"root_key": ROOT_KEY}


def preflight(origin: str) -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": "POST"}


class TestPreflight:
    @pytest.mark.parametrize("origin", [LOCAL, EVIL, "null", "appwrite-callback-demo://x"])
    async def test_any_origin_is_told_what_it_could_ask(self, api: Api, origin: str) -> None:
        """Which project it is about is known only when the request comes."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api.app), base_url="http://a") as client:
            response = await client.options("/v1/anything", headers=preflight(origin))
        assert response.status_code == 204
        assert response.headers["access-control-allow-origin"] == origin
        assert response.headers["access-control-allow-credentials"] == "true"
        assert response.headers["access-control-allow-methods"] == ", ".join(METHODS)
        assert response.headers["access-control-allow-headers"] == ", ".join(REQUEST_HEADERS)
        assert response.headers["vary"] == "Origin"

    async def test_options_without_the_method_is_no_preflight(self, api: Api) -> None:
        async with api.guest() as client:
            response = await client.options("/v1/events", headers={"Origin": LOCAL})
        assert response.status_code == 405


class TestRequests:
    async def test_origin_of_the_project_may_read_the_answer_whatever_it_is(self, api: Api) -> None:
        async with api.guest() as client:
            response = await client.post("/v1/events", json=EVENT, headers={"Origin": LOCAL})
        assert response.status_code == 401
        assert response.headers["access-control-allow-origin"] == LOCAL
        assert response.headers["access-control-allow-credentials"] == "true"
        assert response.headers["access-control-expose-headers"] == ", ".join(EXPOSED_HEADERS)
        assert response.headers["vary"] == "Origin"

    async def test_unknown_origin_is_refused_before_anything_happens(self, api: Api) -> None:
        async with api.guest() as client:
            response = await client.post("/v1/events", json=EVENT, headers={"Origin": EVIL})
        assert response.status_code == 403
        assert response.json()["type"] == "general_unknown_origin"
        assert response.json()["message"] == (
            "Invalid Origin. Register your new client (evil.example) as a new Web platform on your project console "
            "dashboard"
        )
        assert "access-control-allow-origin" not in response.headers

    async def test_api_key_passes_from_anywhere_but_no_page_reads_the_answer(self, api: Api) -> None:
        response = await api.server.post("/v1/events", json=EVENT, headers={"Origin": EVIL})
        assert response.status_code == 202
        assert "access-control-allow-origin" not in response.headers
        assert response.headers["vary"] == "Origin"

    async def test_dev_key_passes_from_anywhere_while_it_is_valid(self, api: Api) -> None:
        keys = tuple(
            DevKey(secret, hash_secret(secret), expires_at=time.time() + seconds)
            for secret, seconds in (("good", 60), ("late", -60))
        )
        await api.services.identities.put_project(Project(id="demo", dev_keys=keys))
        for secret, status in (("good", 401), ("late", 403), ("none", 403)):
            async with api.guest() as client:
                headers = {"Origin": EVIL, "X-Appwrite-Dev-Key": secret}
                assert (await client.post("/v1/events", headers=headers)).status_code == status

    async def test_unknown_project_is_told_to_any_page_without_cookies(self, api: Api) -> None:
        async with api.guest(**{"X-Appwrite-Project": "nix"}) as client:
            response = await client.post("/v1/events", headers={"Origin": EVIL})
        assert response.json()["type"] == "project_not_found"
        assert response.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in response.headers

    async def test_new_platform_counts_at_once(self, api: Api) -> None:
        await api.services.identities.put_project(
            Project(id="demo", platforms=(Platform(type="web", hostname="evil.example"),))
        )
        async with api.guest() as client:
            response = await client.post("/v1/events", headers={"Origin": EVIL})
        assert response.headers["access-control-allow-origin"] == EVIL

    async def test_request_of_no_page_hears_nothing_of_it(self, api: Api) -> None:
        async with api.guest() as client:
            response = await client.post("/v1/events")
        assert not any(name.startswith("access-control") for name in response.headers)


LOGIN = {"email": "ann@example.com", "password": "password-of-ann"}


@pytest.fixture
async def victim(api: Api) -> httpx.AsyncClient:
    """The browser of somebody who is logged in, with pages of an unknown origin open in it."""
    assert (await api.guest().post("/v1/account", json={**LOGIN, "userId": "ann"})).status_code == 201
    browser = api.guest()
    assert (await browser.post("/v1/account/sessions/email", json=LOGIN)).status_code == 201
    return browser


class TestForgedRequests:
    """A page can send any header; what a browser adds by itself, the cookies, must not count for it."""

    @pytest.mark.parametrize("key", ["x", KEY, ROOT_KEY])
    @pytest.mark.parametrize("user", ["", "x"])
    async def test_session_does_not_count_whatever_key_comes_with_it(
        self, api: Api, victim: httpx.AsyncClient, key: str, user: str
    ) -> None:
        headers = {"Origin": EVIL, "X-Appwrite-Key": key} | ({"X-Appwrite-User": user} if user else {})
        renamed = await victim.patch("/v1/account/name", json={"name": "Eve"}, headers=headers)
        ended = await victim.delete("/v1/account/sessions", headers=headers)
        # The root key acts as itself, which has no account.
        assert {renamed.status_code, ended.status_code} <= ({401} if key == ROOT_KEY else {403})
        account = await victim.get("/v1/account", headers={"Origin": LOCAL})
        assert (account.status_code, account.json()["name"]) == (200, "")

    async def test_token_of_the_page_does_not_pass_with_a_key(
        self, api: Api, victim: httpx.AsyncClient
    ) -> None:
        token = (await victim.post("/v1/account/jwts")).json()["jwt"]
        headers = {"Origin": EVIL, "X-Appwrite-Key": "x", "X-Appwrite-User": "x", "X-Appwrite-JWT": token}
        async with api.guest() as page:
            assert (await page.get("/v1/account", headers=headers)).status_code == 403

    async def test_key_that_is_none_begins_no_session(self, api: Api, victim: httpx.AsyncClient) -> None:
        async with api.guest() as page:
            headers = {"Origin": EVIL, "X-Appwrite-Key": "x"}
            response = await page.post("/v1/account/sessions/email", json=LOGIN, headers=headers)
        assert (response.status_code, response.json()["type"]) == (403, "general_unknown_origin")
        assert "set-cookie" not in response.headers

    @pytest.mark.parametrize("key", [KEY, ROOT_KEY])
    async def test_key_that_logs_in_leaves_no_cookie(
        self, api: Api, victim: httpx.AsyncClient, key: str
    ) -> None:
        async with api.guest() as page:
            headers = {"Origin": EVIL, "X-Appwrite-Key": key}
            response = await page.post("/v1/account/sessions/email", json=LOGIN, headers=headers)
        assert response.status_code == 201
        assert "set-cookie" not in response.headers
        assert "x-fallback-cookies" not in response.headers
