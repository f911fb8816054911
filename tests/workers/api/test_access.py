"""Which projects the API serves, and as whom."""

from realtime.identity.model import Project, User
from tests.api import Api

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
