"""A user's sessions, and what else they can be let in with."""

import time
from typing import Any

import jwt as pyjwt
import pytest

from realtime.identity.jwt import mint
from realtime.identity.model import Project
from realtime.identity.secrets import decode_session
from tests.api import PROJECT, Api
from workers.store.tables import users


@pytest.fixture
async def ada(api: Api) -> None:
    """Two users, so that one's things can be looked for with the other."""
    for user_id in ("ada", "eve"):
        await api.server.post("/v1/users", json={"userId": user_id, "email": f"{user_id}@example.com"})


async def begin(api: Api, user_id: str = "ada") -> dict[str, Any]:
    """Begin a session by API key."""
    response = await api.server.post(f"/v1/users/{user_id}/sessions")
    assert response.status_code == 201
    return dict(response.json())


class TestSessions:
    async def test_new_session_lets_its_user_in_at_once(self, api: Api, ada: None) -> None:
        session = await begin(api)

        assert (session["userId"], session["provider"], session["current"]) == ("ada", "server", False)
        decoded = decode_session(session["secret"])
        assert decoded is not None
        assert decoded[0] == "ada"
        browser = api.guest(**{"X-Appwrite-Session": session["secret"]})
        assert (await browser.get("/v1/teams")).status_code == 200

    async def test_events_of_sessions_do_not_tell_secrets(self, api: Api, ada: None) -> None:
        session = await begin(api)
        await api.server.delete(f"/v1/users/ada/sessions/{session['$id']}")

        events = (await api.published())[2:]
        assert [event.name for event in events] == [
            f"users.ada.sessions.{session['$id']}.create",
            f"users.ada.sessions.{session['$id']}.delete",
        ]
        assert all(event.roles == ["user:ada"] for event in events)
        assert not any(event.payload.get("secret") for event in events)

    async def test_list_shows_the_sessions_of_one_user_without_secrets(self, api: Api, ada: None) -> None:
        first, second, _ = await begin(api), await begin(api), await begin(api, "eve")

        page = (await api.server.get("/v1/users/ada/sessions")).json()

        assert page == {"total": 2, "sessions": [first | {"secret": ""}, second | {"secret": ""}]}
        uncounted = await api.server.get("/v1/users/ada/sessions", params={"total": "false"})
        assert uncounted.json() == page | {"total": 0}

    async def test_session_that_ended_lets_nobody_in(self, api: Api, ada: None) -> None:
        ended, other = await begin(api), await begin(api)

        response = await api.server.delete(f"/v1/users/ada/sessions/{ended['$id']}")

        assert response.status_code == 204
        assert (
            await api.guest(**{"X-Appwrite-Session": ended["secret"]}).get("/v1/teams")
        ).status_code == 401
        assert (
            await api.guest(**{"X-Appwrite-Session": other["secret"]}).get("/v1/teams")
        ).status_code == 200

    async def test_session_of_somebody_else_is_not_found(self, api: Api, ada: None) -> None:
        session = await begin(api, "eve")

        response = await api.server.delete(f"/v1/users/ada/sessions/{session['$id']}")

        assert response.status_code == 404
        assert response.json()["type"] == "user_session_not_found"

    async def test_all_sessions_end_with_one_event(self, api: Api, ada: None) -> None:
        mine, hers = [await begin(api), await begin(api)], await begin(api, "eve")

        response = await api.server.delete("/v1/users/ada/sessions")

        assert response.status_code == 204
        for session in mine:
            browser = api.guest(**{"X-Appwrite-Session": session["secret"]})
            assert (await browser.get("/v1/teams")).status_code == 401
        assert (await api.guest(**{"X-Appwrite-Session": hers["secret"]}).get("/v1/teams")).status_code == 200
        event = (await api.published())[-1]
        assert "users.ada.sessions.delete" in event.events
        assert (event.roles, event.payload["$id"]) == (["user:ada"], "ada")


