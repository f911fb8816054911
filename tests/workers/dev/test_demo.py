import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from redis.asyncio import Redis

from realtime.bus import RedisBus
from realtime.identity.claims import parse_claims
from realtime.identity.jwt import TokenVerifier
from realtime.identity.model import ApiKey, Platform, Project, User
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from realtime.triggers.store import TriggerStore
from workers.dev.demo import PEOPLE, page_config, seed
from workers.store.database import open_database
from workers.store.projects import find_project, update_project
from workers.store.relay import Relay
from workers.store.store import Store
from workers.store.write_through import WriteThrough

SECRETS = ("an older secret of thirty-two bytes!", "a newer secret of thirty-two bytes!!")


class Stores(NamedTuple):
    """A store and the read model, without a program around them."""

    store: Store
    identities: IdentityStore


@pytest.fixture
async def stores(database_url: str, redis_client: Redis) -> AsyncIterator[Stores]:
    database = open_database(Settings(database_url=database_url))
    identities = IdentityStore(redis_client)
    through = WriteThrough(identities, TriggerStore(redis_client))
    async with Relay(database, RedisBus(redis_client), through).running() as relay:
        yield Stores(Store(database, relay), identities)
    await database.aclose()


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
    async def test_project_is_open_to_local_pages_and_the_key_to_everything(self, stores: Stores) -> None:
        await seed(*stores, "demo", "the-secret")
        project = await stores.identities.get_project("demo")
        key = await stores.identities.get_key("demo", "the-secret")
        assert project is not None
        assert key is not None
        assert [(platform.type, platform.hostname) for platform in project.platforms] == [
            ("web", "localhost"),
            ("web", "127.0.0.1"),
        ]
        assert key.scopes == ("*",)
        assert key.expires_at is None

    async def test_project_is_left_as_it_is_and_told_to_a_redis_that_is_new(
        self, stores: Stores, redis_client: Redis
    ) -> None:
        await seed(*stores, "demo", "the-secret")
        async with stores.store.write(Project(id="demo")) as tx:
            await update_project(tx, {"name": "Mine"})
        await redis_client.flushall()
        await seed(*stores, "demo", "the-secret")
        project = await stores.identities.get_project("demo")
        assert project is not None
        assert (project.name, len(project.platforms)) == ("Mine", 2)
        assert await stores.identities.get_key("demo", "the-secret") is not None

    async def test_project_of_a_former_version_is_taken_over(self, stores: Stores) -> None:
        """Before there was a database, Redis alone had it."""
        mine = Project(id="demo", name="Mine", platforms=(Platform(type="web", hostname="mine.example"),))
        await stores.identities.put_project(mine)
        await stores.identities.put_key("demo", ApiKey(id="dev", scopes=("*",)), "the-secret")
        await seed(*stores, "demo", "the-secret")
        project = await stores.identities.get_project("demo")
        assert project is not None
        assert project.managed
        assert (project.name, project.platforms) == (mine.name, mine.platforms)
        async with stores.store.read() as connection:
            assert await find_project(connection, "demo") is not None
        assert len(await stores.identities.list_keys("demo")) == 1

    async def test_new_secret_replaces_the_former_one(self, stores: Stores) -> None:
        await seed(*stores, "demo", "first")
        await seed(*stores, "demo", "second")
        assert await stores.identities.get_key("demo", "first") is None
        assert await stores.identities.get_key("demo", "second") is not None
        assert len(await stores.identities.list_keys("demo")) == 1
