"""Receiving what is published, without loss: live messages, and the log for whatever was missed.

Each project is heard from the server that owns it (:class:`~realtime.bus.feed.Feed`): one server for all, the master
that Sentinels watch, or on a Cluster one of its primaries. When that connection breaks, falls silent, or the server is
no longer the owner, the project is heard from the next one, and the events after the last one seen are read from the
log before live ones go on (:class:`~realtime.bus.catchup.CatchUp`).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Self

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.bus.backoff import backoff_s
from realtime.bus.catchup import CatchUp, call
from realtime.bus.connect import redis_url
from realtime.bus.feed import Feed
from realtime.bus.nodes import nodes_of
from realtime.bus.positions import format_position
from realtime.bus.topology import Node
from realtime.bus.watch import Watch
from realtime.settings import Settings

log = structlog.get_logger("realtime.bus")

_WATCH_TIMEOUT_S = 5.0
"""How long :meth:`LiveListener.watch` waits for Redis."""
_PLACING_PAUSE_S = 0.05
"""How often at most the owners of projects are looked up, while servers do not agree on them."""
_HOME = 0
"""The bucket whose server is listened to even if no project is watched: for probes, and for the bridge."""


class LiveListener:
    """Hears the live channels of the projects it is asked to watch. Used from one event loop.

    Callbacks are synchronous, are called one after another, and must not block. An exception out of one is
    logged, and the next message is delivered.

    Args:
        url: Where Redis is: anything that :func:`realtime.bus.connect` takes.
        on_message: Gets a project and a message of its live channel, for
            :func:`realtime.events.event.decode_live`.
        on_resumed: Gets a project, whether everything was delivered that was published while nothing was
            heard, and how many events were missed (0 if none, None if nobody knows). Called after what the
            log had, before live events. Never complete with ``bridge``, since Appwrite keeps no log.
        on_resuming: Gets a project that is heard again, before what the log has of the time in between. Changes
            of identities are not logged: whoever keeps identities reads them again now, before those events
            are delivered to anybody. Later changes are heard, and passed on at once.
        on_settled: Called after messages that came in together have been passed on, and before anything else
            runs: whoever gathers what belongs together lets go of it now.
        on_ignored: Gets the project of a live message that was ignored: its ID is far in the future.
        wait_taken: Awaited with a project after each portion of its log: more follows once it returns. Live events
            are held meanwhile.
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
        on_resumed: Callable[[str, bool, int | None], None],
        on_resuming: Callable[[str], None] = lambda _: None,
        on_settled: Callable[[], None] = lambda: None,
        on_ignored: Callable[[str], None] = lambda _: None,
        wait_taken: Callable[[str], Awaitable[None]] = lambda _: asyncio.sleep(0),
        bridge: bool = False,
        on_bridge: Callable[[bytes], None] | None = None,
        probe_interval_s: float = 2.0,
        probe_timeout_s: float = 5.0,
    ) -> None:
        self._nodes = nodes_of(url)
        self._catch_up = CatchUp(
            on_message, on_resuming, on_resumed, on_settled, on_ignored, wait_taken, is_bridged=bridge
        )
        self._bridge = bridge
        self._on_bridge = on_bridge
        self._probe_interval_s = probe_interval_s
        self._probe_timeout_s = probe_timeout_s
        self._watches: dict[str, Watch] = {}
        # Those that no feed hears at the moment.
        self._homeless: set[Watch] = set()
        # The servers that are listened to, or will be again after a pause.
        self._feeds: dict[Node, Feed] = {}
        self._tasks: dict[Feed, asyncio.Task[None]] = {}
        # The server of each bucket when last looked up; empty before.
        self._places: Sequence[Node] = ()
        # Set when a project needs a server, or a server is needed no more.
        self._is_unplaced = asyncio.Event()
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
        on_resumed: Callable[[str, bool, int | None], None],
        on_resuming: Callable[[str], None] = lambda _: None,
        on_settled: Callable[[], None] = lambda: None,
        on_ignored: Callable[[str], None] = lambda _: None,
        wait_taken: Callable[[str], Awaitable[None]] = lambda _: asyncio.sleep(0),
        on_bridge: Callable[[bytes], None] | None = None,
    ) -> Self:
        """Make a listener with the settings' Redis, bridge and probe times."""
        return cls(
            redis_url(settings),
            on_message=on_message,
            on_resumed=on_resumed,
            on_resuming=on_resuming,
            on_settled=on_settled,
            on_ignored=on_ignored,
            wait_taken=wait_taken,
            bridge=settings.bridge,
            on_bridge=on_bridge,
            probe_interval_s=settings.probe_interval_s,
            probe_timeout_s=settings.probe_timeout_s,
        )

    # What others call.

    async def start(self) -> None:
        """Connect. Returns after the first attempt; when it failed, more follow, until :meth:`stop`."""
        self._is_unplaced.set()
        self._runner = asyncio.create_task(self._run())
        await self._has_tried.wait()

    async def stop(self) -> None:
        """Disconnect. Nothing is delivered afterwards."""
        self._is_stopping = True
        tasks = [task for task in (self._runner, *self._tasks.values()) if task is not None]
        for task in tasks:
            # One that is already ending must not be cut short: it closes connections.
            if not task.cancelling():
                task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._runner = None
        self._feeds.clear()
        await self._nodes.aclose()

    @property
    def healthy(self) -> bool:
        """Whether every server that projects are heard from has shown a sign of life within the probe timeout."""
        is_displaced = any(watch.has_position for watch in self._homeless)
        return (
            bool(self._feeds) and not is_displaced and all(feed.is_healthy for feed in self._feeds.values())
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
            watch = self._watches[project] = Watch(project)
            self._place(watch)
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
        """Send a message to oneself through every server that is listened to; return how long the slowest takes.

        Raises:
            TimeoutError: One did not come back within the probe timeout.
            redis.RedisError: One could not be sent, or the connection that was to hear it broke.
        """
        if not self._feeds:
            raise RedisConnectionError("There is no connection to Redis.")
        return max(await asyncio.gather(*(feed.probe() for feed in self._feeds.values())))

    def _forget(self, watch: Watch) -> None:
        watch.is_ended = True
        if self._watches.get(watch.project) is watch:
            del self._watches[watch.project]
            self._homeless.discard(watch)
            for feed in self._feeds.values():
                feed.remove(watch)

    # Which project is heard from which server.

    async def _run(self) -> None:
        while True:
            await self._is_unplaced.wait()
            self._is_unplaced.clear()
            try:
                self._places = await self._nodes.locate()
            except Exception as error:  # noqa: BLE001 - whatever it is, ask again
                log.warning("the servers of Redis cannot be found", error=str(error) or type(error).__name__)
                self._has_tried.set()
                await self._pause()
                self._is_unplaced.set()
                continue
            self._place_all()
            await asyncio.sleep(_PLACING_PAUSE_S)

    def _place_all(self) -> None:
        """Have every project heard from the server that owns it, and let go of servers that own none."""
        home = self._feed_at(_HOME)
        home.keep_probing(_HOME)
        for watch in self._homeless:
            self._feed_at(watch.bucket).add(watch)
        self._homeless.clear()
        for feed in tuple(self._feeds.values()):
            feed.hear_bridge(self._bridge and feed is home)
            if feed.is_idle and feed is not home:
                self._tasks[feed].cancel()
                del self._feeds[feed.node]

    def _place(self, watch: Watch) -> None:
        """Have a new project heard from the server that owns it; from the next one, if that is another by now."""
        feed = self._feeds.get(self._places[watch.bucket]) if self._places else None
        if feed is not None:
            feed.add(watch)
        else:
            self._homeless.add(watch)
            self._is_unplaced.set()

    def _feed_at(self, bucket: int) -> Feed:
        """Return the feed from the server of a bucket; make it if need be."""
        node = self._places[bucket]
        feed = self._feeds.get(node)
        if feed is None:
            feed = self._feeds[node] = Feed(
                self,
                self._nodes,
                node,
                bucket,
                self._catch_up,
                probe_interval_s=self._probe_interval_s,
                probe_timeout_s=self._probe_timeout_s,
            )
            task = self._tasks[feed] = asyncio.create_task(self._serve(feed))
            task.add_done_callback(lambda _: self._tasks.pop(feed))
        return feed

    async def _serve(self, feed: Feed) -> None:
        """Use a feed until it breaks; then have its projects heard from elsewhere, or from there again."""
        try:
            await feed.run()
        except* Exception as failure:  # noqa: BLE001 - whatever broke it, try another
            error = failure.exceptions[0]
            log.warning("the connection to Redis is gone", error=str(error) or type(error).__name__)
        self._has_tried.set()
        # A task group that fails while its owner is cancelled forgets about the cancelling (Python 3.11).
        if self._is_stopping or self._feeds.get(feed.node) is not feed:
            return
        if feed.is_steady:
            self._failures = 0
        await self._pause()
        del self._feeds[feed.node]
        self.displaced(feed.take_all())

    async def _pause(self) -> None:
        await asyncio.sleep(backoff_s(self._failures, random.random()))  # noqa: S311 - not a secret
        self._failures += 1

    # What feeds tell.

    def opened(self) -> None:
        """Note that a feed hears."""
        self._has_tried.set()

    def displaced(self, watches: Iterable[Watch]) -> None:
        """Find another server for projects; or for what feeds need besides."""
        self._homeless.update(watches)
        self._is_unplaced.set()

    def failed(self, watch: Watch) -> None:
        """Give up a project that cannot be watched."""
        self._forget(watch)

    def bridged(self, content: bytes) -> None:
        """Pass on a message of the bridge channel."""
        if self._on_bridge is not None:
            call(self._on_bridge, content)
