"""From the log to live events, on a real log, with messages and interruptions at the worst moments."""

import pytest
import redis.asyncio

from realtime.bus import RedisBus, watch
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
            lambda: None,
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
            case "flood":
                await self.publish(10, is_heard=True)
            case "trim":
                await self.publish(10, is_heard=True)
                await self.lose_all_but(2)
            case "begin":
                self.watch.begin()


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
