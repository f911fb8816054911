import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from realtime.bus import LogState, RedisBus, connect
from realtime.bus.keys import idempotency_key, live_channel, log_key
from realtime.bus.positions import parse_position
from realtime.settings import Settings


def envelope(number: int, project: str = "demo") -> bytes:
    return b'{"project":"%s","n":%d}' % (project.encode(), number)


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[RedisBus]:
    bus = RedisBus(connect(redis_url))
    yield bus
    await bus.aclose()


@pytest.fixture
async def live(redis_client: redis.asyncio.Redis) -> AsyncIterator[Any]:
    """What arrives on the live channel of `demo`, as a function that returns the next message."""
    pubsub = redis_client.pubsub()
    await pubsub.subscribe(live_channel("demo"))
    assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"

    async def next_message() -> bytes | None:
        message = await pubsub.get_message(timeout=0.2)
        return message["data"] if message else None

    yield next_message
    await pubsub.aclose()  # type: ignore[no-untyped-call]


class TestPublish:
    async def test_event_goes_to_the_log_and_to_the_live_channel_under_one_id(
        self, bus: RedisBus, live: Any
    ) -> None:
        (event_id,) = await bus.publish("demo", [envelope(1)])

        message = b'{"id":"%s","project":"demo","n":1}' % event_id.encode()
        assert await live() == message
        assert (await bus.read_page("demo", "0-0")).events == [(event_id, message)]

    async def test_batch_keeps_its_order_in_the_log_and_on_the_channel(
        self, bus: RedisBus, live: Any
    ) -> None:
        ids = await bus.publish("demo", [envelope(n) for n in range(50)])

        logged = (await bus.read_page("demo", "0-0")).events
        assert [event_id for event_id, _ in logged] == ids
        assert sorted(ids, key=parse_position) == ids
        assert [await live() for _ in range(50)] == [message for _, message in logged]

    async def test_nothing_publishes_nothing(self, bus: RedisBus) -> None:
        assert await bus.publish("demo", []) == []
        assert (await bus.log_state("demo")).last == "0-0"

    async def test_projects_have_logs_of_their_own(self, bus: RedisBus) -> None:
        await bus.publish("demo", [envelope(1)])
        await bus.publish("other", [envelope(2, "other")])

        assert len((await bus.read_page("demo", "0-0")).events) == 1
        assert len((await bus.read_page("other", "0-0")).events) == 1

    async def test_envelope_is_not_changed(self, bus: RedisBus, live: Any) -> None:
        await bus.publish("demo", ['{"project":"demo","data":{"x":"é\\u0000","y":[1.0,1e5]}}'.encode()])

        assert (await live()).endswith('"data":{"x":"é\\u0000","y":[1.0,1e5]}}'.encode())

    async def test_script_works_after_the_server_forgot_it(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        await bus.publish("demo", [envelope(1)])
        await redis_client.script_flush()

        assert await bus.publish("demo", [envelope(2)])


class TestIdempotencyKey:
    async def test_same_key_returns_the_same_ids_and_publishes_nothing(
        self, bus: RedisBus, live: Any
    ) -> None:
        first = await bus.publish("demo", [envelope(1), envelope(2)], idempotency_key="k")
        second = await bus.publish("demo", [envelope(1), envelope(2)], idempotency_key="k")

        assert first == second
        assert len((await bus.read_page("demo", "0-0")).events) == 2
        assert [await live() is not None for _ in range(3)] == [True, True, False]

    async def test_other_key_and_other_project_publish(self, bus: RedisBus) -> None:
        ids = [
            *await bus.publish("demo", [envelope(1)], idempotency_key="k"),
            *await bus.publish("demo", [envelope(1)], idempotency_key="l"),
            *await bus.publish("other", [envelope(1)], idempotency_key="k"),
        ]

        assert len((await bus.read_page("demo", "0-0")).events) == 2
        assert len((await bus.read_page("other", "0-0")).events) == 1
        assert len(ids) == 3

    async def test_callers_at_the_same_time_publish_once(self, bus: RedisBus) -> None:
        results = await asyncio.gather(
            *(bus.publish("demo", [envelope(1)], idempotency_key="k") for _ in range(20))
        )

        assert len({tuple(ids) for ids in results}) == 1
        assert len((await bus.read_page("demo", "0-0")).events) == 1

    async def test_key_is_remembered_for_the_time_given(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        await bus.publish("demo", [envelope(1)], idempotency_key="long")
        await bus.publish("demo", [envelope(1)], idempotency_key="short", idempotency_ttl_s=7)

        assert 86_300 < await redis_client.ttl(idempotency_key("demo", "long")) <= 86_400
        assert 0 < await redis_client.ttl(idempotency_key("demo", "short")) <= 7

    async def test_without_a_key_nothing_is_remembered(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        await bus.publish("demo", [envelope(1)])

        assert await redis_client.keys() == [log_key("demo").encode()]


class TestTrimming:
    async def test_log_is_bounded_by_number_about(self, redis_url: str) -> None:
        bus = RedisBus(connect(redis_url), log_max_events=100)
        for _ in range(10):
            await bus.publish("demo", [envelope(n) for n in range(100)])

        assert 100 <= len((await bus.read_page("demo", "0-0")).events) <= 250
        await bus.aclose()

    async def test_log_is_bounded_by_age_about(
        self, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        for n in range(1, 301):
            await redis_client.xadd(log_key("demo"), {"e": envelope(n)}, id=f"{n}-0")
        bus = RedisBus(connect(redis_url), log_max_age_s=60)
        await bus.publish("demo", [envelope(301)])

        assert len((await bus.read_page("demo", "0-0")).events) <= 101
        await bus.aclose()

    async def test_log_of_a_silent_project_goes_when_all_of_it_is_too_old(
        self, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        bus = RedisBus(connect(redis_url), log_max_age_s=60)
        await bus.publish("demo", [envelope(1)])

        assert 50 < await redis_client.ttl(log_key("demo")) <= 60
        await bus.aclose()

    async def test_zero_keeps_everything(self, redis_url: str, redis_client: redis.asyncio.Redis) -> None:
        await redis_client.xadd(log_key("demo"), {"e": envelope(0)}, id="1-0")
        bus = RedisBus(connect(redis_url), log_max_events=0, log_max_age_s=0)
        await bus.publish("demo", [envelope(n) for n in range(500)])

        assert len((await bus.read_page("demo", "0-0")).events) == 501
        assert await redis_client.ttl(log_key("demo")) == -1
        await bus.aclose()


class TestReadLog:
    async def test_log_is_read_after_a_position_oldest_first(self, bus: RedisBus) -> None:
        ids = await bus.publish("demo", [envelope(n) for n in range(5)])

        assert [event_id for event_id, _ in (await bus.read_page("demo", ids[1])).events] == ids[2:]
        assert (await bus.read_page("demo", ids[-1])).events == []

    async def test_limit_bounds_what_is_read(self, bus: RedisBus) -> None:
        ids = await bus.publish("demo", [envelope(n) for n in range(5)])

        assert [event_id for event_id, _ in (await bus.read_page("demo", "0-0", limit=2)).events] == ids[:2]
        assert [event_id for event_id, _ in (await bus.read_page("demo", ids[0], limit=2)).events] == ids[1:3]
        assert [event_id for event_id, _ in (await bus.read_page("demo", "5-5", limit=2)).events] == ids[:2]

    async def test_last_position_is_the_last_event(self, bus: RedisBus) -> None:
        assert (await bus.log_state("demo")).last == "0-0"

        ids = await bus.publish("demo", [envelope(1), envelope(2)])

        assert (await bus.log_state("demo")).last == ids[-1]

    async def test_malformed_position_is_refused(self, bus: RedisBus) -> None:
        with pytest.raises(ValueError, match="position"):
            await bus.read_page("demo", "yesterday")


class TestForeignEntries:
    """Entries that somebody else added to a log, and that are not events."""

    async def add_foreign(self, client: redis.asyncio.Redis, number: int) -> None:
        for _ in range(number):
            await client.xadd(log_key("demo"), {"foo": "bar"})

    async def test_entries_without_an_envelope_are_skipped(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        (first,) = await bus.publish("demo", [envelope(1)])
        await self.add_foreign(redis_client, 2)
        (second,) = await bus.publish("demo", [envelope(2)])

        page = await bus.read_page("demo", first)
        assert [event_id for event_id, _ in page.events] == [second]
        assert page.is_complete
        assert [event_id for event_id, _ in (await bus.read_page("demo", "0-0")).events] == [first, second]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    async def test_page_is_short_only_at_the_logs_end(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis, limit: int
    ) -> None:
        ids: list[str] = []
        for number in (0, 5, 1, 0, 3, 8):
            await self.add_foreign(redis_client, number)
            ids += await bus.publish("demo", [envelope(n) for n in range(2)])

        for position in range(-1, len(ids)):
            page = await bus.read_page("demo", ids[position] if position >= 0 else "0-0", limit=limit)
            assert [event_id for event_id, _ in page.events] == ids[position + 1 :][:limit]
            assert page.is_complete

    async def test_position_of_such_an_entry_is_a_position(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        await self.add_foreign(redis_client, 1)

        assert await bus.read_page("demo", (await bus.log_state("demo")).last) == ([], True)

    async def test_they_are_logged_once_for_each_read(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        await self.add_foreign(redis_client, 7)

        with capture_logs() as lines:
            await bus.read_page("demo", "0-0", limit=2)
        assert [(line["project"], line["entries"]) for line in lines] == [("demo", 7)]


class TestCompleteness:
    async def test_log_that_holds_the_position_is_complete(self, bus: RedisBus) -> None:
        ids = await bus.publish("demo", [envelope(1), envelope(2)])

        assert (await bus.read_page("demo", ids[0])).is_complete
        assert (await bus.read_page("demo", ids[1])).is_complete

    async def test_missing_log_is_complete_from_the_start_only(self, bus: RedisBus) -> None:
        assert (await bus.read_page("demo", "0-0")).is_complete
        assert not (await bus.read_page("demo", "5-0")).is_complete

    async def test_log_that_was_never_trimmed_is_complete_from_the_start(self, bus: RedisBus) -> None:
        await bus.publish("demo", [envelope(1)])

        assert (await bus.read_page("demo", "0-0")).is_complete

    async def test_trimmed_log_is_not_complete_for_positions_before_its_first_event(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        ids = await bus.publish("demo", [envelope(n) for n in range(4)])
        await redis_client.xtrim(log_key("demo"), maxlen=2, approximate=False)

        assert not (await bus.read_page("demo", "0-0")).is_complete
        assert not (await bus.read_page("demo", ids[1])).is_complete
        assert (await bus.read_page("demo", ids[2])).is_complete
        assert [event_id for event_id, _ in (await bus.read_page("demo", ids[0])).events] == ids[2:]

    async def test_log_that_lost_its_end_is_not_complete(self, bus: RedisBus) -> None:
        await bus.publish("demo", [envelope(1)])

        assert not (await bus.read_page("demo", "99999999999999-0")).is_complete


class TestLogState:
    async def test_project_without_a_log_has_published_nothing(self, bus: RedisBus) -> None:
        assert await bus.log_state("demo") == LogState("0-0", 0, 0)

    async def test_all_that_was_published_counts_whether_it_is_still_there_or_not(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        ids = await bus.publish("demo", [envelope(n) for n in range(10)])
        await redis_client.xtrim(log_key("demo"), maxlen=3, approximate=False)

        assert await bus.log_state("demo") == LogState(ids[-1], 10, 3)

    async def test_log_of_another_type_is_a_redis_error(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        await redis_client.set(log_key("demo"), "not a stream")

        with pytest.raises(RedisError):
            await bus.log_state("demo")


class TestReadEnd:
    async def test_events_and_state_are_of_one_moment(self, bus: RedisBus) -> None:
        ids = await bus.publish("demo", [envelope(n) for n in range(5)])

        page, state = await bus.read_end("demo", ids[1])
        assert ([event_id for event_id, _ in page.events], page.is_complete) == (ids[2:], True)
        assert state == LogState(ids[-1], 5, 5)

    @pytest.mark.parametrize("after", ["0-0", "1-0"])
    async def test_trimmed_log_is_not_complete(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis, after: str
    ) -> None:
        ids = await bus.publish("demo", [envelope(n) for n in range(5)])
        await redis_client.xtrim(log_key("demo"), maxlen=2, approximate=False)

        page, state = await bus.read_end("demo", after)
        assert ([event_id for event_id, _ in page.events], page.is_complete) == (ids[3:], False)
        assert state.published == 5

    async def test_project_without_a_log_is_complete_from_the_start_only(self, bus: RedisBus) -> None:
        assert (await bus.read_end("demo", "0-0"))[0].is_complete
        assert not (await bus.read_end("demo", "1-0"))[0].is_complete

    async def test_no_more_than_the_limit_is_read(self, bus: RedisBus) -> None:
        ids = await bus.publish("demo", [envelope(n) for n in range(5)])

        for after, first in (("0-0", 0), (ids[0], 1), ("1-0", 0)):
            page, _ = await bus.read_end("demo", after, limit=2)
            assert [event_id for event_id, _ in page.events] == ids[first : first + 2]


class TestClient:
    async def test_ping_takes_some_time(self, bus: RedisBus) -> None:
        assert 0 < await bus.ping() < 5

    async def test_bus_is_made_from_settings(self, redis_url: str, redis_client: redis.asyncio.Redis) -> None:
        bus = RedisBus.from_settings(Settings(redis_url=redis_url, log_max_age_s=77, idempotency_ttl_s=33))
        await bus.publish("demo", [envelope(1)], idempotency_key="k")

        assert 70 < await redis_client.ttl(log_key("demo")) <= 77
        assert 30 < await redis_client.ttl(idempotency_key("demo", "k")) <= 33
        await bus.aclose()

    async def test_failures_are_redis_errors(self, proxy: Any) -> None:
        bus = RedisBus(connect(proxy.url))
        proxy.refuse()

        with pytest.raises(RedisError):
            await bus.publish("demo", [envelope(1)])
        with pytest.raises(RedisError):
            await bus.read_page("demo", "0-0")
        await bus.aclose()

    async def test_log_of_another_type_is_a_redis_error(
        self, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        await redis_client.set(log_key("demo"), "not a stream")

        with pytest.raises(RedisError):
            await bus.read_page("demo", "0-0")
