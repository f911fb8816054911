"""Compares what was published with what one subscription saw, and names every difference. Pure.

Time is a count of *ticks*, taken in the one process that publishes, changes roles and reads what clients report.
Whatever is done over a network happens at one unknown moment of a :class:`Span`, from the tick before it was asked
for to the tick after it was confirmed. So what a subscription had to see is decided in three values: an event close
to a change of roles may or may not be among it, and neither is a fault.

What is found: events lost, repeated, out of order, or leaked to a client that may not read them; and events that
nobody published. Repeats are faults unless the stream allows those of unconfirmed events, and then still where a
client had confirmed what it saw, and in the middle of a connection.
"""

import enum
import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from realtime.bus.positions import START, Position, parse_position

ANY = "any"
"""The role that everybody holds, guests too."""


class Span(NamedTuple):
    """When something happened: at one moment from tick ``began`` to tick ``ended``."""

    began: float
    ended: float


ALWAYS = Span(-math.inf, -math.inf)
"""Before everything else."""


class Published(NamedTuple):
    """An event, with what decides who must see it."""

    number: int
    """Counts the events of a run; in the payload, so that every client can report it."""
    id: str
    """Its position in the log."""
    channels: frozenset[str]
    roles: frozenset[str]
    when: Span
    is_certain: bool = True
    """False when Redis lost it after it had confirmed it: some clients may have it, none must."""


class Epoch(NamedTuple):
    """Roles that a client holds, until its next epoch."""

    roles: frozenset[str]
    since: Span


class Seen(NamedTuple):
    """An event as a client reported it."""

    number: int
    id: str
    """Empty when the client is not told."""
    connection: int
    """Counts the client's connections."""
    tick: float


class Kind(enum.Enum):
    """What can be wrong."""

    LOST = "lost"
    REPEATED = "repeated"
    REORDERED = "reordered"
    LEAKED = "leaked"
    ALTERED = "altered"
    """Seen, but never published, or not under this ID."""


class Fault(NamedTuple):
    """One difference between what was published and what a subscription saw."""

    kind: Kind
    stream: str
    number: int
    detail: str = ""


@dataclass(slots=True)
class Stream:
    """One subscription of one client, and what it saw."""

    name: str
    channels: frozenset[str]
    # What its client may read, oldest first; the first epoch begins before everything.
    epochs: list[Epoch]
    # From the moment it was asked for until the hub had confirmed it; events in between are undecided.
    opened: Span = ALWAYS
    # Whether an event may come late, by a replay or because its hub was cut off from Redis. It is then filtered by
    # the roles that the client has when it comes.
    is_delayed: bool = False
    # When the client was last told that events may be missing; it reloads, so what came before need not be shown.
    reloaded: float = -math.inf
    # Whether what the client had not confirmed may come again, on its next connection.
    repeats_unconfirmed: bool = False
    seen: list[Seen] = field(default_factory=list)
    # A connection, and the length of ``seen`` up to which no later connection repeats it; ascending.
    confirmed: list[tuple[int, int]] = field(default_factory=list)

    def confirm(self, length: int, connection: int) -> None:
        """Note that the hubs know, while ``connection`` is open, that the client has the first ``length`` entries."""
        if not self.confirmed or length > self.confirmed[-1][1]:
            self.confirmed.append((connection, length))


class Verdict(enum.Enum):
    """Whether a stream has to show an event."""

    MUST = "must"
    MAY = "may"
    MUST_NOT = "must not"


def check(published: Collection[Published], stream: Stream) -> list[Fault]:
    """Return what is wrong with a stream, in the order in which it shows; what is lost comes last."""
    events = {event.number: event for event in published}
    progress = _Progress(events, stream.seen)
    seen = {entry.number for entry in stream.seen}
    return [
        *_faults_of_sequence(events, stream, progress),
        *_leaks(events, stream),
        *(
            Fault(Kind.LOST, stream.name, event.number)
            for event in events.values()
            if event.number not in seen and progress.verdict(event, stream) is Verdict.MUST
        ),
    ]


def required(published: Iterable[Published], stream: Stream) -> set[int]:
    """Return the numbers of the events that a stream must show, as far as can be said now."""
    events = {event.number: event for event in published}
    progress = _Progress(events, stream.seen)
    return {event.number for event in events.values() if progress.verdict(event, stream) is Verdict.MUST}


