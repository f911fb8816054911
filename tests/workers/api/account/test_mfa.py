"""Second factors: authenticator, e-mail, recovery codes, and the sessions that lack one."""

from collections.abc import Awaitable, Callable

import httpx
import pyotp
import pytest
from sqlalchemy import select, update

from realtime.identity.model import Project
from tests.api import PROJECT, Api
from tests.inbox import Inbox
from workers.store.tables import challenges, sessions, tokens

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]

LOGIN = {"email": "ann@example.com", "password": "password-of-ann"}


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]


async def log_in(api: Api) -> httpx.AsyncClient:
    browser = api.guest()
    assert (await browser.post("/v1/account/sessions/email", json=LOGIN)).status_code == 201
    return browser


async def add_authenticator(browser: httpx.AsyncClient) -> pyotp.TOTP:
    made = (await browser.post("/v1/account/mfa/authenticators/totp")).json()
    totp = pyotp.TOTP(made["secret"])
    answer = await browser.put("/v1/account/mfa/authenticators/totp", json={"otp": totp.now()})
    assert answer.status_code == 200, answer.text
    return totp


async def challenge(browser: httpx.AsyncClient, factor: str) -> str:
    answer = await browser.post("/v1/account/mfa/challenges", json={"factor": factor})
    assert answer.status_code == 201, answer.text
    challenge_id: str = answer.json()["$id"]
    return challenge_id


async def answer_with(browser: httpx.AsyncClient, challenge_id: str, otp: str) -> httpx.Response:
    return await browser.put("/v1/account/mfa/challenges", json={"challengeId": challenge_id, "otp": otp})


async def forget_challenges(api: Api) -> None:
    """Let the time pass for which a factor that was shown counts."""
    async with api.services.store.write(Project(id=PROJECT)) as tx:
        await tx.connection.execute(update(sessions).values(mfa_updated_at=None))


@pytest.fixture
async def guarded(sign_up: SignUp) -> tuple[httpx.AsyncClient, pyotp.TOTP]:
    """The browser of Ann, who asks for a second factor, and her authenticator."""
    browser = await sign_up("ann")
    totp = await add_authenticator(browser)
    await browser.patch("/v1/account/mfa", json={"mfa": True})
    return browser, totp


