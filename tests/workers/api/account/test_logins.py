"""Logging in, by every way that needs no provider."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from sqlalchemy import select, update

from realtime.identity.model import Project
from realtime.identity.secrets import decode_session, hash_secret
from tests.api import PROJECT, Api
from workers.api.people.sessions import sessions_of
from workers.api.people.tokens import create_token
from workers.store.tables import projects, users

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]

LOGIN = {"email": "ann@example.com", "password": "password-of-ann"}
WRONG = {"email": "ann@example.com", "password": "password-of-eve"}
BCRYPT_OF_ANN = "$2b$04$abcdefghijklmnopqrstuuzHSVfKghSif.z13U/fgOcq2SNI6Q/oS"
UNKNOWN = {"email": "eve@example.com", "password": "password-of-eve"}


async def log_in(api: Api) -> httpx.AsyncClient:
    browser = api.guest()
    answer = await browser.post("/v1/account/sessions/email", json=LOGIN)
    assert answer.status_code == 201, answer.text
    return browser


async def is_logged_in(browser: httpx.AsyncClient) -> bool:
    return (await browser.get("/v1/account")).status_code == 200


async def token_for(api: Api, user_id: str, kind: str = "generic", **options: Any) -> str:
    async with api.services.store.write(Project(id=PROJECT)) as tx:
        _, secret = await create_token(tx, user_id, kind, **{"lifetime_s": 60, **options})
    return secret


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]


class TestEmailSession:
    async def test_right_password_gives_a_session_whose_secret_is_in_cookies_only(
        self, api: Api, sign_up: SignUp
    ) -> None:
        await sign_up("ann")
        answer = await api.guest().post("/v1/account/sessions/email", json=LOGIN)
        session = answer.json()
        assert answer.status_code == 201
        assert (session["userId"], session["provider"], session["factors"]) == ("ann", "email", ["password"])
        assert (session["current"], session["secret"]) == (True, "")
        cookies = answer.headers.get_list("set-cookie")
        assert [cookie.partition("=")[0] for cookie in cookies] == ["a_session_demo_legacy", "a_session_demo"]

    async def test_store_has_only_the_hash_of_the_secret(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        shown = decode_session(unquote(browser.cookies["a_session_demo"]))
        assert shown is not None
        user_id, secret = shown
        async with api.services.store.read() as connection:
            (row,) = await sessions_of(connection, PROJECT, "ann")
        assert (user_id, len(secret)) == ("ann", 256)
        assert row["secret_hash"] == hash_secret(secret)

    async def test_api_key_gets_the_secret_and_no_cookies(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ann")
        answer = await api.server.post("/v1/account/sessions/email", json=LOGIN)
        value = answer.json()["secret"]
        assert "set-cookie" not in answer.headers
        assert await is_logged_in(api.guest(**{"X-Appwrite-Session": value}))

    async def test_wrong_password_and_unknown_address_are_told_in_the_same_words(
        self, api: Api, sign_up: SignUp
    ) -> None:
        await sign_up("ann")
        wrong = await api.guest().post("/v1/account/sessions/email", json=WRONG)
        unknown = await api.guest().post("/v1/account/sessions/email", json=UNKNOWN)
        assert error_of(wrong) == (401, "user_invalid_credentials")
        assert wrong.content == unknown.content

    async def test_blocked_user_is_told_so_only_with_the_right_password(
        self, api: Api, sign_up: SignUp
    ) -> None:
        browser = await sign_up("ann")
        assert (await browser.patch("/v1/account/status")).json()["status"] is False
        right = await api.guest().post("/v1/account/sessions/email", json=LOGIN)
        wrong = await api.guest().post("/v1/account/sessions/email", json=WRONG)
        assert error_of(right) == (401, "user_blocked")
        assert error_of(wrong) == (401, "user_invalid_credentials")

    async def test_second_login_in_one_browser_is_refused(self, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        for path, body in (
            ("email", LOGIN),
            ("anonymous", {}),
            ("token", {"userId": "ann", "secret": "abc"}),
        ):
            answer = await browser.post(f"/v1/account/sessions/{path}", json=body)
            assert error_of(answer) == (401, "user_session_already_exists")

    async def test_login_is_an_event_without_the_secret(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ann")
        event = (await api.published())[-1]
        assert event.name.startswith("users.ann.sessions.")
        assert event.name.endswith(".create")
        assert event.roles == ["user:ann"]
        assert event.payload["provider"] == "email"
        assert "secret" not in event.payload

    async def test_hubs_know_the_session_when_the_answer_comes(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ann")
        user = await api.services.identities.get_user(PROJECT, "ann")
        assert user is not None
        assert [session.provider for session in user.sessions] == ["email"]

    async def test_two_logins_at_once_both_count(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        await asyncio.gather(*[log_in(api) for _ in range(3)])
        assert (await browser.get("/v1/account/sessions")).json()["total"] == 4


class TestRate:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"limits": "on"}

    async def test_eleventh_guess_in_a_minute_is_refused(self, api: Api) -> None:
        answers = [await api.guest().post("/v1/account/sessions/email", json=WRONG) for _ in range(22)]
        # The minute may end meanwhile.
        assert 10 <= [answer.status_code for answer in answers].index(429) <= 20
        assert error_of(answers[-1]) in {
            (429, "general_rate_limit_exceeded"),
            (401, "user_invalid_credentials"),
        }
        other = await api.guest().post("/v1/account/sessions/email", json=UNKNOWN)
        assert other.status_code == 401


class TestAnonymousSession:
    async def test_makes_an_account_without_an_address(self, api: Api) -> None:
        browser = api.guest()
        session = (await browser.post("/v1/account/sessions/anonymous", json={})).json()
        account = (await browser.get("/v1/account")).json()
        assert session["provider"] == "anonymous"
        assert (account["$id"], account["email"], account["targets"]) == (session["userId"], "", [])
        assert [name.rpartition(".")[2] for name in await api.names()] == ["create", "create"]

    async def test_address_and_password_make_it_a_full_account(self, api: Api) -> None:
        browser = api.guest()
        await browser.post("/v1/account/sessions/anonymous", json={})
        changed = await browser.patch("/v1/account/email", json=LOGIN)
        assert changed.json()["email"] == LOGIN["email"]
        assert changed.json()["passwordUpdate"]
        await log_in(api)

    async def test_short_password_is_refused(self, api: Api) -> None:
        browser = api.guest()
        await browser.post("/v1/account/sessions/anonymous", json={})
        answer = await browser.patch("/v1/account/email", json={**LOGIN, "password": "1234567"})
        assert error_of(answer) == (400, "general_argument_invalid")

    async def test_full_project_takes_nobody_in(self, api: Api, sign_up: SignUp) -> None:
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await tx.connection.execute(update(projects).values(policies={"user-limit": {"total": 1}}))
        await sign_up("ann")
        answer = await api.guest().post("/v1/account/sessions/anonymous", json={})
        assert error_of(answer) == (501, "user_count_exceeded")


class TestTokenSession:
    @pytest.mark.parametrize(
        ("kind", "provider", "factor"),
        [("generic", "token", "token"), ("magic-url", "magic-url", "email"), ("email", "email", "email")],
    )
    async def test_token_logs_in_once(
        self, api: Api, sign_up: SignUp, kind: str, provider: str, factor: str
    ) -> None:
        await sign_up("ann")
        body = {"userId": "ann", "secret": await token_for(api, "ann", kind)}
        session = (await api.guest().post("/v1/account/sessions/token", json=body)).json()
        again = await api.guest().post("/v1/account/sessions/token", json=body)
        assert (session["provider"], session["factors"]) == (provider, [factor])
        assert error_of(again) == (401, "user_invalid_token")

    async def test_secret_out_of_a_mail_verifies_the_address(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ann")
        browser = api.guest()
        body = {"userId": "ann", "secret": await token_for(api, "ann", "magic-url")}
        await browser.put("/v1/account/sessions/magic-url", json=body)
        assert (await browser.get("/v1/account")).json()["emailVerification"] is True
        assert "users.ann.update.verification" in (await api.published())[3].events

    async def test_expired_token_is_refused(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ann")
        secret = await token_for(api, "ann", lifetime_s=-1)
        answer = await api.guest().post(
            "/v1/account/sessions/token", json={"userId": "ann", "secret": secret}
        )
        assert error_of(answer) == (401, "user_invalid_token")

    async def test_token_of_somebody_else_and_of_another_kind_are_refused(
        self, api: Api, sign_up: SignUp
    ) -> None:
        await sign_up("ann")
        await sign_up("bob")
        of_bob, recovery = await token_for(api, "bob"), await token_for(api, "ann", "recovery")
        for secret in (of_bob, recovery, ""):
            body = {"userId": "ann", "secret": secret}
            answer = await api.guest().post("/v1/account/sessions/token", json=body)
            assert error_of(answer) == (401, "user_invalid_token")

    async def test_unknown_user_is_told_like_a_wrong_secret(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ann")
        wrong, unknown = [
            await api.guest().post("/v1/account/sessions/token", json={"userId": user_id, "secret": "123456"})
            for user_id in ("ann", "nobody")
        ]
        assert wrong.content == unknown.content

    async def test_of_two_uses_at_once_one_counts(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ann")
        body = {"userId": "ann", "secret": await token_for(api, "ann")}
        answers = await asyncio.gather(
            *[api.guest().post("/v1/account/sessions/token", json=body) for _ in range(2)]
        )
        assert sorted(answer.status_code for answer in answers) == [201, 401]

    async def test_fifth_wrong_code_makes_the_code_void(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ann")
        await token_for(api, "ann", "email", secret="123456")
        for _ in range(5):
            await api.guest().post("/v1/account/sessions/token", json={"userId": "ann", "secret": "000000"})
        answer = await api.guest().post(
            "/v1/account/sessions/token", json={"userId": "ann", "secret": "123456"}
        )
        assert error_of(answer) == (401, "user_invalid_token")

    async def test_wrong_secrets_do_not_hurt_long_ones(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ann")
        secret = await token_for(api, "ann")
        for _ in range(6):
            await api.guest().post("/v1/account/sessions/token", json={"userId": "ann", "secret": "000000"})
        answer = await api.guest().post(
            "/v1/account/sessions/token", json={"userId": "ann", "secret": secret}
        )
        assert answer.status_code == 201

    async def test_new_code_makes_the_earlier_one_void(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ann")
        await token_for(api, "ann", "email", secret="111111")
        await token_for(api, "ann", "email", secret="222222")
        for code, status in (("111111", 401), ("222222", 201)):
            body = {"userId": "ann", "secret": code}
            assert (await api.guest().post("/v1/account/sessions/token", json=body)).status_code == status

    async def test_blocked_user_keeps_the_token_and_stays_out(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        secret = await token_for(api, "ann")
        await browser.patch("/v1/account/status")
        answer = await api.guest().post(
            "/v1/account/sessions/token", json={"userId": "ann", "secret": secret}
        )
        assert error_of(answer) == (401, "user_blocked")

    @pytest.mark.parametrize("path", ["sessions", "tokens"])
    async def test_oauth2_is_refused_in_words(self, api: Api, path: str) -> None:
        answer = await api.guest().get(f"/v1/account/{path}/oauth2/github")
        assert error_of(answer) == (412, "project_provider_disabled")


class TestImportedPassword:
    async def test_login_stores_it_in_our_own_form(self, api: Api) -> None:
        body = {"userId": "ann", "email": LOGIN["email"], "password": BCRYPT_OF_ANN}
        assert (await api.server.post("/v1/users/bcrypt", json=body)).status_code == 201
        await log_in(api)
        async with api.services.store.read() as connection:
            row = (await connection.execute(select(users))).mappings().one()
        assert row["password_algorithm"] == "argon2"
        await log_in(api)
