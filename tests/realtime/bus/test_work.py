import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from realtime.bus import connect
from realtime.bus.keys import BUCKETS, work_dead_key, work_key
from realtime.bus.work import GROUP, MAX_BLOCK_S, WorkFullError, WorkItem, WorkQueue, telling_full
from tests.topologies import DEADLINE_S

pytestmark = pytest.mark.integration


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def queue(redis: Redis) -> WorkQueue:
    return WorkQueue(redis, "webhooks", "one")


async def add(redis: Redis, number: int, *names: str, full: bytes = b"") -> None:
    for name in names:
        fields = {"e": name, "i": f"{number}-{name}"} | ({"f": full} if full else {})
        await redis.xadd(work_key(number, "webhooks"), fields)  # type: ignore[arg-type]


def names(items: list[WorkItem]) -> list[str]:
    return sorted(item.envelope.decode() for item in items)


async def drain(queue: WorkQueue, count: int, total: int) -> list[WorkItem]:
    items: list[WorkItem] = []
    while len(items) < total:
        found = await queue.read(count, block_s=1)
        assert found, "nothing came, and something is missing"
        items += found
    return items


async def until_blocked(redis: Redis) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not (await redis.info("clients"))["blocked_clients"]:
            pass


class TestRead:
    async def test_entries_of_all_buckets_are_read(self, queue: WorkQueue, redis: Redis) -> None:
        await add(redis, 0, "a", full=b"{}")
        await add(redis, 17, "b")
        await add(redis, BUCKETS - 1, "c")
        items = await queue.read(100, block_s=0)
        assert [(item.bucket, item.event_id, item.envelope, item.full_payload) for item in sorted(items)] == [
            (0, "0-a", b"a", b"{}"),
            (17, "17-b", b"b", b""),
            (63, "63-c", b"c", b""),
        ]
        assert {item.times_read for item in items} == {1}

    async def test_each_entry_is_read_by_one_of_several_workers(self, queue: WorkQueue, redis: Redis) -> None:
        other = WorkQueue(redis, "webhooks", "two")
        await add(redis, 3, *"abcdefgh")
        found = [await reader.read(64, block_s=0) for reader in (queue, other) * 8]
        assert names([item for items in found for item in items]) == list("abcdefgh")

    async def test_kinds_are_apart(self, queue: WorkQueue, redis: Redis) -> None:
        await add(redis, 3, "a")
        assert await WorkQueue(redis, "functions", "one").read(10, block_s=0) == []
        assert names(await queue.read(10, block_s=0)) == ["a"]

    async def test_waits_for_an_entry(self, queue: WorkQueue, redis: Redis) -> None:
        assert await queue.read(10, block_s=0) == []
        reading = asyncio.create_task(queue.read(10, block_s=MAX_BLOCK_S))
        await until_blocked(redis)
        await add(redis, 5, "a")
        assert names(await reading) == ["a"]

    async def test_returns_after_the_time_to_wait(self, queue: WorkQueue) -> None:
        assert await queue.read(10, block_s=0.01) == []

    async def test_number_of_entries_adapts_to_how_many_buckets_have_some(
        self, queue: WorkQueue, redis: Redis
    ) -> None:
        await add(redis, 5, *map(str, range(100)))
        assert len(await queue.read(64, block_s=0)) == 1
        assert len(await queue.read(64, block_s=0)) == 64
        assert len(await queue.read(64, block_s=0)) == 35

    async def test_goes_on_when_redis_has_lost_everything(self, queue: WorkQueue, redis: Redis) -> None:
        await add(redis, 5, "a")
        assert names(await queue.read(10, block_s=0)) == ["a"]
        await redis.flushall()
        assert await queue.claim(10, idle_s=0) == []
        await redis.flushall()
        await add(redis, 5, "b")
        assert names(await queue.read(10, block_s=0)) == ["b"]

    async def test_goes_on_when_everything_is_lost_while_it_waits(
        self, queue: WorkQueue, redis: Redis
    ) -> None:
        await queue.read(10, block_s=0)
        reading = asyncio.create_task(queue.read(10, block_s=MAX_BLOCK_S))
        await until_blocked(redis)
        await redis.flushall()
        await add(redis, 5, "b")
        assert names(await reading) == ["b"]