class TestAuthenticator:
    async def test_first_code_makes_it_a_factor(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        made = (await browser.post("/v1/account/mfa/authenticators/totp")).json()
        assert made["uri"].startswith("otpauth://totp/Demo:ann%40example.com?secret=" + made["secret"])
        before = (await browser.get("/v1/account/mfa/factors")).json()
        otp = pyotp.TOTP(made["secret"]).now()
        answer = await browser.put("/v1/account/mfa/authenticators/totp", json={"otp": otp})
        after = (await browser.get("/v1/account/mfa/factors")).json()
        assert (answer.json()["$id"], before["totp"], after["totp"]) == ("ann", False, True)
        assert (await browser.get("/v1/account/sessions/current")).json()["factors"] == ["password", "totp"]
        event = (await api.published())[-1]
        assert "users.ann.update.mfa" in event.events
        assert made["secret"] not in str(event.payload)

    async def test_wrong_code_does_not(self, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        path = "/v1/account/mfa/authenticators/totp"
        assert error_of(await browser.put(path, json={"otp": "123456"})) == (
            404,
            "user_authenticator_not_found",
        )
        await browser.post(path)
        assert error_of(await browser.put(path, json={"otp": "abc"})) == (401, "user_invalid_token")

    async def test_second_one_is_refused_until_the_first_is_deleted(self, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        await add_authenticator(browser)
        path = "/v1/account/mfa/authenticators/totp"
        again = await browser.post(path)
        verified = await browser.put(path, json={"otp": "1"})
        assert error_of(again) == error_of(verified) == (409, "user_authenticator_already_verified")
        assert (await browser.delete(path)).status_code == 204
        assert error_of(await browser.delete(path)) == (404, "user_authenticator_not_found")
        assert (await browser.post(path)).status_code == 200


class TestRemoval:
    """What is protected by a second factor cannot be taken away without it."""

    async def test_session_that_showed_no_factor_of_late_removes_none(
        self, api: Api, guarded: tuple[httpx.AsyncClient, pyotp.TOTP]
    ) -> None:
        browser, totp = guarded
        await forget_challenges(api)
        required = (401, "user_challenge_required")
        assert error_of(await browser.delete("/v1/account/mfa/authenticators/totp")) == required
        assert error_of(await browser.patch("/v1/account/mfa", json={"mfa": False})) == required
        assert (await browser.patch("/v1/account/mfa", json={"mfa": True})).status_code == 200
        await answer_with(browser, await challenge(browser, "totp"), totp.now())
        assert (await browser.patch("/v1/account/mfa", json={"mfa": False})).json()["mfa"] is False
        assert (await browser.delete("/v1/account/mfa/authenticators/totp")).status_code == 204

    async def test_who_has_no_verified_factor_needs_none(self, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        await browser.post("/v1/account/mfa/authenticators/totp")
        await browser.patch("/v1/account/mfa", json={"mfa": True})
        assert (await browser.delete("/v1/account/mfa/authenticators/totp")).status_code == 204
        assert (await browser.patch("/v1/account/mfa", json={"mfa": False})).json()["mfa"] is False


class TestPendingSession:
    async def test_current_session_goes_on_and_others_must_show_the_factor(
        self, api: Api, sign_up: SignUp
    ) -> None:
        browser = await sign_up("ann")
        other = await log_in(api)
        await add_authenticator(browser)
        assert (await browser.patch("/v1/account/mfa", json={"mfa": True})).json()["mfa"] is True
        assert (await browser.get("/v1/account")).status_code == 200
        assert error_of(await other.get("/v1/account")) == (401, "user_more_factors_required")

    async def test_code_completes_it(self, api: Api, guarded: tuple[httpx.AsyncClient, pyotp.TOTP]) -> None:
        browser = await log_in(api)
        assert error_of(await browser.get("/v1/account")) == (401, "user_more_factors_required")
        challenge_id = await challenge(browser, "totp")
        answer = await answer_with(browser, challenge_id, guarded[1].now())
        session = answer.json()
        assert answer.status_code == 200
        assert (session["factors"], session["current"]) == (["password", "totp"], True)
        assert session["mfaUpdatedAt"]
        assert (await browser.get("/v1/account")).status_code == 200
        names = (await api.names())[-2:]
        assert names == [
            f"users.ann.challenges.{challenge_id}.create",
            f"users.ann.sessions.{session['$id']}.update",
        ]

    async def test_hubs_take_it_for_a_guests_until_then(
        self, api: Api, guarded: tuple[httpx.AsyncClient, pyotp.TOTP]
    ) -> None:
        browser = await log_in(api)
        user = await api.services.identities.get_user(PROJECT, "ann")
        assert user is not None
        assert [session.mfa_pending for session in user.sessions] == [False, True]
        await answer_with(browser, await challenge(browser, "totp"), guarded[1].now())
        user = await api.services.identities.get_user(PROJECT, "ann")
        assert user is not None
        assert [session.mfa_pending for session in user.sessions] == [False, False]

    async def test_it_can_be_ended(self, api: Api, guarded: tuple[httpx.AsyncClient, pyotp.TOTP]) -> None:
        browser = await log_in(api)
        assert (await browser.delete("/v1/account/sessions/current")).status_code == 204

    async def test_it_ends_no_other_session(
        self, api: Api, guarded: tuple[httpx.AsyncClient, pyotp.TOTP]
    ) -> None:
        other = (await guarded[0].get("/v1/account/sessions/current")).json()["$id"]
        browser = await log_in(api)
        for session_id in (other, "unknown"):
            refused = await browser.delete(f"/v1/account/sessions/{session_id}")
            assert error_of(refused) == (401, "user_more_factors_required")
        assert (await guarded[0].get("/v1/account")).status_code == 200

    async def test_who_has_no_second_factor_is_not_locked_out(self, api: Api, sign_up: SignUp) -> None:
        await (await sign_up("ann")).patch("/v1/account/mfa", json={"mfa": True})
        assert (await (await log_in(api)).get("/v1/account")).status_code == 200


class TestChallenge:
    async def test_code_of_an_authenticator_is_good_once(
        self, api: Api, guarded: tuple[httpx.AsyncClient, pyotp.TOTP]
    ) -> None:
        first, second = await log_in(api), await log_in(api)
        otp = guarded[1].now()
        assert (await answer_with(first, await challenge(first, "totp"), otp)).status_code == 200
        replayed = await answer_with(second, await challenge(second, "totp"), otp)
        assert error_of(replayed) == (401, "user_invalid_token")
        async with api.services.store.read() as connection:
            kinds = (await connection.execute(select(tokens.c.kind))).scalars().all()
        assert kinds == ["totp"]

    async def test_fifth_wrong_answer_makes_it_void(
        self, api: Api, guarded: tuple[httpx.AsyncClient, pyotp.TOTP]
    ) -> None:
        browser = await log_in(api)
        challenge_id = await challenge(browser, "totp")
        for _ in range(5):
            assert error_of(await answer_with(browser, challenge_id, "x")) == (401, "user_invalid_token")
        right = await answer_with(browser, challenge_id, guarded[1].now())
        assert error_of(right) == (401, "user_invalid_token")

    async def test_it_is_answered_in_its_own_session_and_time(
        self, api: Api, guarded: tuple[httpx.AsyncClient, pyotp.TOTP]
    ) -> None:
        first, second = await log_in(api), await log_in(api)
        challenge_id = await challenge(first, "totp")
        assert (await answer_with(second, challenge_id, guarded[1].now())).status_code == 401
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await tx.connection.execute(update(challenges).values(expires_at=tx.now_text))
        assert (await answer_with(first, challenge_id, guarded[1].now())).status_code == 401

    async def test_mailed_code_completes_a_session(self, api: Api, sign_up: SignUp, inbox: Inbox) -> None:
        browser = await sign_up("ann")
        await api.server.patch("/v1/users/ann/verification", json={"emailVerification": True})
        await browser.patch("/v1/account/mfa", json={"mfa": True})
        other = await log_in(api)
        challenge_id = await challenge(other, "email")
        assert [mail.to for mail in inbox.mails] == ["ann@example.com"]
        answer = await answer_with(other, challenge_id, inbox.code())
        assert answer.json()["factors"] == ["password", "email"]

    async def test_factor_that_a_person_lacks_is_named(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        found = {}
        for factor in ("totp", "email", "phone", "recoverycode", "custom"):
            answer = await browser.post("/v1/account/mfa/challenge", json={"factor": factor})
            found[factor] = error_of(answer)
        assert found == {
            "totp": (404, "user_authenticator_not_found"),
            "email": (400, "user_email_not_verified"),
            "phone": (501, "general_phone_disabled"),
            "recoverycode": (404, "user_recovery_codes_not_found"),
            "custom": (400, "general_argument_invalid"),
        }


class TestRecoveryCodes:
    async def test_each_code_completes_one_session(
        self, api: Api, guarded: tuple[httpx.AsyncClient, pyotp.TOTP]
    ) -> None:
        made = await guarded[0].post("/v1/account/mfa/recovery-codes")
        codes = made.json()["recoveryCodes"]
        assert (made.status_code, len(set(codes))) == (201, 6)
        first, second = await log_in(api), await log_in(api)
        statuses = [
            (await answer_with(each, await challenge(each, "recoverycode"), codes[0])).status_code
            for each in (first, second)
        ]
        assert statuses == [200, 401]

    async def test_they_are_made_once_and_replaced_after_a_challenge(
        self, api: Api, guarded: tuple[httpx.AsyncClient, pyotp.TOTP]
    ) -> None:
        browser, totp = guarded
        path = "/v1/account/mfa/recovery-codes"
        assert error_of(await browser.patch(path)) == (404, "user_recovery_codes_not_found")
        earlier = (await browser.post(path)).json()["recoveryCodes"]
        assert error_of(await browser.post(path)) == (409, "user_recovery_codes_already_exists")
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await tx.connection.execute(update(sessions).values(mfa_updated_at=None))
        for method in ("GET", "PATCH"):
            assert error_of(await browser.request(method, path)) == (401, "user_challenge_required")
        await answer_with(browser, await challenge(browser, "totp"), totp.now())
        assert error_of(await browser.get(path)) == (409, "user_recovery_codes_already_exists")
        later = (await browser.patch(path)).json()["recoveryCodes"]
        assert not set(earlier) & set(later)
