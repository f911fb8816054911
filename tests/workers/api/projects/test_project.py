import pytest

from realtime.identity.model import Project
from tests.api import PROJECT, Api


class TestGet:
    async def test_scope_is_needed(self, api: Api) -> None:
        async with await api.add_key("project.read") as client:
            assert (await client.get("/v1/project")).json()["name"] == "Demo"
            response = await client.delete("/v1/project")
        assert response.json()["message"] == '(role: applications) missing scope (["project.write"])'

    async def test_project_that_only_the_read_model_has_is_not_found(self, api: Api) -> None:
        """Whoever writes the read model from a backend of their own has no project here."""
        await api.services.identities.put_project(Project(id="theirs"))
        async with api.guest(**{"X-Appwrite-Project": "theirs"}) as client:
            assert (await client.get("/v1/ping")).text == "Pong!"


class TestProtocol:
    async def test_websocket_is_off_for_hubs_at_once_and_on_again(self, api: Api) -> None:
        for enabled in (False, True):
            response = await api.server.patch("/v1/project/protocols/websocket", json={"enabled": enabled})
            assert response.json()["protocols"] == [{"$id": "websocket", "enabled": enabled}]
            record = await api.services.identities.get_project(PROJECT)
            assert record is not None
            assert record.websocket_enabled is enabled

    @pytest.mark.parametrize(
        ("protocol", "body", "name"),
        [("rest", {"enabled": False}, "protocolId"), ("websocket", {}, "enabled")],
    )
    async def test_wrong_parameter_is_named(
        self, api: Api, protocol: str, body: dict[str, bool], name: str
    ) -> None:
        response = await api.server.patch(f"/v1/project/protocols/{protocol}", json=body)
        assert response.status_code == 400
        assert name in response.json()["message"]


class TestService:
    async def test_closed_service_serves_keys_alone_until_it_is_open_again(self, api: Api) -> None:
        for enabled, status in ((False, 503), (True, 201)):
            switched = await api.server.patch("/v1/project/services/account", json={"enabled": enabled})
            assert {"$id": "account", "enabled": enabled} in switched.json()["services"]
            async with api.guest() as client:
                answer = await client.post("/v1/account/sessions/anonymous")
                assert answer.status_code == status
        assert (await api.server.get("/v1/users")).json()["total"] == 1

    async def test_each_service_is_closed_by_itself(self, api: Api) -> None:
        await api.server.patch("/v1/project/services/tablesdb", json={"enabled": False})
        async with api.guest() as client:
            closed = await client.get("/v1/tablesdb/main/tables/posts/rows")
            assert (closed.status_code, closed.json()["type"]) == (503, "general_service_disabled")
            assert (await client.get("/v1/databases/main/collections/posts/documents")).status_code == 404
        assert (await api.server.get("/v1/tablesdb")).status_code == 200

    async def test_unknown_service_is_refused(self, api: Api) -> None:
        answer = await api.server.patch("/v1/project/services/oven", json={"enabled": False})
        assert answer.status_code == 400


class TestPing:
    async def test_every_ping_counts_and_the_first_is_an_event(self, api: Api) -> None:
        async with api.guest() as client:
            for _ in range(2):
                response = await client.get("/v1/ping")
                assert response.text == "Pong!"
                assert response.headers["content-type"].startswith("text/plain")
        project = (await api.server.get("/v1/project")).json()
        assert project["pingCount"] == 2
        (event,) = await api.published()
        assert event.name == "projects.demo.ping"
        assert event.channels == ["console", "projects.demo"]
        assert event.payload["pingCount"] == 1
        assert event.payload["pingedAt"] <= project["pingedAt"]

    async def test_unknown_project_gets_no_pong(self, api: Api) -> None:
        async with api.guest(**{"X-Appwrite-Project": "nix"}) as client:
            assert (await client.get("/v1/ping")).status_code == 404
