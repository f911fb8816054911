"""One subscription: what it asks for, the events that wait for its reader, and the gaps in them.

**Which position to come back to.** After the connection was lost, a subscription asks for everything after its
``position`` (wire specification 16.4). For nothing to be lost, every event of it up to there must have arrived. What
moves it:

- *To the log's position in the hub's answer, if that promises no replay* (no ``since``, or not ``recovered``). The
  hub tells the position at which it registered the subscription: whatever comes later in the log is delivered.
- *To an event that arrived for it.* One subscription's events arrive in the order of the log, first the replayed
  ones, then the live ones (wire specification 16.4); so everything before that event has arrived too.
- *To the log's position in the answer to a later message.* The hub deals with a connection's messages in order (wire
  specification 4.1), and a replay is part of dealing with one; so by then the subscription is live, and everything
  up to there has been sent before the answer. An empty ``subscribe`` asks for it.
- *Never to an event of another subscription*, though all share one connection. While one of them is replayed from the
  log and the other is live, neither knows how far the other is: the replay may be read far behind the live events,
  or ahead of one that the hub has not delivered yet. Nor to the position of an answer that promises a replay, which
  is where the replay leads to, not how far it has come.

An event that is not behind the last one is dropped: it has arrived already. That is so unless the log itself began
anew, which the hub tells by ``gap``; from there on any position is taken.
"""

import asyncio
import enum
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol

from realtime.bus.positions import Position, parse_position
from realtime.client.errors import ConnectionLostError
from realtime.client.frames import Event, SubscribedItem, position_of, subscribe_item

_logger = logging.getLogger("realtime.client")


class GapReason(enum.Enum):
    """Why events may be missing."""

    RECONNECTED = "reconnected"
    """The connection was lost, and the hub could not replay everything since."""
    EXPIRED = "expired"
    """The subscription was to begin at a stored position, and the hub could not replay everything since."""
    HUB = "hub"
    """The hub lost events on its own way to the bus (wire specification 16.6)."""
    SLOW_READER = "slow_reader"
    """More events waited for this iterator than its queue holds; the oldest were dropped."""


class Gap(NamedTuple):
    """A place in the stream where events may be missing: reload what the subscription keeps up to date."""

    reason: GapReason
    dropped: int = 0
    """How many events were dropped, for a slow reader; 0 where nobody knows."""


GapHook = Callable[[Gap], None]


class Session(Protocol):
    """What a subscription needs of its client."""

    async def open_subscription(self, subscription: "Subscription") -> None:
        """Register at the hub; return when it has confirmed. Cancelling forgets the subscription."""

    async def close_subscription(self, subscription: "Subscription") -> None:
        """Remove it at the hub. Never raises for a lost connection: the hub has forgotten it then."""


