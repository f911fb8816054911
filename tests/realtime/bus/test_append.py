"""What publishing leaves for webhooks and functions, on a real server."""

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from realtime.bus import RedisBus, connect
from realtime.bus.keys import WORK_KINDS, bucket, live_channel, log_key, trigger_names_key, work_key
from realtime.bus.work import WorkFullError, WorkKind, WorkQueue
from realtime.errors import TooMuchWaitsError
from realtime.events.event import Event, Prepared, prepare
from realtime.events.names import expand
from realtime.events.work import WorkEvent, decode_work
from realtime.publisher import Publisher
from realtime.triggers.index import TriggerIndex
from realtime.triggers.model import FunctionTrigger, Webhook
from realtime.triggers.store import TriggerStore

pytestmark = pytest.mark.integration

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HOOK = Webhook("w1", "Hook", "https://example.com/", ("teams.*.create",), "sealed")
FUNCTION = FunctionTrigger(id="f1", name="F", events=("teams.red",))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def bus(redis: Redis) -> RedisBus:
    return RedisBus(redis, work_max_events=5)


@pytest.fixture
def triggers(redis: Redis) -> TriggerStore:
    return TriggerStore(redis)


def prepared(name: str, payload: dict[str, Any] | None = None, **members: Any) -> Prepared:
    return prepare(Event(name, payload or {"$id": "x"}, **members), "demo", now=NOW)[0]


async def left(redis: Redis, kind: WorkKind = "webhooks") -> list[WorkEvent]:
    """Return what waits for ``project``'s triggers of a kind, as a worker reads it, and have it done."""
    queue = WorkQueue(redis, kind, "reader")
    items = []
    while found := await queue.read(6400, block_s=0):
        items += found
    await queue.done(items)
    return [decode_work(item) for item in items]


async def counts(redis: Redis) -> dict[str, int]:
    return {kind: await redis.xlen(work_key(bucket("demo"), kind)) for kind in WORK_KINDS}


async def logged(redis: Redis) -> int:
    return int(await redis.xlen(log_key("demo")))


