"""The account itself: signing up, reading it, and changing what it says."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from realtime.identity.model import Project
from tests.api import PROJECT, Api
from workers.store.tables import projects

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]

NEW = {"userId": "ann", "email": "Ann@Example.com", "password": "password-of-ann", "name": "Ann"}


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]


async def log_in(api: Api, email: str, password: str) -> httpx.Response:
    return await api.guest().post("/v1/account/sessions/email", json={"email": email, "password": password})


class TestCreate:
    async def test_new_account_is_shown_and_told(self, api: Api) -> None:
        answer = await api.guest().post("/v1/account", json=NEW)
        account = answer.json()
        assert answer.status_code == 201
        assert (account["$id"], account["email"], account["name"]) == ("ann", "ann@example.com", "Ann")
        assert (account["emailVerification"], account["status"], account["prefs"]) == (False, True, {})
        assert [target["identifier"] for target in account["targets"]] == ["ann@example.com"]
        (event,) = await api.published()
        assert (event.name, event.payload) == ("users.ann.create", account)

    async def test_nothing_of_the_password_is_shown(self, api: Api) -> None:
        answer = await api.guest().post("/v1/account", json=NEW)
        assert "argon2" not in answer.text
        assert "hash" not in answer.text.lower()

    @pytest.mark.parametrize("member", ["userId", "email"])
    async def test_id_and_address_are_taken_once(self, api: Api, member: str) -> None:
        await api.guest().post("/v1/account", json=NEW)
        other = {**NEW, "userId": "eve", "email": "eve@example.com", member: NEW[member]}
        assert error_of(await api.guest().post("/v1/account", json=other)) == (409, "user_already_exists")

    async def test_what_breaks_a_rule_is_refused(self, api: Api) -> None:
        changes: list[dict[str, Any]] = [
            {"email": "nobody"},
            {"email": "a@" + "b" * 300 + ".com"},
            {"email": None},
            {"password": "1234567"},
            {"password": "x" * 257},
            {"userId": "-ann"},
            {"userId": "x" * 37},
            {"name": "x" * 129},
        ]
        for change in changes:
            answer = await api.guest().post("/v1/account", json={**NEW, **change})
            assert error_of(answer) == (400, "general_argument_invalid"), change
        assert await api.names() == []


class TestGet:
    async def test_person_sees_their_account(self, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        account = (await browser.get("/v1/account")).json()
        assert (account["$id"], account["impersonatorUserId"]) == ("ann", None)

    async def test_guest_is_told_what_is_missing(self, api: Api) -> None:
        answer = await api.guest().get("/v1/account")
        assert error_of(answer) == (401, "general_unauthorized_scope")
        assert answer.json()["message"] == '(role: guests) missing scope (["account"])'

    @pytest.mark.parametrize(
        "path", ["/v1/account", "/v1/account/sessions", "/v1/account/prefs", "/v1/account/logs"]
    )
    async def test_api_key_has_no_account_whatever_its_scopes(self, api: Api, path: str) -> None:
        answer = await api.server.get(path)
        assert error_of(answer) == (401, "general_unauthorized_scope")
        assert "(role: applications)" in answer.json()["message"]

    async def test_impersonator_is_named(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        await sign_up("bob")
        await api.server.patch("/v1/users/ann/impersonator", json={"impersonator": True})
        account = (await browser.get("/v1/account", headers={"X-Appwrite-Impersonate-User-Id": "bob"})).json()
        assert (account["$id"], account["impersonatorUserId"]) == ("bob", "ann")


class TestUpdate:
    @pytest.mark.parametrize(
        ("attribute", "body", "member", "value"),
        [
            ("name", {"name": "Anna"}, "name", "Anna"),
            ("email", {"email": "A@new.com", "password": "password-of-ann"}, "email", "a@new.com"),
            ("phone", {"phone": "+4912345", "password": "password-of-ann"}, "phone", "+4912345"),
            ("prefs", {"prefs": {"theme": "dark"}}, "prefs", {"theme": "dark"}),
            ("status", {}, "status", False),
        ],
    )
    async def test_change_is_shown_and_told_under_its_attribute(
        self, api: Api, sign_up: SignUp, attribute: str, body: dict[str, Any], member: str, value: object
    ) -> None:
        browser = await sign_up("ann")
        answer = await browser.patch(f"/v1/account/{attribute}", json=body)
        assert answer.status_code == 200
        assert answer.json()[member] == value
        event = (await api.published())[-1]
        assert f"users.ann.update.{attribute}" in event.events
        assert event.payload == (body["prefs"] if attribute == "prefs" else answer.json())

    async def test_new_address_is_a_target_and_not_verified(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        await api.server.patch("/v1/users/ann/verification", json={"emailVerification": True})
        answer = await browser.patch(
            "/v1/account/email", json={"email": "new@example.com", "password": "password-of-ann"}
        )
        account = answer.json()
        assert account["emailVerification"] is False
        assert [target["identifier"] for target in account["targets"]] == ["new@example.com"]
        assert (await log_in(api, "new@example.com", "password-of-ann")).status_code == 201

    @pytest.mark.parametrize("attribute", ["email", "phone"])
    async def test_new_address_takes_the_password(self, sign_up: SignUp, attribute: str) -> None:
        browser = await sign_up("ann")
        body = {"email": "new@example.com", "phone": "+4912345", "password": "wrong-password"}
        answer = await browser.patch(f"/v1/account/{attribute}", json=body)
        assert error_of(answer) == (401, "user_invalid_credentials")

    async def test_address_of_somebody_else_is_refused(self, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        await sign_up("bob")
        answer = await browser.patch(
            "/v1/account/email", json={"email": "bob@example.com", "password": "password-of-ann"}
        )
        assert error_of(answer) == (409, "user_email_already_exists")

    async def test_prefs_are_an_object_of_bounded_size(self, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        values: list[object] = [{"a": "x" * 70_000}, [], "text", None]
        for prefs in values:
            answer = await browser.patch("/v1/account/prefs", json={"prefs": prefs})
            assert error_of(answer) == (400, "general_argument_invalid")
        assert (await browser.get("/v1/account/prefs")).json() == {}

    async def test_blocked_person_is_out_at_once(self, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        kept = dict(browser.cookies)
        await browser.patch("/v1/account/status")
        assert dict(browser.cookies) == {}
        browser.cookies.update(kept)
        assert error_of(await browser.get("/v1/account")) == (401, "user_blocked")


class TestPassword:
    async def test_new_password_takes_the_old_one(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        body = {"password": "new-password", "oldPassword": "password-of-eve"}
        assert error_of(await browser.patch("/v1/account/password", json=body)) == (
            401,
            "user_invalid_credentials",
        )
        body["oldPassword"] = "password-of-ann"
        assert (await browser.patch("/v1/account/password", json=body)).status_code == 200
        assert (await log_in(api, "ann@example.com", "password-of-ann")).status_code == 401
        assert (await log_in(api, "ann@example.com", "new-password")).status_code == 201

    @pytest.mark.parametrize("ends", [True, False])
    async def test_other_sessions_end_unless_the_project_keeps_them(
        self, api: Api, sign_up: SignUp, ends: bool
    ) -> None:
        policies = {"session-invalidation": {"enabled": ends}}
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await tx.connection.execute(update(projects).values(policies=policies))
        browser = await sign_up("ann")
        await log_in(api, "ann@example.com", "password-of-ann")
        body = {"password": "new-password", "oldPassword": "password-of-ann"}
        await browser.patch("/v1/account/password", json=body)
        listed = (await browser.get("/v1/account/sessions")).json()
        assert [each["current"] for each in listed["sessions"]] == ([True] if ends else [True, False])

    async def test_anonymous_person_needs_no_old_password(self, api: Api) -> None:
        browser = api.guest()
        await browser.post("/v1/account/sessions/anonymous", json={})
        answer = await browser.patch("/v1/account/password", json={"password": "new-password"})
        assert answer.json()["passwordUpdate"]
        assert "$argon2" not in answer.text
