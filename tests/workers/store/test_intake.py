import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
import sqlalchemy.exc
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.bus import RedisBus, connect
from realtime.bus.dead_work import DeadWork
from realtime.bus.keys import bucket, work_key
from realtime.bus.work import GROUP, WorkQueue
from realtime.events.event import Event
from realtime.events.work import WorkEvent
from realtime.publisher import Publisher
from realtime.triggers.index import TriggerIndex
from realtime.triggers.model import Webhook
from realtime.triggers.store import TriggerStore
from realtime.triggers.watch import TriggerWatch
from tests.topologies import DEADLINE_S
from workers.store import intake as intake_module
from workers.store.intake import MAX_READS, Intake

pytestmark = pytest.mark.integration

HOOK = Webhook("w1", "Hook", "https://example.com/", ("teams.*.create",), "sealed")
GONE = ConnectionRefusedError(111, "no database")


class Handler:
    """Notes what it is given; fails as it is told to."""

    def __init__(self) -> None:
        # Team IDs, a list for each call.
        self.calls: list[list[str]] = []
        self.webhooks: list[list[str]] = []
        # What the next calls raise, and what any call raises that has a certain team.
        self.next_errors: list[Exception] = []
        self.poison: dict[str, Exception] = {}
        # Cleared to make it hang.
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def __call__(self, events: Sequence[tuple[WorkEvent, TriggerIndex]]) -> None:
        teams = [event.events[0].split(".")[1] for event, _ in events]
        self.calls.append(teams)
        await self.may_go_on.wait()
        if self.next_errors:
            raise self.next_errors.pop(0)
        for team in teams:
            if team in self.poison:
                raise self.poison[team]
        self.webhooks += [[hook.id for hook in index.webhooks(event.events)] for event, index in events]

    @property
    def seen(self) -> list[str]:
        return [team for call in self.calls for team in call]


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[RedisBus]:
    bus = RedisBus(connect(redis_url))
    yield bus
    await bus.aclose()


@pytest.fixture
def redis(bus: RedisBus) -> Redis:
    return bus.redis


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def make(redis: Redis, handler: Handler) -> Callable[..., Intake]:
    def make(consumer: str = "one", handle: Handler = handler, idle_s: float = 0.05) -> Intake:
        return Intake(
            WorkQueue(redis, "webhooks", consumer),
            TriggerWatch(TriggerStore(redis)),
            handle,
            claim_idle_s=idle_s,
            claim_interval_s=0.05,
        )

    return make


async def publish(bus: RedisBus, *teams: str, project: str = "demo") -> None:
    await TriggerStore(bus.redis).put_webhook(project, HOOK)
    async with Publisher(project, bus=bus) as publisher:
        await publisher.publish_many([Event(f"teams.{team}.create", {"$id": team}) for team in teams])


async def waiting(redis: Redis) -> int:
    return sum(await WorkQueue(redis, "webhooks", "watcher").lengths())


async def until_done(redis: Redis) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await waiting(redis):  # noqa: ASYNC110 - Redis sets no event
            await asyncio.sleep(0.01)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - no event tells of every condition
            await asyncio.sleep(0.005)


class TestHandling:
    async def test_events_are_handled_with_their_triggers_and_are_done(
        self, bus: RedisBus, handler: Handler, make: Callable[..., Intake]
    ) -> None:
        await publish(bus, "a", "b")
        async with make().running():
            await until_done(bus.redis)
            await publish(bus, "c", project="other")
            await until_done(bus.redis)
        assert sorted(handler.seen) == ["a", "b", "c"]
        assert handler.webhooks == [["w1"], ["w1"], ["w1"]]

    async def test_trigger_that_is_gone_meanwhile_is_not_there(
        self, bus: RedisBus, handler: Handler, make: Callable[..., Intake]
    ) -> None:
        await publish(bus, "a")
        await TriggerStore(bus.redis).delete("demo", "webhook", "w1")
        async with make().running():
            await until_done(bus.redis)
        assert handler.webhooks == [[]]

    async def test_many_are_handled_by_several_workers_each_once(
        self, bus: RedisBus, make: Callable[..., Intake]
    ) -> None:
        teams = [f"t{number}" for number in range(500)]
        await publish(bus, *teams)
        handlers = [Handler(), Handler()]
        async with contextlib.AsyncExitStack() as stack:
            for number, handler in enumerate(handlers):
                await stack.enter_async_context(make(f"c{number}", handler, 60).running())
            await until_done(bus.redis)
        assert sorted(handlers[0].seen + handlers[1].seen) == sorted(teams)

    async def test_ends_at_once_when_nothing_comes(self, make: Callable[..., Intake]) -> None:
        async with asyncio.timeout(1), make().running():
            pass