class TestWhatIsLeft:
    async def test_only_what_somebody_waits_for(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await triggers.put_webhook("demo", HOOK)
        await triggers.put_function("demo", FUNCTION)
        events = ["teams.red.create", "teams.red.delete", "teams.blue.create", "users.u.create"]
        await bus.publish("demo", [prepared(name).record for name in events])
        assert [event.events[0] for event in await left(redis)] == ["teams.red.create", "teams.blue.create"]
        assert [event.events[0] for event in await left(redis, "functions")] == [
            "teams.red.create",
            "teams.red.delete",
        ]

    async def test_event_is_left_with_all_that_workers_need(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await triggers.put_webhook("demo", HOOK)
        event = prepared("teams.red.create", {"n": 1, "all": [2]}, actor_id="ada", depth=3, hidden=["all"])
        (event_id,) = await bus.publish("demo", [event.record])
        assert await left(redis) == [
            WorkEvent(
                project="demo",
                event_id=event_id,
                events=expand("teams.[teamId].create", {"teamId": "red"}),
                actor_id="ada",
                depth=3,
                timestamp="2026-01-02T00:00:00.000+00:00",
                payload=b'{"n":1,"all":[2]}',
            )
        ]

    async def test_payload_is_not_kept_twice_when_nothing_is_hidden(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await triggers.put_webhook("demo", HOOK)
        await bus.publish("demo", [prepared("teams.red.create", {"n": 1}, hidden=["absent"]).record])
        found: Any = await redis.xrange(work_key(bucket("demo"), "webhooks"))
        ((_, fields),) = found
        assert fields.keys() == {b"e", b"i"}
        assert [event.payload for event in await left(redis)] == [b'{"n":1}']

    async def test_what_is_hidden_reaches_neither_the_log_nor_the_live_channel(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await triggers.put_webhook("demo", HOOK)
        event = prepared("teams.red.create", {"n": 1, "friends": ["eve"]}, hidden=["friends"])
        async with redis.pubsub() as live:
            await live.subscribe(live_channel("demo"))
            await live.get_message(timeout=5)
            await bus.publish("demo", [event.record])
            message = (await live.get_message(timeout=5))["data"]
        ((_, replayed),) = (await bus.read_page("demo", "0-0")).events
        assert json.loads(message)["data"]["payload"] == {"n": 1}
        assert message == replayed
        assert b"friends" not in message

    async def test_nothing_is_left_when_triggers_are_disabled_or_gone(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await triggers.put_webhook("demo", HOOK)
        await triggers.put_webhook("demo", Webhook("w1", "Hook", "u", HOOK.events, "s", enabled=False))
        await triggers.put_function("demo", FUNCTION)
        await triggers.delete("demo", "function", "f1")
        await bus.publish("demo", [prepared("teams.red.create").record])
        assert await counts(redis) == {"webhooks": 0, "functions": 0}
        assert await redis.exists(*(trigger_names_key("demo", kind) for kind in WORK_KINDS)) == 0

    async def test_other_projects_triggers_do_not_count(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        other = next(f"p{i}" for i in range(10_000) if bucket(f"p{i}") == bucket("demo"))
        await triggers.put_webhook(other, HOOK)
        await bus.publish("demo", [prepared("teams.red.create").record])
        assert await counts(redis) == {"webhooks": 0, "functions": 0}

    async def test_payload_cannot_pretend_to_have_names(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await triggers.put_webhook("demo", HOOK)
        fake = {"data": {"events": ["teams.*.create"]}, "x": '"data":{"events":["teams.*.create"]}'}
        await bus.publish("demo", [prepared("teams.red.delete", fake).record])
        assert await left(redis) == []

    async def test_batch_that_is_repeated_is_left_once(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await triggers.put_webhook("demo", HOOK)
        full = prepared("teams.red.create", {"n": 1, "h": 2}, hidden=["h"]).record
        for _ in range(2):
            await bus.publish("demo", [full], idempotency_key="k")
            await bus.relay("demo", "store", [(1, full), (2, prepared("teams.red.create").record)])
        await bus.relay("demo", "store", [(2, prepared("teams.red.create").record), (3, full)])
        assert len(await left(redis)) == 4
        assert await logged(redis) == 4

    @pytest.mark.parametrize(
        "records", [[b'{"project":"demo","n":1}'], [b'{"data":{"events":["'], [b"{}\0{}"]]
    )
    async def test_records_without_names_are_published_and_left_for_nobody(
        self, records: list[bytes], bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await triggers.put_webhook("demo", HOOK)
        await bus.publish("demo", records)
        assert (await logged(redis), await counts(redis)) == (1, {"webhooks": 0, "functions": 0})


IDS = st.sampled_from(["a", "b.c", "x|y", "main"])
EVENTS = st.one_of(
    st.builds(lambda a: ("teams.[teamId].create", {"teamId": a}), IDS),
    st.builds(lambda a: ("users.[userId].update.email", {"userId": a}), IDS),
    st.builds(
        lambda a, b: ("buckets.[bucketId].files.[fileId].delete", {"bucketId": a, "fileId": b}), IDS, IDS
    ),
    st.builds(
        lambda a, b, c, verb: (
            f"databases.[databaseId].collections.[collectionId].documents.[documentId].{verb}",
            {"databaseId": a, "collectionId": b, "tableId": b, "documentId": c, "rowId": c},
        ),
        IDS,
        IDS,
        IDS,
        st.sampled_from(["create", "update"]),
    ),
)
NAMES = EVENTS.flatmap(lambda event: st.sampled_from(expand(event[0], event[1])))
SUBSCRIBED = st.lists(NAMES, max_size=4, unique=True).map(tuple)


# So many that events' names are looked up instead of the triggers' names being looked for.
MANY = tuple(f"teams.many{number}" for number in range(100))


class TestAgreement:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        webhooks=st.lists(st.tuples(SUBSCRIBED, st.booleans()), max_size=4),
        functions=st.lists(st.tuples(SUBSCRIBED, st.booleans()), max_size=4),
        others=st.sampled_from([(), MANY]),
        events=st.lists(EVENTS, min_size=1, max_size=6),
    )
    async def test_what_is_left_is_what_python_finds_a_trigger_for(
        self,
        webhooks: list[tuple[tuple[str, ...], bool]],
        functions: list[tuple[tuple[str, ...], bool]],
        others: tuple[str, ...],
        events: list[tuple[str, dict[str, str]]],
        redis: Redis,
        triggers: TriggerStore,
    ) -> None:
        await redis.flushall()
        await triggers.put_webhook("demo", Webhook("many", "", "u", others, "s"))
        for number, (names, enabled) in enumerate(webhooks):
            await triggers.put_webhook("demo", Webhook(f"w{number}", "", "u", names, "s", enabled=enabled))
        for number, (names, enabled) in enumerate(functions):
            function = FunctionTrigger(id=f"f{number}", name="", events=names, enabled=enabled)
            await triggers.put_function("demo", function)
        batch = [prepared(name, params=params) for name, params in events]
        ids = await RedisBus(redis).publish("demo", [event.record for event in batch])
        index = TriggerIndex(await triggers.read("demo"))
        for kind, find in (("webhooks", index.webhooks), ("functions", index.functions)):
            expected = [event_id for event_id, event in zip(ids, batch, strict=True) if find(event.events)]
            assert [event.event_id for event in await left(redis, kind)] == expected  # type: ignore[arg-type]


class TestBound:
    async def fill(self, bus: RedisBus, triggers: TriggerStore, count: int = 5) -> None:
        await triggers.put_webhook("demo", HOOK)
        await bus.publish("demo", [prepared("teams.red.create").record] * count)

    async def test_nothing_of_a_batch_is_published_that_would_exceed_it(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await self.fill(bus, triggers, 4)
        batch = [prepared(name).record for name in ("users.u.create", "teams.a.create", "teams.b.create")]
        with pytest.raises(WorkFullError, match="`realtime webhooks`"):
            await bus.publish("demo", batch)
        with pytest.raises(WorkFullError):
            await bus.publish("demo", batch, idempotency_key="k")
        with pytest.raises(WorkFullError):
            await bus.relay("demo", "store", list(enumerate(batch)))
        assert (await logged(redis), (await counts(redis))["webhooks"]) == (4, 4)

    async def test_bound_itself_may_be_reached(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await self.fill(bus, triggers, 4)
        await bus.publish("demo", [prepared("teams.a.create").record])
        assert (await counts(redis))["webhooks"] == 5

    async def test_events_that_nobody_waits_for_are_published_nevertheless(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await self.fill(bus, triggers)
        await bus.publish("demo", [prepared("users.u.create").record])
        assert await logged(redis) == 6

    async def test_full_stream_of_functions_holds_up_what_both_wait_for(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await triggers.put_function("demo", FUNCTION)
        await bus.publish("demo", [prepared("teams.red.create").record] * 5)
        await triggers.put_webhook("demo", HOOK)
        with pytest.raises(WorkFullError, match="`realtime functions`"):
            await bus.publish("demo", [prepared("teams.red.create").record])
        assert await counts(redis) == {"webhooks": 0, "functions": 5}

    async def test_batch_that_is_larger_is_published_when_nothing_waits(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await self.fill(bus, triggers, 8)
        assert (await counts(redis))["webhooks"] == 8

    async def test_relay_goes_on_where_it_was_when_there_is_room(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore
    ) -> None:
        await self.fill(bus, triggers)
        events = [(number, prepared("teams.red.create", {"n": number}).record) for number in range(3)]
        with pytest.raises(WorkFullError):
            await bus.relay("demo", "store", events)
        await left(redis)
        await bus.relay("demo", "store", events)
        assert [json.loads(event.payload)["n"] for event in await left(redis)] == [0, 1, 2]

    async def test_publisher_waits_for_room(
        self, bus: RedisBus, redis: Redis, triggers: TriggerStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await self.fill(bus, triggers)
        attempts = itertools.count()
        publish = bus.publish

        async def make_room_later(project: str, records: Sequence[bytes], **options: Any) -> list[str]:
            if next(attempts) == 1:
                await left(redis)
            return await publish(project, records, **options)

        monkeypatch.setattr(bus, "publish", make_room_later)
        async with Publisher("demo", bus=bus, retry_s=30) as publisher:
            await publisher.publish("teams.red.create", {"n": 1}, actor_id="ada")
        assert [event.actor_id for event in await left(redis)] == ["ada"]

    async def test_publisher_says_what_to_start(self, bus: RedisBus, triggers: TriggerStore) -> None:
        await self.fill(bus, triggers)
        async with Publisher("demo", bus=bus, retry_s=0) as publisher:
            with pytest.raises(TooMuchWaitsError, match="Start `realtime webhooks`"):
                await publisher.publish("teams.red.create", {"n": 1})
