"""Changing one thing of a user: what it becomes, who is told, and what hubs know of it."""

from typing import Any

import pytest

from tests.api import Api
from workers.api.people.passwords import verify_password
from workers.api.people.users import find_user

ADA = {
    "userId": "ada",
    "name": "Ada",
    "email": "ada@example.com",
    "phone": "+15550100",
    "password": "correct horse",
}

# Method, path, body; the attribute of the event, and what of the user is then different.
CHANGES: list[tuple[str, str, dict[str, Any], str, dict[str, Any]]] = [
    ("PATCH", "name", {"name": "Countess"}, "name", {"name": "Countess"}),
    ("PATCH", "name", {"name": ""}, "name", {"name": ""}),
    ("PATCH", "email", {"email": "New@Example.com"}, "email", {"email": "new@example.com"}),
    ("PATCH", "email", {"email": ""}, "email", {"email": ""}),
    ("PATCH", "phone", {"number": "+15550199"}, "phone", {"phone": "+15550199"}),
    ("PATCH", "phone", {"number": ""}, "phone", {"phone": ""}),
    ("PATCH", "status", {"status": False}, "status", {"status": False}),
    ("PUT", "labels", {"labels": ["vip", "tester2", "vip"]}, "labels", {"labels": ["vip", "tester2"]}),
    (
        "PATCH", "verification", {"emailVerification": True}, "verification", {"emailVerification": True},
    ),
    (
        "PATCH", "verification/phone", {"phoneVerification": True}, "verification", {"phoneVerification": True},
    ),
    ("PATCH", "impersonator", {"impersonator": True}, "impersonator", {"impersonator": True}),
    ("PATCH", "mfa", {"mfa": True}, "mfa", {"mfa": True}),
]  # fmt: skip

WRONG: list[tuple[str, str, dict[str, Any]]] = [
    ("PATCH", "name", {"name": "x" * 129}),
    ("PATCH", "name", {}),
    ("PATCH", "email", {"email": "nowhere"}),
    ("PATCH", "email", {}),
    ("PATCH", "phone", {"number": "0"}),
    ("PATCH", "password", {"password": "short"}),
    ("PATCH", "status", {"status": "maybe"}),
    ("PUT", "labels", {"labels": ["two words"]}),
    ("PUT", "labels", {"labels": ["x" * 37]}),
    ("PUT", "labels", {"labels": ["a"] * 1001}),
    ("PUT", "labels", {"labels": "vip"}),
    ("PATCH", "prefs", {"prefs": ["a"]}),
    ("PATCH", "prefs", {"prefs": {"a": "x" * 65_536}}),
    ("PATCH", "prefs", {}),
    ("PATCH", "verification", {}),
    ("PATCH", "impersonator", {"impersonator": 7}),
    ("PATCH", "mfa", {}),
]


@pytest.fixture
async def ada(api: Api) -> dict[str, Any]:
    """A user with everything."""
    user: dict[str, Any] = (await api.server.post("/v1/users", json=ADA)).json()
    return user


class TestUpdate:
    async def test_changes_are_shown_stored_and_told(self, api: Api) -> None:
        for method, path, body, attribute, changed in CHANGES:
            ada = (await api.server.post("/v1/users", json=ADA)).json()

            response = await api.server.request(method, f"/v1/users/ada/{path}", json=body)

            assert response.status_code == 200, (path, body)
            user = response.json()
            # The target follows the address, see below.
            assert user | {"$updatedAt": "", "targets": []} == ada | changed | {
                "$updatedAt": "",
                "targets": [],
            }
            assert user["$updatedAt"] > ada["$updatedAt"]
            assert (await api.server.get("/v1/users/ada")).json() == user
            event = (await api.published())[-1]
            assert event.name == "users.ada.update"
            assert f"users.ada.update.{attribute}" in event.events
            assert (event.roles, event.user_id) == (["user:ada"], "ada")
            hidden = ("password", "hash", "hashOptions")
            assert event.payload == {name: value for name, value in user.items() if name not in hidden}
            await api.server.delete("/v1/users/ada")

    async def test_what_breaks_a_rule_changes_nothing(self, api: Api, ada: dict[str, Any]) -> None:
        for method, path, body in WRONG:
            response = await api.server.request(method, f"/v1/users/ada/{path}", json=body)

            assert response.status_code == 400, (path, body)
            assert response.json()["type"] == "general_argument_invalid"
        assert (await api.server.get("/v1/users/ada")).json() == ada
        assert await api.names() == ["users.ada.create"]


