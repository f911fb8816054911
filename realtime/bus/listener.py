"""Receiving what is published, without loss: live messages, and the log for whatever was missed.

One connection (:class:`~realtime.bus.link.Link`) is subscribed to the live channels of all watched projects.
When it breaks, or falls silent, another one takes its place, and for each project the events after the last
one seen are read from the log before live ones go on. A log that cannot be read concerns its project alone: a
gap for those who watch it, an error for who wants to. What always holds for a watched project: its events are
delivered in the order of its log, each once, and a gap that the log could not fill is reported.
"""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Callable
from typing import Self

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.bus.backoff import backoff_s
from realtime.bus.bus import RedisBus
from realtime.bus.connect import connect, redis_url
from realtime.bus.keys import BRIDGE_CHANNEL, probe_channel
from realtime.bus.link import Link
from realtime.bus.positions import format_position, message_position, parse_position
from realtime.bus.watch import Watch
from realtime.settings import Settings

log = structlog.get_logger("realtime.bus")

_BRIDGE = BRIDGE_CHANNEL.encode()
_WATCH_TIMEOUT_S = 5.0
"""How long :meth:`LiveListener.watch` waits for Redis."""
_CATCH_UP_AT_ONCE = 16
"""How many projects read their logs at the same time after a reconnect."""
_STEADY_S = 5.0
"""How long a connection must have been good for the pauses between attempts to start short again."""
_PAGE = 500
"""How many events are read from a log at a time."""


