"""The record of one scenario: what was published, who reads what, and what each of them reported."""

import asyncio
import inspect
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

from realtime.bus.positions import Position, parse_position
from realtime.publisher import Published as Confirmation
from tests.streams.checker import Epoch, Fault, Published, Seen, Span, Stream, check, required

DEADLINE_S = 30.0
"""How long anything may take that a scenario waits for: far longer than it does."""

END: Position = (2**64, 0)
"""Behind every event: where one is whose publisher has not heard yet where it is."""

_SHOWN = 12


class Journal:
    """Everything that the checker needs, written by those who publish and those who read, in one event loop."""

    def __init__(self) -> None:
        self.published: dict[int, Published] = {}
        self.streams: list[Stream] = []
        # What clients were told that should never be: an error, somebody else's event.
        self.complaints: list[str] = []
        # Streams whose clients were told that events may be missing, each time.
        self.gaps: list[str] = []
        self._ticks = itertools.count(1)
        self._numbers = itertools.count()

    def tick(self) -> int:
        """Return a moment: later than every moment before."""
        return next(self._ticks)

    def next_number(self) -> int:
        """Return the number of an event that is about to be published."""
        return next(self._numbers)

    def confirmed(self, number: int, confirmation: Confirmation, began: int) -> None:
        """Note that Redis confirmed an event; it was sent at tick ``began``."""
        self.published[number] = Published(
            number,
            confirmation.id,
            frozenset(confirmation.channels),
            frozenset(confirmation.roles),
            Span(began, self.tick()),
        )

    def saw(self, stream: Stream, number: int, event_id: str, connection: int) -> None:
        """Note that a client reported an event on one of its subscriptions."""
        stream.seen.append(Seen(number, event_id, connection, self.tick()))

    def told_of_gap(self, streams: Iterable[Stream]) -> None:
        """Note that a client was told that events may be missing."""
        for stream in streams:
            stream.reloaded = self.tick()
            self.gaps.append(stream.name)

    def become(self, streams: Iterable[Stream], roles: frozenset[str], began: int) -> None:
        """Note that a client holds other roles now; the change was begun at tick ``began``."""
        since = Span(began, self.tick())
        for stream in streams:
            stream.epochs.append(Epoch(roles, since))

    def confirm(self, position: Position, connections: Iterable[tuple[Stream, int]]) -> None:
        """Note that clients have everything up to ``position``, as the hubs know while these connections are open."""
        for stream, connection in connections:
            beyond = (n for n, entry in enumerate(stream.seen) if self._position(entry.number) > position)
            stream.confirm(next(beyond, len(stream.seen)), connection)

    def _position(self, number: int) -> Position:
        event = self.published.get(number)
        return parse_position(event.id) if event else END

    def compare_log(self, ids: Iterable[str]) -> list[int]:
        """Take note of what the log holds at the end.

        Returns:
            Numbers of events that Redis confirmed and lost: no client must have them.
        """
        kept = set(ids)
        lost = [number for number, event in self.published.items() if event.id not in kept]
        for number in lost:
            self.published[number] = self.published[number]._replace(is_certain=False)
        return lost

    async def until_seen(self, deadline_s: float) -> None:
        """Wait until every stream shows what it must of all that was published; return at the deadline anyway."""
        missing = {
            stream.name: (stream, required(self.published.values(), stream)) for stream in self.streams
        }
        deadline = asyncio.get_running_loop().time() + deadline_s
        while missing and asyncio.get_running_loop().time() < deadline:
            for name, (stream, numbers) in list(missing.items()):
                numbers.difference_update(entry.number for entry in stream.seen)
                if not numbers:
                    del missing[name]
            await asyncio.sleep(0.02)

    def faults(self) -> list[Fault]:
        """Return what is wrong with all streams."""
        return [fault for stream in self.streams for fault in check(self.published.values(), stream)]

    def repeats(self) -> int:
        """Return how often an event was seen again, allowed or not."""
        return sum(len(stream.seen) - len({entry.number for entry in stream.seen}) for stream in self.streams)

    def assert_clean(self, *, gaps: bool = False) -> None:
        """Check that nothing is wrong, and that it could have been: that events were seen at all.

        Args:
            gaps: Whether clients may have been told of gaps.
        """
        faults = self.faults()
        kinds = Counter(fault.kind.value for fault in faults)
        shown = "\n".join(self._describe(fault) for fault in faults[:_SHOWN])
        assert not faults, f"{dict(kinds)} of {self._size()}\n{shown}"
        assert not self.complaints, self.complaints[:_SHOWN]
        assert gaps or not self.gaps, f"told of gaps: {self.gaps[:_SHOWN]}"
        silent = [stream.name for stream in self.streams if not stream.seen]
        assert not silent, f"nothing seen: {silent[:_SHOWN]}"

    def _size(self) -> str:
        return f"{len(self.published)} events and {len(self.streams)} streams"

    def _describe(self, fault: Fault) -> str:
        event = self.published.get(fault.number)
        stream = next(stream for stream in self.streams if stream.name == fault.stream)
        near = [
            f"{entry.connection}:{entry.number}"
            for entry in stream.seen
            if abs(entry.number - fault.number) <= 3
        ]
        where = f"{event.id} to {sorted(event.roles)}" if event else "never published"
        return (
            f"{fault.kind.value} {fault.number} {fault.stream} {fault.detail}: {where}; seen {' '.join(near)}"
        )


async def until(
    condition: Callable[[], bool | Awaitable[bool]], what: str, deadline_s: float = DEADLINE_S
) -> None:
    """Wait until a condition holds that no event tells of, nor, if it has to be asked for, anything else.

    Raises:
        TimeoutError: It did not hold in time; the text is ``what``.
    """
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                holds = condition()
                if await holds if inspect.isawaitable(holds) else holds:
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise TimeoutError(f"{what}: not within {deadline_s:g} s") from None