class TestAddresses:
    @pytest.mark.parametrize(
        ("path", "name", "provider_type", "new"),
        [("email", "email", "email", "new@example.com"), ("phone", "number", "sms", "+15550199")],
    )
    async def test_target_follows_the_address_and_verification_ends(
        self, api: Api, ada: dict[str, Any], path: str, name: str, provider_type: str, new: str
    ) -> None:
        verified = {"email": "emailVerification", "phone": "phoneVerification"}[path]
        where = "verification" if path == "email" else "verification/phone"
        await api.server.patch(f"/v1/users/ada/{where}", json={verified: True})
        before = {target["$id"] for target in ada["targets"] if target["providerType"] == provider_type}

        async def change(value: str) -> dict[str, Any]:
            return dict((await api.server.patch(f"/v1/users/ada/{path}", json={name: value})).json())

        moved = await change(new)
        assert moved[verified] is False
        assert [
            (target["$id"], target["identifier"])
            for target in moved["targets"]
            if target["providerType"] == provider_type
        ] == [(*before, new)]
        gone = await change("")
        assert [target["providerType"] for target in gone["targets"]] == [
            each for each in ("email", "sms") if each != provider_type
        ]
        back = await change(new)
        assert new in {target["identifier"] for target in back["targets"]}

    async def test_same_address_stays_verified(self, api: Api, ada: dict[str, Any]) -> None:
        await api.server.patch("/v1/users/ada/verification", json={"emailVerification": True})

        user = (await api.server.patch("/v1/users/ada/email", json={"email": "ADA@example.com"})).json()

        assert user["emailVerification"] is True
        assert len(user["targets"]) == 2

    async def test_address_that_somebody_has_is_refused(self, api: Api, ada: dict[str, Any]) -> None:
        eve = {"userId": "eve", "email": "eve@example.com", "phone": "+15550101"}
        await api.server.post("/v1/users", json=eve)

        by_email = await api.server.patch("/v1/users/ada/email", json={"email": eve["email"]})
        by_phone = await api.server.patch("/v1/users/ada/phone", json={"number": eve["phone"]})

        assert (by_email.status_code, by_email.json()["type"]) == (409, "user_email_already_exists")
        assert (by_phone.status_code, by_phone.json()["type"]) == (409, "user_phone_already_exists")
        assert (await api.server.get("/v1/users/ada")).json() == ada

    async def test_address_that_is_a_target_of_somebody_is_refused(
        self, api: Api, ada: dict[str, Any]
    ) -> None:
        await api.server.post("/v1/users", json={"userId": "eve"})
        target = {"targetId": "mail", "providerType": "email", "identifier": "eve@example.com"}
        await api.server.post("/v1/users/eve/targets", json=target)

        response = await api.server.patch("/v1/users/ada/email", json={"email": "eve@example.com"})

        assert response.status_code == 409
        assert response.json()["type"] == "user_target_already_exists"

    async def test_target_made_by_hand_becomes_the_one_of_the_address(
        self, api: Api, ada: dict[str, Any]
    ) -> None:
        target = {"targetId": "mail", "providerType": "email", "identifier": "new@example.com"}
        await api.server.post("/v1/users/ada/targets", json=target)

        user = (await api.server.patch("/v1/users/ada/email", json={"email": "new@example.com"})).json()

        assert [each["$id"] for each in user["targets"] if each["providerType"] == "email"] == ["mail"]


class TestPassword:
    async def test_new_password_replaces_the_old_one_and_ends_sessions(
        self, api: Api, ada: dict[str, Any]
    ) -> None:
        await api.server.post("/v1/users/ada/sessions")

        response = await api.server.patch("/v1/users/ada/password", json={"password": "battery staple"})

        assert response.status_code == 200
        assert response.json()["password"] != ada["password"]
        assert response.json()["passwordUpdate"] > ada["passwordUpdate"]
        assert (await api.server.get("/v1/users/ada/sessions")).json()["total"] == 0
        row = await _row(api)
        assert await verify_password("battery staple", row)
        assert not await verify_password("correct horse", row)
        assert "users.ada.update.password" in (await api.published())[-1].events

    async def test_empty_password_takes_it_away(self, api: Api, ada: dict[str, Any]) -> None:
        user = (await api.server.patch("/v1/users/ada/password", json={"password": ""})).json()

        assert user["password"] == ""
        assert not await verify_password("correct horse", await _row(api))

    async def test_passwords_of_the_history_are_refused(self, api: Api, ada: dict[str, Any]) -> None:
        await _set_policies(api, {"password-history": {"total": 2}})

        async def change(password: str) -> int:
            response = await api.server.patch("/v1/users/ada/password", json={"password": password})
            return response.status_code

        assert await change("correct horse") == 400
        assert await change("battery staple") == 200
        assert await change("correct horse") == 400
        assert await change("third password") == 200
        # Two back, which is more than is remembered.
        assert await change("correct horse") == 200

    async def test_password_with_the_name_in_it_is_refused(self, api: Api, ada: dict[str, Any]) -> None:
        await _set_policies(api, {"password-personal-data": {"enabled": True}})

        response = await api.server.patch("/v1/users/ada/password", json={"password": "I am ADA myself"})

        assert response.status_code == 400
        assert response.json()["type"] == "password_personal_data"

    async def test_policy_may_let_sessions_live_on(self, api: Api, ada: dict[str, Any]) -> None:
        await _set_policies(api, {"session-invalidation": {"enabled": False}})
        await api.server.post("/v1/users/ada/sessions")

        await api.server.patch("/v1/users/ada/password", json={"password": "battery staple"})

        assert (await api.server.get("/v1/users/ada/sessions")).json()["total"] == 1