class Subscription:
    """Events of some channels, as an asynchronous iterator.

    Made by ``RealtimeClient.subscribe``. There are two ways to read it:

    - ``async with subscription as events: async for event in events: ...`` Inside the block the hub has
      confirmed the subscription, so everything published from then on arrives. Leaving it unsubscribes.
    - ``async for event in subscription: ...`` subscribes with the first step, unsubscribes after the last.

    Events wait in a queue of ``queue_size``. When a reader falls further behind, the oldest waiting events
    are dropped, so that one slow loop costs neither memory nor the events of its neighbours; the reader is
    told by a :class:`Gap` before it gets the next event.

    After a replay began (``recovered`` is True), and until the reader has caught up with the live events, nothing
    is dropped: the hub has to wait while the queue is full, and with it the other subscriptions of the client.
    Give a reader who needs long for what it missed a client of its own. One that takes nothing for
    ``Timeouts.stall_s`` is a slow reader as above.

    A gap calls ``on_gap``, between the event before and the event after it, from the reading task; an
    exception raised there leaves the ``async for``. Without a hook it is logged as a warning.
    """

    def __init__(
        self,
        session: Session,
        subscription_id: str,
        channels: Sequence[str],
        queries: Sequence[str],
        *,
        since: str,
        queue_size: int,
        on_gap: GapHook | None,
    ) -> None:
        if since:
            parse_position(since)
        self.id = subscription_id
        # As asked for; what the hub made of them is in ``channels``.
        self.requested_channels = tuple(channels)
        self.queries = tuple(queries)
        self.channels: tuple[str, ...] = ()
        # After which position its stream begins: the one that was asked for or, where that was none or could not
        # be had, the log's when the hub confirmed. What to store as long as there is no event to take the ID from.
        self.since = since
        # Whether the hub replays everything after `since` or, once the connection was lost, after the last event;
        # None if there was nothing to ask for yet.
        self.recovered: bool | None = None
        # Everything of it up to there has arrived; see the head of this module. Empty if nothing is known.
        self.position = since
        self._session = session
        self._on_gap = on_gap
        self._queue: deque[Event | Gap] = deque()
        self._queue_size = queue_size
        self._dropped = 0
        # The last event's position; None if any that comes is new.
        self._newest: Position | None = position_of(since)
        # Where the log was when a replay began; None once the reader has caught up with it.
        self._replay_end: Position | None = None
        # Whether the reader left a full queue alone for too long to hold the hub back any more.
        self._is_stalled = False
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._confirmed: asyncio.Future[None] | None = None
        self._ended = False
        self._error: Exception | None = None

    # What the client does with it.

    def item(self) -> dict[str, object]:
        """Return its element of a ``subscribe`` message, with ``since`` when there is a position to go on from."""
        return subscribe_item(self.id, self.requested_channels, self.queries, self.position)

    def begin(self) -> asyncio.Future[None]:
        """Start to wait for the hub; the future is done when it has confirmed or refused."""
        if self._confirmed is not None:
            raise RuntimeError("a subscription can be entered once; make another with client.subscribe()")
        self._confirmed = asyncio.get_running_loop().create_future()
        return self._confirmed

    def confirm(self, item: SubscribedItem, position: str) -> None:
        """Take note of the hub's answer; ``position`` is the log's when the hub registered the subscription."""
        self.channels = item.channels
        is_first = self._confirmed is not None and not self._confirmed.done()
        if not is_first or self.position:
            self.recovered = item.recovered is True
        self._replay_end = position_of(position) if self.recovered else None
        if not self.recovered:
            self.position = position
            self._newest = position_of(position)
        if self.recovered is False:
            self.push(Gap(GapReason.EXPIRED if is_first else GapReason.RECONNECTED))
        if is_first and self._confirmed is not None:
            self.since = self.position
            self._confirmed.set_result(None)

    def reach(self, position: str) -> None:
        """Move on to a position of the log up to which everything for this connection has arrived.

        Without effect before the subscription is confirmed, and if it is behind what has arrived.
        """
        is_confirmed = self._confirmed is not None and self._confirmed.done()
        reached = position_of(position)
        if is_confirmed and reached is not None and (self._newest is None or reached > self._newest):
            self._newest = reached
            self.position = position

    @property
    def is_full(self) -> bool:
        """Whether the hub is to wait until the reader has taken something."""
        catches_up = self._replay_end is not None and not self._is_stalled and not self._ended
        return catches_up and len(self._queue) >= self._queue_size

    async def make_room(self, stall_s: float) -> None:
        """Wait until the queue has room, or the reader took nothing from it for ``stall_s`` seconds."""
        while self.is_full:
            self._taken.clear()
            try:
                async with asyncio.timeout(stall_s):
                    await self._taken.wait()
            except TimeoutError:
                self._is_stalled = True

    def push(self, item: Event | Gap) -> None:
        """Queue an event or a gap for the reader. Never blocks: a full queue drops its oldest event.

        An event that has arrived before is dropped.
        """
        if isinstance(item, Event):
            if not self._advance(item.id):
                return
        elif item.reason is GapReason.HUB:
            self._newest = None
        if len(self._queue) >= self._queue_size:
            self._queue.popleft()
            self._dropped += 1
        self._queue.append(item)
        self._arrived.set()

    def end(self, error: Exception | None = None) -> None:
        """End the iteration after what waits already; with ``error``, by raising it."""
        if self._ended:
            return
        self._ended = True
        self._error = error
        if self._confirmed is not None and not self._confirmed.done():
            self._confirmed.set_exception(error or ConnectionLostError("the client was closed"))
        self._arrived.set()
        self._taken.set()

    # What its reader does with it.

    async def __aenter__(self) -> "Subscription":
        await self._session.open_subscription(self)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close_subscription(self)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self if self._confirmed is not None else self._entered()

    async def __anext__(self) -> Event:
        if self._confirmed is None:
            raise RuntimeError("enter the subscription first: async with client.subscribe(...) as events")
        while True:
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                self._report(Gap(GapReason.SLOW_READER, dropped))
            if self._queue:
                item = self._queue.popleft()
                self._is_stalled = False
                self._taken.set()
                if isinstance(item, Event):
                    return item
                self._report(item)
            elif self._ended:
                raise self._error or StopAsyncIteration
            else:
                self._end_replay()
                self._arrived.clear()
                await self._arrived.wait()

    async def _entered(self) -> AsyncIterator[Event]:
        async with self:
            async for event in self:
                yield event

    def _advance(self, event_id: str) -> bool:
        """Move on to an event that arrived; return whether it is new. Events in no log always are."""
        position = position_of(event_id)
        if position is None:
            return True
        if self._newest is not None and position <= self._newest:
            return False
        self._newest = position
        self.position = event_id
        return True

    def _end_replay(self) -> None:
        """Forget the replay if all of it has arrived; called when the reader has taken everything."""
        if self._replay_end is not None and self._newest is not None and self._newest >= self._replay_end:
            self._replay_end = None

    def _report(self, gap: Gap) -> None:
        if self._on_gap is not None:
            self._on_gap(gap)
        else:
            _logger.warning(
                "events may be missing on %s: %s", ", ".join(self.requested_channels), gap.reason.value
            )
