"""How people come into a team: taken by a server, or invited by mail; on both databases."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import structlog.testing

from realtime.identity.model import Project
from tests.api import PROJECT, Api
from workers.api import rates
from workers.api.teams import lookup
from workers.store import tables

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]
MEMBERSHIPS = "/v1/teams/red/memberships"
URL = "http://localhost/join?from=mail#top"


@pytest.fixture
def log() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
async def ada(log: list[Any], sign_up: SignUp) -> httpx.AsyncClient:
    """The owner of the team red."""
    ada = await sign_up("ada")
    await ada.post("/v1/teams", json={"teamId": "red", "name": "Red & Co"})
    return ada


async def invite(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post(MEMBERSHIPS, json={"roles": ["player"], "url": URL} | body)


def mails(log: list[Any]) -> list[Any]:
    return [entry for entry in log if entry["event"] == "mail"]


def link(log: list[Any]) -> dict[str, str]:
    """The parameters of the link in the newest mail."""
    text = mails(log)[-1]["text"]
    url = urlsplit(next(word for word in text.split() if word.startswith("http")))
    assert (url.netloc, url.path, url.fragment) == ("localhost", "/join", "top")
    return {name: value for name, (value,) in parse_qs(url.query, strict_parsing=True).items()}


async def accept(client: httpx.AsyncClient, found: dict[str, str], **changes: str) -> httpx.Response:
    found = found | changes
    body = {"userId": found["userId"], "secret": found["secret"]}
    path = f"/v1/teams/{found['teamId']}/memberships/{found['membershipId']}/status"
    return await client.patch(path, json=body)


class TestServer:
    @pytest.mark.parametrize("address", [{"email": "New@Example.com"}, {"phone": "+4912345678"}])
    async def test_new_address_is_taken_in_as_a_new_user(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any], address: dict[str, str]
    ) -> None:
        response = await invite(api.server, name="Nina", url="", **address)
        assert response.status_code == 201
        membership = response.json()
        assert membership["confirm"] is True
        assert membership["userName"] == "Nina"
        assert membership["userEmail"] == address.get("email", "").lower()
        assert membership["userPhone"] == address.get("phone", "")
        assert membership["teamName"] == "Red & Co"
        assert (await ada.get("/v1/teams/red")).json()["total"] == 2
        user_id = membership["userId"]
        names = (await api.names())[-2:]
        assert names == [f"users.{user_id}.create", f"teams.red.memberships.{membership['$id']}.create"]
        event = (await api.published())[-1]
        assert event.user_id == user_id
        assert event.payload == membership | {"userAccessedAt": ""}
        user = await api.services.identities.get_user(PROJECT, user_id)
        assert user is not None
        assert "team:red/player" in user.roles()
        assert mails(log) == []

    async def test_user_is_taken_in_by_id_before_address(
        self, api: Api, ada: httpx.AsyncClient, sign_up: SignUp
    ) -> None:
        bob = await sign_up("bob")
        response = await invite(api.server, userId="bob", email="other@example.com")
        assert response.json()["userId"] == "bob"
        assert (await bob.get("/v1/teams/red")).json()["total"] == 2

    async def test_member_is_not_taken_in_twice(
        self, api: Api, ada: httpx.AsyncClient, sign_up: SignUp
    ) -> None:
        await sign_up("bob")
        answers = await asyncio.gather(*(invite(api.server, userId="bob") for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
        refused = next(answer for answer in answers if answer.status_code == 409)
        assert refused.json()["type"] == "membership_already_confirmed"
        assert (await ada.get("/v1/teams/red")).json()["total"] == 2

    async def test_open_invitation_is_confirmed(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any]
    ) -> None:
        invited = (await invite(ada, email="new@example.com")).json()
        joined = (await invite(api.server, email="new@example.com", roles=["coach"])).json()
        assert joined["$id"] == invited["$id"]
        assert (joined["confirm"], joined["roles"]) == (True, ["coach"])
        event = (await api.published())[-1]
        assert f"teams.red.memberships.{joined['$id']}.update.status" in event.events
        refused = await accept(api.guest(), link(log))
        assert refused.json()["type"] == "team_invalid_secret"

    @pytest.mark.parametrize(
        ("body", "status", "error_type"),
        [
            ({}, 400, "general_argument_invalid"),
            ({"email": "nobody"}, 400, "general_argument_invalid"),
            ({"phone": "12345"}, 400, "general_argument_invalid"),
            ({"email": "a@example.com", "roles": ["a b"]}, 400, "general_argument_invalid"),
            ({"email": "a@example.com", "roles": None}, 400, "general_argument_invalid"),
            ({"userId": "unknown"}, 404, "user_not_found"),
        ],
    )
    async def test_body_that_breaks_a_rule_is_refused(
        self, api: Api, ada: httpx.AsyncClient, body: dict[str, Any], status: int, error_type: str
    ) -> None:
        response = await invite(api.server, **body)
        assert (response.status_code, response.json()["type"]) == (status, error_type)
        assert (await ada.get("/v1/teams/red")).json()["total"] == 1


class TestInvite:
    async def test_owner_invites_by_mail_and_nobody_has_joined_yet(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any], sign_up: SignUp
    ) -> None:
        bob = await sign_up("bob")
        response = await invite(ada, email="bob@example.com")
        assert response.status_code == 201
        membership = response.json()
        assert (membership["userId"], membership["confirm"], membership["joined"]) == ("bob", False, "")
        assert (await ada.get("/v1/teams/red")).json()["total"] == 1
        assert (await bob.get("/v1/teams/red")).status_code == 404
        (mail,) = mails(log)
        assert (mail["to"], mail["subject"]) == ("bob@example.com", "Invitation to Red & Co")
        found = link(log)
        secret = found.pop("secret")
        assert len(secret) == 256
        assert secret not in response.text
        assert found == {
            "from": "mail",
            "membershipId": membership["$id"],
            "userId": "bob",
            "teamId": "red",
            "teamName": "Red & Co",
        }
        event = (await api.published())[-1]
        assert event.name == f"teams.red.memberships.{membership['$id']}.create"
        assert event.payload == membership

    async def test_team_learns_of_the_person_what_the_invitation_says_until_they_join(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any], sign_up: SignUp
    ) -> None:
        bob = await sign_up("bob")
        members = ("userId", "userName", "userEmail", "userPhone", "mfa")

        async def shown(answer: dict[str, Any]) -> None:
            event = (await api.published())[-1].payload
            (listed,) = (await ada.get(MEMBERSHIPS, params={"search": answer["$id"]})).json()["memberships"]
            for model in (event, listed):
                assert {name: model[name] for name in members} == {name: answer[name] for name in members}

        by_id = (await invite(ada, userId="bob", email="bob@example.com")).json()
        assert [by_id[name] for name in members] == ["bob", "", "", "", False]
        await shown(by_id)
        by_address = (await invite(ada, email="bob@example.com", name="Bobby")).json()
        assert [by_address[name] for name in members] == ["bob", "Bobby", "bob@example.com", "", False]
        await shown(by_address)
        assert (await ada.get(MEMBERSHIPS, params={"search": "Bob"})).json()["total"] == 0
        of_server = (await api.server.get(f"{MEMBERSHIPS}/{by_id['$id']}")).json()
        assert (of_server["userName"], of_server["userEmail"]) == ("Bob", "bob@example.com")
        joined = (await accept(bob, link(log))).json()
        assert (joined["userName"], joined["userEmail"]) == ("Bob", "bob@example.com")
        assert (await ada.get(MEMBERSHIPS, params={"search": "Bob"})).json()["total"] == 1

    @pytest.mark.parametrize(
        "url", ["", "nothing", "/join", "https://evil.example/join", "http://localhost\\@evil.example/"]
    )
    async def test_link_leads_to_pages_of_the_project_only(
        self, ada: httpx.AsyncClient, log: list[Any], url: str
    ) -> None:
        response = await invite(ada, email="new@example.com", url=url)
        assert (response.status_code, response.json()["type"]) == (400, "general_argument_invalid")
        assert mails(log) == []

    async def test_who_has_no_mail_address_cannot_be_invited(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any]
    ) -> None:
        response = await invite(ada, phone="+4912345678")
        assert (response.status_code, response.json()["type"]) == (501, "general_phone_disabled")
        assert await api.names() == ["users.ada.create", "teams.red.create"]

    async def test_second_invitation_makes_the_first_void(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any]
    ) -> None:
        await invite(ada, email="new@example.com")
        first = link(log)
        again = await invite(ada, email="new@example.com", roles=["coach"])
        second = link(log)
        assert again.status_code == 201
        assert first["membershipId"] == second["membershipId"]
        assert (await accept(api.guest(), first)).json()["type"] == "team_invalid_secret"
        assert (await accept(api.guest(), second)).json()["roles"] == ["coach"]


class TestAccept:
    async def test_guest_joins_and_is_logged_in(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any]
    ) -> None:
        await invite(ada, email="new@example.com")
        found, browser = link(log), api.guest()
        response = await accept(browser, found)
        assert response.status_code == 200
        membership = response.json()
        assert (membership["confirm"], membership["roles"]) == (True, ["player"])
        assert membership["joined"] != ""
        assert "a_session_demo" in browser.cookies
        assert (await browser.get("/v1/teams/red")).json()["total"] == 2
        user = await api.services.identities.get_user(PROJECT, found["userId"])
        assert user is not None
        assert user.email_verified
        user_id, member = found["userId"], f"teams.red.memberships.{found['membershipId']}"
        events = (await api.published())[-3:]
        assert f"users.{user_id}.update.verification" in events[0].events
        assert f"{member}.update.status" in events[1].events
        assert events[1].payload == membership
        assert (events[1].user_id, events[1].permissions_changed) == (user_id, True)
        assert events[2].name.startswith(f"users.{user_id}.sessions.")

    async def test_who_is_logged_in_keeps_their_session(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any], sign_up: SignUp
    ) -> None:
        bob = await sign_up("bob")
        await invite(ada, userId="bob")
        response = await accept(bob, link(log))
        assert response.status_code == 200
        assert "set-cookie" not in response.headers
        assert (await bob.get("/v1/teams/red")).status_code == 200

    async def test_guest_who_proves_the_address_voids_what_was_set_before(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any], sign_up: SignUp
    ) -> None:
        eve = await sign_up("bob")
        await api.server.patch("/v1/users/bob/password", json={"password": "password-of-eve"})
        await invite(ada, userId="bob")
        bob = api.guest()
        assert (await accept(bob, link(log))).status_code == 200
        login = {"email": "bob@example.com", "password": "password-of-eve"}
        assert (await api.guest().post("/v1/account/sessions/email", json=login)).status_code == 401
        assert (await eve.get("/v1/account")).status_code == 401
        assert (await bob.get("/v1/account")).json()["emailVerification"] is True

    async def test_who_holds_too_many_roles_cannot_join(
        self, ada: httpx.AsyncClient, log: list[Any], sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bob = await sign_up("bob")
        await invite(ada, userId="bob", roles=["a", "b"])
        monkeypatch.setattr(lookup, "MAX_ROLES", 3)
        refused = await accept(bob, link(log))
        assert (refused.status_code, refused.json()["type"]) == (400, "team_roles_limit_exceeded")
        monkeypatch.setattr(lookup, "MAX_ROLES", 4)
        assert (await accept(bob, link(log))).status_code == 200

    async def test_invitation_is_accepted_once(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any]
    ) -> None:
        await invite(ada, email="new@example.com")
        answers = await asyncio.gather(*(accept(api.guest(), link(log)) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        assert (await ada.get("/v1/teams/red")).json()["total"] == 2

    @pytest.mark.parametrize(
        ("changes", "status", "error_type"),
        [
            ({"secret": "wrong"}, 401, "team_invalid_secret"),
            ({"secret": ""}, 401, "team_invalid_secret"),
            ({"userId": "ada"}, 401, "team_invite_mismatch"),
            ({"userId": "unknown"}, 401, "team_invite_mismatch"),
            ({"membershipId": "unknown"}, 404, "team_invite_not_found"),
            ({"teamId": "unknown"}, 404, "team_invite_not_found"),
            ({"teamId": "blue"}, 404, "team_invite_not_found"),
        ],
    )
    async def test_wrong_link_is_refused(
        self,
        api: Api,
        ada: httpx.AsyncClient,
        log: list[Any],
        changes: dict[str, str],
        status: int,
        error_type: str,
    ) -> None:
        await ada.post("/v1/teams", json={"teamId": "blue", "name": "Blue"})
        await invite(ada, email="new@example.com")
        response = await accept(api.guest(), link(log), **changes)
        assert (response.status_code, response.json()["type"]) == (status, error_type)
        assert (await ada.get("/v1/teams/red")).json()["total"] == 1

    async def test_link_is_not_for_somebody_else_who_is_logged_in(
        self, ada: httpx.AsyncClient, log: list[Any]
    ) -> None:
        await invite(ada, email="new@example.com")
        response = await accept(ada, link(log))
        assert (response.status_code, response.json()["type"]) == (401, "team_invite_mismatch")

    async def test_link_is_void_when_the_address_was_given_up(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any], sign_up: SignUp
    ) -> None:
        bob = await sign_up("bob")
        await invite(ada, userId="bob")
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            users = tables.users
            await tx.connection.execute(
                users.update().where(users.c.id == "bob").values(email="bobby@example.com")
            )
        assert (await accept(bob, link(log))).json()["type"] == "team_invalid_secret"

    async def test_blocked_user_is_told_so(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any], sign_up: SignUp
    ) -> None:
        await sign_up("bob")
        await invite(ada, userId="bob")
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            users = tables.users
            await tx.connection.execute(users.update().where(users.c.id == "bob").values(status=False))
        response = await accept(api.guest(), link(log))
        assert (response.status_code, response.json()["type"]) == (401, "user_blocked")

    async def test_invited_user_may_decline(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any], sign_up: SignUp
    ) -> None:
        bob = await sign_up("bob")
        await invite(ada, userId="bob")
        found = link(log)
        assert (await bob.delete(f"{MEMBERSHIPS}/{found['membershipId']}")).status_code == 204
        assert (await accept(bob, found)).json()["type"] == "team_invite_not_found"
        assert (await ada.get("/v1/teams/red")).json()["total"] == 1


class TestLimit:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"limits": "on"}

    async def test_owner_sends_ten_invitations_an_hour_and_a_server_any_number(
        self, api: Api, ada: httpx.AsyncClient, log: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The hour must not end meanwhile.
        monkeypatch.setattr(rates, "time", SimpleNamespace(time=lambda: 1_000_000_000.0))
        answers = [await invite(ada, email=f"p{number}@example.com") for number in range(11)]
        assert [answer.status_code for answer in answers] == [201] * 10 + [429]
        assert answers[9].headers["X-RateLimit-Remaining"] == "0"
        assert len(mails(log)) == 10
        assert (await invite(api.server, email="p10@example.com")).status_code == 201
