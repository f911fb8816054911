"""Event frames on their way out: gathered a burst at a time, then one write to each connection.

Events that came in together mostly have the same receivers, and so do bursts that follow each other. For these a
:class:`Plan` is kept: what is to be written to whom. A connection gets its events in the order in which they were
gathered. Nothing here waits: what is gathered is sent by :meth:`Delivery.flush`, before anything else runs.

Writing to the socket directly, past the transport, was tried: 4 % less CPU time a delivery, since the kernel's part
stays. It is not worth that a mistake about an open socket would send one client's events to another.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from realtime.hub.connection import Connection
from realtime.hub.decoding import DecodedEvent
from realtime.hub.deflate import Compressor
from realtime.hub.frames import EventFrame, own_part, stored_block
from realtime.hub.index import Match, Subscription
from realtime.hub.metrics import Stats
from realtime.hub.room import Room
from realtime.messages import event_prefix

_MAX_BURST_BYTES = 64 * 1024
"""How much a burst may hold for one connection."""

MAX_HANDED_BYTES = 64 * 1024 * 1024
"""How much may be handed to all transports before the event loop runs on, and clients are read from again."""

Receivers = Mapping[Connection, list[Subscription]]
"""Who is to receive an event, each with the subscriptions that match it, at least one."""


class Delivery:
    """Sends the events of all rooms to their receivers.

    Args:
        stats: Where deliveries are counted.
        compressor: What compresses events for connections that take that; None to send all of them plain.
    """

    def __init__(self, stats: Stats, compressor: Compressor | None) -> None:
        self._stats = stats
        self._compressor = compressor
        # What is gathered and not sent yet.
        self._bursts: dict[Room, _Burst] = {}
        # What the last burst of each room was sent by, while it is of use.
        self._plans: dict[Room, Plan] = {}
        # How much was handed to transports since the event loop last ran on.
        self.handed_bytes = 0

    def gather(self, room: Room, event: DecodedEvent, match: Match) -> None:
        """Let the receivers of ``match``, at least one, get an event with the next flush."""
        burst = self._bursts.get(room)
        if burst is None:
            burst = self._bursts[room] = _Burst()
        prefix = event_prefix(bytes(event.live.data), event.live.id)
        burst.frames.append(EventFrame(prefix, self._compressor))
        burst.matches.append(match)
        burst.size_bytes += len(prefix)
        burst.position = event.live.id or burst.position
        self.handed_bytes += len(prefix) * len(match.receivers)
        if burst.size_bytes >= _MAX_BURST_BYTES:
            self.flush_room(room)

    def pass_over(self, room: Room, event: DecodedEvent) -> None:
        """Note that nobody gets an event; those before it may still be gathered."""
        burst = self._bursts.get(room)
        if burst is not None:
            burst.position = event.live.id or burst.position
        elif event.live.id:
            room.advance(event.live.id)

    def flush(self) -> None:
        """Send everything that is gathered; the event loop runs on afterwards."""
        for room in list(self._bursts):
            self.flush_room(room)
        self.handed_bytes = 0

    def flush_room(self, room: Room) -> None:
        """Send what is gathered for a room: before anything else is sent to somebody in it, or they change."""
        burst = self._bursts.pop(room, None)
        if burst is None:
            return
        if burst.has_one_match:
            self._send_run(room, burst.matches[0], burst.frames)
        else:
            self._send_mixed(room, burst)
        if burst.position:
            room.advance(burst.position)

    def forget_unused(self) -> None:
        """Forget the plans that no burst was sent by since this was called before. Call it now and then."""
        for room, plan in list(self._plans.items()):
            room.index.forget_unused()
            if plan.was_used:
                plan.was_used = False
            else:
                del self._plans[room]

    def _send_run(self, room: Room, match: Match, frames: Sequence[EventFrame]) -> None:
        """Send events that all have the same receivers."""
        receivers = _receivers(match)
        room.sent(receivers)
        plan = self._plans.get(room)
        is_known = plan is not None and plan.match is match
        if plan is None or not is_known:
            plan = self._plans[room] = Plan(match)
        plan.was_used = True
        if is_known or len(frames) > 1:
            plan.send(frames)
        else:
            # Making a plan costs more than doing without it once.
            for connection, subscriptions in receivers.items():
                connection.wire.send(frames[0].for_matches(subscriptions, deflates=connection.deflates))
        self._stats.deliveries += len(receivers) * len(frames)

    def _send_mixed(self, room: Room, burst: "_Burst") -> None:
        """Send events that have different receivers."""
        parts: dict[Connection, list[bytes]] = {}
        for frame, match in zip(burst.frames, burst.matches, strict=True):
            for connection, subscriptions in _receivers(match).items():
                part = frame.for_matches(subscriptions, deflates=connection.deflates)
                parts.setdefault(connection, []).append(part)
        room.sent(parts)
        for connection, its_parts in parts.items():
            connection.wire.send(b"".join(its_parts))
            self._stats.deliveries += len(its_parts)


class Plan:
    """How to send events to the receivers of one match: whom to write to, and what of their own.

    Good for as long as the index finds that same match: nobody leaves, changes or closes without the index having
    changed first.
    """

    __slots__ = ("_groups", "match", "was_used")

    def __init__(self, match: Match) -> None:
        self.match = match
        # Whether it has been used since somebody last looked.
        self.was_used = False
        # Made when it is used: most matches come once.
        self._groups: list[_Group] | None = None

    def send(self, frames: Sequence[EventFrame]) -> None:
        """Send each receiver all of ``frames``, at least one, in one write."""
        if self._groups is None:
            self._groups = self._grouped()
        for group in self._groups:
            group.send(frames)

    def _grouped(self) -> list["_Group"]:
        groups: dict[tuple[int, bool], _Group] = {}
        for connection, subscriptions in _receivers(self.match).items():
            own = own_part(subscriptions)
            key = len(own), connection.deflates
            group = groups.get(key)
            if group is None:
                group = groups[key] = _Group(len(own))
            group.writes.append(connection.wire.write)
            group.own_parts.append(own)
            if connection.deflates:
                group.stored_blocks.append(stored_block(own))
        return list(groups.values())


class _Group:
    """Receivers that get the same bytes but for their own part, which is of one length. Parallel lists."""

    __slots__ = ("_own_bytes", "own_parts", "stored_blocks", "writes")

    def __init__(self, own_bytes: int) -> None:
        self._own_bytes = own_bytes
        self.writes: list[Callable[[bytes], None]] = []
        self.own_parts: list[bytes] = []
        # Empty if they take no compressed messages.
        self.stored_blocks: list[bytes] = []

    def send(self, frames: Sequence[EventFrame]) -> None:
        """Send each of them all of ``frames`` in one write."""
        deflated: list[bytes] = []
        if self.stored_blocks:
            stored_bytes = len(self.stored_blocks[0])
            heads = [frame.deflated_head(stored_bytes) for frame in frames]
            deflated = [head for head in heads if head is not None]
            if len(deflated) == len(frames):
                _write(self.writes, self.stored_blocks, deflated)
                return
        plain = [frame.head(self._own_bytes) for frame in frames]
        if not deflated:
            _write(self.writes, self.own_parts, plain)
            return
        for write, own, stored in zip(self.writes, self.own_parts, self.stored_blocks, strict=True):
            pairs = zip(heads, plain, strict=True)
            write(
                b"".join([head + own if deflated is None else deflated + stored for deflated, head in pairs])
            )


class _Burst:
    """The events of one room that wait for the next flush. Parallel lists."""

    __slots__ = ("frames", "matches", "position", "size_bytes")

    def __init__(self) -> None:
        self.frames: list[EventFrame] = []
        self.matches: list[Match] = []
        # The ID of the last event, also of those that nobody gets; empty if none has one.
        self.position = ""
        # What they hold for a connection that receives all of them.
        self.size_bytes = 0

    @property
    def has_one_match(self) -> bool:
        """Whether all have the same receivers."""
        first = self.matches[0]
        return all(match is first for match in self.matches)


def _write(
    writes: Sequence[Callable[[bytes], None]], own_parts: Sequence[bytes], heads: Sequence[bytes]
) -> None:
    """Write to each receiver its own part after each of ``heads``: the hottest loops of a hub.

    Nine tenths of the time of the first one is the kernel's (benchmarks/fanout.py).
    """
    if len(heads) == 1:
        head = heads[0]
        for write, own in zip(writes, own_parts, strict=True):
            write(head + own)
        return
    # What is put between the heads, and before the empty end, follows each of them.
    heads = [*heads, b""]
    for write, own in zip(writes, own_parts, strict=True):
        write(own.join(heads))


def _receivers(match: Match) -> Receivers:
    # Only connections are ever added to a room's index.
    return cast("Receivers", match.receivers)
