import time

import pytest
from redis.asyncio import Redis

from realtime.identity.claims import parse_claims
from realtime.identity.jwt import TokenVerifier
from realtime.identity.model import Platform, Project, User
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from workers.dev.demo import PEOPLE, page_config, seed

SECRETS = ("an older secret of thirty-two bytes!", "a newer secret of thirty-two bytes!!")


@pytest.fixture
def store(redis_client: Redis) -> IdentityStore:
    return IdentityStore(redis_client)


class TestPageConfig:
    async def test_tokens_give_the_roles_that_are_shown(self) -> None:
        """What the page shows of a person is what the hub will make of the person's token."""
        config = page_config(Settings(dev_key="key", secret=",".join(SECRETS)), time.time())
        verifier = TokenVerifier(SECRETS)
        for person, shown in zip(PEOPLE, config["people"], strict=True):
            user = parse_claims(await verifier.verify(shown["jwt"]), "demo")
            assert isinstance(user, User)
            assert user.id == shown["userId"] == person.user_id
            assert sorted(user.roles() - {"member:"}) == shown["roles"]

    def test_only_ada_is_an_editor(self) -> None:
        ada, bob = PEOPLE
        assert "team:editors" in ada.roles("demo")
        assert "team:editors" not in bob.roles("demo")

    async def test_newest_secret_signs(self) -> None:
        config = page_config(Settings(dev_key="key", secret=",".join(SECRETS)), time.time())
        await TokenVerifier(SECRETS[1:]).verify(config["people"][0]["jwt"])

    def test_tokens_end_when_the_page_is_told(self) -> None:
        config = page_config(Settings(dev_key="key", secret=SECRETS[0]), 1000.0)
        assert config["expiresAt"] == 1000 + 24 * 3600


class TestSeed:
    async def test_project_is_open_to_local_pages_and_the_key_to_everything(
        self, store: IdentityStore
    ) -> None:
        await seed(store, "demo", "the-secret")
        project = await store.get_project("demo")
        key = await store.get_key("demo", "the-secret")
        assert project is not None
        assert key is not None
        assert [(platform.type, platform.hostname) for platform in project.platforms] == [
            ("web", "localhost"),
            ("web", "127.0.0.1"),
        ]
        assert key.scopes == ("*",)
        assert key.expires_at is None

    async def test_existing_project_is_left_as_it_is(self, store: IdentityStore) -> None:
        mine = Project(id="demo", name="Mine", platforms=(Platform(type="web", hostname="mine.example"),))
        await store.put_project(mine)
        await seed(store, "demo", "the-secret")
        assert await store.get_project("demo") == mine

    async def test_new_secret_replaces_the_former_one(self, store: IdentityStore) -> None:
        await seed(store, "demo", "first")
        await seed(store, "demo", "second")
        assert await store.get_key("demo", "first") is None
        assert await store.get_key("demo", "second") is not None
        assert len(await store.list_keys("demo")) == 1
