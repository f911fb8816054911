"""What comes by mail: links and codes to log in with, verification, and password reset."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import httpx
import pytest
from sqlalchemy import update

from realtime.identity.model import Project
from tests.api import PROJECT, Api, until_blocked
from tests.inbox import Inbox
from workers.api.people.users import create_user
from workers.models.people import account_model
from workers.store.tables import projects

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]

PAGE = "http://localhost:3000/page?tab=1#top"
FOREIGN_PAGES = [
    "http://evil.example/page",
    "http://localhost@evil.example/",
    "http://evil.example\\@localhost/",
    "http://localhost.evil.example/",
    "javascript://localhost/%0aalert(1)",
    "//localhost/page",
    "localhost",
    "http://[::1/",
    "",
]


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]


async def log_in(api: Api, password: str) -> httpx.Response:
    body = {"email": "ann@example.com", "password": password}
    return await api.guest().post("/v1/account/sessions/email", json=body)


class TestMagicUrl:
    async def test_link_signs_up_and_logs_in(self, api: Api, inbox: Inbox) -> None:
        browser = api.guest()
        body = {"userId": "ann", "email": "ann@example.com", "url": PAGE}
        answer = await browser.post("/v1/account/tokens/magic-url", json=body)
        token = answer.json()
        assert answer.status_code == 201
        assert (token["userId"], token["secret"], token["phrase"]) == ("ann", "", "")
        assert re.fullmatch(
            r"http://localhost:3000/page\?tab=1&userId=ann&secret=[0-9a-f]{256}&expire=[^#]+#top",
            inbox.link(),
        )
        begun = await browser.put("/v1/account/sessions/magic-url", json=inbox.proof())
        assert begun.status_code == 201
        assert (await browser.get("/v1/account")).json()["emailVerification"] is True

    async def test_known_address_is_its_users_whatever_id_is_sent(
        self, api: Api, sign_up: SignUp, inbox: Inbox
    ) -> None:
        await sign_up("ann")
        body = {"userId": "eve", "email": "Ann@example.com", "url": PAGE}
        answer = await api.guest().post("/v1/account/tokens/magic-url", json=body)
        assert answer.json()["userId"] == inbox.proof()["userId"] == "ann"
        assert [mail.to for mail in inbox.mails] == ["ann@example.com"]

    async def test_token_is_told_without_its_secret(self, api: Api, inbox: Inbox) -> None:
        body = {"userId": "ann", "email": "ann@example.com", "url": PAGE}
        token = (await api.guest().post("/v1/account/tokens/magic-url", json=body)).json()
        events = await api.published()
        assert [event.name for event in events] == [
            "users.ann.create",
            f"users.ann.tokens.{token['$id']}.create",
        ]
        assert "secret" not in events[1].payload
        assert events[1].roles == ["user:ann"]

    async def test_api_key_is_shown_the_secret(self, api: Api, inbox: Inbox) -> None:
        body = {"userId": "ann", "email": "ann@example.com", "url": PAGE}
        token = (await api.server.post("/v1/account/tokens/magic-url", json=body)).json()
        assert token["secret"] == inbox.proof()["secret"]

    async def test_without_a_page_the_link_leads_to_the_app_that_asks(self, api: Api, inbox: Inbox) -> None:
        body = {"userId": "ann", "email": "ann@example.com"}
        await api.guest(Origin="http://localhost:3000").post("/v1/account/tokens/magic-url", json=body)
        assert inbox.link().startswith("http://localhost:3000?userId=ann&")

    async def test_broken_mail_server_is_no_error_of_the_request(self, api: Api, inbox: Inbox) -> None:
        inbox.is_broken = True
        body = {"userId": "ann", "email": "ann@example.com", "url": PAGE}
        answer = await api.guest().post("/v1/account/tokens/magic-url", json=body)
        assert answer.status_code == 201


class TestEmailCode:
    async def test_code_logs_in_once(self, api: Api, inbox: Inbox) -> None:
        body = {"userId": "ann", "email": "ann@example.com", "phrase": True}
        token = (await api.guest().post("/v1/account/tokens/email", json=body)).json()
        assert len(token["phrase"].split()) == 2
        assert token["phrase"] in inbox.mails[-1].text
        proof = {"userId": token["userId"], "secret": inbox.code()}
        statuses = [
            (await api.guest().post("/v1/account/sessions/token", json=proof)).status_code for _ in range(2)
        ]
        assert statuses == [201, 401]

    async def test_address_that_somebody_signs_up_with_at_the_same_time_is_theirs(
        self, api: Api, inbox: Inbox
    ) -> None:
        body = {"userId": "eve", "email": "ann@example.com"}
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await create_user(tx, user_id="ann", email="ann@example.com", show=account_model)
            asking = asyncio.create_task(api.guest().post("/v1/account/tokens/email", json=body))
            if tx.connection.dialect.name == "postgresql":
                await until_blocked(api)
        answer = await asking
        assert (answer.status_code, answer.json()["userId"]) == (201, "ann")
        assert [mail.to for mail in inbox.mails] == ["ann@example.com"]

    async def test_blocked_person_gets_no_mail_and_the_usual_answer(
        self, api: Api, sign_up: SignUp, inbox: Inbox
    ) -> None:
        browser = await sign_up("ann")
        await browser.patch("/v1/account/status")
        body = {"userId": "eve", "email": "ann@example.com"}
        answer = await api.guest().post("/v1/account/tokens/email", json=body)
        assert answer.status_code == 201
        assert inbox.mails == []

    async def test_code_that_went_to_an_address_given_up_is_void(
        self, api: Api, sign_up: SignUp, inbox: Inbox
    ) -> None:
        browser = await sign_up("ann")
        await api.guest().post("/v1/account/tokens/email", json={"userId": "eve", "email": "ann@example.com"})
        await browser.patch(
            "/v1/account/email", json={"email": "new@example.com", "password": "password-of-ann"}
        )
        proof = {"userId": "ann", "secret": inbox.code()}
        answer = await api.guest().post("/v1/account/sessions/token", json=proof)
        assert error_of(answer) == (401, "user_invalid_token")


class TestFirstProof:
    """Eve signed up with Ann's address before Ann did."""

    async def test_login_by_mail_voids_the_password_and_sessions_of_who_signed_up(
        self, api: Api, sign_up: SignUp, inbox: Inbox
    ) -> None:
        eve, ann = await sign_up("ann"), api.guest()
        await ann.post("/v1/account/tokens/email", json={"userId": "ann", "email": "ann@example.com"})
        proof = {"userId": "ann", "secret": inbox.code()}
        assert (await ann.post("/v1/account/sessions/token", json=proof)).status_code == 201
        assert error_of(await log_in(api, "password-of-ann")) == (401, "user_invalid_credentials")
        assert (await eve.get("/v1/account")).status_code == 401
        account = (await ann.get("/v1/account")).json()
        assert account["emailVerification"] is True
        assert (await ann.get("/v1/account/sessions")).json()["total"] == 1
        changed = await ann.patch("/v1/account/password", json={"password": "password-of-ann"})
        assert changed.status_code == 200

    async def test_later_logins_by_mail_change_nothing(self, api: Api, sign_up: SignUp, inbox: Inbox) -> None:
        browser = await sign_up("ann")
        await api.server.patch("/v1/users/ann/verification", json={"emailVerification": True})
        body = {"userId": "ann", "email": "ann@example.com", "url": PAGE}
        await api.guest().post("/v1/account/tokens/magic-url", json=body)
        begun = await api.guest().put("/v1/account/sessions/magic-url", json=inbox.proof())
        assert begun.status_code == 201
        assert (await log_in(api, "password-of-ann")).status_code == 201
        assert (await browser.get("/v1/account")).status_code == 200

    async def test_recovery_ends_sessions_even_if_the_project_keeps_them(
        self, api: Api, sign_up: SignUp, inbox: Inbox
    ) -> None:
        eve = await sign_up("ann")
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            policy = {"session-invalidation": {"enabled": False}}
            await tx.connection.execute(update(projects).values(policies=policy))
        for browser, status in ((eve, 401), (api.guest(), 200)):
            await api.guest().post("/v1/account/recovery", json={"email": "ann@example.com", "url": PAGE})
            if status == 200:
                login = {"email": "ann@example.com", "password": "new-password"}
                await browser.post("/v1/account/sessions/email", json=login)
            confirmed = await api.guest().put(
                "/v1/account/recovery", json={**inbox.proof(), "password": "new-password"}
            )
            assert confirmed.status_code == 200
            assert (await browser.get("/v1/account")).status_code == status


