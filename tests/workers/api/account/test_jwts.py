"""Tokens for other servers."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import jwt
import pytest

from tests.api import PROJECT, Api

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]


class TestJwt:
    @pytest.mark.parametrize("path", ["/v1/account/jwts", "/v1/account/jwt"])
    async def test_token_stands_for_the_session(self, api: Api, sign_up: SignUp, path: str) -> None:
        browser = await sign_up("ann")
        answer = await browser.post(path)
        claims = jwt.decode(answer.json()["jwt"], options={"verify_signature": False})
        server = api.guest(**{"X-Appwrite-JWT": answer.json()["jwt"]})
        assert answer.status_code == 201
        assert (claims["exp"] - claims["iat"], claims["project"]) == (900, PROJECT)
        assert (await server.get("/v1/account")).json()["$id"] == "ann"
        await browser.delete("/v1/account/sessions/current")
        assert (await server.get("/v1/account")).status_code == 401

    async def test_token_makes_no_further_token(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        server = api.guest(**{"X-Appwrite-JWT": (await browser.post("/v1/account/jwts")).json()["jwt"]})
        assert (await server.get("/v1/account")).status_code == 200
        assert error_of(await server.post("/v1/account/jwts")) == (404, "user_session_not_found")

    async def test_duration_is_bounded(self, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        for duration, status in ((0, 201), (3600, 201), (3601, 400), (-1, 400), ("x", 400)):
            answer = await browser.post("/v1/account/jwts", json={"duration": duration})
            assert answer.status_code == status, duration

    async def test_server_without_a_secret_makes_none(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        settings = api.settings.model_copy(update={"secret": ""})
        api.app.state.services = dataclasses.replace(api.services, settings=settings)
        assert error_of(await browser.post("/v1/account/jwts")) == (501, "general_not_implemented")


class TestRate:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"limits": "on"}

    @pytest.mark.parametrize("path", ["/v1/account/jwts", "/v1/account/jwt"])
    async def test_either_path_is_limited(self, sign_up: SignUp, path: str) -> None:
        browser = await sign_up("ann")
        left = [(await browser.post(path)).headers.get("x-ratelimit-remaining") for _ in range(2)]
        assert left == ["99", "98"]
