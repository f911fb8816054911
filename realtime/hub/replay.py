"""Bringing subscriptions of one connection from a position in the log to the live stream.

A replayed subscription is not in the room's index, so nothing live reaches it. The log is read up to the position
that the room has reached, and no further; in the same breath, with no ``await`` in between, the subscription is put
into the index. So there is no gap, no repeat and no reordering between what is replayed and what comes live (wire
specification 16.4). What may be read is decided by the roles that the connection has when an event is replayed.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from realtime.bus.backoff import backoff_s
from realtime.bus.positions import Position, format_position, parse_position
from realtime.hub.connection import Connection
from realtime.hub.frames import text_frame
from realtime.hub.index import Subscriber, SubscriptionIndex
from realtime.hub.log_window import LogWindow, Missed, MissedPage
from realtime.hub.metrics import Stats
from realtime.hub.room import Room
from realtime.messages import encode_system
from realtime.permissions import ANY
from realtime.queries import Filter

log = structlog.get_logger("realtime.hub")

_LOOK_S = 1.0
"""How often to look whether somebody who waits for a lagging room is still there."""

_MIN_PAUSE_S = 0.005
_MAX_PAUSE_S = 1.0
"""How often to look whether a client has taken enough of what it was sent to be sent more."""

_PATIENCE_S = 15.0
"""How long a client may take nothing before it is given up."""

_LEAST_SLEEP_S = 0.001
"""Event loops sleep no shorter than that."""

_BEHIND_S = 3.0
"""For how long a log that ends before where the room is may be that of a server that is behind: one that was replaced,
or is about to be, which clients of Redis notice within a second or so."""

_BEHIND_PAUSE_S = 0.1

T = TypeVar("T")


class ConnectionGoneError(Exception):
    """The connection left its room, so there is nobody to replay anything to."""


class Turns:
    """Lets the replays of a hub deal with their pages one at a time, and for half of the time at most.

    So live events are never far behind, whatever is replayed.
    """

    __slots__ = ("_last_s", "_lock")

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        # How long the last page took.
        self._last_s = 0.0

    @contextlib.asynccontextmanager
    async def next(self) -> AsyncIterator[None]:
        """Wait for one's turn. It ends with the block, and nothing else runs in between if that does not wait."""
        async with self._lock:
            await asyncio.sleep(self._last_s if self._last_s > _LEAST_SLEEP_S else 0)
            started_s = time.perf_counter()
            try:
                yield
            finally:
                self._last_s = time.perf_counter() - started_s