class TestPhone:
    async def test_phone_has_no_provider(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        token = await api.guest().post(
            "/v1/account/tokens/phone", json={"userId": "ann", "phone": "+4912345"}
        )
        made = await browser.post("/v1/account/verifications/phone")
        confirmed = await browser.put("/v1/account/verification/phone", json={"userId": "ann", "secret": "1"})
        session = await api.guest().put("/v1/account/sessions/phone", json={"userId": "ann", "secret": "1"})
        assert [error_of(answer) for answer in (token, made, confirmed)] == [
            (501, "general_phone_disabled")
        ] * 3
        assert error_of(session) == (401, "user_invalid_token")


class TestVerification:
    @pytest.mark.parametrize("path", ["/v1/account/verifications/email", "/v1/account/verification"])
    async def test_link_verifies_the_address(
        self, api: Api, sign_up: SignUp, inbox: Inbox, path: str
    ) -> None:
        browser = await sign_up("ann")
        token = (await browser.post(path, json={"url": PAGE})).json()
        confirmed = await api.guest().put(path, json=inbox.proof())
        assert (confirmed.status_code, confirmed.json()["$id"]) == (200, token["$id"])
        assert (await browser.get("/v1/account")).json()["emailVerification"] is True
        user = await api.services.identities.get_user(PROJECT, "ann")
        assert user is not None
        assert "users/verified" in user.roles()
        names = (await api.names())[-2:]
        assert names == [f"users.ann.verification.{token['$id']}.{action}" for action in ("create", "update")]

    async def test_secret_is_good_once_and_for_its_user(
        self, api: Api, sign_up: SignUp, inbox: Inbox
    ) -> None:
        browser = await sign_up("ann")
        await sign_up("bob")
        await browser.post("/v1/account/verifications/email", json={"url": PAGE})
        proof = inbox.proof()
        path = "/v1/account/verifications/email"
        assert (await api.guest().put(path, json={**proof, "userId": "bob"})).status_code == 401
        assert (await api.guest().put(path, json=proof)).status_code == 200
        assert error_of(await api.guest().put(path, json=proof)) == (401, "user_invalid_token")

    async def test_verified_address_and_no_address_are_refused(self, api: Api, sign_up: SignUp) -> None:
        browser, anonymous = await sign_up("ann"), api.guest()
        await api.server.patch("/v1/users/ann/verification", json={"emailVerification": True})
        await anonymous.post("/v1/account/sessions/anonymous", json={})
        path = "/v1/account/verifications/email"
        assert error_of(await browser.post(path, json={"url": PAGE})) == (409, "user_email_already_verified")
        assert error_of(await anonymous.post(path, json={"url": PAGE})) == (400, "user_email_not_found")


class TestRecovery:
    async def test_link_sets_a_new_password_and_ends_sessions(
        self, api: Api, sign_up: SignUp, inbox: Inbox
    ) -> None:
        browser = await sign_up("ann")
        token = (
            await api.guest().post("/v1/account/recovery", json={"email": "ann@example.com", "url": PAGE})
        ).json()
        body = {**inbox.proof(), "password": "new-password"}
        confirmed = await api.guest().put("/v1/account/recovery", json=body)
        assert (confirmed.status_code, confirmed.json()["$id"]) == (200, token["$id"])
        assert (await browser.get("/v1/account")).status_code == 401
        assert (await log_in(api, "password-of-ann")).status_code == 401
        assert (await log_in(api, "new-password")).status_code == 201
        names = [name for name in await api.names() if ".recovery." in name]
        assert names == [f"users.ann.recovery.{token['$id']}.{action}" for action in ("create", "update")]

    async def test_unknown_blocked_and_known_address_get_the_same_answer(
        self, api: Api, sign_up: SignUp, inbox: Inbox
    ) -> None:
        await sign_up("ann")
        blocked = await sign_up("bob")
        await blocked.patch("/v1/account/status")
        shapes = []
        for name in ("ann", "bob", "eve"):
            body = {"email": f"{name}@example.com", "url": PAGE}
            answer = await api.guest().post("/v1/account/recovery", json=body)
            token = answer.json()
            lengths = {member: len(value) for member, value in token.items()}
            shapes.append((answer.status_code, lengths, token["userId"], token["secret"]))
        assert shapes[0] == shapes[1] == shapes[2]
        assert [mail.to for mail in inbox.mails] == ["ann@example.com"]

    async def test_api_key_is_told_the_truth(self, api: Api, sign_up: SignUp, inbox: Inbox) -> None:
        await sign_up("ann")
        known, unknown = [
            await api.server.post("/v1/account/recovery", json={"email": f"{name}@example.com", "url": PAGE})
            for name in ("ann", "eve")
        ]
        assert known.json()["secret"] == inbox.proof()["secret"]
        assert error_of(unknown) == (404, "user_not_found")

    async def test_secret_is_good_once(self, api: Api, sign_up: SignUp, inbox: Inbox) -> None:
        await sign_up("ann")
        await api.guest().post("/v1/account/recovery", json={"email": "ann@example.com", "url": PAGE})
        body = {**inbox.proof(), "password": "new-password"}
        statuses = [(await api.guest().put("/v1/account/recovery", json=body)).status_code for _ in range(2)]
        assert statuses == [200, 401]

    @pytest.mark.parametrize("by", ["recovery", "account", "server"])
    async def test_new_password_voids_whatever_else_would_let_somebody_in(
        self, api: Api, sign_up: SignUp, inbox: Inbox, by: str
    ) -> None:
        browser = await sign_up("ann")
        stranger, secrets, page = api.guest(), [], {"email": "ann@example.com", "url": PAGE}
        for path in ("recovery", "tokens/magic-url", "recovery"):
            await stranger.post(f"/v1/account/{path}", json={"userId": "ann", **page})
            secrets.append(inbox.proof())
        made = await api.server.post("/v1/users/ann/tokens", json={})
        secrets.append({"userId": "ann", "secret": made.json()["secret"]})
        *outstanding, generic = secrets
        body = {"password": "new-password"}
        changed = await {
            "recovery": lambda: stranger.put("/v1/account/recovery", json={**outstanding.pop(), **body}),
            "account": lambda: browser.patch(
                "/v1/account/password", json={**body, "oldPassword": "password-of-ann"}
            ),
            "server": lambda: api.server.patch("/v1/users/ann/password", json=body),
        }[by]()
        assert changed.status_code == 200, changed.text
        tries = [
            await stranger.put("/v1/account/recovery", json={**outstanding[0], "password": "evil-password"}),
            await stranger.put("/v1/account/sessions/magic-url", json=outstanding[1]),
            await stranger.post("/v1/account/sessions/token", json=generic),
        ]
        assert [error_of(answer) for answer in tries] == [(401, "user_invalid_token")] * 3

    async def test_wrong_secret_is_refused_before_the_rules_for_passwords(
        self, api: Api, sign_up: SignUp, inbox: Inbox
    ) -> None:
        await sign_up("ann")
        policies = {"password-history": {"total": 5}}
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await tx.connection.execute(update(projects).values(policies=policies))
        await api.guest().post("/v1/account/recovery", json={"email": "ann@example.com", "url": PAGE})
        right = {**inbox.proof(), "password": "password-of-ann"}
        wrong = {**right, "secret": "0" * 256}
        answers = [await api.guest().put("/v1/account/recovery", json=body) for body in (wrong, right)]
        assert [error_of(answer) for answer in answers] == [
            (401, "user_invalid_token"),
            (400, "password_recently_used"),
        ]


class TestLinks:
    async def test_link_leads_to_no_foreign_page(self, api: Api, sign_up: SignUp, inbox: Inbox) -> None:
        """A secret in a link to somebody else's page would be theirs."""
        browser = await sign_up("ann")
        for path in ("tokens/magic-url", "verifications/email", "recovery"):
            for url in FOREIGN_PAGES:
                body = {"userId": "ann", "email": "ann@example.com", "url": url}
                answer = await browser.post(f"/v1/account/{path}", json=body)
                assert error_of(answer) == (400, "general_argument_invalid"), (path, url)
        assert inbox.mails == []
