"""Which projects the API serves, and as whom."""

import pytest

from realtime.identity.model import Project, User
from tests.api import PROJECT, Api
from workers.api.people.jwts import sign_jwt

SIGN_UP = {"userId": "ada", "email": "ada@example.com", "password": "correct horse"}


class TestProjects:
    async def test_people_of_a_backend_are_not_replaced_by_strangers(self, api: Api) -> None:
        """A project that only Redis has belongs to whoever wrote it there."""
        ada = User("ada", name="Ada")
        await api.services.identities.put_project(Project("elsewhere"))
        await api.services.identities.put_user("elsewhere", ada)
        async with api.guest(**{"X-Appwrite-Project": "elsewhere"}) as client:
            answer = await client.post("/v1/account", json=SIGN_UP)
        assert (answer.status_code, answer.json()["type"]) == (404, "project_not_found")
        assert await api.services.identities.get_user("elsewhere", "ada") == ada

    async def test_project_of_another_region_is_refused(self, api: Api) -> None:
        managed = await api.services.identities.get_project("demo")
        assert managed is not None
        await api.services.identities.put_project(Project("demo", region="mars", managed=True))
        async with api.guest() as client:
            answer = await client.post("/v1/account", json=SIGN_UP)
        assert (answer.status_code, answer.json()["type"]) == (401, "general_access_forbidden")


class TestKeysOfExecutions:
    @pytest.fixture
    async def token(self, api: Api) -> str:
        assert (await api.guest().post("/v1/account", json=SIGN_UP)).status_code == 201
        return sign_jwt(api.services.settings, PROJECT, "ada", duration_s=60, depth=1)

    async def test_user_beside_one_is_one_too_many_as_with_other_keys(self, api: Api, token: str) -> None:
        key = api.services.executions.keys.issue(PROJECT, ["teams.read"], life_s=60, depth=1)
        ordinary = await api.add_key("teams.read")
        answers = []
        for secret in (key, ordinary.headers["X-Appwrite-Key"]):
            client = api.guest(**{"X-Appwrite-Key": secret, "X-Appwrite-JWT": token})
            answers += [await client.get(path) for path in ("/v1/account", "/v1/teams")]
        assert [answer.status_code for answer in answers] == [403] * 4
        assert len({answer.text for answer in answers}) == 1

    async def test_session_that_is_none_leaves_the_key(self, api: Api) -> None:
        key = api.services.executions.keys.issue(PROJECT, ["teams.read"], life_s=60, depth=1)
        client = api.guest(
            **{"X-Appwrite-Key": key, "X-Appwrite-Session": "eyJpZCI6ImEiLCJzZWNyZXQiOiJiIn0="}
        )
        assert (await client.get("/v1/teams")).status_code == 200

    async def test_invalid_one_is_a_guest_s_whoever_is_beside_it(self, api: Api, token: str) -> None:
        elsewhere = api.services.executions.keys.issue("elsewhere", ["*"], life_s=60)
        for secret in (elsewhere, "ephemeral_nonsense"):
            client = api.guest(**{"X-Appwrite-Key": secret, "X-Appwrite-JWT": token})
            answer = await client.get("/v1/teams")
            assert (answer.status_code, answer.json()["type"]) == (401, "general_unauthorized_scope")

    async def test_invalid_token_is_refused_as_ever(self, api: Api) -> None:
        key = api.services.executions.keys.issue(PROJECT, ["teams.read"], life_s=60)
        answer = await api.guest(**{"X-Appwrite-Key": key, "X-Appwrite-JWT": "nonsense"}).get("/v1/teams")
        assert (answer.status_code, answer.json()["type"]) == (401, "user_jwt_invalid")
