import dataclasses
from collections.abc import Callable

import pytest

from realtime import __version__
from realtime.settings import Settings
from tests.api import Api
from workers.store.database import open_database
from workers.store.store import Store


class TestHealth:
    async def test_api_is_open_to_everybody(self, api: Api) -> None:
        async with api.guest() as client:
            body = (await client.get("/v1/health")).json()
        assert (body["name"], body["status"]) == ("api", "pass")
        assert body["ping"] >= 0

    async def test_api_without_its_database_is_not_well(
        self, api: Api, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        away = open_database(Settings(database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/none"))
        services = dataclasses.replace(api.services, store=Store(away, api.services.relay))
        monkeypatch.setattr(api.app.state, "services", services)
        async with api.guest() as client:
            answer = await client.get("/v1/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "fail")

    @pytest.mark.parametrize("part", ["db", "cache", "pubsub", "storage"])
    async def test_part_answers_to_keys_with_the_scope(self, api: Api, part: str) -> None:
        async with await api.add_key("health.read") as client:
            body = (await client.get(f"/v1/health/{part}")).json()
        assert (body["name"], body["status"]) == (part, "pass")
        async with api.guest() as client:
            assert (await client.get(f"/v1/health/{part}")).status_code == 401

    async def test_clocks_agree_on_one_machine(self, api: Api) -> None:
        body = (await api.server.get("/v1/health/time")).json()
        assert abs(body["diff"]) <= 1
        assert body["remoteTime"] - body["localTime"] == body["diff"]

    async def test_version_is_open_to_everybody(self, api: Api) -> None:
        async with api.guest() as client:
            assert (await client.get("/v1/health/version")).json() == {"version": __version__}

    async def test_data_folder_is_the_local_storage(self, api: Api) -> None:
        body = (await api.server.get("/v1/health/storage/local")).json()
        assert (body["name"], body["status"]) == ("local", "pass")

    async def test_storage_that_cannot_keep_anything_is_not_well(self, api: Api) -> None:
        (api.settings.data_dir / "files").write_text("in the way of the folder")
        for path in ("storage", "storage/local"):
            answer = await api.server.get(f"/v1/health/{path}")
            assert (answer.status_code, answer.json()["status"]) == (503, "fail")

    async def test_what_there_is_not_is_said_plainly(self, api: Api) -> None:
        viruses = await api.server.get("/v1/health/anti-virus")
        assert viruses.json() == {"version": "", "status": "disabled"}
        certificate = await api.server.get("/v1/health/certificate", params={"domain": "example.com"})
        assert (certificate.status_code, certificate.json()["type"]) == (501, "general_not_implemented")
