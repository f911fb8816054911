"""Answering what a client sends: wire specification 4.

Messages of one connection are dealt with one after the other, since SDKs send an authentication and the subscribe
that relies on it without waiting in between. Authentication, presences and subscribing may wait for Redis, or for a
client that is replayed a great deal; while they do, further messages queue up in the connection's inbox. A ping does
not: it asks whether somebody is there.
"""

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from redis.exceptions import RedisError

from realtime.errors import ClientError, ErrorKind
from realtime.hub.connection import Connection
from realtime.hub.frames import text_frame
from realtime.hub.limits import message_limits, window_of
from realtime.hub.metrics import Stats
from realtime.hub.presences import Presences
from realtime.hub.registry import Registry
from realtime.hub.room import Room
from realtime.hub.subscribing import Subscribing
from realtime.identity.resolver import Resolver
from realtime.messages import (
    PONG,
    Authentication,
    Ping,
    Presence,
    Subscribe,
    encode_authenticated,
    parse_message,
)
from realtime.settings import Settings

log = structlog.get_logger("realtime.hub")

_INBOX_LIMIT = 16
"""Messages that may wait on one connection before the hub stops reading from it."""

_PING_BYTES = 64
"""Longer messages are not looked at ahead of those before them."""

_PONG_FRAME = text_frame(PONG)


class Conversation:
    """Answers the messages of all connections of a hub."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        resolver: Resolver,
        subscribing: Subscribing,
        presences: Presences,
        stats: Stats,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        clock: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._resolver = resolver
        self._subscribing = subscribing
        self._presences = presences
        self._stats = stats
        self._spawn = spawn
        self._clock = clock
        self._messages_per_minute = settings.messages_per_minute
        self._limits = message_limits(settings)

    def receive(self, connection: Connection, message: bytes) -> None:
        """Take a message (UTF-8 text): answer it now, or when those before it have been answered."""
        excess = self._count(connection)
        inbox = connection.inbox
        if inbox is None:
            pending = self._answer(connection, excess or message)
        elif excess is None and connection.room is not None and self._is_ping(message):
            pending = self._answer(connection, message)
        else:
            pending = None
            inbox.append(excess or message)
            if len(inbox) == _INBOX_LIMIT:
                connection.is_paused = True
                connection.wire.pause_reading()
        if pending is not None:
            connection.inbox = deque()
            self._spawn(self._finish(connection, pending))

    async def work_off(self, connection: Connection) -> None:
        """Answer what has come in while the connection was busy, until nothing is left."""
        inbox = connection.inbox
        if inbox is None:
            return
        while inbox and not connection.closed:
            pending = self._answer(connection, inbox.popleft())
            if pending is not None:
                await pending
            if connection.is_paused and len(inbox) < _INBOX_LIMIT:
                connection.is_paused = False
                # What it has answered meanwhile is only read now.
                connection.awaits_pong = False
                connection.wire.resume_reading()
        connection.inbox = None

    async def _finish(self, connection: Connection, pending: Coroutine[Any, Any, None]) -> None:
        await pending
        await self.work_off(connection)

    def _is_ping(self, message: bytes) -> bool:
        if len(message) > _PING_BYTES or b"ping" not in message:
            return False
        try:
            return isinstance(parse_message(message, limits=self._limits), Ping)
        except ClientError:
            return False

    def _answer(
        self, connection: Connection, message: bytes | ClientError
    ) -> Coroutine[Any, Any, None] | None:
        """Answer one message, or refuse one; or return what has to be awaited for that."""
        if connection.closed:
            return None
        try:
            if isinstance(message, ClientError):
                raise message
            parsed = parse_message(message, limits=self._limits)
            self._stats.count("realtime_messages_received", type(parsed).__name__.lower())
            if isinstance(parsed, Ping):
                connection.wire.send(_PONG_FRAME)
                return None
            room = connection.room
            if room is None:
                raise ClientError(ErrorKind.PROJECT_MISSING)
            if isinstance(parsed, Authentication):
                return self._authenticate(connection, room, parsed)
            if isinstance(parsed, Subscribe):
                return self._subscribing.subscribe(connection, room, parsed)
            if isinstance(parsed, Presence):
                return self._set_presence(connection, room, parsed)
            connection.wire.send(text_frame(self._subscribing.unsubscribe(connection, room, parsed)))
        except ClientError as error:
            self._registry.refuse(connection, error)
        except Exception:
            log.exception("answering a message failed")
            self._registry.refuse(connection, ClientError(ErrorKind.SERVER_ERROR))
        return None

    def _count(self, connection: Connection) -> ClientError | None:
        """Count a message when it comes in, whatever it turns out to be; return how it is refused if it is too many.

        Wire specification 4.1, step 1.
        """
        if not self._messages_per_minute:
            return None
        window = window_of(self._clock())
        if window != connection.messages_window:
            connection.messages_window = window
            connection.messages = 0
        connection.messages += 1
        is_excess = connection.messages > self._messages_per_minute
        return ClientError(ErrorKind.TOO_MANY_MESSAGES) if is_excess else None

    # Authentication (4.2).

    async def _authenticate(self, connection: Connection, room: Room, message: Authentication) -> None:
        try:
            if connection.identity.impersonated:
                raise ClientError(ErrorKind.IMPERSONATED)
            while True:
                changes = room.changes
                identity = await self._resolver.authenticate(
                    room.project, session=message.session, jwt=message.jwt, key=message.key
                )
                if room.changes == changes:
                    break
        except ClientError as error:
            self._registry.refuse(connection, error)
        except RedisError as error:
            log.warning("a session could not be checked", error=repr(error))
            self._registry.refuse(connection, ClientError(ErrorKind.UNAVAILABLE))
        except Exception:
            log.exception("authenticating a connection failed")
            self._registry.refuse(connection, ClientError(ErrorKind.SERVER_ERROR))
        else:
            if not connection.closed:
                self._registry.set_identity(connection, identity)
                connection.wire.send(text_frame(encode_authenticated(identity.account)))

    # Presences (13.4).

    async def _set_presence(self, connection: Connection, room: Room, message: Presence) -> None:
        try:
            answer = await self._presences.set(connection, room, message)
        except ClientError as error:
            self._registry.refuse(connection, error)
        except RedisError as error:
            log.warning("a user could not be looked up", error=repr(error))
            self._registry.refuse(connection, ClientError(ErrorKind.UNAVAILABLE))
        except Exception:
            log.exception("setting a presence failed")
            self._registry.refuse(connection, ClientError(ErrorKind.SERVER_ERROR))
        else:
            if answer is not None:
                connection.wire.send(text_frame(answer))
