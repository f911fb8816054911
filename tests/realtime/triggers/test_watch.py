import pytest
from redis.asyncio import Redis

from realtime.bus.keys import bucket
from realtime.identity.model import Project
from realtime.identity.store import IdentityStore
from realtime.triggers import watch as watch_module
from realtime.triggers.model import Webhook
from realtime.triggers.store import TriggerStore
from realtime.triggers.watch import TriggerWatch

pytestmark = pytest.mark.integration

OTHER = next(f"p{i}" for i in range(10_000) if bucket(f"p{i}") == bucket("demo"))


class CountingStore(TriggerStore):
    """A store that tells which projects were read."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.reads: list[str] = []

    async def read(self, project_id: str):  # type: ignore[no-untyped-def] # noqa: ANN201 - the base's
        self.reads.append(project_id)
        return await super().read(project_id)


@pytest.fixture
def store(redis_client: Redis) -> CountingStore:
    return CountingStore(redis_client)


@pytest.fixture
def watch(store: CountingStore) -> TriggerWatch:
    return TriggerWatch(store)


def webhook(webhook_id: str = "w1") -> Webhook:
    return Webhook(webhook_id, "Hook", "https://example.com/", ("teams.*.create",), "sealed")


async def found(watch: TriggerWatch, project: str = "demo") -> list[str]:
    index = (await watch.indexes([project]))[project]
    return [each.id for each in index.webhooks(["teams.*.create"])]


class TestIndexes:
    async def test_change_is_heeded_by_the_next_call(self, watch: TriggerWatch, store: CountingStore) -> None:
        assert await found(watch) == []
        await store.put_webhook("demo", webhook())
        assert await found(watch) == ["w1"]
        await store.put_webhook("demo", webhook("w2"))
        assert await found(watch) == ["w1", "w2"]
        await store.delete("demo", "webhook", "w1")
        assert await found(watch) == ["w2"]

    async def test_nothing_is_read_again_while_nothing_changes(
        self, watch: TriggerWatch, store: CountingStore
    ) -> None:
        await store.put_webhook("demo", webhook())
        for _ in range(3):
            assert (await found(watch), await found(watch, "absent")) == (["w1"], [])
        assert store.reads == ["demo", "absent"]

    async def test_change_of_another_bucket_is_no_reason_to_read(
        self, watch: TriggerWatch, store: CountingStore
    ) -> None:
        elsewhere = next(f"p{i}" for i in range(100) if bucket(f"p{i}") != bucket("demo"))
        await found(watch)
        await store.put_webhook(elsewhere, webhook())
        await found(watch)
        await store.put_webhook(OTHER, webhook())
        await found(watch)
        assert store.reads == ["demo", "demo"]

    async def test_all_that_are_asked_for_are_returned(
        self, watch: TriggerWatch, store: CountingStore
    ) -> None:
        projects = {f"p{i}" for i in range(40)}
        await store.put_webhook("p7", webhook())
        indexes = await watch.indexes(projects)
        assert indexes.keys() == projects
        assert [p for p in sorted(projects) if indexes[p].webhooks(["teams.*.create"])] == ["p7"]
        assert await watch.indexes([]) == {}

    async def test_deleted_project_has_none(
        self, watch: TriggerWatch, store: CountingStore, redis_client: Redis
    ) -> None:
        identities = IdentityStore(redis_client)
        await identities.put_project(Project(id="demo", name="Demo"))
        await store.put_webhook("demo", webhook())
        assert await found(watch) == ["w1"]
        await identities.delete_project("demo")
        assert await found(watch) == []

    async def test_none_are_left_when_redis_has_lost_everything(
        self, watch: TriggerWatch, store: CountingStore, redis_client: Redis
    ) -> None:
        await store.put_webhook("demo", webhook())
        await found(watch)
        await redis_client.flushall()
        assert await found(watch) == []

    async def test_what_was_not_asked_for_for_long_is_forgotten(
        self, watch: TriggerWatch, store: CountingStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watch_module, "MAX_PROJECTS", 2)
        for project in ("a", "b", "a", "c", "a", "b"):
            await found(watch, project)
        assert store.reads == ["a", "b", "c", "b"]
