"""One connection to Redis that receives what is published on channels, in bursts.

redis-py reaches the server and logs in; then the link takes the transport over. So all whole replies of one read of
the socket are passed on in one go, synchronously: a coroutine for each reply would cost more than the reply itself,
and nobody could tell what came in together. What cannot be processed in time stays in the kernel's buffers, and
then in the server's: there is no queue here.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, NoReturn, Protocol, Self

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError

OPEN_TIMEOUT_S = 5.0
"""How long connecting and logging in may take."""


class Receiver(Protocol):
    """Who is told what arrives on a link: synchronously, in the order of arrival, and never after its end."""

    def subscribed(self, channel: bytes) -> None:
        """Note that the last subscription to a channel is in force: all that is published from now on arrives."""

    def message(self, channel: bytes, content: bytes) -> None:
        """Take what was published on a channel."""

    def lost(self, channel: bytes) -> None:
        """Note that the server ended a subscription by itself: the channel's slot is no longer its own."""

    def moved(self, slot: int) -> None:
        """Note that a subscription was refused, because the server does not own its slot."""

    def settled(self) -> None:
        """Note that all messages that came in together have been passed on."""


class Link(asyncio.Protocol):
    """A subscriber's connection; made by :meth:`open`.

    ``receiver`` hears of everything until the link breaks, for which :meth:`wait_broken` waits, or is closed. Its
    methods must neither block nor raise.
    """

    def __init__(self, connection: AbstractConnection, receiver: Receiver, *, is_sharded: bool) -> None:
        self._connection = connection
        self._receiver = receiver
        self._subscribe, self._unsubscribe = (
            (b"SSUBSCRIBE", b"SUNSUBSCRIBE") if is_sharded else (b"SUBSCRIBE", b"UNSUBSCRIBE")
        )
        # redis-py has no other way to its transport.
        writer = connection._writer  # noqa: SLF001
        assert writer is not None  # noqa: S101 - for mypy: the connection is open
        self._transport: asyncio.WriteTransport = writer.transport
        self._replies = hiredis.Reader()
        # Channel -> how many subscriptions to it were asked for and are not confirmed; the same for their ends.
        self._joining: dict[bytes, int] = {}
        self._leaving: dict[bytes, int] = {}
        loop = asyncio.get_running_loop()
        self._time = loop.time
        # Why the link broke.
        self._broken: asyncio.Future[Exception] = loop.create_future()
        # When something last arrived, in event loop time: a sign of life.
        self.heard_at = loop.time()
        self._transport.set_protocol(self)

    @classmethod
    async def open(cls, redis: Redis, receiver: Receiver, *, is_sharded: bool = False) -> Self:
        """Connect to where ``redis``, made with ``protocol=2``, points to.

        Args:
            redis: A client; it lends its knowledge of the way, and none of its connections.
            receiver: Who is told what arrives.
            is_sharded: Whether channels are those of a Redis Cluster's shard.

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
        return cls(connection, receiver, is_sharded=is_sharded)

    # What others ask for. Sent at once; the transport keeps what the server does not take yet.

    def subscribe(self, channels: Iterable[bytes]) -> None:
        """Ask for what is published on ``channels``, on sharded ones all of the same slot."""
        wanted = list(channels)
        for channel in wanted:
            self._joining[channel] = self._joining.get(channel, 0) + 1
        self._send(self._subscribe, *wanted)

    def subscribe_everywhere(self, channel: bytes) -> None:
        """Ask for a channel that is no shard's, whatever the others are."""
        self._joining[channel] = self._joining.get(channel, 0) + 1
        self._send(b"SUBSCRIBE", channel)

    def unsubscribe(self, channel: bytes) -> None:
        """Ask for nothing more of ``channel``; what is under way still arrives."""
        self._leaving[channel] = self._leaving.get(channel, 0) + 1
        self._send(self._unsubscribe, channel)

    def unsubscribe_everywhere(self, channel: bytes) -> None:
        """Ask for nothing more of a channel that is no shard's."""
        self._leaving[channel] = self._leaving.get(channel, 0) + 1
        self._send(b"UNSUBSCRIBE", channel)

    def give_up(self, error: Exception) -> None:
        """Break the link, for a reason that :meth:`wait_broken` raises."""
        if not self._broken.done():
            self._broken.set_result(error)
        self._transport.abort()

    async def wait_broken(self) -> NoReturn:
        """Wait for the link to break.

        Raises:
            redis.RedisError: It broke; always.
        """
        raise await asyncio.shield(self._broken)

    async def close(self) -> None:
        """Close the connection, without waiting for a server that may not answer."""
        self.give_up(RedisConnectionError("The link is closed."))
        await self._connection.disconnect(nowait=True)

    def _send(self, *command: bytes) -> None:
        # Its stub knows commands of one word only.
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """Pass on all replies that are whole."""
        self.heard_at = self._time()
        replies, receiver = self._replies, self._receiver
        has_messages = False
        try:
            replies.feed(data)
            # False is no reply that a subscriber gets: it says that the rest is not there yet.
            while not self._broken.done() and (reply := replies.gets()) is not False:
                if isinstance(reply, list) and reply[0] in _MESSAGES:
                    has_messages = True
                    receiver.message(reply[1], reply[2])
                else:
                    self._take_other(reply)
        except hiredis.ProtocolError as error:
            self.give_up(RedisConnectionError(f"Redis sent what is no reply: {error}"))
        if has_messages:
            receiver.settled()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell those who wait for it."""
        self.give_up(RedisConnectionError(str(exc) if exc else "Connection closed by server."))

    def _take_other(self, reply: Any) -> None:
        """Take a reply that is no message."""
        if isinstance(reply, hiredis.ReplyError):
            self._take_error(str(reply))
        elif reply[0] in _SUBSCRIBED:
            # A channel that was left and joined again quickly is confirmed twice, and only the second one counts:
            # in between the server may not have been subscribed.
            if _count_off(self._joining, reply[1]):
                self._receiver.subscribed(reply[1])
        elif reply[0] in _UNSUBSCRIBED:
            if reply[1] in self._leaving:
                _count_off(self._leaving, reply[1])
            else:
                self._receiver.lost(reply[1])

    def _forget(self, slot: int) -> None:
        """Expect no confirmations for a slot's channels: the server does not say which of them it refused."""
        for counts in (self._joining, self._leaving):
            for channel in [channel for channel in counts if key_slot(channel) == slot]:
                del counts[channel]

    def _take_error(self, text: str) -> None:
        kind, _, rest = text.partition(" ")
        slot = rest.partition(" ")[0]
        if kind == "MOVED" and slot.isdecimal():
            self._forget(int(slot))
            self._receiver.moved(int(slot))
        else:
            self.give_up(RedisConnectionError(f"Redis refused a subscription: {text}"))


_MESSAGES = frozenset((b"message", b"smessage"))
_SUBSCRIBED = frozenset((b"subscribe", b"ssubscribe"))
_UNSUBSCRIBED = frozenset((b"unsubscribe", b"sunsubscribe"))


def _count_off(counts: dict[bytes, int], channel: bytes) -> bool:
    """Count one confirmation; tell whether it was the last that was waited for."""
    left = counts.pop(channel, 1) - 1
    if left > 0:
        counts[channel] = left
    return left <= 0
