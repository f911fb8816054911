"""Bringing subscriptions of one connection from a position in the log to the live stream.

A replayed subscription is not in the room's index, so nothing live reaches it. The log is read up to the position
that the room has reached, and no further; in the same breath, with no ``await`` in between, the subscription is put
into the index. So there is no gap, no repeat and no reordering between what is replayed and what comes live (wire
specification 16.4). What may be read is decided by the roles that the connection has when an event is replayed.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from realtime.bus.backoff import backoff_s
from realtime.bus.positions import Position, format_position, parse_position
from realtime.hub.connection import Connection
from realtime.hub.frames import text_frame
from realtime.hub.index import Subscriber, Subscription, SubscriptionIndex
from realtime.hub.log_window import LogWindow, Missed, MissedPage
from realtime.hub.metrics import Stats
from realtime.hub.room import Room
from realtime.messages import encode_system
from realtime.permissions import ANY
from realtime.queries import Filter

log = structlog.get_logger("realtime.hub")

_LOOK_S = 1.0
"""How often to look whether somebody who waits for a lagging room is still there."""

_POLL_S = 0.02
"""How often to look whether a client has taken enough of what it was sent to be sent more."""

T = TypeVar("T")


class ConnectionGoneError(Exception):
    """The connection left its room, so there is nobody to replay anything to."""


class Replay:
    """Subscriptions that are to go on from positions in the log; made for one message, used once.

    Args:
        window: Where what was missed is read.
        room: The room of ``connection``.
        connection: Whose subscriptions they are.
        turns: Lets one replay of a hub deal with a page at a time, so that live events are never far behind.
        buffer_bytes: Up to how much may wait for the client before the replay pauses.
    """

    def __init__(
        self,
        window: LogWindow,
        room: Room,
        connection: Connection,
        *,
        stats: Stats,
        turns: asyncio.Semaphore,
        buffer_bytes: int,
    ) -> None:
        self._window = window
        self._room = room
        self._connection = connection
        self._stats = stats
        self._turns = turns
        self._buffer_bytes = buffer_bytes
        # The subscriptions apart from the room's, so that only they are matched, and nothing live reaches them.
        self._subscriber = Subscriber()
        self._index = SubscriptionIndex()
        self._index.add(self._subscriber)
        # Subscription ID -> after which event it goes on.
        self._since: dict[str, Position] = {}

    def __bool__(self) -> bool:
        return bool(self._since)

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
        return await self._patiently(lambda: self._window.reaches_back(since))

    async def run(self) -> list[Subscription]:
        """Send what was missed, then let the subscriptions go live; return them.

        Raises:
            ConnectionGoneError: The connection left meanwhile.
        """
        if not self._since:
            return []
        for subscription_id in self._since:
            self._room.index.unsubscribe(self._connection, subscription_id)
        # Another hub may have been ahead of this one. What it sent must not be sent again live.
        await self._wait_for(format_position(max(self._since.values())))
        cursor, is_live = min(self._since.values()), False
        while not is_live:
            cursor, is_live = await self._read_on(cursor)
        return [self._register(subscription_id) for subscription_id in self._since]

    async def _read_on(self, cursor: Position) -> tuple[Position, bool]:
        """Send a page; return up to where, and whether what comes next comes live. Then nothing has waited since."""
        await self._make_room()
        before = self._room.position
        page = await self._patiently(lambda: self._window.after(cursor))
        async with self._turns:
            # Before the page, whatever else there is to do; and after it no await, or something could come between.
            await asyncio.sleep(0)
            self._check_there()
            return self._deal_with(page, cursor, before)

    def _deal_with(self, page: MissedPage, cursor: Position, before: str) -> tuple[Position, bool]:
        """Send what is due of a page; ``before`` is where the room was before it was read."""
        if not page.is_complete:
            # The log was trimmed meanwhile, faster than this client reads; or Redis lost it.
            notice = encode_system("gap", "Events may be missing. Reload what you show.")
            self._connection.wire.send(text_frame(notice))
        here = parse_position(self._room.position)
        for missed in page.events:
            if missed.position > here:
                return cursor, True
            self._send(missed)
            cursor = missed.position
        is_end = page.is_end and self._room.position == before
        return cursor, is_end or cursor >= here

    def _send(self, missed: Missed) -> None:
        """Send one event, if the connection may read it and a subscription matches."""
        event, roles = missed.event, self._connection.roles
        if event is None or not (ANY in event.roles or event.roles & roles):
            return
        matched = self._index.match_one(self._subscriber, event.parts.channels, event.payload)
        due = [each for each in matched if self._since[each.id] < missed.position]
        if due:
            self._connection.wire.send(missed.frame.for_matches(due, deflates=self._connection.deflates))
            self._stats.count("realtime_deliveries_replayed")

    def _register(self, subscription_id: str) -> Subscription:
        """Let a subscription go live."""
        found = self._subscriber.subscriptions[subscription_id]
        index, connection = self._room.index, self._connection
        for channel, query in found.channels.items():
            live = index.subscribe(connection, subscription_id, [channel], query)
        return live

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
        while self._connection.wire.buffered_bytes > self._buffer_bytes:
            await asyncio.sleep(_POLL_S)
            self._check_there()

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
