from typing import Any

import pytest

from realtime.errors import ClientError
from realtime.identity.origins import check_origin
from tests.api import PROJECT, Api

PLATFORMS = "/v1/project/platforms"

FAMILIES = [
    ("web", "hostname", "app.example.com", "https://app.example.com"),
    ("apple", "bundleIdentifier", "com.example.app", "appwrite-macos://com.example.app"),
    ("android", "applicationId", "com.example.app", "appwrite-android://com.example.app"),
    ("linux", "packageName", "com.example.app", "appwrite-linux://com.example.app"),
    ("windows", "packageIdentifierName", "com.example.app", "appwrite-windows://com.example.app"),
]


async def is_open_to(api: Api, origin: str) -> bool:
    project = await api.services.identities.get_project(PROJECT)
    assert project is not None
    try:
        check_origin(origin, project, platform_hosts=())
    except ClientError:
        return False
    return True


class TestFamilies:
    @pytest.mark.parametrize(("family", "member", "app", "origin"), FAMILIES)
    async def test_app_is_let_in_changed_and_kept_out_at_once(
        self, api: Api, family: str, member: str, app: str, origin: str
    ) -> None:
        body = {"platformId": "p1", "name": "App", member: app}
        response = await api.server.post(f"{PLATFORMS}/{family}", json=body)
        assert response.status_code == 201, response.text
        model = response.json()
        assert {name: model[name] for name in ("$id", "name", "type", member)} == {
            "$id": "p1",
            "name": "App",
            "type": family,
            member: app,
        }
        assert await is_open_to(api, origin)
        assert (await api.server.get(f"{PLATFORMS}/p1")).json() == model

        changed = await api.server.put(
            f"{PLATFORMS}/{family}/p1", json={"name": "New", member: "other.example"}
        )
        assert (changed.json()["name"], changed.json()[member]) == ("New", "other.example")

        assert (await api.server.delete(f"{PLATFORMS}/p1")).status_code == 204
        assert not await is_open_to(api, origin)
        assert await api.names() == [f"platforms.p1.{action}" for action in ("create", "update", "delete")]


class TestRefusals:
    async def test_taken_id_is_a_conflict(self, api: Api) -> None:
        body = {"platformId": "web", "name": "n", "hostname": "a.example"}
        response = await api.server.post(f"{PLATFORMS}/web", json=body)
        assert (response.status_code, response.json()["type"]) == (409, "platform_already_exists")

    @pytest.mark.parametrize("host", ["https://a.example", "a.example:80", "", "a/b", "x" * 257])
    async def test_host_that_would_never_match_is_refused(self, api: Api, host: str) -> None:
        body = {"platformId": "p", "name": "n", "hostname": host}
        response = await api.server.post(f"{PLATFORMS}/web", json=body)
        assert response.status_code == 400
        assert response.json()["message"].startswith("Invalid `hostname` param: ")

    async def test_platform_of_another_family_is_not_found(self, api: Api) -> None:
        response = await api.server.put(f"{PLATFORMS}/linux/web", json={"name": "n", "packageName": "p"})
        assert (response.status_code, response.json()["type"]) == (404, "platform_not_found")

    async def test_unknown_platform_is_not_found(self, api: Api) -> None:
        for method, path in (("GET", "nix"), ("DELETE", "nix"), ("PUT", "web/nix")):
            body: dict[str, Any] = {"name": "n", "hostname": "h"}
            response = await api.server.request(method, f"{PLATFORMS}/{path}", json=body)
            assert (response.status_code, response.json()["type"]) == (404, "platform_not_found")


class TestList:
    async def test_platforms_are_found_by_what_they_are(self, api: Api) -> None:
        await api.server.post(
            f"{PLATFORMS}/android", json={"platformId": "p", "name": "A", "applicationId": "com.a"}
        )
        listed = (await api.server.get(PLATFORMS)).json()
        assert [(each["$id"], each["type"]) for each in listed["platforms"]] == [
            ("web", "web"),
            ("p", "android"),
        ]
        query = '{"method":"equal","attribute":"applicationId","values":["com.a"]}'
        listed = (await api.server.get(PLATFORMS, params={"queries[0]": query})).json()
        assert [each["$id"] for each in listed["platforms"]] == ["p"]
