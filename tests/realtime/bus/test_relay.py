import random
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from realtime.bus import RedisBus, connect
from realtime.bus.keys import live_channel, outbox_key


def entries(*numbers: int) -> list[tuple[int, bytes]]:
    return [(number, b'{"project":"demo","n":%d}' % number) for number in numbers]


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[RedisBus]:
    bus = RedisBus(connect(redis_url))
    yield bus
    await bus.aclose()


async def logged(bus: RedisBus) -> list[int]:
    events = (await bus.read_page("demo", "0-0")).events
    return [int(message.rpartition(b":")[2][:-1]) for _, message in events]


class TestRelay:
    async def test_batch_is_published_in_its_order(self, bus: RedisBus) -> None:
        await bus.relay("demo", "store", entries(3, 1, 2))
        assert await logged(bus) == [3, 1, 2]

    async def test_events_go_to_the_live_channel(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        async with redis_client.pubsub() as live:
            await live.subscribe(live_channel("demo"))
            await live.get_message(timeout=5)
            await bus.relay("demo", "store", entries(1))
            await bus.relay("demo", "store", entries(1))
            await bus.relay("demo", "store", entries(2))
            messages = [(await live.get_message(timeout=5))["data"] for _ in range(2)]
        assert [message.rpartition(b":")[2] for message in messages] == [b"1}", b"2}"]

    async def test_nothing_publishes_nothing_and_remembers_nothing(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        await bus.relay("demo", "store", [])
        assert await redis_client.dbsize() == 0

    async def test_batch_that_comes_again_is_left_out(self, bus: RedisBus) -> None:
        await bus.relay("demo", "store", entries(1, 2))
        await bus.relay("demo", "store", entries(1, 2))
        assert await logged(bus) == [1, 2]

    async def test_part_that_comes_again_with_others_is_left_out(self, bus: RedisBus) -> None:
        await bus.relay("demo", "store", entries(1, 3))
        await bus.relay("demo", "store", entries(1, 2, 3, 4))
        assert await logged(bus) == [1, 3, 2, 4]

    async def test_part_that_does_not_come_again_at_first_is_remembered(self, bus: RedisBus) -> None:
        await bus.relay("demo", "store", entries(10, 11, 12))
        await bus.relay("demo", "store", entries(5, 10, 11))
        await bus.relay("demo", "store", entries(12))
        assert await logged(bus) == [10, 11, 12, 5]

    async def test_other_outbox_has_numbers_of_its_own(self, bus: RedisBus) -> None:
        await bus.relay("demo", "one", entries(1))
        await bus.relay("demo", "another", entries(1))
        assert await logged(bus) == [1, 1]

    async def test_record_does_not_grow_with_what_was_confirmed(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        for number in range(50):
            await bus.relay("demo", "store", entries(number, number + 1000))
        record = await redis_client.get(outbox_key("demo", "store"))
        assert isinstance(record, bytes)
        # Each with a checksum of its envelope.
        assert [entry.partition(b"-")[0] for entry in record.split(b",")] == [b"49", b"1049"]

    @pytest.mark.parametrize("seed", range(10))
    async def test_crashes_at_random_publish_each_event_once(self, bus: RedisBus, seed: int) -> None:
        """A relay in small: it reads a bounded batch, publishes, and forgets, or dies before it does."""
        chance = random.Random(seed)
        # Numbers are drawn before commits, so lower ones may come later.
        arriving = chance.sample(range(1, 1000), 100)
        outbox: list[int] = []
        expected = sorted(arriving)
        while arriving or outbox:
            for _ in range(chance.randrange(4)):
                outbox += [arriving.pop()] if arriving else []
            batch = sorted(outbox)[:8]
            await bus.relay("demo", "store", entries(*batch))
            if chance.random() < 0.7:
                outbox = [number for number in outbox if number not in batch]
        assert sorted(await logged(bus)) == expected
