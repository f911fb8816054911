import asyncio
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.bus import LogPage, RedisBus
from realtime.bus.positions import Position, live_message, parse_position
from realtime.hub import log_window
from realtime.hub.log_window import PAGE, LogWindow, LogWindows, Total

ENVELOPE = b'{"data":{"channels":["rows"],"events":["x"],"payload":{}},"roles":["any"]}'


class FakeBus:
    """A log in memory. Its entries have the positions 1-0, 2-0 and so on; the first ones may be trimmed."""

    def __init__(self, length: int = 0) -> None:
        self.length = length
        self.trimmed = 0
        self.reads = 0

    async def read_page(self, project: str, after: str, *, limit: int) -> LogPage:
        self.reads += 1
        await asyncio.sleep(0)
        begin, _ = parse_position(after)
        numbers = range(max(begin, self.trimmed) + 1, self.length + 1)[:limit]
        events = [(f"{n}-0", live_message(f"{n}-0".encode(), ENVELOPE)) for n in numbers]
        return LogPage(events, begin >= self.trimmed and begin <= self.length)


def window_of(bus: FakeBus) -> LogWindow:
    return LogWindow(cast("RedisBus", bus), "demo", None, Total())


async def drain(window: LogWindow, cursor: Position) -> list[Position]:
    """Read everything after a position; every page has to be complete."""
    positions = []
    while True:
        page = await window.after(cursor)
        assert page.is_complete
        positions += [each.position for each in page.events]
        if page.events:
            cursor = page.events[-1].position
        if page.is_end:
            return positions


def after(begin: int, end: int) -> list[Position]:
    return [(n, 0) for n in range(begin + 1, end + 1)]


class TestAfter:
    async def test_pages_follow_each_other(self) -> None:
        window = window_of(FakeBus(2 * PAGE + 5))
        assert await drain(window, (3, 0)) == after(3, 2 * PAGE + 5)

    async def test_second_reader_reads_nothing_again(self) -> None:
        bus = FakeBus(250)
        window = window_of(bus)
        await drain(window, (0, 0))
        reads = bus.reads
        assert await drain(window, (17, 0)) == after(17, 250)
        # Whether the log has grown is all that had to be asked.
        assert bus.reads == reads + 1

    async def test_readers_at_the_same_time_read_once(self) -> None:
        bus = FakeBus(250)
        window = window_of(bus)
        results = await asyncio.gather(*[drain(window, (n % 5, 0)) for n in range(50)])
        assert results == [after(n % 5, 250) for n in range(50)]
        assert bus.reads < 3 + 50 + 10

    async def test_frames_are_shared(self) -> None:
        window = window_of(FakeBus(3))
        first, second = await window.after((0, 0)), await window.after((0, 0))
        assert first.events[0].frame is second.events[0].frame

    async def test_trimmed_log_is_not_complete(self) -> None:
        bus = FakeBus(10)
        bus.trimmed = 5
        page = await window_of(bus).after((2, 0))
        assert not page.is_complete
        assert [each.position for each in page.events] == after(5, 10)

    async def test_window_that_grows_too_large_loses_its_beginning(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log_window, "_MAX_EVENTS", 150)
        window = window_of(FakeBus(1000))
        assert await drain(window, (0, 0)) == after(0, 1000)
        assert len(window._events) <= 150
        assert await drain(window, (0, 0)) == after(0, 1000)

    async def test_entry_that_is_no_event_is_passed_on_as_such(self) -> None:
        class OddBus(FakeBus):
            async def read_page(self, project: str, after: str, *, limit: int) -> LogPage:
                return LogPage([("1-0", b'{"id":"1-0","data":7}')], True)

        page = await window_of(OddBus()).after((0, 0))
        assert [(each.position, each.event) for each in page.events] == [((1, 0), None)]

    @given(
        st.lists(
            st.tuples(st.integers(0, 400), st.integers(0, 60)),
            min_size=1,
            max_size=6,
            unique_by=lambda t: t[0],
        )
    )
    def test_everybody_reads_what_the_log_has(self, readers: list[tuple[int, int]]) -> None:
        """Readers begin anywhere, one after another while the log grows, and go on step by step."""

        async def run() -> None:
            bus = FakeBus(400)
            window = window_of(bus)

            async def read(begin: int, wait: int) -> tuple[int, list[Position]]:
                for _ in range(wait):
                    await asyncio.sleep(0)
                bus.length += 7
                return begin, await drain(window, (begin, 0))

            for begin, positions in await asyncio.gather(*[read(*each) for each in readers]):
                assert positions == after(begin, begin + len(positions))
                assert begin + len(positions) >= 407

        asyncio.run(run())


class TestReachesBack:
    async def test_within_the_window_nothing_is_read(self) -> None:
        bus = FakeBus(10)
        window = window_of(bus)
        await window.after((2, 0))
        reads = bus.reads
        assert await window.reaches_back((2, 0))
        assert await window.reaches_back((10, 0))
        assert bus.reads == reads

    async def test_elsewhere_the_log_is_asked(self) -> None:
        bus = FakeBus(10)
        bus.trimmed = 5
        window = window_of(bus)
        assert await window.reaches_back((7, 0))
        assert not await window.reaches_back((3, 0))
        assert not await window.reaches_back(parse_position("99-0"))


class TestWindows:
    async def test_window_is_shared_and_goes_with_its_last_user(self) -> None:
        windows = LogWindows(cast("RedisBus", FakeBus(3)), None)
        with windows.open("demo") as first, windows.open("demo") as second, windows.open("other") as other:
            assert first is second
            assert first is not other
            kept = first
        with windows.open("demo") as later:
            assert later is not kept
