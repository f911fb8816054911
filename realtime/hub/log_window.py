"""What replays read from a project's log; read and decoded once, however many clients return at the same time.

After a restart thousands of clients miss the same events. Each replay asks for what comes after its own position; a
window keeps what was read for any of them, for as long as there is one.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from realtime.bus import RedisBus
from realtime.bus.positions import Position, format_position, parse_position
from realtime.hub.decoding import DecodedEvent, decode_event
from realtime.hub.deflate import Compressor
from realtime.hub.frames import EventFrame
from realtime.messages import event_prefix

PAGE = 100
"""How many events are read at a time: everything else on the hub waits while they are dealt with."""

_MAX_EVENTS = 10_000
_MAX_BYTES = 16 * 1024 * 1024
"""How much a window keeps; beyond, its older half goes, and replays that are still there read for themselves."""

_MAX_TOTAL_BYTES = 128 * 1024 * 1024
"""How much all windows of a hub keep together; beyond, a window that would grow begins anew."""


class Missed(NamedTuple):
    """An event of the log."""

    position: Position
    event: DecodedEvent | None
    """None for an entry that holds no event that could be delivered."""
    frame: EventFrame
    size_bytes: int


class MissedPage(NamedTuple):
    """Events of the log, one after another."""

    events: list[Missed]
    is_complete: bool
    """Whether the log still held every event after the position that was asked for."""
    is_end: bool
    """Whether the log ended here when it was read."""


class LogWindow:
    """A part of one project's log.

    Every method raises :class:`redis.RedisError` when Redis fails.
    """

    def __init__(self, bus: RedisBus, project: str, compressor: Compressor | None, total: "Total") -> None:
        self._bus = bus
        self._project = project
        self._compressor = compressor
        self._total = total
        # Holds everything after this position up to that of the last event in it; None while there is nothing.
        self._start: Position | None = None
        self._positions: list[Position] = []
        self._events: list[Missed] = []
        self._size_bytes = 0
        self._reading = asyncio.Lock()
        # How many replays use it.
        self.users = 0

    async def reaches_back(self, since: Position) -> bool:
        """Tell whether the log holds everything after ``since``."""
        if self._covers(since):
            return True
        page = await self._bus.read_page(self._project, format_position(since), limit=1)
        return page.is_complete

    async def after(self, cursor: Position) -> MissedPage:
        """Return the next events after ``cursor``, up to :data:`PAGE`; none if there are none yet."""
        async with self._reading:
            if self._start is None:
                self._start = cursor
            elif cursor < self._start:
                return await self._read_before(cursor, self._start)
            if not self._find(cursor):
                # At the end, or beyond it: read on, for everybody.
                end = self._end
                page = await self._read(end)
                if not page.is_complete:
                    # What follows does not follow: nothing here may be taken for a part of it.
                    self.clear()
                    return page if cursor == end else await self._read(cursor)
                self._keep(page.events)
                if page.is_end:
                    return page._replace(events=[each for each in page.events if each.position > cursor])
            found = self._find(cursor)
            # Who is still far beyond the end reads alone.
            return MissedPage(found, is_complete=True, is_end=False) if found else await self._read(cursor)

    def clear(self) -> None:
        """Forget everything."""
        self._start, self._positions, self._events = None, [], []
        self._grow(-self._size_bytes)

    async def _read_before(self, cursor: Position, start: Position) -> MissedPage:
        """Read from before the window on, and widen it if what was read reaches up to it."""
        page = await self._read(cursor)
        if page.is_complete and page.events and page.events[-1].position >= start:
            before = [each for each in page.events if each.position <= start]
            self._positions[:0] = [each.position for each in before]
            self._events[:0] = before
            self._grow(sum([each.size_bytes for each in before]))
            self._start = cursor
        return page

    @property
    def _end(self) -> Position:
        assert self._start is not None  # noqa: S101 - nobody asks before there is a window
        return self._positions[-1] if self._positions else self._start

    def _covers(self, position: Position) -> bool:
        return self._start is not None and self._start <= position <= self._end

    def _find(self, cursor: Position) -> list[Missed]:
        if not self._covers(cursor):
            return []
        first = bisect_right(self._positions, cursor)
        return self._events[first : first + PAGE]

    async def _read(self, cursor: Position) -> MissedPage:
        page = await self._bus.read_page(self._project, format_position(cursor), limit=PAGE)
        events = [self._decode(event_id, message) for event_id, message in page.events]
        return MissedPage(events, page.is_complete, is_end=len(events) < PAGE)

    def _decode(self, event_id: str, message: bytes) -> Missed:
        event = decode_event(message)
        prefix = event_prefix(bytes(event.live.data), event_id) if event is not None else b""
        # What the frame may come to hold: the event as a part, as a frame's head, and both once more compressed.
        size_bytes = len(message) + 3 * len(prefix)
        return Missed(parse_position(event_id), event, EventFrame(prefix, self._compressor), size_bytes)

    def _keep(self, events: Sequence[Missed]) -> None:
        size_bytes = sum([each.size_bytes for each in events])
        if events and self._total.size_bytes + size_bytes > _MAX_TOTAL_BYTES:
            self.clear()
            self._start = events[-1].position
            return
        self._positions += [each.position for each in events]
        self._events += events
        self._grow(size_bytes)
        if len(self._events) > _MAX_EVENTS or self._size_bytes > _MAX_BYTES:
            half = len(self._events) // 2 or 1
            self._start = self._positions[half - 1]
            self._grow(-sum([each.size_bytes for each in self._events[:half]]))
            del self._positions[:half], self._events[:half]

    def _grow(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        self._total.size_bytes += size_bytes


class Total:
    """How much all windows of a hub hold."""

    __slots__ = ("size_bytes",)

    def __init__(self) -> None:
        self.size_bytes = 0


class LogWindows:
    """The windows of a hub: one for each project of which something is replayed at this moment."""

    def __init__(self, bus: RedisBus, compressor: Compressor | None) -> None:
        self._bus = bus
        self._compressor = compressor
        self._windows: dict[str, LogWindow] = {}
        self._total = Total()

    @contextmanager
    def open(self, project: str) -> Iterator[LogWindow]:
        """Use the window of a project; it goes with the last who uses it."""
        window = self._windows.get(project)
        if window is None:
            window = self._windows[project] = LogWindow(self._bus, project, self._compressor, self._total)
        window.users += 1
        try:
            yield window
        finally:
            window.users -= 1
            if not window.users:
                window.clear()
                del self._windows[project]