class TestServersAway:
    @pytest.mark.parametrize(
        "error",
        [
            RedisError("away"),
            GONE,
            sqlalchemy.exc.TimeoutError("no connection"),
            sqlalchemy.exc.ProgrammingError("SELECT", {}, Exception("no such table")),
        ],
    )
    async def test_batch_is_tried_again_until_they_are_back(
        self, error: Exception, bus: RedisBus, handler: Handler, make: Callable[..., Intake]
    ) -> None:
        handler.next_errors = [error] * 3
        await publish(bus, "a", "b")
        async with make(idle_s=60).running():
            await until_done(bus.redis)
        assert handler.calls[-1] == handler.calls[-2] == handler.calls[-3] == handler.calls[-4]
        assert len(handler.webhooks) == 2

    async def test_what_redis_lost_is_made_again(
        self, bus: RedisBus, handler: Handler, make: Callable[..., Intake]
    ) -> None:
        async with make().running():
            await publish(bus, "a")
            await until_done(bus.redis)
            await bus.redis.flushall()
            await publish(bus, "b")
            await until(lambda: "b" in handler.seen)
            await until_done(bus.redis)


class TestDeadWorkers:
    async def test_what_they_left_is_taken_over(
        self, bus: RedisBus, handler: Handler, make: Callable[..., Intake]
    ) -> None:
        await publish(bus, "a")
        assert await WorkQueue(bus.redis, "webhooks", "dead").read(100, block_s=0)
        async with make().running():
            await until_done(bus.redis)
        assert handler.seen == ["a"]

    async def test_worker_that_dies_between_recording_and_done_repeats(
        self, bus: RedisBus, handler: Handler, make: Callable[..., Intake], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await publish(bus, "a")
        first = make("first")

        async def die(_: object) -> None:
            raise asyncio.CancelledError

        with monkeypatch.context() as patch:
            patch.setattr(first._queue, "done", die)
            async with first.running():
                await until(lambda: handler.seen)
        assert await waiting(bus.redis) == 1
        async with make("second").running():
            await until_done(bus.redis)
        assert handler.seen == ["a", "a"]

    async def test_batch_at_hand_is_finished_before_the_end(
        self, bus: RedisBus, handler: Handler, make: Callable[..., Intake]
    ) -> None:
        handler.may_go_on.clear()
        await publish(bus, "a")
        async with make().running():
            await until(lambda: handler.seen)
            asyncio.get_running_loop().call_later(0.05, handler.may_go_on.set)
        assert await waiting(bus.redis) == 0

    async def test_those_that_are_long_gone_are_forgotten(
        self, bus: RedisBus, make: Callable[..., Intake], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(intake_module, "FORGET_INTERVAL_S", 0.02)
        await WorkQueue(bus.redis, "webhooks", "gone").read(100, block_s=0)
        name = work_key(0, "webhooks")
        async with asyncio.timeout(DEADLINE_S), make().running():
            while b"gone" in {each["name"] for each in await bus.redis.xinfo_consumers(name, GROUP)}:
                pass


class TestPoison:
    async def test_others_are_handled_and_it_is_put_aside(
        self, bus: RedisBus, handler: Handler, make: Callable[..., Intake]
    ) -> None:
        handler.poison = {"bad": ValueError("not this one")}
        await publish(bus, *(f"t{number}" for number in range(10)), "bad", "last")
        async with make().running():
            await until(lambda: len(handler.webhooks) == 11)
            await until_done(bus.redis)
        assert handler.calls.count(["bad"]) == MAX_READS
        (entry,) = await DeadWork(bus.redis, "webhooks").page(bucket("demo"), count=10)
        assert (entry.reason, b'"teams.bad.create"' in entry.envelope) == ("ValueError: not this one", True)

    async def test_one_that_succeeds_later_is_not_put_aside(
        self, bus: RedisBus, handler: Handler, make: Callable[..., Intake]
    ) -> None:
        handler.next_errors = [ValueError("once"), ValueError("twice")]
        await publish(bus, "a")
        async with make().running():
            await until_done(bus.redis)
        assert sum(await DeadWork(bus.redis, "webhooks").lengths()) == 0
        assert handler.webhooks == [["w1"]]

    async def test_entry_that_is_no_event_is_put_aside_at_once(
        self, bus: RedisBus, handler: Handler, make: Callable[..., Intake]
    ) -> None:
        await publish(bus, "a")
        await bus.redis.xadd(f"{{b{bucket('demo')}}}:work:webhooks", {"e": "{", "i": "1-1"})
        async with make().running():
            await until_done(bus.redis)
        assert handler.webhooks == [["w1"]]
        assert sum(await DeadWork(bus.redis, "webhooks").lengths()) == 1
