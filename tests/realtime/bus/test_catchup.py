"""From the log to live events, on a real log, with messages and interruptions at the worst moments."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import AskError, ClusterDownError, MasterDownError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.bus import RedisBus, catchup, watch
from realtime.bus.catchup import CatchUp
from realtime.bus.keys import log_key
from realtime.bus.positions import live_message
from realtime.bus.watch import Watch
from tests.realtime.bus.conftest import Heard


class Stage:
    """A project that is caught up with; between two portions of its log, what `between` says happens."""

    def __init__(self, bus: RedisBus, client: redis.asyncio.Redis, heard: Heard) -> None:
        self.bus, self.client, self.heard = bus, client, heard
        self.watch = Watch("demo")
        self.between: list[str] = []
        self.number = 0
        self.catch_up = CatchUp(
            heard.on_message,
            heard.on_resuming,
            heard.on_resumed,
            lambda: heard.story.append("settled"),
            heard.ignored.append,
            self._wait_taken,
            is_bridged=False,
        )

    async def settle(self) -> None:
        await self.catch_up.settle(self.watch, self.bus)

    async def publish(self, events: int, *, is_heard: bool = False) -> None:
        for _ in range(events):
            envelope = b'{"n":%d}' % self.number
            self.number += 1
            (event_id,) = await self.bus.publish("demo", [envelope])
            if is_heard:
                self.catch_up.receive(self.watch, live_message(event_id.encode(), envelope))

    async def lose_all_but(self, events: int) -> None:
        await self.client.xtrim(log_key("demo"), maxlen=events, approximate=False)

    async def _wait_taken(self, _: str) -> None:
        match self.between.pop(0) if self.between else "":
            case "publish":
                await self.publish(1, is_heard=True)
            case "page":
                await self.publish(3, is_heard=True)
            case "flood":
                await self.publish(10, is_heard=True)
            case "trim":
                await self.publish(10, is_heard=True)
                await self.lose_all_but(2)
            case "begin":
                self.watch.begin()
            case "end":
                self.watch.is_ended = True

    def after(self, reading: str, then: Callable[[], Awaitable[None]]) -> None:
        """Have something happen once, right after the log was read by the method ``reading`` of the bus."""
        read = getattr(self.bus, reading)

        async def read_then(*args: Any, **options: Any) -> Any:
            answer = await read(*args, **options)
            delattr(self.bus, reading)
            await then()
            return answer

        setattr(self.bus, reading, read_then)


@pytest.fixture
async def stage(
    bus: RedisBus, redis_client: redis.asyncio.Redis, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> Stage:
    """A project that is live after its event 0; then 1 to 6 were missed, of which the log has 5 and 6."""
    monkeypatch.setattr(watch, "HELD_MESSAGES", 5)
    stage = Stage(bus, redis_client, heard)
    await stage.settle()
    await stage.publish(1, is_heard=True)
    stage.watch.begin()
    await stage.publish(6)
    await stage.lose_all_but(2)
    return stage


class TestCounting:
    async def test_what_is_missing_is_counted(self, stage: Stage) -> None:
        await stage.settle()

        assert stage.heard.numbers() == [0, 5, 6]
        assert stage.heard.resumed == [("demo", False)]
        assert stage.heard.missed == [4]

    async def test_flood_while_it_is_counted_is_read_from_the_log(self, stage: Stage) -> None:
        stage.between = ["publish", "flood"]
        await stage.settle()
        await stage.publish(1, is_heard=True)

        assert stage.heard.numbers() == [0, *range(5, 19)]
        assert stage.heard.missed == [4]

    async def test_gap_after_it_was_counted_is_counted_too(self, stage: Stage) -> None:
        stage.between = ["publish", "trim"]
        await stage.settle()

        assert stage.heard.numbers() == [0, 5, 6, 7, 16, 17]
        assert stage.heard.resumed == [("demo", False)]
        assert stage.heard.missed == [4 + 8]

    @pytest.mark.parametrize(
        "between",
        [("begin",), ("publish", "begin"), ("publish", "flood", "begin"), ("publish", "trim", "begin")],
    )
    async def test_interrupted_one_is_told_as_a_whole_by_the_next(
        self, stage: Stage, between: tuple[str, ...]
    ) -> None:
        stage.between = list(between)
        await stage.settle()
        assert stage.heard.resumed == []
        await stage.settle()

        lost = {1, 2, 3, 4} | (set(range(8, 16)) if "trim" in between else set())
        assert stage.heard.numbers() == [number for number in range(stage.number) if number not in lost]
        assert stage.heard.resumed == [("demo", False)]
        assert stage.heard.missed == [len(lost)]

    async def test_log_that_does_not_stand_still_is_not_counted(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watch, "HELD_MESSAGES", 100)
        monkeypatch.setattr(catchup, "_PAGE", 3)
        monkeypatch.setattr(catchup, "_COUNT_ATTEMPTS", 3)
        stage.between = ["page"] * 10
        await stage.settle()

        assert stage.heard.numbers() == [0, *range(5, 19)]
        assert stage.heard.resumed == [("demo", False)]
        assert stage.heard.missed == [None]

    async def test_what_a_lost_end_and_a_trimmed_log_cost_together_is_unknown(self, stage: Stage) -> None:
        """A replica that lacks 7 and 8 has become the master; what it gets from then on is trimmed."""
        await stage.settle()
        behind = await stage.client.dump(log_key("demo"))
        await stage.publish(2, is_heard=True)
        stage.watch.begin()
        await stage.client.restore(log_key("demo"), 0, behind or b"", replace=True)

        async def go_on() -> None:
            await stage.publish(10)
            await stage.lose_all_but(2)

        stage.after("log_state", go_on)
        await stage.settle()

        assert stage.heard.numbers() == [0, 5, 6, 7, 8, 17, 18]
        assert stage.heard.missed == [4, None]

    async def test_events_missed_of_another_log_from_an_earlier_time_are_unknown(self, stage: Stage) -> None:
        await stage.client.delete(log_key("demo"))
        for number in range(1, 30):
            await stage.client.xadd(log_key("demo"), {"e": b'{"n":99}'}, id=f"5-{number}")
        await stage.publish(1)
        await stage.settle()

        assert stage.heard.numbers() == [0, 7]
        assert stage.heard.missed == [None]

    async def test_it_is_not_told_again(self, stage: Stage) -> None:
        await stage.settle()
        stage.watch.begin()
        await stage.settle()

        assert stage.heard.resumed == [("demo", False), ("demo", True)]
        assert stage.heard.missed == [4, 0]


class TestAttempts:
    async def test_one_that_is_void_delivers_nothing_more(self, stage: Stage) -> None:
        """Another connection may hear the project by now, from a server that knows better."""
        stage.between = ["begin"]
        await stage.publish(1)
        await stage.settle()
        before = stage.heard.numbers()
        await stage.publish(1, is_heard=True)

        assert stage.heard.numbers() == before
        assert stage.watch.held

    async def test_one_that_ended_delivers_nothing_more(self, stage: Stage) -> None:
        stage.between = ["end"]
        await stage.publish(1)
        await stage.settle()

        assert stage.heard.resumed == []
        assert stage.watch.held is not None

    async def test_failure_of_one_that_is_void_is_not_the_next_ones(self, stage: Stage) -> None:
        async def fail() -> None:
            stage.watch.begin()
            raise ResponseError("not now")

        stage.after("read_page", fail)
        await stage.settle()
        assert not stage.watch.has_gap


class TestFailures:
    @pytest.mark.parametrize(
        "error",
        [
            RedisConnectionError(),
            RedisTimeoutError(),
            AskError("1 127.0.0.1:1"),
            ClusterDownError("down"),
            MasterDownError("down"),
            OSError(),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_failure_of_redis_is_left_to_the_next_connection(
        self, stage: Stage, error: Exception
    ) -> None:
        async def fail() -> None:
            raise error

        stage.after("read_page", fail)
        with pytest.raises(type(error)):
            await stage.settle()
        assert stage.heard.resumed == []
        assert not stage.watch.has_gap

    async def test_project_whose_log_cannot_be_read_from_the_first_delivers_nothing(
        self, stage: Stage
    ) -> None:
        stage.watch = Watch("demo")
        await stage.publish(1, is_heard=True)

        async def fail() -> None:
            raise ResponseError("no")

        stage.after("log_state", fail)
        await stage.settle()
        assert stage.watch.failure
        assert stage.heard.numbers() == [0]


class TestSettled:
    async def test_messages_that_were_held_are_settled(self, stage: Stage) -> None:
        stage.between = ["publish"]
        await stage.lose_all_but(0)
        await stage.publish(1)
        stage.after("read_end", lambda: stage.publish(1, is_heard=True))
        await stage.settle()

        assert stage.heard.numbers() == [0, 7, 8, 9]
        assert stage.heard.story[-2:] == [stage.heard.messages[-1][1], "settled"]
