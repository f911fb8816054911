import json

import pytest
from redis.asyncio import Redis

from realtime.bus import connect
from realtime.bus.keys import bucket, triggers_key, triggers_version_key
from realtime.identity.model import Project
from realtime.identity.store import IdentityStore
from realtime.triggers.model import FunctionTrigger, Triggers, Webhook
from realtime.triggers.store import TriggerStore
from tests.topologies import Cluster

pytestmark = pytest.mark.integration


@pytest.fixture
def store(redis_client: Redis) -> TriggerStore:
    return TriggerStore(redis_client)


def webhook(webhook_id: str = "w1", url: str = "https://example.com/") -> Webhook:
    return Webhook(webhook_id, "Hook", url, ("users.*.create",), "sealed", auth_username="ada")


FUNCTION = FunctionTrigger(
    id="f1", name="Resize", events=("buckets.*.files.*.create",), schedule="0 * * * *", timeout_s=30
)


class TestRead:
    async def test_project_without_triggers_has_none(self, store: TriggerStore) -> None:
        assert await store.read("demo") == Triggers(0)

    async def test_what_was_put_is_returned_by_id(self, store: TriggerStore) -> None:
        await store.put_webhook("demo", webhook("w2"))
        await store.put_webhook("demo", webhook("w1"))
        await store.put_function("demo", FUNCTION)
        found = await store.read("demo")
        assert found == Triggers(found.version, (webhook("w1"), webhook("w2")), (FUNCTION,))

    async def test_put_replaces_the_one_of_the_same_id(self, store: TriggerStore) -> None:
        await store.put_webhook("demo", webhook())
        await store.put_webhook("demo", webhook(url="https://other.example/"))
        (found,) = (await store.read("demo")).webhooks
        assert found.url == "https://other.example/"

    async def test_webhook_and_function_may_have_the_same_id(self, store: TriggerStore) -> None:
        await store.put_webhook("demo", webhook("same"))
        await store.put_function("demo", FunctionTrigger(id="same", name="F"))
        assert await store.delete("demo", "webhook", "same")
        found = await store.read("demo")
        assert (found.webhooks, [each.id for each in found.functions]) == ((), ["same"])

    async def test_projects_of_one_bucket_are_apart(self, store: TriggerStore) -> None:
        other = next(f"p{i}" for i in range(10_000) if bucket(f"p{i}") == bucket("demo"))
        await store.put_webhook("demo", webhook())
        assert (await store.read(other)).webhooks == ()

    async def test_records_that_cannot_be_read_are_skipped(
        self, store: TriggerStore, redis_client: Redis
    ) -> None:
        await store.put_webhook("demo", webhook())
        for name, record in (("webhook:w0", b"{"), ("webhook:w9", b'{"id":1}'), ("robot:r", b"{}")):
            await redis_client.hset(triggers_key("demo"), name, record)
        assert (await store.read("demo")).webhooks == (webhook(),)

    async def test_record_of_a_newer_release_is_read(self, store: TriggerStore, redis_client: Redis) -> None:
        record = {"id": "w1", "name": "Hook", "url": "u", "events": [], "secret": "s", "retries": 5}
        await redis_client.hset(triggers_key("demo"), "webhook:w1", json.dumps(record))
        assert [each.id for each in (await store.read("demo")).webhooks] == ["w1"]


class TestPut:
    @pytest.mark.parametrize(("project", "id_"), [("de:mo", "w1"), ("demo", "w*"), ("demo", "")])
    async def test_ids_that_are_not_valid_are_refused(
        self, store: TriggerStore, project: str, id_: str
    ) -> None:
        with pytest.raises(ValueError, match="not a valid ID"):
            await store.put_webhook(project, webhook(id_))


class TestVersions:
    async def test_each_change_gives_its_bucket_alone_another(self, store: TriggerStore) -> None:
        seen = [await store.versions()]
        await store.put_webhook("demo", webhook())
        seen.append(await store.versions())
        await store.put_function("demo", FUNCTION)
        seen.append(await store.versions())
        await store.delete("demo", "webhook", "w1")
        seen.append(await store.versions())
        of_bucket = [versions.pop(bucket("demo")) for versions in seen]
        assert sorted(set(of_bucket)) == of_bucket
        assert seen == [[0] * 63] * 4
        assert (await store.read("demo")).version == of_bucket[-1]

    async def test_no_number_comes_twice_when_redis_has_lost_its_data(
        self, store: TriggerStore, redis_client: Redis
    ) -> None:
        await store.put_webhook("demo", webhook())
        before = (await store.read("demo")).version
        await redis_client.flushdb()
        await store.put_webhook("demo", webhook(url="https://other.example/"))
        assert (await store.read("demo")).version > before

    async def test_clock_that_goes_back_does_not_bring_a_number_again(
        self, store: TriggerStore, redis_client: Redis
    ) -> None:
        ahead = 4_000_000_000_000_000
        await redis_client.set(triggers_version_key(bucket("demo")), ahead)
        await store.put_webhook("demo", webhook())
        assert (await store.read("demo")).version == ahead + 1

    async def test_same_record_again_is_no_change(self, store: TriggerStore) -> None:
        await store.put_webhook("demo", webhook())
        before = await store.versions()
        await store.put_webhook("demo", webhook())
        assert not await store.delete("demo", "function", "w1")
        assert await store.versions() == before


class TestDeletedProject:
    async def test_its_triggers_go_and_workers_notice(self, store: TriggerStore, redis_client: Redis) -> None:
        identities = IdentityStore(redis_client)
        await identities.put_project(Project(id="demo"))
        await store.put_webhook("demo", webhook())
        before = (await store.read("demo")).version
        await identities.delete_project("demo")
        found = await store.read("demo")
        assert found.webhooks == ()
        assert found.version > before


class TestCluster:
    async def test_projects_on_all_servers_are_read_and_watched(self, cluster: Cluster) -> None:
        client = connect(cluster.url)
        store = TriggerStore(client)
        projects = [f"p{number}" for number in range(6)]
        for project in projects:
            await store.put_webhook(project, webhook())
        versions = await store.versions()
        for project in projects:
            found = await store.read(project)
            assert (found.version, found.webhooks) == (versions[bucket(project)], (webhook(),))
        assert await store.list_ids("p0") == [("webhook", "w1")]
        assert await store.delete("p0", "webhook", "w1")
        await IdentityStore(client).delete_project("p1")
        assert (await store.versions())[bucket("p1")] > versions[bucket("p1")]
        await client.aclose()
