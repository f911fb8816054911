"""One connection to Redis that receives what is published on channels.

A thin layer over redis-py's connection, which knows how to reach a server and to log in. Its ``PubSub`` class
is left out: it builds a dictionary for each message and repeats failed commands on its own, where the
listener wants speed and wants to hear of a failure at once.
"""

import asyncio
import math
from collections.abc import Iterable
from typing import Any, NoReturn, Self

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

OPEN_TIMEOUT_S = 5.0
"""How long connecting and logging in may take."""


class Link:
    """A subscriber's connection. Its coroutines raise :class:`redis.RedisError` when the connection breaks."""

    def __init__(self, connection: AbstractConnection) -> None:
        """Take over ``connection``, which is open; :meth:`open` makes one."""
        self._connection = connection
        # Channel -> how many SUBSCRIBEs for it were sent and are not confirmed.
        self._unconfirmed: dict[bytes, int] = {}
        # Commands to be sent. One writer, so that they are sent in the order of the calls.
        self._outbox: asyncio.Queue[tuple[bytes, ...]] = asyncio.Queue()
        # When something last arrived, in event loop time: a sign of life.
        self.heard_at = asyncio.get_running_loop().time()

    @classmethod
    async def open(cls, redis: Redis) -> Self:
        """Connect to where ``redis``, made with ``protocol=2`` and ``socket_timeout=None``, points to.

        Raises:
            redis.RedisError, TimeoutError: It cannot be reached.
        """
        connection: AbstractConnection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            # The client's own limit is for reaching the server, not for its answers to the greeting.
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return cls(connection)

    def subscribe(self, channels: Iterable[bytes]) -> None:
        """Ask for what is published on ``channels``; :meth:`receive` returns the confirmations."""
        wanted = list(channels)
        for channel in wanted:
            self._unconfirmed[channel] = self._unconfirmed.get(channel, 0) + 1
        self._outbox.put_nowait((b"SUBSCRIBE", *wanted))

    def unsubscribe(self, channel: bytes) -> None:
        """Ask for nothing more of ``channel``; what is under way still arrives."""
        self._outbox.put_nowait((b"UNSUBSCRIBE", channel))

    async def write(self) -> NoReturn:
        """Send what was asked for, in that order; to be run as a task, for as long as the link is used."""
        while True:
            await self._connection.send_command(*await self._outbox.get())

    async def receive(self) -> tuple[bytes, bytes, bytes]:
        """Return the next thing that arrives: its kind, its channel, and a message's content.

        Does not give way to other tasks while whole replies are buffered, so that a burst is taken in one go.
        The kind is ``message``, or ``subscribe`` once the last subscription to a channel is in force:
        everything published from then on arrives.
        """
        while True:
            kind, channel, content = await self._next()
            if kind == b"message" or (kind == b"subscribe" and self._confirm(channel)):
                return kind, channel, content

    async def _next(self) -> Any:
        reply = await self._connection.read_response(disable_decoding=True, timeout=math.inf)
        self.heard_at = asyncio.get_running_loop().time()
        return reply

    def _confirm(self, channel: bytes) -> bool:
        """Count a confirmation; tell whether it was the last.

        A channel that was left and joined again quickly is confirmed twice, and only the second one counts:
        in between the server may not have been subscribed.
        """
        left = self._unconfirmed.pop(channel, 1) - 1
        if left:
            self._unconfirmed[channel] = left
        return not left

    async def close(self) -> None:
        """Close the connection, without waiting for a server that may not answer."""
        await self._connection.disconnect(nowait=True)
