"""What was laid aside, on a real server."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from realtime.bus import connect
from realtime.bus.dead_work import DeadWork
from realtime.bus.keys import BUCKETS, WorkKind, work_key
from realtime.bus.work import WorkItem, WorkQueue
from tests.topologies import Cluster

pytestmark = pytest.mark.integration


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


async def bury(
    redis: Redis, number: int, name: str, *, full: bytes = b"", kind: WorkKind = "webhooks"
) -> None:
    """Lay an entry aside as workers do."""
    fields = {"e": name, "i": f"{number}-{name}"} | ({"f": full} if full else {})
    await redis.xadd(work_key(number, kind), fields)  # type: ignore[arg-type]
    queue = WorkQueue(redis, kind, "gravedigger")
    (item,) = await queue.read(1, block_s=0)
    await queue.bury(item, f"{name} failed")


async def waiting(redis: Redis) -> list[WorkItem]:
    return await WorkQueue(redis, "webhooks", "reader").read(100, block_s=0)


class TestDeadWork:
    async def test_lengths_are_those_of_the_buckets(self, redis: Redis) -> None:
        dead = DeadWork(redis, "webhooks")
        assert await dead.lengths() == [0] * BUCKETS
        await bury(redis, 0, "a")
        await bury(redis, 63, "b")
        await bury(redis, 63, "c")
        await bury(redis, 1, "d", kind="functions")
        assert await dead.lengths() == [1, *[0] * 62, 2]

    async def test_page_begins_after_an_entry(self, redis: Redis) -> None:
        dead = DeadWork(redis, "webhooks")
        for name in "abc":
            await bury(redis, 7, name, full=b"{}" if name == "b" else b"")
        (first,) = await dead.page(7, count=1)
        assert first[2:] == ("7-a", b"a", b"", "a failed")
        second, third = await dead.page(7, after=first.entry_id, count=10)
        assert second[2:] == ("7-b", b"b", b"{}", "b failed")
        assert await dead.page(7, after=third.entry_id, count=10) == []
        assert await dead.page(8, count=10) == []

    async def test_what_is_replayed_waits_again_as_it_was(self, redis: Redis) -> None:
        dead = DeadWork(redis, "webhooks")
        await bury(redis, 7, "a", full=b"{}")
        await bury(redis, 8, "b")
        await bury(redis, 8, "c")
        entries = [*await dead.page(7, count=10), *await dead.page(8, count=1)]
        await dead.replay(entries)
        assert [
            (item.bucket, item.event_id, item.envelope, item.full_payload)
            for item in sorted(await waiting(redis))
        ] == [(7, "7-a", b"a", b"{}"), (8, "8-b", b"b", b"")]
        assert sum(await dead.lengths()) == 1

    async def test_what_is_removed_is_gone(self, redis: Redis) -> None:
        dead = DeadWork(redis, "webhooks")
        await bury(redis, 7, "a")
        await bury(redis, 7, "b")
        await dead.remove(await dead.page(7, count=1))
        assert [entry.envelope for entry in await dead.page(7, count=10)] == [b"b"]
        assert await waiting(redis) == []
        await dead.remove([])
        await dead.replay([])

    async def test_buckets_may_be_on_several_servers(self, cluster: Cluster) -> None:
        redis = connect(cluster.url)
        try:
            dead = DeadWork(redis, "webhooks")
            for number in (0, 20, 40, 63):
                await bury(redis, number, "a")
            assert [number for number, length in enumerate(await dead.lengths()) if length] == [0, 20, 40, 63]
            entries = [entry for number in (0, 20, 40, 63) for entry in await dead.page(number, count=10)]
            await dead.replay(entries[:2])
            await dead.remove(entries[2:])
            assert sum(await dead.lengths()) == 0
            assert sorted(item.bucket for item in await waiting(redis)) == [0, 20]
        finally:
            await redis.aclose()