def _faults_of_sequence(
    events: Mapping[int, Published], stream: Stream, progress: "_Progress"
) -> Iterable[Fault]:
    """Find repeats, wrong order and what was never published, from one entry to the next."""
    first: dict[int, int] = {}
    connection, newest_here, newest = -1, START, START
    for index, entry in enumerate(stream.seen):
        event = events.get(entry.number)
        if event is None or entry.id not in {"", event.id}:
            yield Fault(Kind.ALTERED, stream.name, entry.number, f"seen as {entry.id!r}")
            continue
        if entry.connection != connection:
            connection, newest_here = entry.connection, START
        position = parse_position(event.id)
        is_again = position > newest_here and _may_repeat(stream, progress.index(event), connection)
        if entry.number in first:
            if not is_again:
                yield Fault(Kind.REPEATED, stream.name, entry.number, f"on connection {connection}")
        elif position < newest and not (
            # What is sent again may include what the client could not read the first time.
            is_again and progress.verdict(event, stream) is not Verdict.MUST
        ):
            yield Fault(Kind.REORDERED, stream.name, entry.number, f"after {newest}")
        first.setdefault(entry.number, index)
        newest_here, newest = max(newest_here, position), max(newest, position)


def _may_repeat(stream: Stream, first: int, connection: int) -> bool:
    """Tell whether what was decided by entry ``first`` of a stream may be decided anew on ``connection``."""
    confirmed = max((length for earlier, length in stream.confirmed if earlier < connection), default=0)
    return stream.repeats_unconfirmed and first >= confirmed


def _leaks(events: Mapping[int, Published], stream: Stream) -> Iterable[Fault]:
    """Find what its client may not read, once each."""
    first = {entry.number: entry for entry in reversed(stream.seen)}
    for number, entry in reversed(first.items()):
        event = events.get(number)
        if event is not None and _verdict(event, stream, entry.tick) is Verdict.MUST_NOT:
            yield Fault(Kind.LEAKED, stream.name, number)


def _verdict(event: Published, stream: Stream, tick: float) -> Verdict:
    """Decide on an event that a stream showed or passed over at ``tick``."""
    if event.channels.isdisjoint(stream.channels) or event.when.ended < stream.opened.began:
        return Verdict.MUST_NOT
    decided = event.when
    if stream.is_delayed:
        decided = Span(decided.began, max(decided.ended, tick))
    readable = [
        ANY in event.roles or not epoch.roles.isdisjoint(event.roles)
        for epoch in _epochs_during(decided, stream.epochs)
    ]
    if not any(readable):
        return Verdict.MUST_NOT
    is_due = event.is_certain and event.when.began > max(stream.opened.ended, stream.reloaded)
    return Verdict.MUST if is_due and all(readable) else Verdict.MAY


def _epochs_during(moment: Span, epochs: Sequence[Epoch]) -> list[Epoch]:
    """Return the epochs that may have lasted at ``moment``, whatever the true moments of the changes were."""
    ends = [epoch.since.ended for epoch in epochs[1:]] + [math.inf]
    return [
        epoch
        for epoch, end in zip(epochs, ends, strict=True)
        if epoch.since.began <= moment.ended and moment.began <= end
    ]


class _Progress:
    """How a stream went on through the log: when and where it showed an event first, or passed it over."""

    def __init__(self, events: Mapping[int, Published], seen: Sequence[Seen]) -> None:
        self._seen = seen
        # Of the entries that were further than all before them: positions, and indexes into what was seen.
        self._positions: list[Position] = []
        self._indexes: list[int] = []
        for index, entry in enumerate(seen):
            position = parse_position(events[entry.number].id) if entry.number in events else START
            if not self._positions or position > self._positions[-1]:
                self._positions.append(position)
                self._indexes.append(index)

    def index(self, event: Published) -> int:
        """Return the index of the first entry that is ``event`` or behind it; the number of entries if none is."""
        index = bisect_left(self._positions, parse_position(event.id))
        return self._indexes[index] if index < len(self._indexes) else len(self._seen)

    def verdict(self, event: Published, stream: Stream) -> Verdict:
        """Decide on an event at the moment when the stream first got to it; or on all of the future if it has not."""
        index = self.index(event)
        return _verdict(event, stream, self._seen[index].tick if index < len(self._seen) else math.inf)
