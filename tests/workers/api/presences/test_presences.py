"""Presences over HTTP. They are in Redis, so one database is enough: it only says which users there are."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from realtime.identity.jwt import mint
from realtime.presences.model import Draft
from realtime.presences.store import Holder
from tests.api import PROJECT, Api

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]

OWN = ['read("user:ada")', 'update("user:ada")', 'delete("user:ada")']
PUBLIC = ['read("any")']
NOT_FOUND = (404, "presence_not_found", "Presence with the requested ID could not be found.")


async def put(client: httpx.AsyncClient, presence_id: str = "p1", **body: Any) -> httpx.Response:
    return await client.put(f"/v1/presences/{presence_id}", json={"status": "on"} | body)


async def patch(client: httpx.AsyncClient, presence_id: str = "p1", **body: Any) -> httpx.Response:
    return await client.patch(f"/v1/presences/{presence_id}", json=body)


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    body = response.json()
    assert response.status_code == body["code"]
    return body["code"], body["type"], body["message"]


async def names(api: Api) -> list[str]:
    return [name for name in await api.names() if name.startswith("presences.")]


def in_minutes(minutes: float) -> str:
    moment = datetime.now(UTC) + timedelta(minutes=minutes)
    return moment.isoformat(timespec="milliseconds")


class TestUpsert:
    async def test_user_sets_their_own(self, api: Api, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        response = await put(ada, metadata={"page": "home"})

        assert response.status_code == 200
        shown = response.json()
        assert shown == {
            "$id": "p1",
            "$createdAt": shown["$createdAt"],
            "$updatedAt": shown["$createdAt"],
            "$permissions": OWN,
            "userId": "ada",
            "status": "on",
            "source": "rest",
            "expiresAt": shown["expiresAt"],
            "metadata": {"page": "home"},
        }
        left_s = datetime.fromisoformat(shown["expiresAt"]).timestamp() - time.time()
        assert left_s == pytest.approx(15 * 60, abs=10)
        [event] = [each for each in await api.published() if each.name.startswith("presences.")]
        assert (event.name, event.payload, event.roles) == ("presences.p1.upsert", shown, ["user:ada"])
        assert event.channels == ["presences", "presences.p1", "presences.upsert", "presences.p1.upsert"]

    async def test_second_one_keeps_the_first_ones_id(self, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        first = (await put(ada)).json()
        second = (await put(ada, "unique()", status="away", expiresAt=in_minutes(60))).json()

        assert (second["$id"], second["status"]) == ("p1", "away")
        assert second["$createdAt"] == first["$createdAt"]
        assert (await ada.get("/v1/presences")).json()["total"] == 1

    async def test_key_sets_that_of_the_user_it_names(self, api: Api, sign_up: SignUp) -> None:
        await sign_up("ada")
        assert (await put(api.server, userId="ada")).json()["$permissions"] == OWN
        shown = (await put(api.server, userId="ada", permissions=['write("team:red")'])).json()
        assert shown["$permissions"] == ['update("team:red")', 'delete("team:red")']

    async def test_token_that_vouches_for_itself_is_enough(self, api: Api) -> None:
        token = mint({"sub": "guru", "exp": int(time.time()) + 60}, api.settings.secrets[0])
        guru = api.guest(**{"X-Appwrite-JWT": token})
        assert (await put(guru)).json()["userId"] == "guru"

    async def test_wrong_users_are_refused(self, api: Api, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        assert refusal(await put(ada, userId="ada"))[::2] == (
            401,
            "userId is not allowed for non-API key and non-privileged users",
        )
        assert refusal(await put(api.server))[::2] == (400, "userId is required for API key authentication")
        assert refusal(await put(api.server, userId="nobody"))[:2] == (404, "user_not_found")
        assert refusal(await put(api.guest()))[:2] == (401, "general_unauthorized_scope")
        assert await names(api) == []

    async def test_role_of_others_is_refused(self, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        assert refusal(await put(ada, permissions=['read("team:red")'])) == (
            401,
            "user_unauthorized",
            "Permissions must be one of: (any, user:ada, user:ada/unverified, users, users/unverified)",
        )

    async def test_id_of_somebody_else_is_refused(self, sign_up: SignUp) -> None:
        ada, bob = await sign_up("ada"), await sign_up("bob")
        await put(ada)
        code, kind, message = refusal(await put(bob))
        assert (code, kind) == (409, "presence_already_exists")
        assert message == (
            "Presence with the requested ID 'p1' already exists. Try again with a different ID or use ID.unique() to "
            "generate a unique ID."
        )

    @pytest.mark.parametrize(
        ("presence_id", "body", "name"),
        [
            ("-p", {}, "presenceId"),
            ("p" * 37, {}, "presenceId"),
            ("p1", {"status": ""}, "status"),
            ("p1", {"status": "x" * 256}, "status"),
            ("p1", {"status": 5}, "status"),
            ("p1", {"permissions": "any"}, "permissions"),
            ("p1", {"permissions": ['create("any")']}, "permissions"),
            ("p1", {"permissions": PUBLIC * 101}, "permissions"),
            ("p1", {"expiresAt": "soon"}, "expiresAt"),
            ("p1", {"expiresAt": in_minutes(-1)}, "expiresAt"),
            ("p1", {"expiresAt": in_minutes(31 * 1440)}, "expiresAt"),
            ("p1", {"metadata": [1]}, "metadata"),
            ("p1", {"metadata": {"x": "y" * 9000}}, "metadata"),
            ("p1", {"metadata": {"x": 2**70}}, "metadata"),
        ],
    )
    async def test_bad_parameter_is_named(
        self, sign_up: SignUp, presence_id: str, body: dict[str, Any], name: str
    ) -> None:
        ada = await sign_up("ada")
        code, _, message = refusal(await put(ada, presence_id, **body))
        assert code == 400
        assert f"`{name}" in message

    async def test_it_takes_over_what_a_connection_holds(self, api: Api, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        presences, holder = api.services.presences, Holder("hub", 1)
        draft = Draft("p1", "ada", "here", tuple(OWN), {}, "realtime", lifetime=timedelta(days=1))
        await presences.upsert(PROJECT, draft, holder)
        shown = (await put(ada, "p2", status="by API")).json()
        await presences.release(PROJECT, [("ada", holder)])

        assert (shown["$id"], shown["source"]) == ("p1", "rest")
        assert (await ada.get("/v1/presences/p1")).json() == shown


class TestGet:
    async def test_only_readers_find_it(self, api: Api, sign_up: SignUp) -> None:
        ada, bob = await sign_up("ada"), await sign_up("bob")
        shown = (await put(ada)).json()

        assert (await ada.get("/v1/presences/p1")).json() == shown
        assert (await api.server.get("/v1/presences/p1")).json() == shown
        assert refusal(await bob.get("/v1/presences/p1")) == NOT_FOUND
        assert refusal(await ada.get("/v1/presences/p2")) == NOT_FOUND
        assert refusal(await ada.get("/v1/presences/" + "p" * 300)) == NOT_FOUND
        await put(ada, permissions=PUBLIC)
        assert (await bob.get("/v1/presences/p1")).status_code == 200

    async def test_expired_one_is_missing_and_then_gone_with_its_event(
        self, api: Api, sign_up: SignUp
    ) -> None:
        ada = await sign_up("ada")
        await put(ada, expiresAt=in_minutes(0.01))
        while "presences.p1.delete" not in (fired := await names(api)):
            pass
        assert refusal(await ada.get("/v1/presences/p1")) == NOT_FOUND
        assert refusal(await patch(ada, status="x")) == NOT_FOUND
        assert fired == ["presences.p1.upsert", "presences.p1.delete"]


class TestUpdate:
    async def test_members_change_and_the_rest_stays(self, api: Api, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        before = (await put(ada, metadata={"a": 1})).json()
        until = in_minutes(100)
        after = (await patch(ada, status="away", expiresAt=until, permissions=PUBLIC)).json()

        assert after == before | {
            "status": "away",
            "expiresAt": until,
            "$permissions": PUBLIC,
            "$updatedAt": after["$updatedAt"],
        }
        assert (await api.server.get("/v1/presences/p1")).json() == after
        assert await names(api) == ["presences.p1.upsert", "presences.p1.update"]

    async def test_nothing_to_change_fires_nothing(self, api: Api, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        before = (await put(ada)).json()
        assert (await patch(ada)).json() == before
        assert (await patch(api.server, userId="ada", purge=True)).json() == before
        assert await names(api) == ["presences.p1.upsert"]

    async def test_metadata_can_become_empty(self, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        await put(ada, metadata={"a": 1})
        assert (await patch(ada, metadata={})).json()["metadata"] == {}

    async def test_who_may_not_is_refused(self, api: Api, sign_up: SignUp) -> None:
        ada, bob = await sign_up("ada"), await sign_up("bob")
        await put(ada)
        assert refusal(await patch(bob, status="x")) == NOT_FOUND
        await patch(ada, permissions=[*OWN, 'read("users")'])
        assert refusal(await patch(bob, status="x"))[:2] == (401, "user_unauthorized")
        assert refusal(await patch(ada, userId="ada"))[0] == 401
        assert refusal(await patch(ada, permissions=['read("team:red")']))[0] == 401
        assert refusal(await patch(ada, status=""))[0] == 400
        assert refusal(await patch(api.server, "p2", status="x")) == NOT_FOUND
        assert (await patch(api.server, status="x")).status_code == 200

    async def test_key_hands_it_to_somebody_without_one(self, api: Api, sign_up: SignUp) -> None:
        ada, bob = await sign_up("ada"), await sign_up("bob")
        await put(ada)
        assert (await patch(api.server, userId="bob")).json()["userId"] == "bob"
        assert (await put(bob, "p2")).json()["$id"] == "p1"
        await put(ada, "p2")
        assert refusal(await patch(api.server, "p2", userId="bob"))[0] == 409
        assert refusal(await patch(api.server, userId="nobody"))[0] == 404

    @pytest.mark.parametrize(
        ("held_for", "asked", "left_min"),
        [(timedelta(days=30), None, 15), (timedelta(minutes=5), None, 5), (timedelta(days=30), 60, 60)],
    )
    async def test_handed_on_it_is_no_connections_any_more(
        self, api: Api, sign_up: SignUp, held_for: timedelta, asked: int | None, left_min: int
    ) -> None:
        for name in ("ada", "bob"):
            await sign_up(name)
        presences, holder = api.services.presences, Holder("hub", 1)
        draft = Draft("p1", "ada", "here", tuple(OWN), {}, "realtime", lifetime=held_for)
        await presences.upsert(PROJECT, draft, holder)
        body = {} if asked is None else {"expiresAt": in_minutes(asked)}
        shown = (await patch(api.server, userId="bob", **body)).json()
        await presences.release(PROJECT, [("ada", holder)])

        assert (shown["userId"], shown["source"]) == ("bob", "rest")
        left_s = datetime.fromisoformat(shown["expiresAt"]).timestamp() - time.time()
        assert left_s == pytest.approx(left_min * 60, abs=10)
        assert (await api.server.get("/v1/presences/p1")).json() == shown

    async def test_handed_on_it_lasts_as_long_as_the_api_said(self, api: Api, sign_up: SignUp) -> None:
        ada, _ = await sign_up("ada"), await sign_up("bob")
        until = (await put(ada, expiresAt=in_minutes(60 * 24))).json()["expiresAt"]
        assert (await patch(api.server, userId="bob")).json()["expiresAt"] == until

    async def test_changed_under_its_user_it_stays_with_the_connection(
        self, api: Api, sign_up: SignUp
    ) -> None:
        await sign_up("ada")
        presences, holder = api.services.presences, Holder("hub", 1)
        draft = Draft("p1", "ada", "here", tuple(OWN), {}, "realtime", lifetime=timedelta(days=30))
        held, _ = await presences.upsert(PROJECT, draft, holder)
        shown = (await patch(api.server, userId="ada", status="away")).json()
        assert (shown["source"], shown["expiresAt"]) == ("realtime", held.expires_at)
        await presences.release(PROJECT, [("ada", holder)])
        assert refusal(await api.server.get("/v1/presences/p1")) == NOT_FOUND


class TestDelete:
    async def test_it_is_gone_and_told(self, api: Api, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        await put(ada)
        response = await ada.delete("/v1/presences/p1")

        assert (response.status_code, response.content) == (204, b"")
        assert refusal(await ada.delete("/v1/presences/p1")) == NOT_FOUND
        assert await names(api) == ["presences.p1.upsert", "presences.p1.delete"]

    async def test_who_may_not_is_refused(self, sign_up: SignUp) -> None:
        ada, bob = await sign_up("ada"), await sign_up("bob")
        await put(ada)
        assert refusal(await bob.delete("/v1/presences/p1")) == NOT_FOUND
        await put(ada, permissions=PUBLIC)
        assert refusal(await bob.delete("/v1/presences/p1"))[:2] == (401, "user_unauthorized")

    async def test_user_who_is_deleted_takes_it_along(self, api: Api, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        await put(ada)
        assert (await api.server.delete("/v1/users/ada")).status_code == 204

        assert "presences.p1.delete" in await names(api)
        assert (await api.server.get("/v1/presences")).json() == {"total": 0, "presences": []}

    async def test_project_that_is_deleted_takes_all_along(self, api: Api, sign_up: SignUp) -> None:
        await put(await sign_up("ada"))
        await api.services.identities.delete_project(PROJECT)
        assert [page async for page in api.services.presences.pages(PROJECT)] == []


class TestScopes:
    async def test_key_needs_the_scope(self, api: Api, sign_up: SignUp) -> None:
        await put(await sign_up("ada"))
        reader, writer = await api.add_key("presences.read"), await api.add_key("presences.write")

        assert (await reader.get("/v1/presences/p1")).status_code == 200
        assert refusal(await reader.delete("/v1/presences/p1"))[1] == "general_unauthorized_scope"
        assert refusal(await writer.get("/v1/presences"))[1] == "general_unauthorized_scope"
        assert (await writer.delete("/v1/presences/p1")).status_code == 204


class TestRates:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"limits": "on"}

    async def test_users_have_limits_and_keys_have_none(self, api: Api, sign_up: SignUp) -> None:
        ada = await sign_up("ada")
        answers = [
            await put(ada),
            await patch(ada, status="x"),
            await ada.get("/v1/presences"),
            await ada.delete("/v1/presences/p1"),
        ]
        assert [each.headers["X-RateLimit-Limit"] for each in answers] == ["120"] * 4
        assert [each.headers["X-RateLimit-Remaining"] for each in answers] == ["119"] * 4
        assert "X-RateLimit-Limit" not in (await api.server.get("/v1/presences")).headers