class TestClaim:
    async def test_what_a_dead_worker_left_is_claimed_once(self, queue: WorkQueue, redis: Redis) -> None:
        await add(redis, 5, "a", "b")
        await add(redis, 6, "c")
        dead = await drain(WorkQueue(redis, "webhooks", "dead"), 640, 3)
        assert await queue.claim(10, idle_s=60) == []
        claimed = await queue.claim(10, idle_s=0)
        assert [item._replace(times_read=1) for item in claimed] == sorted(dead)
        assert {item.times_read for item in claimed} == {2}
        assert {item.times_read for item in await queue.claim(10, idle_s=0)} == {3}

    async def test_what_was_done_is_not_claimed(self, queue: WorkQueue, redis: Redis) -> None:
        await add(redis, 5, "a", "b")
        items = await drain(queue, 640, 2)
        await queue.done(items[:1])
        assert names(await queue.claim(10, idle_s=0)) == ["b"]

    async def test_all_is_claimed_in_several_calls(self, queue: WorkQueue, redis: Redis) -> None:
        await add(redis, 5, *map(str, range(25)))
        await drain(WorkQueue(redis, "webhooks", "dead"), 6400, 25)
        claimed = [item for _ in range(3) for item in await queue.claim(10, idle_s=0)]
        assert len(set(names(claimed))) == 25

    async def test_entry_that_somebody_deleted_is_left_out(self, queue: WorkQueue, redis: Redis) -> None:
        await add(redis, 5, "a", "b")
        items = await drain(queue, 640, 2)
        await redis.xdel(work_key(5, "webhooks"), items[0].entry_id)
        assert names(await queue.claim(10, idle_s=0)) == ["b"]


class TestDone:
    async def test_done_entries_are_gone(self, queue: WorkQueue, redis: Redis) -> None:
        await add(redis, 5, "a")
        await add(redis, 6, "b")
        items = await drain(queue, 640, 2)
        await queue.done(items)
        await queue.done(items)
        await queue.done([])
        assert sum(await queue.lengths()) == 0
        assert (await redis.xpending(work_key(5, "webhooks"), GROUP))["pending"] == 0


class TestBury:
    async def test_buried_entry_is_kept_with_the_reason(self, queue: WorkQueue, redis: Redis) -> None:
        await add(redis, 5, "a", full=b"{}")
        await add(redis, 5, "b")
        for item in await drain(queue, 640, 2):
            await queue.bury(item, "why")
        found: Any = await redis.xrange(work_dead_key(5, "webhooks"))
        assert [fields for _, fields in found] == [
            {b"e": b"a", b"i": b"5-a", b"r": b"why", b"f": b"{}"},
            {b"e": b"b", b"i": b"5-b", b"r": b"why"},
        ]
        assert sum(await queue.lengths()) == 0


class TestForgetConsumers:
    async def test_only_those_are_forgotten_that_hold_nothing(self, queue: WorkQueue, redis: Redis) -> None:
        await add(redis, 5, "a")
        holding, idle = WorkQueue(redis, "webhooks", "holding"), WorkQueue(redis, "webhooks", "idle")
        await holding.read(640, block_s=0)
        await idle.read(640, block_s=0)
        assert await queue.forget_consumers(idle_s=60) == 0
        while (await redis.xinfo_consumers(work_key(5, "webhooks"), GROUP))[1]["idle"] < 2:
            pass
        # The one that holds something, in the stream where it does.
        assert await queue.forget_consumers(idle_s=0.001) == 2 * BUCKETS - 1
        consumers = await redis.xinfo_consumers(work_key(5, "webhooks"), GROUP)
        assert [consumer["name"] for consumer in consumers] == [b"holding"]
        assert names(await queue.claim(10, idle_s=0)) == ["a"]

    async def test_nothing_is_made_where_nothing_is(self, queue: WorkQueue, redis: Redis) -> None:
        await add(redis, 5, "a")
        assert await queue.forget_consumers(idle_s=0) == 0
        assert await redis.dbsize() == 1


class TestWhatWaits:
    async def test_lengths_are_by_bucket(self, queue: WorkQueue, redis: Redis) -> None:
        await add(redis, 5, "a", "b")
        lengths = await queue.lengths()
        assert (len(lengths), lengths[5], sum(lengths)) == (BUCKETS, 2, 2)

    async def test_age_is_that_of_the_oldest(self, queue: WorkQueue, redis: Redis) -> None:
        assert await queue.oldest_s() == 0.0
        seconds, _ = await redis.time()
        await redis.xadd(work_key(5, "webhooks"), {"e": "a"}, id=f"{(seconds - 100) * 1000}-0")
        await add(redis, 6, "b")
        assert 99 < await queue.oldest_s() < 130


class TestTellingFull:
    def test_refusal_says_what_to_start(self) -> None:
        with pytest.raises(WorkFullError, match="realtime functions"), telling_full():
            raise ResponseError("WORKFULL functions")

    def test_other_errors_pass(self) -> None:
        with pytest.raises(ResponseError, match="OOM"), telling_full():
            raise ResponseError("OOM no")
