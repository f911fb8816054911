import pytest

from realtime import __version__
from tests.api import Api


class TestHealth:
    async def test_api_is_open_to_everybody(self, api: Api) -> None:
        async with api.guest() as client:
            body = (await client.get("/v1/health")).json()
        assert (body["name"], body["status"]) == ("api", "pass")
        assert body["ping"] >= 0

    @pytest.mark.parametrize("part", ["db", "cache", "pubsub"])
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