class LiveListener:
    """Hears the live channels of the projects it is asked to watch. Used from one event loop.

    Callbacks are synchronous, are called one after another, and must not block. An exception out of one is
    logged, and the next message is delivered.

    Args:
        url: Where Redis is.
        on_message: Gets a project and a message of its live channel, for
            :func:`realtime.events.event.decode_live`.
        on_resumed: Gets a project and whether everything was delivered that was published while the
            connection was down. Called after what the log had, before live messages. Changes of identities
            are not logged: whoever keeps identities reads them again now. Never complete with ``bridge``,
            since Appwrite keeps no log.
        on_settled: Called after messages that came in together have been passed on, and before anything else
            runs: whoever gathers what belongs together lets go of it now.
        bridge: Whether to hear the channel of unmodified Appwrite containers too.
        on_bridge: Gets its messages, as they come.
        probe_interval_s: How often to send a message to oneself.
        probe_timeout_s: After how much silence the connection is given up.
    """

    def __init__(
        self,
        url: str,
        *,
        on_message: Callable[[str, bytes], None],
        on_resumed: Callable[[str, bool], None],
        on_settled: Callable[[], None] = lambda: None,
        bridge: bool = False,
        on_bridge: Callable[[bytes], None] | None = None,
        probe_interval_s: float = 2.0,
        probe_timeout_s: float = 5.0,
    ) -> None:
        self._on_message = on_message
        self._on_resumed = on_resumed
        self._on_settled = on_settled
        self._bridge = bridge
        self._on_bridge = on_bridge
        self._probe_interval_s = probe_interval_s
        self._probe_timeout_s = probe_timeout_s
        self._subscriber = connect(url, protocol=2, socket_timeout=None, health_check_interval=0)
        self._redis = connect(url)
        self._bus = RedisBus(self._redis)
        self._probe_channel = probe_channel(secrets.token_hex(8)).encode()
        # Token -> who waits to hear whether it came back.
        self._probes: dict[bytes, asyncio.Future[bool]] = {}
        self._watches: dict[str, Watch] = {}
        self._by_channel: dict[bytes, Watch] = {}
        # The connection, and the owner of the tasks that use it; None while there is none.
        self._link: Link | None = None
        self._group: asyncio.TaskGroup | None = None
        # Whether the connection's first subscription is confirmed: a probe sent before would not come back.
        self._is_subscribed = False
        # When it was confirmed, in event loop time.
        self._subscribed_at = 0.0
        self._catching_up = asyncio.Semaphore(_CATCH_UP_AT_ONCE)
        self._runner: asyncio.Task[None] | None = None
        self._is_stopping = False
        # Set when the first attempt to connect has ended, well or not.
        self._has_tried = asyncio.Event()
        # Failed attempts since the last connection that was good for a while.
        self._failures = 0

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        on_message: Callable[[str, bytes], None],
        on_resumed: Callable[[str, bool], None],
        on_settled: Callable[[], None] = lambda: None,
        on_bridge: Callable[[bytes], None] | None = None,
    ) -> Self:
        """Make a listener with the settings' Redis, bridge and probe times."""
        return cls(
            redis_url(settings),
            on_message=on_message,
            on_resumed=on_resumed,
            on_settled=on_settled,
            bridge=settings.bridge,
            on_bridge=on_bridge,
            probe_interval_s=settings.probe_interval_s,
            probe_timeout_s=settings.probe_timeout_s,
        )

    # What others call.

    async def start(self) -> None:
        """Connect. Returns after the first attempt; when it failed, more follow, until :meth:`stop`."""
        self._runner = asyncio.create_task(self._run())
        await self._has_tried.wait()

    async def stop(self) -> None:
        """Disconnect. Nothing is delivered afterwards."""
        self._is_stopping = True
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait([self._runner])
            self._runner = None
        await self._subscriber.aclose()
        await self._redis.aclose()

    @property
    def healthy(self) -> bool:
        """Whether there is a connection that has shown a sign of life within the probe timeout."""
        return (
            self._is_subscribed
            and self._link is not None
            and self._silence_s(self._link) < self._probe_timeout_s
        )

    async def watch(self, project: str) -> str:
        """Hear a project's live channel; return the position of the last event before what will be heard.

        Every event after that position is delivered, none up to it. A project that is watched already goes on
        being watched; there is no count, one :meth:`unwatch` ends it.

        Raises:
            redis.RedisError: Redis cannot be reached, or the project's log cannot be read. The project is not
                watched then, unless another call waits for it. The same after cancelling.
        """
        watch = self._watches.get(project)
        if watch is None:
            watch = Watch(project)
            self._watches[project] = self._by_channel[watch.channel] = watch
            # Without a connection, the next one will subscribe.
            if self._link is not None:
                self._link.subscribe([watch.channel])
        watch.waiters += 1
        try:
            async with asyncio.timeout(_WATCH_TIMEOUT_S):
                await watch.is_ready.wait()
        except TimeoutError as error:
            raise RedisTimeoutError(f"Redis did not answer within {_WATCH_TIMEOUT_S:.0f} s.") from error
        finally:
            watch.waiters -= 1
            if not watch.waiters and not watch.is_ready.is_set():
                self._forget(watch)
        if watch.failure:
            raise RedisError(watch.failure)
        # Read when the caller goes on, not when the watch became ready: events may have been delivered in
        # between.
        return format_position(watch.last)

    async def unwatch(self, project: str) -> None:
        """Stop hearing a project's live channel. Idempotent; needs no connection."""
        watch = self._watches.get(project)
        if watch is not None:
            self._forget(watch)

    async def probe(self) -> float:
        """Send a message to oneself through Redis; return how long it takes, in seconds.

        Raises:
            TimeoutError: It did not come back within the probe timeout.
            redis.RedisError: It could not be sent, or the connection that was to hear it broke.
        """
        if not self._is_subscribed:
            raise RedisConnectionError("There is no connection to Redis.")
        token = secrets.token_bytes(8)
        returned = self._probes[token] = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._probe_timeout_s):
                await self._redis.publish(self._probe_channel, token)
                if not await returned:
                    raise RedisConnectionError("The connection to Redis broke.")
        finally:
            del self._probes[token]
        return time.perf_counter() - started

    def _forget(self, watch: Watch) -> None:
        watch.is_ended = True
        if self._watches.get(watch.project) is watch:
            del self._watches[watch.project]
            del self._by_channel[watch.channel]
            if self._link is not None:
                self._link.unsubscribe(watch.channel)

    # Connections, one after another.

    async def _run(self) -> None:
        while True:
            try:
                await self._serve()
            except* Exception as failure:  # noqa: BLE001 - whatever broke it, try another
                error = failure.exceptions[0]
                log.warning("the connection to Redis is gone", error=str(error) or type(error).__name__)
            self._has_tried.set()
            # A task group that fails while its owner is cancelled forgets about the cancelling (Python 3.11).
            if self._is_stopping:
                return
            await asyncio.sleep(backoff_s(self._failures, random.random()))  # noqa: S311 - not a secret
            self._failures += 1

    async def _serve(self) -> None:
        """Use one connection until it breaks, which raises an exception group."""
        link = await Link.open(self._subscriber, self)
        try:
            async with asyncio.TaskGroup() as group:
                self._link, self._group = link, group
                for watch in self._watches.values():
                    # What an earlier connection left half done is started over: the log has it.
                    watch.held, watch.overflowed = [], False
                own = [self._probe_channel, *([_BRIDGE] if self._bridge else [])]
                link.subscribe([*own, *self._by_channel])
                group.create_task(link.wait_broken())
                group.create_task(self._probe_regularly())
                group.create_task(self._raise_when_silent(link))
        finally:
            self._link = self._group = None
            if self._is_subscribed and asyncio.get_running_loop().time() - self._subscribed_at >= _STEADY_S:
                self._failures = 0
            self._is_subscribed = False
            self._end_probes()
            await link.close()

    def _end_probes(self) -> None:
        """Tell those who wait for a probe that the connection it would have come back on is gone."""
        for returned in self._probes.values():
            if not returned.done():
                returned.set_result(False)

    async def _probe_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._probe_interval_s)
            # A probe that fails is not judged here: it is the silence that tells.
            with contextlib.suppress(RedisError, TimeoutError):
                await self.probe()

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
        """Take a message off the link."""
        watch = self._by_channel.get(channel)
        if watch is not None:
            if watch.held is None:
                self._deliver(watch, content)
            else:
                watch.hold(content, watch.held)
        elif channel == self._probe_channel:
            waiting = self._probes.get(content)
            if waiting is not None and not waiting.done():
                waiting.set_result(True)
        elif self._on_bridge is not None and channel == _BRIDGE:
            _call(self._on_bridge, content)

    def settled(self) -> None:
        """Pass on that a burst has ended."""
        _call(self._on_settled)

    def subscribed(self, channel: bytes) -> None:
        """Take a confirmation off the link."""
        watch = self._by_channel.get(channel)
        if watch is not None and self._group is not None:
            self._group.create_task(self._settle(watch))
        elif channel == self._probe_channel:
            self._is_subscribed = True
            self._subscribed_at = asyncio.get_running_loop().time()
            self._has_tried.set()
            log.info("connected to Redis", projects=len(self._watches))

    def lost(self, channel: bytes) -> None:
        """Ignore what only servers of a cluster do."""

    def moved(self, slot: int) -> None:
        """Ignore what only servers of a cluster do."""

    async def _settle(self, watch: Watch) -> None:
        """Bring a project whose channel was just subscribed to the point from which it is live."""
        is_new = not watch.has_position
        try:
            async with self._catching_up:
                await self._catch_up(watch)
        except (RedisConnectionError, RedisTimeoutError, OSError):
            # It is Redis that fails, not this log: another connection starts over.
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns no other project
            self._log_failed(watch, error)
        # No await from here on: what was held follows exactly, and live messages follow that.
        if watch.is_ended:
            return
        held, watch.held = watch.held or [], None
        if not is_new:
            complete, watch.has_gap = not (watch.has_gap or self._bridge), False
            _call(self._on_resumed, watch.project, complete)
        for message in held:
            self._deliver(watch, message)
        _call(self._on_settled)
        watch.is_ready.set()

    async def _catch_up(self, watch: Watch) -> None:
        """Find out where a new project's log ends; deliver what another's has after the last event seen."""
        is_behind = watch.has_position
        if not watch.has_position:
            watch.last = parse_position(await self._bus.last_position(watch.project))
            watch.has_position = True
        while is_behind or watch.overflowed:
            is_behind = watch.overflowed = False
            await self._replay(watch)

    def _log_failed(self, watch: Watch, error: Exception) -> None:
        """Go on without a log that cannot be read: with a gap, or not at all when nobody was promised events."""
        reason = str(error) or type(error).__name__
        log.error("the log of a project cannot be read", project=watch.project, error=reason)
        if watch.is_ready.is_set():
            watch.has_gap = True
        else:
            watch.failure = f"The log of project {watch.project} cannot be read: {reason}"
            self._forget(watch)
            watch.is_ready.set()

    async def _replay(self, watch: Watch) -> None:
        """Deliver what the log has after the last event seen."""
        while not watch.is_ended:
            page = await self._bus.read_page(watch.project, format_position(watch.last), limit=_PAGE)
            if not page.is_complete:
                watch.has_gap = True
                await self._step_back(watch)
            for _, message in page.events:
                self._deliver(watch, message)
            _call(self._on_settled)
            if len(page.events) < _PAGE:
                return

    async def _step_back(self, watch: Watch) -> None:
        """Take the log's end for the last event seen if it is before that: a failover lost the log's end.

        Otherwise the next events, which take up from there, would be taken for old ones.
        """
        end = parse_position(await self._bus.last_position(watch.project))
        watch.last = min(watch.last, end)

    def _deliver(self, watch: Watch, message: bytes) -> None:
        position = message_position(message)
        if position is not None:
            if position <= watch.last:
                return
            watch.last = position
        _call(self._on_message, watch.project, message)


def _call(callback: Callable[..., None], *arguments: object) -> None:
    """Call back; one message that its receiver fails on must not silence all others."""
    try:
        callback(*arguments)
    except Exception:
        log.exception("a live message was not processed")
