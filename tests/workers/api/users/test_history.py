"""What a user did, and what they belong to."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.requests import Request

from realtime.identity.model import Project
from tests.api import Api
from workers.api.people.logs import record

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def request_of(api: Api) -> Request:
    """Return a request from Firefox at 192.0.2.7 to the application."""

    class App:
        state = type("State", (), {"services": api.services})

    return Request({
        "type": "http",
        "app": App,
        "client": ("192.0.2.7", 1),
        "headers": [(b"user-agent", FIREFOX.encode())],
    })  # fmt: skip


@pytest.fixture
async def ada(api: Api) -> None:
    """Two users, both of whom did something; ada more."""
    for user_id in ("ada", "eve"):
        await api.server.post("/v1/users", json={"userId": user_id, "name": user_id.title()})
    for user_id, event in (("ada", "session.create"), ("eve", "session.create"), ("ada", "user.update")):
        async with api.services.store.write(Project(id="demo")) as tx:
            await record(tx, request_of(api), user_id, event)


class TestLogs:
    async def test_list_tells_what_one_user_did_latest_first(self, api: Api, ada: None) -> None:
        page = (await api.server.get("/v1/users/ada/logs")).json()

        assert page["total"] == 2
        latest, first = page["logs"]
        assert (latest["event"], first["event"]) == ("user.update", "session.create")
        assert (latest["userId"], latest["userName"], latest["ip"]) == ("ada", "Ada", "192.0.2.7")
        assert (latest["clientName"], latest["osName"]) == ("Firefox", "Linux")
        assert abs(datetime.fromisoformat(latest["time"]) - datetime.now(UTC)).total_seconds() < 60

    async def test_page_is_cut_by_limit_and_offset(self, api: Api, ada: None) -> None:
        queries = {
            "queries[0]": json.dumps({"method": "limit", "values": [1]}),
            "queries[1]": json.dumps({"method": "offset", "values": [1]}),
        }

        page = (await api.server.get("/v1/users/ada/logs", params=queries)).json()

        assert page["total"] == 2
        assert [entry["event"] for entry in page["logs"]] == ["session.create"]

    async def test_other_queries_are_refused(self, api: Api, ada: None) -> None:
        wrong: list[dict[str, Any]] = [
            {"method": "equal", "attribute": "event", "values": ["user.update"]},
            {"method": "orderAsc", "attribute": ""},
            {"method": "orderRandom"},
            {"method": "cursorAfter", "values": ["x"]},
            {"method": "select", "values": ["*"]},
        ]
        for query in wrong:
            response = await api.server.get("/v1/users/ada/logs", params={"queries[0]": json.dumps(query)})
            assert response.status_code == 400, query
            assert response.json()["type"] == "general_query_invalid"


class TestMemberships:
    async def test_list_shows_the_teams_of_one_user(self, api: Api, ada: None) -> None:
        for team_id, name in (("red", "Red team"), ("blue", "Blue team")):
            await api.server.post("/v1/teams", json={"teamId": team_id, "name": name})
            body = {"userId": "ada", "roles": [f"{team_id}er"], "url": "http://localhost"}
            assert (await api.server.post(f"/v1/teams/{team_id}/memberships", json=body)).status_code == 201

        page = (await api.server.get("/v1/users/ada/memberships")).json()

        assert page["total"] == 2
        shown = [(each["teamName"], each["roles"], each["userName"]) for each in page["memberships"]]
        assert shown == [("Red team", ["reder"], "Ada"), ("Blue team", ["blueer"], "Ada")]
        assert (await api.server.get("/v1/users/eve/memberships")).json() == {"total": 0, "memberships": []}
        for params in (
            {"search": "blue T"},
            {"search": "blue"},
            {"queries[]": json.dumps({"method": "equal", "attribute": "teamId", "values": ["blue"]})},
            {"queries[]": json.dumps({"method": "contains", "attribute": "roles", "values": ["blueer"]})},
        ):
            found = (await api.server.get("/v1/users/ada/memberships", params=params)).json()
            assert [each["teamId"] for each in found["memberships"]] == ["blue"], params


class TestIdentities:
    async def test_there_are_none(self, api: Api) -> None:
        assert (await api.server.get("/v1/users/identities")).json() == {"total": 0, "identities": []}

        response = await api.server.delete("/v1/users/identities/any")

        assert response.status_code == 404
        assert response.json()["type"] == "user_identity_not_found"
