"""One server that live messages come from: the connection to it, the projects heard there, and its sign of life.

A feed lives as long as its connection. It reads logs from the very server that it is subscribed at, so that what the
log says and what the channel says are of one piece, whatever replicas lag behind.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Iterable
from typing import Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import AskError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.bus.bus import RedisBus
from realtime.bus.catchup import CatchUp
from realtime.bus.keys import BRIDGE_CHANNEL, probe_channel
from realtime.bus.link import Link
from realtime.bus.nodes import BUCKET_SLOTS, Nodes
from realtime.bus.sentinel import NotMasterError
from realtime.bus.topology import Node
from realtime.bus.watch import Watch

log = structlog.get_logger("realtime.bus")

_BRIDGE = BRIDGE_CHANNEL.encode()
_AT_ONCE = 16
"""How many projects read their logs from a server at the same time after a reconnect."""
_STEADY_S = 5.0
"""How long a connection must have been good for the pauses between attempts to start short again."""


class Owner(Protocol):
    """Who has a feed, and moves projects from one to another."""

    def opened(self) -> None:
        """Note that a feed hears."""

    def displaced(self, watches: Iterable[Watch]) -> None:
        """Take back projects that are to be heard elsewhere."""

    def failed(self, watch: Watch) -> None:
        """Take back a project that cannot be watched."""

    def bridged(self, content: bytes) -> None:
        """Take a message of the bridge channel."""


class Feed:
    """A server, and the projects that are heard from it.

    Args:
        owner: Is told what concerns more than this server.
        nodes: How to reach it.
        node: Which it is.
        bucket: A bucket that it owns, by whose way probes are sent.
        catch_up: Delivers messages.
        probe_interval_s: How often to send a message to oneself.
        probe_timeout_s: After how much silence the connection is given up.
    """

    def __init__(
        self,
        owner: Owner,
        nodes: Nodes,
        node: Node,
        bucket: int,
        catch_up: CatchUp,
        *,
        probe_interval_s: float,
        probe_timeout_s: float,
    ) -> None:
        self.node = node
        self._owner = owner
        self._nodes = nodes
        # None while there is none that both the server owns and somebody cares for.
        self._bucket: int | None = bucket
        self._catch_up = catch_up
        self._is_bridged = False
        self._probe_interval_s = probe_interval_s
        self._probe_timeout_s = probe_timeout_s
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._id = secrets.token_hex(8)
        self._probe_channel = probe_channel(self._id, bucket).encode()
        # Token -> who waits to hear whether it came back.
        self._probes: dict[bytes, asyncio.Future[bool]] = {}
        # Channel -> the project heard on it.
        self._watches: dict[bytes, Watch] = {}
        # The connection, what else reaches the server, and the owner of the tasks; None while there is none.
        self._link: Link | None = None
        self._redis: Redis | None = None
        self._group: asyncio.TaskGroup | None = None
        # Whether the way of the probes is subscribed: one sent before would not come back; and since when.
        self._is_subscribed = False
        self._subscribed_at: float | None = None
        self.is_steady = False

    # What the owner calls.

    @property
    def is_healthy(self) -> bool:
        """Whether the connection has shown a sign of life within the probe timeout."""
        return (
            self._is_subscribed
            and self._link is not None
            and self._silence_s(self._link) < self._probe_timeout_s
        )

    @property
    def is_idle(self) -> bool:
        """Whether no project is heard here."""
        return not self._watches

    def add(self, watch: Watch) -> None:
        """Hear a project here, from now on or from when there is a connection."""
        watch.begin()
        self._watches[watch.channel] = watch
        if self._link is not None:
            self._link.subscribe([watch.channel])
        self.keep_probing(watch.bucket)

    def keep_probing(self, bucket: int) -> None:
        """Send probes by way of a bucket, which the server owns, if there is no other way."""
        if self._bucket is None:
            self._bucket = bucket
            self._probe_channel = probe_channel(self._id, bucket).encode()
            if self._link is not None:
                self._link.subscribe([self._probe_channel])

    def remove(self, watch: Watch) -> None:
        """Hear a project no more."""
        if self._watches.pop(watch.channel, None) is not None and self._link is not None:
            self._link.unsubscribe(watch.channel)

    def hear_bridge(self, is_bridged: bool) -> None:
        """Hear the channel of unmodified Appwrite containers here, or not."""
        has_changed, self._is_bridged = is_bridged != self._is_bridged, is_bridged
        if has_changed and self._link is not None:
            if is_bridged:
                self._link.subscribe_everywhere(_BRIDGE)
            else:
                self._link.unsubscribe_everywhere(_BRIDGE)

    def take_all(self) -> list[Watch]:
        """Return all projects, which are no longer heard here: the connection is gone."""
        watches = list(self._watches.values())
        self._watches.clear()
        return watches

    async def run(self) -> None:
        """Connect, and hear until the connection breaks, which raises an exception group or a RedisError."""
        async with (
            self._nodes.client(self.node) as redis,
            self._nodes.client(
                self.node, protocol=2, socket_timeout=None, health_check_interval=0
            ) as subscriber,
        ):
            self._redis = redis
            await self._nodes.verify(self.node, redis)
            link = await Link.open(subscriber, self, is_sharded=self._nodes.is_sharded)
            try:
                await self._hear(link, redis)
            finally:
                await link.close()

    async def probe(self) -> float:
        """Send a message to oneself through the server; return how long it takes, in seconds.

        Raises:
            TimeoutError: It did not come back within the probe timeout.
            redis.RedisError: It could not be sent, or the connection that was to hear it broke.
        """
        if not self._is_subscribed or self._redis is None:
            raise RedisConnectionError("There is no connection to Redis.")
        token = secrets.token_bytes(8)
        returned = self._probes[token] = asyncio.get_running_loop().create_future()
        publish = self._redis.spublish if self._nodes.is_sharded else self._redis.publish
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._probe_timeout_s):
                await publish(self._probe_channel, token)
                if not await returned:
                    raise RedisConnectionError("The connection to Redis broke.")
        finally:
            del self._probes[token]
        return time.perf_counter() - started

    # The connection.

    async def _hear(self, link: Link, redis: Redis) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._link, self._group = link, group
                self._subscribe(link)
                group.create_task(link.wait_broken())
                group.create_task(self._probe_regularly(redis))
                group.create_task(self._raise_when_silent(link))
        finally:
            if self._subscribed_at is not None:
                self.is_steady = asyncio.get_running_loop().time() - self._subscribed_at >= _STEADY_S
            self._link = self._group = None
            self._is_subscribed = False
            for returned in self._probes.values():
                if not returned.done():
                    returned.set_result(False)

    def _subscribe(self, link: Link) -> None:
        if self._is_bridged:
            link.subscribe_everywhere(_BRIDGE)
        if not self._nodes.is_sharded:
            link.subscribe([self._probe_channel, *self._watches])
            return
        # One command is for one slot.
        channels: dict[int, list[bytes]] = {}
        if self._bucket is not None:
            channels[self._bucket] = [self._probe_channel]
        for channel, watch in self._watches.items():
            channels.setdefault(watch.bucket, []).append(channel)
        for together in channels.values():
            link.subscribe(together)

    async def _probe_regularly(self, redis: Redis) -> None:
        while True:
            await asyncio.sleep(self._probe_interval_s)
            # Only one answer is final. What does not answer is not judged here: it is the silence that tells.
            with contextlib.suppress(RedisError, TimeoutError, OSError):
                await self._verify(redis)
                await self.probe()

    async def _verify(self, redis: Redis) -> None:
        try:
            async with asyncio.timeout(self._probe_timeout_s):
                await self._nodes.verify(self.node, redis)
        except NotMasterError as error:
            if self._link is not None:
                self._link.give_up(error)

    async def _raise_when_silent(self, link: Link) -> None:
        while True:
            left_s = self._probe_timeout_s - self._silence_s(link)
            if left_s <= 0:
                raise RedisTimeoutError(f"Redis has been silent for {self._probe_timeout_s:g} s.")
            await asyncio.sleep(left_s)

    @staticmethod
    def _silence_s(link: Link) -> float:
        return asyncio.get_running_loop().time() - link.heard_at

    # What arrives.

    def message(self, channel: bytes, content: bytes) -> None:
        """Take what was published on a channel."""
        watch = self._watches.get(channel)
        if watch is not None:
            self._catch_up.receive(watch, content)
        elif channel == _BRIDGE:
            self._owner.bridged(content)
        else:
            returned = self._probes.get(content)
            if returned is not None and not returned.done():
                returned.set_result(True)

    def settled(self) -> None:
        """Note that all messages that came in together have been passed on."""
        self._catch_up.settled()

    def subscribed(self, channel: bytes) -> None:
        """Bring a project up to date; or note that the server is heard."""
        watch = self._watches.get(channel)
        if watch is not None:
            # One that is live, or on its way there, was subscribed for already.
            if not watch.is_confirmed and self._group is not None:
                watch.is_confirmed = True
                self._group.create_task(self._settle(watch, watch.attempt))
        elif channel == self._probe_channel:
            self._is_subscribed = True
            if self._subscribed_at is None:
                self._subscribed_at = asyncio.get_running_loop().time()
                log.info("connected to Redis", projects=len(self._watches))
            self._owner.opened()

    def lost(self, channel: bytes) -> None:
        """Give up the bucket of a channel whose slot the server no longer owns."""
        watch = self._watches.get(channel)
        if watch is not None:
            self._displace(watch.bucket)
        elif channel == self._probe_channel and self._bucket is not None:
            self._displace(self._bucket)

    def moved(self, slot: int) -> None:
        """Give up the bucket of a slot that the server does not own."""
        if slot in BUCKET_SLOTS:
            self._displace(BUCKET_SLOTS.index(slot))

    async def _settle(self, watch: Watch, attempt: object) -> None:
        assert self._redis is not None  # noqa: S101 - for mypy: the connection is open
        async with self._turns:
            if watch.is_void(attempt):
                return
            try:
                await self._catch_up.settle(watch, RedisBus(self._redis))
            except AskError:
                # The log is elsewhere, or on its way.
                if watch.attempt is attempt:
                    self._displace(watch.bucket)
        if watch.failure:
            self._owner.failed(watch)
            watch.is_ready.set()

    def _displace(self, bucket: int) -> None:
        """Hand the projects of a bucket back."""
        displaced = [watch for watch in self._watches.values() if watch.bucket == bucket]
        for watch in displaced:
            del self._watches[watch.channel]
            watch.begin()
        if bucket == self._bucket:
            self._move_probe()
        self._owner.displaced(displaced)

    def _move_probe(self) -> None:
        """Send probes by way of another bucket that is heard here."""
        self._is_subscribed, self._bucket = False, None
        other = next(iter(self._watches.values()), None)
        if other is not None:
            self.keep_probing(other.bucket)
