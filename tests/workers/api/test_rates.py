"""Rate limits, on a small application of two routes, with the real counters in Redis."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends
from pydantic import BaseModel

from realtime.bus import connect
from tests.api import Api
from workers.api import rates
from workers.api.app import create_app
from workers.api.rates import rate_limit

NOW = 1_000_000_000.0


class Login(BaseModel):
    email: str = ""


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"limits": "on"}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rates, "time", clock)
    return clock


@pytest.fixture
async def client(api: Api, clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    """A guest at routes that are limited: `/login` to 2 by e-mail and IP, `/both` to 3 by IP and to 2 by route."""
    app = create_app(services=api.services)

    @app.post("/v1/login", dependencies=[Depends(rate_limit(limit=2, window_s=60, by=("ip", "email")))])
    async def login(body: Login) -> dict[str, str]:
        return {"email": body.email}

    by_ip = rate_limit(limit=3, window_s=60, by=("ip",))

    @app.get("/v1/both/{name}")
    async def both(
        name: str,
        _ip: Annotated[None, Depends(by_ip)],
        _url: Annotated[None, Depends(rate_limit(limit=2, window_s=3600))],
    ) -> str:
        return name

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://api.test",
        headers={"X-Appwrite-Project": "demo"},
    ) as client:
        yield client


def headers_of(response: httpx.Response) -> tuple[str, ...]:
    return tuple(response.headers.get(f"x-ratelimit-{name}", "") for name in ("limit", "remaining", "reset"))


class TestLimit:
    async def test_what_is_left_is_told_until_nothing_is(
        self, client: httpx.AsyncClient, clock: Clock
    ) -> None:
        reset = str((NOW // 60 + 1) * 60).removesuffix(".0")
        answers = [await client.post("/v1/login", json={"email": "a@b.c"}) for _ in range(3)]
        assert [response.status_code for response in answers] == [200, 200, 429]
        assert [headers_of(response) for response in answers] == [
            ("2", "1", reset),
            ("2", "0", reset),
            ("2", "0", reset),
        ]
        assert answers[2].json()["type"] == "general_rate_limit_exceeded"
        clock.now = float(reset)
        assert (await client.post("/v1/login", json={"email": "a@b.c"})).status_code == 200

    async def test_addresses_count_apart_in_whatever_case(self, client: httpx.AsyncClient) -> None:
        for email in ("a@b.c", " A@B.C"):
            assert (await client.post("/v1/login", json={"email": email})).status_code == 200
        assert (await client.post("/v1/login", json={"email": "a@b.c"})).status_code == 429
        assert (await client.post("/v1/login", json={"email": "d@b.c"})).status_code == 200

    @pytest.mark.parametrize(
        ("email", "same"),
        [
            ("a@\uff4fne.example", "a@one.example"),  # Full width.
            ("a@b\u00fccher.example", "a@xn--bcher-kva.example"),
            ("\u00e9@b.example", "e\u0301@b.example"),
        ],
    )
    async def test_spellings_of_an_address_count_together(
        self, client: httpx.AsyncClient, email: str, same: str
    ) -> None:
        """As they lead to one account."""
        answers = [await client.post("/v1/login", json={"email": each}) for each in (email, same, email)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]

    async def test_clients_behind_a_proxy_count_apart(self, client: httpx.AsyncClient) -> None:
        for _ in range(2):
            await client.post("/v1/login", json={"email": "a@b.c"})
        other = {"X-Forwarded-For": "203.0.113.7"}
        response = await client.post("/v1/login", json={"email": "a@b.c"}, headers=other)
        assert response.status_code == 200

    async def test_of_two_limits_the_tighter_is_told(self, client: httpx.AsyncClient) -> None:
        """The route counts whatever name is in its path."""
        answers = [await client.get(f"/v1/both/{name}") for name in ("a", "b", "c")]
        assert [headers_of(response)[:2] for response in answers] == [("2", "1"), ("2", "0"), ("2", "0")]
        assert answers[2].status_code == 429

    async def test_api_key_is_not_limited(self, client: httpx.AsyncClient) -> None:
        for _ in range(4):
            response = await client.post(
                "/v1/login", json={"email": "a@b.c"}, headers={"X-Appwrite-Key": "a-key-with-every-scope"}
            )
            assert response.status_code == 200
            assert headers_of(response) == ("", "", "")

    async def test_counters_go_away_with_their_windows(self, api: Api, client: httpx.AsyncClient) -> None:
        await client.post("/v1/login", json={"email": "a@b.c"})
        (key,) = [key async for key in api.services.bus.redis.scan_iter(match="*:window:*")]
        assert b"a@b.c" not in key
        assert 0 < await api.services.bus.redis.ttl(key) <= 61

    @pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'{"email": 5}'])
    async def test_body_without_an_address_is_counted_too(
        self, client: httpx.AsyncClient, body: bytes
    ) -> None:
        answers = [await client.post("/v1/login", content=body) for _ in range(3)]
        assert 429 in {answers[2].status_code, 400}
        assert all(response.status_code < 500 for response in answers)


class TestOff:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"limits": "off"}

    async def test_nothing_is_counted(self, client: httpx.AsyncClient) -> None:
        for _ in range(3):
            response = await client.post("/v1/login", json={"email": "a@b.c"})
            assert (response.status_code, headers_of(response)) == (200, ("", "", ""))


class TestRedisAway:
    async def test_nothing_is_limited(
        self, api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Being down is worse than being guessed at; who calls is still looked up, which needs the read model."""
        away = connect("redis://127.0.0.1:1")
        monkeypatch.setattr(api.services.bus, "_redis", away)
        for _ in range(3):
            assert (await client.post("/v1/login", json={"email": "a@b.c"})).status_code == 200
        await away.aclose()
