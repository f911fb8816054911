"""Which connections there are: the rooms of a hub, and the only place that changes who is in them."""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from realtime.channels import rebind
from realtime.errors import ClientError, CloseCode
from realtime.hub.connection import Connection
from realtime.hub.expiry import ExpiryQueue
from realtime.hub.frames import text_frame
from realtime.hub.metrics import Stats
from realtime.hub.room import FORMER_LIFETIME_S, Former, Room
from realtime.hub.wheel import Wheel
from realtime.identity.model import CONSOLE as CONSOLE_ID
from realtime.identity.model import Identity, Project
from realtime.messages import encode_error

log = structlog.get_logger("realtime.hub")

CONSOLE = Project(id=CONSOLE_ID, name="Console")
"""The project of a connection that names none; it always exists (wire specification 2.2, step 1)."""

ROOM_LINGER_S = 5.0
"""How long a hub goes on listening for a project after its last connection left: reloads come back at once."""


class Watcher(Protocol):
    """The port to the live channels; implemented by :class:`realtime.bus.listener.LiveListener`."""

    async def watch(self, project: str) -> str:
        """Listen to a project's live channel; return the ID of the last event before what will be heard.

        When this returns, every later event is going to be heard, in order. Raises ``redis.RedisError`` when Redis
        is out of reach; then nothing is heard.
        """

    async def unwatch(self, project: str) -> None:
        """Stop listening to a project's live channel. Idempotent."""


class LoadProject(Protocol):
    """Reads a project's record; None if there is no such project."""

    async def __call__(self, project_id: str, /) -> Project | None:
        """Return the record of ``project_id``. Raises ``redis.RedisError`` when Redis is out of reach."""


class Observer(Protocol):
    """Who follows what becomes of connections.

    Implemented by :class:`realtime.hub.resumption.Resumption` and :class:`realtime.hub.presences.Presences`.
    """

    def identity_changed(self, connection: Connection, room: Room, before: Identity) -> None:
        """Take note that a connection does not act as ``before`` any more."""

    def leaving(self, connection: Connection, room: Room) -> None:
        """Take note that a connection leaves; it still has its subscriptions."""