class Replay:
    """Subscriptions that are to go on from positions in the log; made for one message, used once.

    Args:
        window: Where what was missed is read.
        room: The room of ``connection``.
        connection: Whose subscriptions they are.
        turns: Shared by all replays of a hub.
        buffer_bytes: Up to how much may wait for the client before the replay pauses.
        on_progress: Gets the position up to which the client was sent everything, again and again.
        give_up: Closes a connection whose client has stopped reading.
    """

    def __init__(
        self,
        window: LogWindow,
        room: Room,
        connection: Connection,
        *,
        stats: Stats,
        turns: Turns,
        buffer_bytes: int,
        on_progress: Callable[[str], None],
        give_up: Callable[[], None],
    ) -> None:
        self._window = window
        self._room = room
        self._connection = connection
        self._stats = stats
        self._turns = turns
        self._buffer_bytes = buffer_bytes
        self._on_progress = on_progress
        self._give_up = give_up
        # The subscriptions apart from the room's, so that only they are matched, and nothing live reaches them.
        self._subscriber = Subscriber()
        self._index = SubscriptionIndex()
        self._index.add(self._subscriber)
        # Subscription ID -> after which event it goes on.
        self._since: dict[str, Position] = {}
        # Until when a log that ends too early is not believed; None before there was any.
        self._behind_until: float | None = None

    def close(self) -> None:
        """Let go of what was matched: subscriptions and their subscriber hold each other."""
        self._index.remove(self._subscriber)

    def add(self, subscription_id: str, channels: Sequence[str], query: Filter | None, since: str) -> None:
        """Let a subscription go on from ``since``; one that the connection has already, with its channels too."""
        live = self._connection.subscriptions.get(subscription_id)
        if live is not None and subscription_id not in self._since:
            for channel, live_query in live.channels.items():
                self._index.subscribe(self._subscriber, subscription_id, [channel], live_query)
        self._index.subscribe(self._subscriber, subscription_id, channels, query)
        self._since[subscription_id] = parse_position(since)

    async def check(self) -> dict[str, bool]:
        """Find out which subscriptions can go on from where they want to; the others begin now, without a replay.

        Returns:
            Subscription ID -> whether the log reaches back so far.

        Raises:
            ConnectionGoneError: The connection left meanwhile.
        """
        reaches_back = {since: await self._reaches_back(since) for since in set(self._since.values())}
        verdicts = {each: reaches_back[since] for each, since in self._since.items()}
        for subscription_id, is_recoverable in verdicts.items():
            if not is_recoverable:
                self._register(subscription_id)
                del self._since[subscription_id]
                self._index.unsubscribe(self._subscriber, subscription_id)
        return verdicts

    async def _reaches_back(self, since: Position) -> bool:
        if since == parse_position(self._room.position):
            return True
        return await self._patiently(lambda: self._window.reaches_back(since))

    async def run(self) -> None:
        """Send what was missed, then let the subscriptions go live.

        Raises:
            ConnectionGoneError: The connection left meanwhile.
        """
        if not self._since:
            return
        for subscription_id in self._since:
            self._room.index.unsubscribe(self._connection, subscription_id)
        # Another hub may have been ahead of this one. What it sent must not be sent again live.
        await self._wait_for(format_position(max(self._since.values())))
        cursor = min(self._since.values())
        is_live = cursor >= parse_position(self._room.position)
        while not is_live:
            cursor, is_live = await self._read_on(cursor)
        for subscription_id in self._since:
            self._register(subscription_id)

    async def _read_on(self, cursor: Position) -> tuple[Position, bool]:
        """Send a page; return up to where, and whether what comes next comes live. Then nothing has waited since."""
        await self._make_room()
        before = self._room.position
        page = await self._patiently(lambda: self._window.after(cursor))
        async with self._turns.next():
            # No await from here to the end, or something could come between.
            self._check_there()
            cursor, is_live = self._deal_with(page, cursor, before)
            self._on_progress(format_position(cursor))
            if is_live or not page.is_end:
                return cursor, is_live
        await asyncio.sleep(_BEHIND_PAUSE_S if self._room.position == before else 0)
        return cursor, False

    def _deal_with(self, page: MissedPage, cursor: Position, before: str) -> tuple[Position, bool]:
        """Send what is due of a page, as far as the client takes it; ``before`` is where the room was before."""
        if not page.is_complete:
            # The log was trimmed meanwhile, faster than this client reads; or Redis lost it.
            notice = encode_system("gap", "Events may be missing. Reload what you show.")
            self._connection.wire.send(text_frame(notice))
        here = parse_position(self._room.position)
        for missed in page.events:
            if missed.position > here:
                return cursor, True
            if self._connection.wire.buffered_bytes > self._buffer_bytes:
                return cursor, False
            self._send(missed)
            cursor = missed.position
        is_end = page.is_end and self._room.position == before
        return cursor, cursor >= here or (is_end and not self._may_be_behind(page))

    def _may_be_behind(self, page: MissedPage) -> bool:
        """Tell whether a log that ends before where the room is may be that of a server that lacks the rest still.

        What the room has had would be missing between what was replayed and what comes live. A log that has lost its
        end, as in a failover, stays like that: then there is no more to be had.
        """
        now = time.monotonic()
        if self._behind_until is None:
            self._behind_until = now + _BEHIND_S
        return page.is_complete and now < self._behind_until

    def _send(self, missed: Missed) -> None:
        """Send one event, if the connection may read it and a subscription matches."""
        event, roles = missed.event, self._connection.roles
        if event is None or not (ANY in event.roles or event.roles & roles):
            return
        matched = self._index.match_one(self._subscriber, event.parts.channels, event.payload)
        due = [each for each in matched if self._since[each.id] < missed.position]
        if due:
            self._connection.wire.send(missed.frame.for_matches(due, deflates=self._connection.deflates))
            self._stats.replayed += 1

    def _register(self, subscription_id: str) -> None:
        """Let a subscription go live."""
        found = self._subscriber.subscriptions[subscription_id]
        for channel, query in found.channels.items():
            self._room.index.subscribe(self._connection, subscription_id, [channel], query)

    async def _wait_for(self, position: str) -> None:
        """Wait until this hub has dealt with everything up to ``position``."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._room.reached(position)
                    self._check_there()
                    return
            self._check_there()

    async def _make_room(self) -> None:
        """Wait until the client has taken enough of what it was sent."""
        wire, pause_s, stalled_s = self._connection.wire, _MIN_PAUSE_S, 0.0
        least_bytes = wire.buffered_bytes
        while wire.buffered_bytes > self._buffer_bytes:
            await asyncio.sleep(pause_s)
            self._check_there()
            stalled_s = stalled_s + pause_s if wire.buffered_bytes >= least_bytes else 0.0
            least_bytes = min(least_bytes, wire.buffered_bytes)
            if stalled_s > _PATIENCE_S:
                self._give_up()
                raise ConnectionGoneError
            # Whoever reads is soon looked at again, and whoever does not costs little.
            pause_s = min(2 * pause_s, _MAX_PAUSE_S) if stalled_s else _MIN_PAUSE_S

    async def _patiently(self, read: Callable[[], Awaitable[T]]) -> T:
        """Read, for as long as it takes: while Redis is away the client waits, as it would for live events."""
        failures = 0
        while True:
            try:
                result = await read()
            except RedisError as error:
                log.warning("the log could not be read", project=self._room.project.id, error=repr(error))
                await asyncio.sleep(backoff_s(failures, random.random()))  # noqa: S311 - not a secret
                failures += 1
            else:
                self._check_there()
                return result
            self._check_there()

    def _check_there(self) -> None:
        if self._connection.room is not self._room:
            raise ConnectionGoneError
