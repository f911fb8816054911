"""A user's targets."""

import json
from typing import Any

import pytest

from tests.api import Api

PUSH = {
    "targetId": "phone",
    "providerType": "push",
    "identifier": "a-token-of-the-device",
    "providerId": "fcm",
    "name": "My phone",
}


@pytest.fixture
async def ada(api: Api) -> None:
    """Two users, of whom one has an address."""
    await api.server.post("/v1/users", json={"userId": "ada", "email": "ada@example.com"})
    await api.server.post("/v1/users", json={"userId": "eve"})


@pytest.fixture
async def push(api: Api, ada: None) -> dict[str, Any]:
    """A target by which ada's phone is reached."""
    response = await api.server.post("/v1/users/ada/targets", json=PUSH)
    assert response.status_code == 201
    return dict(response.json())


class TestCreate:
    async def test_target_is_shown_with_its_user_and_told(self, api: Api, push: dict[str, Any]) -> None:
        assert push == {
            "$id": "phone",
            "$createdAt": push["$createdAt"],
            "$updatedAt": push["$createdAt"],
            "name": "My phone",
            "userId": "ada",
            "providerId": "fcm",
            "providerType": "push",
            "identifier": "a-token-of-the-device",
            "expired": False,
        }
        assert (await api.server.get("/v1/users/ada")).json()["targets"][1] == push
        event = (await api.published())[-1]
        assert event.name == "users.ada.targets.phone.create"
        assert (event.roles, event.payload) == (["user:ada"], push)
        known = await api.services.identities.get_user("demo", "ada")
        assert known is not None
        assert push in known.account["targets"]

    async def test_id_or_identifier_of_another_is_refused(self, api: Api, push: dict[str, Any]) -> None:
        for other in ({"targetId": "other"}, {"identifier": "other"}):
            response = await api.server.post("/v1/users/eve/targets", json=PUSH | other)
            assert response.status_code == 409, other
            assert response.json()["type"] == "user_target_already_exists"

    async def test_what_breaks_a_rule_is_refused(self, api: Api, ada: None) -> None:
        wrong: list[dict[str, Any]] = [
            {"providerType": "pigeon"},
            {"providerType": "email", "identifier": "nowhere"},
            {"providerType": "sms", "identifier": "12"},
            {"identifier": ""},
            {"identifier": "x" * 2049},
            {"name": "x" * 129},
            {"targetId": "-"},
        ]
        for body in wrong:
            response = await api.server.post("/v1/users/ada/targets", json=PUSH | body)
            assert response.status_code == 400, body


class TestRead:
    async def test_list_shows_the_targets_of_one_user(self, api: Api, push: dict[str, Any]) -> None:
        page = (await api.server.get("/v1/users/ada/targets")).json()

        assert page["total"] == 2
        assert [target["identifier"] for target in page["targets"]] == [
            "ada@example.com",
            "a-token-of-the-device",
        ]
        assert (await api.server.get("/v1/users/eve/targets")).json() == {"total": 0, "targets": []}

    async def test_queries_choose(self, api: Api, push: dict[str, Any]) -> None:
        query = json.dumps({"method": "equal", "attribute": "providerType", "values": ["push"]})

        page = (await api.server.get("/v1/users/ada/targets", params={"queries[]": query})).json()

        assert page == {"total": 1, "targets": [push]}

    async def test_target_is_found_with_its_user_only(self, api: Api, push: dict[str, Any]) -> None:
        assert (await api.server.get("/v1/users/ada/targets/phone")).json() == push

        response = await api.server.get("/v1/users/eve/targets/phone")
        assert response.status_code == 404
        assert response.json()["type"] == "user_target_not_found"


class TestUpdate:
    async def test_what_is_named_changes(self, api: Api, push: dict[str, Any]) -> None:
        body = {"identifier": "a-new-token", "name": "", "providerId": "apns"}

        response = await api.server.patch("/v1/users/ada/targets/phone", json=body)

        assert response.status_code == 200
        changed = response.json()
        assert changed == push | body | {"$updatedAt": changed["$updatedAt"]}
        event = (await api.published())[-1]
        assert (event.name, event.payload) == ("users.ada.targets.phone.update", changed)

    async def test_what_is_left_out_stays(self, api: Api, push: dict[str, Any]) -> None:
        changed = (await api.server.patch("/v1/users/ada/targets/phone", json={"name": "New"})).json()

        assert changed == push | {"name": "New", "$updatedAt": changed["$updatedAt"]}

    async def test_identifier_is_checked_by_its_kind(self, api: Api, ada: None) -> None:
        (target,) = (await api.server.get("/v1/users/ada/targets")).json()["targets"]
        path = f"/v1/users/ada/targets/{target['$id']}"

        refused = await api.server.patch(path, json={"identifier": "nowhere"})
        taken = await api.server.patch(path, json={"identifier": "NEW@example.com"})

        assert refused.status_code == 400
        assert "`identifier`" in refused.json()["message"]
        assert taken.json()["identifier"] == "new@example.com"

    async def test_identifier_of_another_is_refused(self, api: Api, push: dict[str, Any]) -> None:
        other = PUSH | {"targetId": "other", "identifier": "other"}
        await api.server.post("/v1/users/eve/targets", json=other)

        response = await api.server.patch("/v1/users/ada/targets/phone", json={"identifier": "other"})

        assert response.status_code == 409
        assert (await api.server.get("/v1/users/ada/targets/phone")).json() == push


class TestDelete:
    async def test_deleted_target_is_gone_and_told(self, api: Api, push: dict[str, Any]) -> None:
        response = await api.server.delete("/v1/users/ada/targets/phone")

        assert response.status_code == 204
        assert (await api.server.delete("/v1/users/ada/targets/phone")).status_code == 404
        event = (await api.published())[-1]
        assert (event.name, event.payload) == ("users.ada.targets.phone.delete", push)
