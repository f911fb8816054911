"""Pages of which origins may call, and what browsers are told; on a running API."""

import time

import httpx
import pytest

from realtime.identity.model import DevKey, Platform, Project
from realtime.identity.secrets import hash_secret
from tests.api import Api
from workers.api.cors import EXPOSED_HEADERS, METHODS, REQUEST_HEADERS

EVENT = {"event": "teams.red.create", "payload": {"$id": "red"}}
EVIL = "https://evil.example"
LOCAL = "http://localhost:3000"


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