class TestIdentity:
    async def test_blocked_user_is_let_in_nowhere_until_they_are_unblocked(
        self, api: Api, ada: dict[str, Any]
    ) -> None:
        session = (await api.server.post("/v1/users/ada/sessions")).json()["secret"]
        browser = api.guest(**{"X-Appwrite-Session": session})
        assert (await browser.get("/v1/teams")).status_code == 200

        await api.server.patch("/v1/users/ada/status", json={"status": False})

        response = await browser.get("/v1/teams")
        assert response.status_code == 401
        assert response.json()["type"] == "user_blocked"
        known = await api.services.identities.get_user("demo", "ada")
        assert known is not None
        assert not known.active
        await api.server.patch("/v1/users/ada/status", json={"status": True})
        assert (await browser.get("/v1/teams")).status_code == 200

    async def test_hubs_know_labels_and_verification_when_the_answer_comes(
        self, api: Api, ada: dict[str, Any]
    ) -> None:
        await api.server.put("/v1/users/ada/labels", json={"labels": ["vip"]})
        await api.server.patch("/v1/users/ada/verification", json={"emailVerification": True})
        await api.server.patch("/v1/users/ada/impersonator", json={"impersonator": True})

        known = await api.services.identities.get_user("demo", "ada")
        assert known is not None
        assert known.labels == ("vip",)
        assert known.email_verified
        assert known.impersonator


class TestPrefs:
    async def test_preferences_are_replaced_and_told_alone(self, api: Api, ada: dict[str, Any]) -> None:
        first, second = {"theme": "dark", "deep": {"list": [1, None]}}, {"size": 1.5}

        assert (await api.server.get("/v1/users/ada/prefs")).json() == {}
        response = await api.server.patch("/v1/users/ada/prefs", json={"prefs": first})
        assert (response.status_code, response.json()) == (200, first)
        await api.server.patch("/v1/users/ada/prefs", json={"prefs": second})

        assert (await api.server.get("/v1/users/ada/prefs")).json() == second
        assert (await api.server.get("/v1/users/ada")).json()["prefs"] == second
        events = await api.published()
        assert [event.payload for event in events[1:]] == [first, second]
        assert "users.ada.update.prefs" in events[1].events

    async def test_deepest_preferences_can_be_listed_and_told(self, api: Api, ada: dict[str, Any]) -> None:
        prefs: dict[str, Any] = {}
        for _ in range(100):
            prefs = {"a": prefs}

        deepest = await api.server.patch("/v1/users/ada/prefs", json={"prefs": prefs})
        deeper = await api.server.patch("/v1/users/ada/prefs", json={"prefs": {"a": prefs}})

        assert (deepest.status_code, deeper.status_code) == (200, 400)
        assert (await api.server.get("/v1/users")).json()["users"][0]["prefs"] == prefs
        await api.server.patch("/v1/users/ada/name", json={"name": "Deep"})
        assert (await api.published())[-1].payload["prefs"] == prefs

    async def test_body_that_is_nested_without_end_is_refused(self, api: Api, ada: dict[str, Any]) -> None:
        body = '{"prefs": {"a": ' + "[" * 5000 + "]" * 5000 + "}}"

        response = await api.server.patch(
            "/v1/users/ada/prefs", content=body, headers={"Content-Type": "application/json"}
        )

        assert response.status_code == 400
        assert response.json()["type"].startswith("general_")


async def _row(api: Api) -> Any:
    async with api.services.store.read() as connection:
        return await find_user(connection, "demo", "ada")


async def _set_policies(api: Api, policies: dict[str, Any]) -> None:
    from workers.store.tables import projects

    async with api.services.store.database.writing() as connection:
        await connection.execute(projects.update().values(policies=policies))