class Observers:
    """Several who follow what becomes of connections, as one."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def identity_changed(self, connection: Connection, room: Room, before: Identity) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.identity_changed(connection, room, before)

    def leaving(self, connection: Connection, room: Room) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.leaving(connection, room)


class Registry:
    """The rooms of a hub and the connections in them. Used from the event loop only."""

    def __init__(
        self,
        watcher: Watcher,
        load_project: LoadProject,
        stats: Stats,
        observer: Observer,
        *,
        turn_s: int,
        loop_time: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._watcher = watcher
        self._load_project = load_project
        self._stats = stats
        self._observer = observer
        self._loop_time = loop_time
        self._clock = clock
        self._turn_s = turn_s
        self.rooms: dict[str, Room] = {}
        self._numbers = itertools.count(1)
        # Guard the making and unmaking of a project's room. A fixed number, since strangers choose the names.
        self._locks = [asyncio.Lock() for _ in range(64)]
        # Every greeted connection, for the heartbeat.
        self.wheel: Wheel[Connection] = Wheel(turn_s)
        # Connections whose identity ends before the heartbeat comes round again.
        self.expiring: ExpiryQueue[Connection] = ExpiryQueue()

    @property
    def connection_count(self) -> int:
        """How many connections have been greeted and are open."""
        return len(self.wheel)

    @property
    def subscription_count(self) -> int:
        """How many subscriptions they have."""
        return sum(room.index.subscription_count for room in self.rooms.values())

    # Rooms.

    async def enter(self, project_id: str) -> Room | None:
        """Return the room of a project, pinned until :meth:`unpin`; None if there is no such project.

        Raises ``redis.RedisError`` when Redis is out of reach and the room does not exist yet.
        """
        room = self.rooms.get(project_id)
        if room is None or not room.is_watched:
            async with self._lock(project_id):
                room = self.rooms.get(project_id) or await self._make(project_id)
        if room is None or room.is_deleted:
            return None
        room.pins += 1
        return room

    async def _make(self, project_id: str) -> Room | None:
        project = await self._load_project(project_id)
        if project is None:
            return None
        room = Room(project)
        # In place before the channel is watched, so that nothing that arrives meanwhile is lost.
        self.rooms[project_id] = room
        try:
            position = await self._watcher.watch(project_id)
        except BaseException:
            del self.rooms[project_id]
            raise
        if room.position == "0-0":
            room.position = position
        room.is_watched = True
        room.idle_since = self._loop_time()
        return room

    def unpin(self, room: Room) -> None:
        """Let go of a room that :meth:`enter` returned."""
        room.pins -= 1
        if room.is_empty:
            room.idle_since = self._loop_time()

    async def reap(self) -> None:
        """Stop listening for projects that nobody has been connected to for a while."""
        now = self._loop_time()
        for project_id, room in list(self.rooms.items()):
            room.forget_former(now)
            if room.is_empty and room.idle_since is not None and now - room.idle_since > ROOM_LINGER_S:
                await self._unmake(project_id, room)

    async def _unmake(self, project_id: str, room: Room) -> None:
        async with self._lock(project_id):
            if room.is_empty and self.rooms.get(project_id) is room:
                del self.rooms[project_id]
                await self._watcher.unwatch(project_id)

    def _lock(self, project_id: str) -> asyncio.Lock:
        return self._locks[hash(project_id) % len(self._locks)]

    # Connections.

    def admit(self, connection: Connection, room: Room, identity: Identity) -> None:
        """Let a connection into its project's room; from now on it can be subscribed."""
        connection.number = next(self._numbers)
        connection.room = room
        connection.identity = identity
        connection.roles = identity.roles
        room.connections[connection] = None
        room.idle_since = None
        room.index.add(connection)
        room.link(connection)
        self.wheel.add(connection)
        self.watch_expiry(connection)
        self._stats.count("realtime_connections_opened")

    def set_identity(self, connection: Connection, identity: Identity, *, announced: bool = False) -> None:
        """Make a connection act as ``identity`` from now on. Its subscriptions stay.

        Its account channels follow to another user (wire specification 5.3). With ``announced``, roles that are
        lost are kept for a moment, for the event that announces the loss (16.12).
        """
        room, old = connection.room, connection.identity
        if room is None:
            return
        room.unlink(connection)
        connection.identity = identity
        room.link(connection)
        if identity.user_id and identity.user_id != old.user_id:
            room.index.rebind(connection, lambda channel: rebind(channel, old.user_id, identity.user_id))
        if old.roles != identity.roles:
            room.index.set_roles(connection, identity.roles)
            if announced and old.user_id and not old.roles <= identity.roles:
                until = self._loop_time() + FORMER_LIFETIME_S
                room.remember_former(old.user_id, Former(connection, old.roles, until))
        self.watch_expiry(connection)
        self._observer.identity_changed(connection, room, old)

    def watch_expiry(self, connection: Connection) -> None:
        """Queue a connection whose identity ends before its next heartbeat; later ones would only take memory."""
        expires_at = connection.identity.expires_at
        if expires_at is not None and expires_at - self._clock() <= 2 * self._turn_s:
            self.expiring.add(expires_at, connection)

    def leave(self, connection: Connection, reason: str) -> None:
        """Take a connection out of its room; ``reason`` is for metrics and logs. Idempotent."""
        connection.closed = True
        room = connection.room
        if room is None:
            return
        self._observer.leaving(connection, room)
        connection.room = None
        self.wheel.remove(connection)
        room.unlink(connection)
        room.index.remove(connection)
        del room.connections[connection]
        if room.is_empty:
            room.idle_since = self._loop_time()
        self._stats.count("realtime_connections_closed", reason)
        log.info(
            "connection closed",
            project=room.project.id,
            user=connection.identity.user_id or None,
            peer=connection.peer,
            reason=reason,
        )

    def end(self, connection: Connection, code: CloseCode, text: str = "", *, reason: str) -> None:
        """Take a connection out of its room and close it with ``code``."""
        if not connection.closed:
            self.leave(connection, reason)
            connection.wire.close(code, text)

    def refuse(self, connection: Connection, error: ClientError) -> None:
        """Tell a client what is wrong with its message, and close it if the rule that it broke says so."""
        self._stats.count("realtime_message_errors", error.type)
        connection.wire.send(text_frame(encode_error(error.code, str(error))))
        if error.close_code is not None:
            self.end(connection, error.close_code, str(error), reason=error.type)
