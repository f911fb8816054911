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
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
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
    """Its position in the log; empty when nobody knows whether it was published."""
    channels: frozenset[str]
    roles: frozenset[str]
    when: Span
    is_certain: bool = True
    """False when Redis did not confirm it, or lost it after that: some clients may have it, none must."""


class Epoch(NamedTuple):
    """Roles that a client holds, until its next epoch."""

    roles: frozenset[str]
    since: Span


class Seen(NamedTuple):
    """An event as a client reported it."""

    number: int
    id: str
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
    # Whether what the client had not confirmed may come again, on its next connection.
    repeats_unconfirmed: bool = False
    seen: list[Seen] = field(default_factory=list)
    # Lengths of ``seen`` at moments when all of it was known to be confirmed; ascending.
    confirmed: list[int] = field(default_factory=list)

    def confirm(self) -> None:
        """Note that the client has confirmed all it saw so far: none of it may be repeated from now on."""
        self.confirmed.append(len(self.seen))


class Verdict(enum.Enum):
    """Whether a stream has to show an event."""

    MUST = "must"
    MAY = "may"
    MUST_NOT = "must not"


def check(published: Collection[Published], stream: Stream) -> list[Fault]:
    """Return what is wrong with a stream, in the order in which it shows; what is lost comes last."""
    events = {event.number: event for event in published}
    faults = list(_faults_of_sequence(events, stream))
    seen = {entry.number for entry in stream.seen}
    verdicts = _verdicts(published, stream)
    faults += [
        Fault(Kind.LEAKED, stream.name, number)
        for number in dict.fromkeys(entry.number for entry in stream.seen)
        if verdicts.get(number) is Verdict.MUST_NOT
    ]
    faults += [
        Fault(Kind.LOST, stream.name, number)
        for number, verdict in verdicts.items()
        if verdict is Verdict.MUST and number not in seen
    ]
    return faults


def required(published: Iterable[Published], stream: Stream) -> set[int]:
    """Return the numbers of the events that a stream must show, as far as can be said now."""
    verdicts = _verdicts(published, stream)
    return {number for number, verdict in verdicts.items() if verdict is Verdict.MUST}


def _faults_of_sequence(events: dict[int, Published], stream: Stream) -> Iterable[Fault]:
    """Find repeats, wrong order and what was never published, from one entry to the next."""
    first: dict[int, int] = {}
    connection, newest_here, newest = -1, START, START
    for index, entry in enumerate(stream.seen):
        event, position = events.get(entry.number), _position(entry)
        if event is None or position is None or event.id not in {"", entry.id}:
            yield Fault(Kind.ALTERED, stream.name, entry.number, f"seen as {entry.id!r}")
            continue
        if entry.connection != connection:
            connection, newest_here = entry.connection, START
        if entry.number in first:
            if position <= newest_here or not _may_repeat(stream, first[entry.number], index):
                yield Fault(Kind.REPEATED, stream.name, entry.number, f"on connection {connection}")
        elif position < newest:
            yield Fault(Kind.REORDERED, stream.name, entry.number, f"after {newest}")
        first.setdefault(entry.number, index)
        newest_here, newest = max(newest_here, position), max(newest, position)


def _position(entry: Seen) -> Position | None:
    try:
        return parse_position(entry.id)
    except ValueError:
        return None


def _may_repeat(stream: Stream, first: int, again: int) -> bool:
    """Tell whether what was entry ``first`` of a stream may come once more as entry ``again``."""
    before = bisect_right(stream.confirmed, again)
    confirmed = stream.confirmed[before - 1] if before else 0
    return stream.repeats_unconfirmed and first >= confirmed


def _verdicts(published: Iterable[Published], stream: Stream) -> dict[int, Verdict]:
    reached = _Reached(stream.seen)
    return {event.number: _verdict(event, stream, reached) for event in published}


def _verdict(event: Published, stream: Stream, reached: "_Reached") -> Verdict:
    if event.channels.isdisjoint(stream.channels) or event.when.ended < stream.opened.began:
        return Verdict.MUST_NOT
    delivered = event.when
    if stream.is_delayed:
        delivered = Span(delivered.began, max(delivered.ended, reached.tick(event)))
    readable = [
        ANY in event.roles or not epoch.roles.isdisjoint(event.roles)
        for epoch in _epochs_during(delivered, stream.epochs)
    ]
    if not any(readable):
        return Verdict.MUST_NOT
    is_due = event.is_certain and event.when.began > stream.opened.ended
    return Verdict.MUST if is_due and all(readable) else Verdict.MAY


def _epochs_during(moment: Span, epochs: Sequence[Epoch]) -> list[Epoch]:
    """Return the epochs that may have lasted at ``moment``, whatever the true moments of the changes were."""
    ends = [epoch.since.ended for epoch in epochs[1:]] + [math.inf]
    return [
        epoch
        for epoch, end in zip(epochs, ends, strict=True)
        if epoch.since.began <= moment.ended and moment.began <= end
    ]


class _Reached:
    """By when a stream had come to a position of the log: everything up to it had been decided by then."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        self._positions: list[Position] = []
        self._ticks: list[float] = []
        for entry in seen:
            position = _position(entry)
            if position is not None and (not self._positions or position > self._positions[-1]):
                self._positions.append(position)
                self._ticks.append(entry.tick)

    def tick(self, event: Published) -> float:
        """Return when ``event``, or the first thing behind it, was seen; infinity while nothing is."""
        if not event.id:
            return math.inf
        index = bisect_left(self._positions, parse_position(event.id))
        return self._ticks[index] if index < len(self._ticks) else math.inf
