from tests.api import Api


class TestApp:
    async def test_key_of_the_project_may_publish(self, api: Api) -> None:
        response = await api.server.post(
            "/v1/events", json={"event": "teams.red.create", "payload": {"$id": "red"}}
        )
        assert response.status_code == 202, response.text
        (event,) = await api.published()
        assert event.name == "teams.red.create"
        assert event.roles == ["team:red"]

    async def test_unknown_key_makes_a_guest(self, api: Api) -> None:
        async with api.holder("another") as client:
            response = await client.post("/v1/events", json={})
        assert response.status_code == 401
        assert response.json()["type"] == "general_unauthorized_scope"

    async def test_key_without_the_scope_is_refused(self, api: Api) -> None:
        async with await api.add_key("users.read") as client:
            response = await client.post("/v1/events", json={})
        assert response.json()["message"] == '(role: applications) missing scope (["events.write"])'
