"""One subscription: what it asks for, the events that wait for its reader, and the gaps in them."""

import asyncio
import enum
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol

from realtime.client.errors import ConnectionLostError
from realtime.client.frames import Event, SubscribedItem, subscribe_item

_logger = logging.getLogger("realtime.client")


class GapReason(enum.Enum):
    """Why events may be missing."""

    RECONNECTED = "reconnected"
    """The connection was lost, and the hub could not replay everything since."""
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
        queue_size: int,
        on_gap: GapHook | None,
    ) -> None:
        self.id = subscription_id
        # As asked for; what the hub made of them is in ``channels``.
        self.requested_channels = tuple(channels)
        self.queries = tuple(queries)
        self.channels: tuple[str, ...] = ()
        # ID of the last event that arrived, or the log's position when the subscription began. Replays after
        # a reconnect start behind it.
        self.position = ""
        self._session = session
        self._on_gap = on_gap
        self._queue: deque[Event | Gap] = deque()
        self._queue_size = queue_size
        self._dropped = 0
        self._arrived = asyncio.Event()
        self._confirmed: asyncio.Future[None] | None = None
        self._is_confirmed = False
        self._ended = False
        self._error: Exception | None = None

    # What the client does with it.

    def item(self) -> dict[str, object]:
        """Return its element of a ``subscribe`` message, with ``since`` when it was confirmed before."""
        since = self.position if self._is_confirmed else ""
        return subscribe_item(self.id, self.requested_channels, self.queries, since)

    def begin(self) -> asyncio.Future[None]:
        """Start to wait for the hub; the future is done when it has confirmed or refused."""
        if self._confirmed is not None:
            raise RuntimeError("a subscription can be entered once; make another with client.subscribe()")
        self._confirmed = asyncio.get_running_loop().create_future()
        return self._confirmed

    def confirm(self, item: SubscribedItem, position: str) -> None:
        """Take note of the hub's answer; ``position`` is the log's by then, as far as the client knows."""
        self.channels = item.channels
        if self._confirmed is not None and not self._confirmed.done():
            self._is_confirmed = True
            self._confirmed.set_result(None)
            self.position = position
        elif not item.recovered:
            self.position = position
            self.push(Gap(GapReason.RECONNECTED))

    def push(self, item: Event | Gap) -> None:
        """Queue an event or a gap for the reader. Never blocks; a full queue drops its oldest event."""
        if isinstance(item, Event) and item.id:
            self.position = item.id
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
                if isinstance(item, Event):
                    return item
                self._report(item)
            elif self._ended:
                raise self._error or StopAsyncIteration
            else:
                self._arrived.clear()
                await self._arrived.wait()

    async def _entered(self) -> AsyncIterator[Event]:
        async with self:
            async for event in self:
                yield event

    def _report(self, gap: Gap) -> None:
        if self._on_gap is not None:
            self._on_gap(gap)
        else:
            _logger.warning(
                "events may be missing on %s: %s", ", ".join(self.requested_channels), gap.reason.value
            )
