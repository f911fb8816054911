"""The hub: what a process that serves realtime connections consists of, wired together.

The protocol class calls it for everything that happens to a connection; it passes that on to those who decide
(:mod:`~realtime.hub.opening`, :mod:`~realtime.hub.conversation`, :mod:`~realtime.hub.fanout`), owns every task,
and does what has to be done once a second. Used from one event loop only.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.bus import LiveListener, RedisBus, connect, redis_url
from realtime.bus.resumption import ResumeRecords
from realtime.errors import CloseCode
from realtime.hub.connection import Connection
from realtime.hub.console import TEST_CHANNEL, TEST_INTERVAL_S, periodic_event
from realtime.hub.conversation import Conversation
from realtime.hub.deflate import Compressor
from realtime.hub.delivery import Delivery, Receivers
from realtime.hub.draining import Draining
from realtime.hub.fanout import Fanout
from realtime.hub.frames import EventFrame
from realtime.hub.identities import Identities
from realtime.hub.metrics import Metrics, Stats
from realtime.hub.opening import Opening
from realtime.hub.presences import Presences
from realtime.hub.registry import CONSOLE, Observers, Registry
from realtime.hub.resumption import Resumption
from realtime.hub.subscribing import Subscribing
from realtime.identity.jwt import TokenVerifier
from realtime.identity.model import Project
from realtime.identity.resolver import Resolver
from realtime.identity.store import IdentityStore
from realtime.messages import event_prefix
from realtime.presences.holdings import Holdings
from realtime.presences.store import PresenceStore
from realtime.presences.sweeper import Sweeper
from realtime.settings import Settings

log = structlog.get_logger("realtime.hub")

_TICK_S = 1.0

_KEEP_UP_TICKS = 5
"""How often Redis is told how far clients are to whom nothing is sent."""

_FAREWELL_S = 2.0
"""How long a hub that stops waits until Redis knows where the subscriptions of its clients go on, and who is gone."""


class Hub:
    """One process' share of the realtime service. Use :meth:`running`.

    The parts that others may use: ``settings``, ``redis``, ``bus``, ``store``, ``resolver``, ``listener``,
    ``registry``, ``metrics``, ``presences``.
    """

    def __init__(self, settings: Settings, redis: "Redis", records: "Redis") -> None:
        self.settings = settings
        self.redis = redis
        self.bus = RedisBus.from_settings(settings, redis)
        self.store = IdentityStore(records)
        self.verifier = TokenVerifier.from_settings(settings)
        self.resolver = Resolver(self.store, self.verifier, clock=time.time)
        self.compressor = _compressor(settings)
        self.stats = Stats()
        self.metrics = Metrics(self.stats, max_projects=settings.metrics_projects)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticks = 0
        # When Redis was first found away, as Unix time; None while it is not.
        self._redis_away_since: float | None = None
        # Wakes up for the next identity that ends before the next tick; never more than one.
        self._expiry_timer: asyncio.TimerHandle | None = None
        loop_time = asyncio.get_running_loop().time
        self.listener = LiveListener.from_settings(
            settings,
            on_message=self._received,
            on_resuming=self._resuming,
            on_resumed=self._resumed,
            on_settled=self._settled,
            on_ignored=self._ignored,
            wait_taken=self._wait_taken,
            on_bridge=self._bridged,
        )
        hub_id = secrets.token_hex(8)
        self.presences = PresenceStore(self.bus, lease_s=settings.presence_lease_s)
        self.holdings = Holdings(
            self.presences, hub_id=hub_id, lease_s=settings.presence_lease_s, spawn=self._spawn
        )
        presences = Presences(self.holdings, self.store, metadata_bytes=settings.presence_metadata_bytes)
        self.records = ResumeRecords(
            redis,
            hub_id=hub_id,
            lifetime_s=settings.resume_lifetime_s + 3 * settings.heartbeat_interval_s,
            spawn=self._spawn,
        )
        self.resumption = Resumption(self.records if settings.resume == "auto" else None, loop_time=loop_time)
        self.registry = Registry(
            self.listener,
            self._load_project,
            self.stats,
            Observers([self.resumption, presences]),
            turn_s=settings.heartbeat_interval_s,
            loop_time=loop_time,
            clock=time.time,
        )
        self._opening = Opening(settings, self.registry, self.resolver, self.stats, clock=time.time)
        subscribing = Subscribing(
            settings, self.registry, self.bus, self.resumption, self.stats, compressor=self.compressor
        )
        self._conversation = Conversation(
            settings,
            self.registry,
            self.resolver,
            subscribing,
            presences,
            self.stats,
            spawn=self._spawn,
            clock=time.time,
        )
        self._draining = Draining(
            self.registry, self.resumption, window_s=settings.drain_window_s, spawn=self._spawn
        )
        delivery = Delivery(self.stats, self.compressor)
        self._identities = Identities(
            self.registry,
            delivery,
            self.stats,
            refresh=self.resolver.refresh,
            reload_project=self._load_project,
            loop_time=loop_time,
        )
        self._fanout = Fanout(
            self.registry,
            delivery,
            self._identities,
            self.stats,
            spawn=self._spawn,
            loop_time=loop_time,
            send_buffer_bytes=settings.send_buffer_bytes,
        )

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, settings: Settings) -> AsyncIterator["Hub"]:
        """Run a hub: connected to Redis on entry, all of its tasks ended on exit.

        Raises:
            redis.RedisError: Redis cannot be reached at all.
        """
        redis = connect(redis_url(settings))
        # Reading and writing records can be repeated, publishing cannot. So after Redis was away, a connection
        # that died meanwhile costs no client its identity.
        once_more = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        records = connect(redis_url(settings), retry=once_more)
        try:
            await redis.ping()
            hub = cls(settings, redis, records)
            await hub.listener.start()
            hub._spawn(hub._every_second(hub._tick))
            # By itself, since it may have to wait for Redis: heartbeats and the ends of sessions do not.
            hub._spawn(hub._every_second(hub.registry.reap))
            hub._spawn(hub.holdings.run())
            hub._spawn(Sweeper(hub.presences, lease_s=settings.presence_lease_s).run())
            try:
                yield hub
            finally:
                hub.resumption.stop()
                await asyncio.gather(hub.records.flush(_FAREWELL_S), hub.holdings.flush(_FAREWELL_S))
                for task in hub._tasks:
                    task.cancel()
                await asyncio.gather(*hub._tasks, return_exceptions=True)
                await hub.listener.stop()
                await hub.verifier.aclose()
        finally:
            await redis.aclose()
            await records.aclose()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task failed", exc_info=task.exception())

    async def _load_project(self, project_id: str) -> Project | None:
        return CONSOLE if project_id == CONSOLE.id else await self.store.get_project(project_id)

    # Called by the listener.

    def _received(self, project_id: str, message: bytes) -> None:
        self._fanout.receive(project_id, message)

    def _resuming(self, project_id: str) -> None:
        self._fanout.resuming(project_id)

    def _resumed(self, project_id: str, complete: bool, missed: int | None) -> None:
        self._fanout.resumed(project_id, complete, missed)

    def _settled(self) -> None:
        self._fanout.flush()

    def _ignored(self, project_id: str) -> None:
        self._fanout.ignored(project_id)

    async def _wait_taken(self, project_id: str) -> None:
        await self._fanout.wait_taken(project_id)

    def _bridged(self, message: bytes) -> None:
        self._fanout.receive_foreign(message)

    # Called by the protocol.

    def open(self, connection: Connection, target: str, headers: Sequence[tuple[str, str]]) -> None:
        """Judge a new connection; ``target`` is its request's path and query."""
        self._spawn(self._open(connection, target, headers))

    async def _open(self, connection: Connection, target: str, headers: Sequence[tuple[str, str]]) -> None:
        await self._opening.open(connection, target, headers)
        await self._conversation.work_off(connection)

    def message(self, connection: Connection, message: bytes) -> None:
        """Take a message (valid UTF-8) from a client."""
        self._conversation.receive(connection, message)

    def ponged(self, connection: Connection, payload: bytes) -> None:
        """Take the answer to a ping: the client has received everything that was sent before that ping."""
        self.resumption.ponged(connection, payload)

    def lost(self, connection: Connection) -> None:
        """Forget a connection whose client is gone."""
        self.registry.leave(connection, "client")
        self.resumption.gone(connection)

    def end(self, connection: Connection, code: CloseCode, text: str = "", *, reason: str) -> None:
        """Close a connection; ``reason`` is its label in metrics and logs."""
        self.registry.end(connection, code, text, reason=reason)

    def too_slow(self, connection: Connection) -> None:
        """Give up a client whose send buffer is over its limit; it can come back and go on."""
        self.registry.end(connection, CloseCode.TRY_AGAIN_LATER, "Too slow.", reason="too_slow")

    def drain(self, connection: Connection) -> None:
        """Close a connection within the drain window, because the server stops."""
        self._draining.add(connection)

    # Once a second.

    async def _every_second(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                await work()
            except Exception:
                log.exception("a tick failed")

    async def _tick(self) -> None:
        self._ticks += 1
        self._beat()
        self._expire()
        if self._ticks % TEST_INTERVAL_S == 0:
            self._publish_test_event()
        self._fanout.forget_unused()
        if self._ticks % _KEEP_UP_TICKS == 0:
            for room in self.registry.rooms.values():
                self.resumption.keep_up(room)
        self.update_metrics()

    def _beat(self) -> None:
        """Ping the connections whose turn it is, and end those that left the ping before unanswered."""
        interval_s = self.settings.heartbeat_interval_s
        is_renewal = (
            not self._ticks // interval_s % max(1, int(self.settings.resume_lifetime_s / interval_s / 2))
        )
        for connection in self.registry.wheel.advance():
            self.registry.watch_expiry(connection)
            if connection.awaits_pong and not connection.is_paused:
                self.registry.leave(connection, "heartbeat")
                connection.wire.abort()
            else:
                connection.awaits_pong = True
                connection.wire.send(self.resumption.heartbeat(connection))
                if is_renewal:
                    self.resumption.renew(connection)
            if connection.identity.home and connection.room is not None:
                # Its changes are announced to another project, which this hub may not listen to.
                self._spawn(self._identities.read_again(connection.room, [connection]))

    def _expire(self) -> None:
        """Sign out connections whose session, token or key has ended, and wake up for the next one in time."""
        now = time.time()
        expired = [
            connection
            for connection in self.registry.expiring.take_due(now)
            if connection.room is not None
            and connection.identity.expires_at is not None
            and connection.identity.expires_at <= now
        ]
        for connection in expired:
            self._identities.sign_out(connection)
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        next_at = self.registry.expiring.next_at
        if next_at is not None and next_at - now < _TICK_S:
            self._expiry_timer = asyncio.get_running_loop().call_later(next_at - now, self._expire)

    def _publish_test_event(self) -> None:
        room = self.registry.rooms.get(CONSOLE.id)
        if room is None:
            return
        frame = EventFrame(event_prefix(periodic_event(datetime.now(UTC)), ""))
        # Only connections are ever added to a room's index.
        receivers = cast("Receivers", room.index.match([TEST_CHANNEL], {"guests"}, dict))
        for connection, subscriptions in receivers.items():
            connection.wire.send(frame.for_matches(subscriptions))

    def redis_away_since(self) -> float | None:
        """Return since when Redis has been found away, as Unix time in seconds; None if it is not."""
        if self.listener.healthy:
            self._redis_away_since = None
        elif self._redis_away_since is None:
            self._redis_away_since = time.time()
        return self._redis_away_since

    def update_metrics(self) -> None:
        """Bring what Prometheus knows up to date."""
        self.metrics.set_gauges(
            connections=self.registry.connection_count,
            subscriptions=self.registry.subscription_count,
            presences=len(self.holdings),
            projects=sum(1 for room in self.registry.rooms.values() if room.connections),
            redis_up=self.redis_away_since() is None,
        )
        self.metrics.flush()


def _compressor(settings: Settings) -> Compressor | None:
    if not settings.compression:
        return None
    return Compressor(level=settings.compression_level, threshold_bytes=settings.compression_threshold_bytes)
