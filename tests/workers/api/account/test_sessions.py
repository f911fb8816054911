"""The sessions that a person has: their number, cookies, length and end."""

import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from realtime.identity.model import Project
from tests.api import PROJECT, Api
from workers.store.tables import platforms, projects, sessions

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]

LOGIN = {"email": "ann@example.com", "password": "password-of-ann"}


async def log_in(api: Api) -> httpx.AsyncClient:
    browser = api.guest()
    answer = await browser.post("/v1/account/sessions/email", json=LOGIN)
    assert answer.status_code == 201, answer.text
    return browser


async def is_logged_in(browser: httpx.AsyncClient) -> bool:
    return (await browser.get("/v1/account")).status_code == 200


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]


def shifted(text: str, seconds: float) -> str:
    return (datetime.fromisoformat(text) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


class TestLimit:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"sessions_per_user": 2}

    async def test_further_session_ends_the_oldest_with_its_event(self, api: Api, sign_up: SignUp) -> None:
        oldest = await sign_up("ann")
        oldest_id = (await oldest.get("/v1/account/sessions/current")).json()["$id"]
        second, third = await log_in(api), await log_in(api)
        assert [await is_logged_in(each) for each in (oldest, second, third)] == [False, True, True]
        assert (await api.names())[-2] == f"users.ann.sessions.{oldest_id}.delete"

    async def test_project_policy_comes_before_the_setting(self, api: Api, sign_up: SignUp) -> None:
        policies = {"session-limit": {"total": 3}, "session-duration": {"duration": 60}}
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await tx.connection.execute(update(projects).values(policies=policies))
        browser = await sign_up("ann")
        for _ in range(2):
            await log_in(api)
        session = (await browser.get("/v1/account/sessions/current")).json()
        assert session["expire"] == shifted(session["$createdAt"], 60)
        assert await is_logged_in(browser)


class TestListAndRead:
    async def test_list_shows_all_and_marks_the_current_one(self, api: Api, sign_up: SignUp) -> None:
        first = await sign_up("ann")
        second = await log_in(api)
        listed = (await second.get("/v1/account/sessions")).json()
        current = (await first.get("/v1/account/sessions/current")).json()
        assert listed["total"] == 2
        assert [each["current"] for each in listed["sessions"]] == [False, True]
        assert listed["sessions"][0]["$id"] == current["$id"]

    async def test_sessions_of_others_are_not_found(self, sign_up: SignUp) -> None:
        ann, bob = await sign_up("ann"), await sign_up("bob")
        session_id = (await ann.get("/v1/account/sessions/current")).json()["$id"]
        for method in ("GET", "PATCH", "DELETE"):
            answer = await bob.request(method, f"/v1/account/sessions/{session_id}")
            assert error_of(answer) == (404, "user_session_not_found")

    async def test_user_agent_is_told(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ann")
        agent = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
        answer = await api.guest(**{"User-Agent": agent}).post("/v1/account/sessions/email", json=LOGIN)
        session = answer.json()
        assert (session["clientCode"], session["clientName"], session["clientVersion"]) == (
            "FF",
            "Firefox",
            "133.0",
        )
        assert (session["osCode"], session["deviceName"]) == ("LIN", "desktop")
        assert (session["countryCode"], session["ip"]) == ("--", "127.0.0.1")


class TestExtend:
    async def test_session_lasts_as_long_as_a_new_one_and_so_does_its_cookie(
        self, api: Api, sign_up: SignUp
    ) -> None:
        browser = await sign_up("ann")
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            soon = shifted(tx.now_text, 60)
            await tx.connection.execute(update(sessions).values(expires_at=soon))
        answer = await browser.patch("/v1/account/sessions/current")
        session = answer.json()
        assert session["expire"] > soon
        assert len(answer.headers.get_list("set-cookie")) == 2
        assert (await api.names())[-1] == f"users.ann.sessions.{session['$id']}.update"
        assert await is_logged_in(browser)


class TestEnd:
    async def test_current_session_ends_with_its_event_and_cookies(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        kept = dict(browser.cookies)
        session_id = (await browser.get("/v1/account/sessions/current")).json()["$id"]
        answer = await browser.delete("/v1/account/sessions/current")
        assert (answer.status_code, answer.content) == (204, b"")
        assert dict(browser.cookies) == {}
        assert (await api.names())[-1] == f"users.ann.sessions.{session_id}.delete"
        browser.cookies.update(kept)
        assert not await is_logged_in(browser)

    async def test_other_session_ends_and_the_current_one_stays(self, api: Api, sign_up: SignUp) -> None:
        first = await sign_up("ann")
        second = await log_in(api)
        session_id = (await first.get("/v1/account/sessions/current")).json()["$id"]
        answer = await second.delete(f"/v1/account/sessions/{session_id}")
        assert "set-cookie" not in answer.headers
        assert [await is_logged_in(each) for each in (first, second)] == [False, True]

    async def test_all_sessions_end_with_the_event_of_the_current_one(
        self, api: Api, sign_up: SignUp
    ) -> None:
        first = await sign_up("ann")
        second = await log_in(api)
        session_id = (await second.get("/v1/account/sessions/current")).json()["$id"]
        before = len(await api.names())
        assert (await second.delete("/v1/account/sessions")).status_code == 204
        assert (await api.names())[before:] == [f"users.ann.sessions.{session_id}.delete"]
        assert not await is_logged_in(first)
        user = await api.services.identities.get_user(PROJECT, "ann")
        assert user is not None
        assert user.sessions == ()

    async def test_expired_session_is_nobodys(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            past = shifted(tx.now_text, -60)
            await tx.connection.execute(update(sessions).values(expires_at=past))
            tx.change_user("ann")
        assert error_of(await browser.get("/v1/account")) == (401, "general_unauthorized_scope")


class TestCookies:
    async def test_over_https_pages_of_other_sites_may_send_them(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ann")
        browser = api.guest(**{"X-Forwarded-Proto": "https"})
        answer = await browser.post("/v1/account/sessions/email", json=LOGIN)
        legacy, modern = answer.headers.get_list("set-cookie")
        for cookie in (legacy, modern):
            assert "HttpOnly" in cookie
            assert "Secure" in cookie
            assert "Path=/" in cookie
            assert "expires=" in cookie
        assert "SameSite=none" in modern
        assert "SameSite" not in legacy

    async def test_over_http_they_work_within_the_host(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ann")
        answer = await api.guest().post("/v1/account/sessions/email", json=LOGIN)
        _, modern = answer.headers.get_list("set-cookie")
        assert "SameSite=lax" in modern
        assert "Secure" not in modern

    @pytest.mark.parametrize(
        ("origin", "is_told"), [("http://localhost:3000", True), ("http://api.test:3000", False)]
    )
    async def test_fallback_header_is_for_pages_of_other_hosts(
        self, api: Api, sign_up: SignUp, origin: str, is_told: bool
    ) -> None:
        await sign_up("ann")
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await tx.connection.execute(update(platforms).values(hostname="*"))
            tx.change_project()
        answer = await api.guest(Origin=origin).post("/v1/account/sessions/email", json=LOGIN)
        assert answer.status_code == 201
        assert ("X-Fallback-Cookies" in answer.headers) is is_told
        if is_told:
            stored = answer.headers["X-Fallback-Cookies"]
            assert list(json.loads(stored)) == ["a_session_demo"]
            assert await is_logged_in(api.guest(**{"X-Fallback-Cookies": stored}))
