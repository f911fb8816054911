"""Work queues when servers restart, fail over, and on a Cluster."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.bus import RedisBus, connect
from realtime.bus.keys import bucket
from realtime.bus.work import WorkItem, WorkQueue
from realtime.publisher import Publisher
from realtime.triggers.model import Webhook
from realtime.triggers.store import TriggerStore
from realtime.triggers.watch import TriggerWatch
from tests.topologies import DEADLINE_S, Cluster, Sentinels, Server, free_ports

pytestmark = pytest.mark.integration

HOOK = Webhook("w1", "Hook", "https://example.com/", ("teams.*.create",), "sealed")
# Of three servers' slots.
PROJECTS = [f"p{number}" for number in range(12)]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Redis]:
    async with aclosing(connect(url)) as redis:
        yield redis


async def publish(redis: Redis, project: str, *numbers: int) -> None:
    async with Publisher(project, bus=RedisBus(redis), retry_s=DEADLINE_S) as publisher:
        for number in numbers:
            await publisher.publish(f"teams.t{number}.create", {"n": number})


def numbers(items: list[WorkItem]) -> list[int]:
    return sorted(int(item.envelope.rpartition(b'"n":')[2].rstrip(b"}")) for item in items)


async def read(queue: WorkQueue, count: int) -> list[WorkItem]:
    """Read so many entries, or what is claimed of them, whatever fails meanwhile."""
    found: dict[tuple[int, bytes], WorkItem] = {}
    async with asyncio.timeout(DEADLINE_S):
        while len(found) < count:
            try:
                items = await queue.read(640, block_s=0.2) + await queue.claim(100, idle_s=0)
            except (RedisError, OSError):
                await asyncio.sleep(0.05)
                continue
            found |= {(item.bucket, item.entry_id): item for item in items}
    return list(found.values())


async def persist(act: Callable[[], object]) -> None:
    """Do something until it succeeds."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                await act()  # type: ignore[misc]
            except (RedisError, OSError):
                await asyncio.sleep(0.05)
            else:
                return


class TestRestart:
    async def test_nothing_is_lost_by_a_server_with_an_append_only_file(self, tmp_path: Path) -> None:
        server = Server(tmp_path, free_ports(1)[0], "appendonly yes", "appendfsync always")
        await asyncio.to_thread(server.start)
        try:
            async with connected(server.url) as redis:
                await TriggerStore(redis).put_webhook("demo", HOOK)
                queue = WorkQueue(redis, "webhooks", "one")
                await publish(redis, "demo", *range(6))
                items = sorted(await read(queue, 6))
                await queue.done(items[:2])
                await asyncio.to_thread(server.kill)
                with pytest.raises((RedisError, OSError)):
                    await queue.read(10, block_s=0)
                await asyncio.to_thread(server.start)
                await publish(redis, "demo", 6)
                left = await read(queue, 5)
                assert numbers(left) == [2, 3, 4, 5, 6]
                await queue.done(left)
                assert sum(await queue.lengths()) == 0
        finally:
            await asyncio.to_thread(server.kill)


class TestSentinel:
    async def test_work_goes_on_after_a_failover(self, sentinels: Sentinels) -> None:
        async with connected(sentinels.url) as redis:
            await TriggerStore(redis).put_webhook("demo", HOOK)
            queue = WorkQueue(redis, "webhooks", "one")
            await publish(redis, "demo", 0, 1)
            items = sorted(await read(queue, 2))
            await queue.done(items[:1])
            await asyncio.to_thread(sentinels.replace_master)
            await publish(redis, "demo", 2)
            left = await read(queue, 2)
            assert numbers(left) == [1, 2]
            await persist(lambda: queue.done(left))
            assert sum(await queue.lengths()) == 0


class TestCluster:
    async def test_all_projects_are_served_and_watched(self, cluster: Cluster) -> None:
        async with connected(cluster.url) as redis:
            store = TriggerStore(redis)
            queue = WorkQueue(redis, "webhooks", "one")
            assert await queue.read(10, block_s=0) == []
            for number, project in enumerate(PROJECTS):
                await store.put_webhook(project, HOOK)
                await publish(redis, project, number)
            reading = await queue.read(640, block_s=5)
            assert numbers(reading) == list(range(12))
            assert {item.bucket for item in reading} == {bucket(project) for project in PROJECTS}
            indexes = await TriggerWatch(store).indexes(PROJECTS)
            assert all(indexes[project].webhooks(["teams.*.create"]) == [HOOK] for project in PROJECTS)
            lengths = await queue.lengths()
            assert sum(lengths) == 12
            assert await queue.oldest_s() > 0
            await queue.bury(reading[0], "why")
            await queue.done(reading[1:6])
            other = WorkQueue(redis, "webhooks", "two")
            claimed = await other.claim(10, idle_s=0)
            assert sorted(item.entry_id for item in claimed) == sorted(item.entry_id for item in reading[6:])
            assert {item.times_read for item in claimed} == {2}
            await other.done(claimed)
            assert await other.forget_consumers(idle_s=60) == 0
            assert sum(await queue.lengths()) == 0

    async def test_waits_for_an_entry(self, cluster: Cluster) -> None:
        async with connected(cluster.url) as redis:
            await TriggerStore(redis).put_webhook("demo", HOOK)
            queue = WorkQueue(redis, "webhooks", "one")
            reading = asyncio.create_task(queue.read(64, block_s=3))
            await publish(redis, "demo", 7)
            assert numbers(await reading) == [7]

    async def test_work_goes_on_after_a_failover_and_when_slots_move(self, cluster: Cluster) -> None:
        async with connected(cluster.url) as redis:
            await TriggerStore(redis).put_webhook("demo", HOOK)
            queue = WorkQueue(redis, "webhooks", "one")
            await publish(redis, "demo", 0, 1)
            assert numbers(await read(queue, 2)) == [0, 1]
            await asyncio.to_thread(cluster.replace_primary_of, "demo")
            await publish(redis, "demo", 2)
            items = await read(queue, 3)
            assert numbers(items) == [0, 1, 2]
            await persist(lambda: queue.done(items))
            await asyncio.to_thread(cluster.move, "demo")
            await publish(redis, "demo", 3)
            assert numbers(await read(queue, 1)) == [3]