class TestTokens:
    async def test_token_shows_its_secret_to_the_server_and_not_in_the_event(
        self, api: Api, ada: None
    ) -> None:
        response = await api.server.post("/v1/users/ada/tokens", json={"length": 24, "expire": 120})

        assert response.status_code == 201
        token = response.json()
        assert len(token["secret"]) == 24
        assert token["userId"] == "ada"
        event = (await api.published())[-1]
        assert event.name == f"users.ada.tokens.{token['$id']}.create"
        assert not event.payload.get("secret")

    async def test_token_begins_a_session_once(self, api: Api, ada: None) -> None:
        token = (await api.server.post("/v1/users/ada/tokens", json={})).json()
        body = {"userId": "ada", "secret": token["secret"]}
        assert len(token["secret"]) == 6

        first = await api.guest().post("/v1/account/sessions/token", json=body)
        again = await api.guest().post("/v1/account/sessions/token", json=body)

        assert first.status_code == 201
        assert again.status_code == 401

    async def test_lengths_and_times_out_of_range_are_refused(self, api: Api, ada: None) -> None:
        for body in ({"length": 3}, {"length": 129}, {"expire": 59}, {"expire": 31_536_001}):
            assert (await api.server.post("/v1/users/ada/tokens", json=body)).status_code == 400, body


async def registered(api: Api, time_text: str) -> None:
    async with api.services.store.write(Project(id=PROJECT)) as tx:
        await tx.connection.execute(
            users.update().values(registered_at=time_text, password_updated_at=time_text)
        )
        tx.change_user("ada")


class TestJwt:
    async def test_token_without_a_session_lets_the_user_in(self, api: Api, ada: None) -> None:
        response = await api.server.post("/v1/users/ada/jwts", json={})

        assert response.status_code == 201
        browser = api.guest(**{"X-Appwrite-JWT": response.json()["jwt"]})
        assert (await browser.get("/v1/teams")).status_code == 200
        claims = pyjwt.decode(response.json()["jwt"], options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == 900
        assert claims["project"] == "demo"

    async def test_token_from_before_the_user_or_their_password_lets_nobody_in(
        self, api: Api, ada: None
    ) -> None:
        minute_ago = int(time.time()) - 60
        claims = {"userId": "ada", "project": PROJECT, "iat": minute_ago, "exp": minute_ago + 3600}
        browser = api.guest(**{"X-Appwrite-JWT": mint(claims, api.settings.secrets[-1])})
        assert (await browser.get("/v1/teams")).status_code == 401
        # As if they had signed up long ago.
        await registered(api, "2020-01-01T00:00:00.000+00:00")
        assert (await browser.get("/v1/teams")).status_code == 200
        changed = await api.server.patch("/v1/users/ada/password", json={"password": "new-password"})
        assert changed.status_code == 200
        assert (await browser.get("/v1/teams")).status_code == 401

    async def test_token_ends_with_the_latest_session(self, api: Api, ada: None) -> None:
        await begin(api)
        latest = await begin(api)
        token = (await api.server.post("/v1/users/ada/jwts", json={"sessionId": "recent"})).json()["jwt"]
        browser = api.guest(**{"X-Appwrite-JWT": token})
        assert (await browser.get("/v1/teams")).status_code == 200

        await api.server.delete(f"/v1/users/ada/sessions/{latest['$id']}")

        assert (await browser.get("/v1/teams")).status_code == 401

    async def test_token_of_a_named_session_bears_that_one(self, api: Api, ada: None) -> None:
        first, _ = await begin(api), await begin(api)

        body = {"sessionId": first["$id"], "duration": 3600}
        token = (await api.server.post("/v1/users/ada/jwts", json=body)).json()["jwt"]

        claims = pyjwt.decode(token, options={"verify_signature": False})
        assert claims["sessionId"] == first["$id"]
        assert claims["exp"] - claims["iat"] == 3600

    async def test_session_that_is_not_theirs_is_not_found(self, api: Api, ada: None) -> None:
        session = await begin(api, "eve")

        response = await api.server.post("/v1/users/ada/jwts", json={"sessionId": session["$id"]})

        assert response.status_code == 404

    async def test_hour_is_the_longest(self, api: Api, ada: None) -> None:
        for duration in (-1, 3601):
            response = await api.server.post("/v1/users/ada/jwts", json={"duration": duration})
            assert response.status_code == 400


class TestWithoutSecret:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"secret": ""}

    async def test_server_without_a_secret_makes_no_tokens(self, api: Api, ada: None) -> None:
        response = await api.server.post("/v1/users/ada/jwts", json={})

        assert response.status_code == 501
        assert response.json()["type"] == "general_not_implemented"
