"""Answering what a client sends: wire specification 4.

Messages of one connection are dealt with one after the other, since SDKs send an authentication and the subscribe
that relies on it without waiting in between. Only authentication waits for anything; while it does, further messages
queue up in the connection's inbox.
"""

import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import structlog
from redis.exceptions import RedisError

from realtime.channels import convert
from realtime.errors import ClientError, ErrorKind
from realtime.hub.connection import Connection
from realtime.hub.frames import text_frame
from realtime.hub.limits import message_limits, window_of
from realtime.hub.metrics import Stats
from realtime.hub.registry import CONSOLE, Registry
from realtime.hub.room import Room
from realtime.identity.resolver import Resolver
from realtime.messages import (
    PONG,
    Authentication,
    Ping,
    Presence,
    Subscribe,
    Subscribed,
    SubscribeItem,
    Unsubscribe,
    encode_authenticated,
    encode_error,
    encode_subscribed,
    encode_unsubscribed,
    parse_message,
)
from realtime.settings import Settings

log = structlog.get_logger("realtime.hub")

_INBOX_LIMIT = 16
"""Messages that may wait on one connection before the hub stops reading from it."""

_TAIL = "console.tail."

_ON_CONNECTION = "subscriptions are allowed on a connection"
_IN_SUBSCRIPTION = "channels are allowed in a subscription"

_PONG_FRAME = text_frame(PONG)


class Conversation:
    """Answers the messages of all connections of a hub."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        resolver: Resolver,
        stats: Stats,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        clock: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._resolver = resolver
        self._stats = stats
        self._spawn = spawn
        self._clock = clock
        self._messages_per_minute = settings.messages_per_minute
        self._max_subscriptions = settings.subscriptions_per_connection
        self._max_conditions = settings.conditions_per_connection
        self._limits = message_limits(settings)

    def receive(self, connection: Connection, message: bytes) -> None:
        """Take a message (UTF-8 text): answer it now, or when those before it have been answered."""
        if connection.inbox is not None:
            connection.inbox.append(message)
            if len(connection.inbox) == _INBOX_LIMIT:
                connection.wire.pause_reading()
            return
        pending = self._answer(connection, message)
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
            if len(inbox) == _INBOX_LIMIT - 1:
                connection.wire.resume_reading()
        connection.inbox = None

    async def _finish(self, connection: Connection, pending: Coroutine[Any, Any, None]) -> None:
        await pending
        await self.work_off(connection)

    def _answer(self, connection: Connection, message: bytes) -> Coroutine[Any, Any, None] | None:
        """Answer one message; or return what has to be awaited for that."""
        if connection.closed:
            return None
        try:
            self._count(connection)
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
            connection.wire.send(text_frame(self._answer_in_room(connection, room, parsed)))
        except ClientError as error:
            self._refuse(connection, error)
        except Exception:
            log.exception("answering a message failed")
            self._refuse(connection, ClientError(ErrorKind.SERVER_ERROR))
        return None

    def _answer_in_room(
        self, connection: Connection, room: Room, message: Subscribe | Unsubscribe | Presence
    ) -> bytes:
        if isinstance(message, Subscribe):
            return self._subscribe(connection, room, message)
        if isinstance(message, Unsubscribe):
            removed = [(id_, room.index.unsubscribe(connection, id_)) for id_ in message.ids]
            return encode_unsubscribed(removed)
        return self._presence(connection, room)

    def _count(self, connection: Connection) -> None:
        """Count the message against the limit, whatever it turns out to be (wire specification 4.1, step 1)."""
        if not self._messages_per_minute:
            return
        window = window_of(self._clock())
        if window != connection.messages_window:
            connection.messages_window = window
            connection.messages = 0
        connection.messages += 1
        if connection.messages > self._messages_per_minute:
            raise ClientError(ErrorKind.TOO_MANY_MESSAGES)

    def _refuse(self, connection: Connection, error: ClientError) -> None:
        self._stats.count("realtime_message_errors", error.type)
        connection.wire.send(text_frame(encode_error(error.code, str(error))))
        if error.close_code is not None:
            self._registry.end(connection, error.close_code, str(error), reason=error.type)

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
            self._refuse(connection, error)
        except RedisError as error:
            log.warning("a session could not be checked", error=repr(error))
            self._refuse(connection, ClientError(ErrorKind.UNAVAILABLE))
        except Exception:
            log.exception("authenticating a connection failed")
            self._refuse(connection, ClientError(ErrorKind.SERVER_ERROR))
        else:
            if not connection.closed:
                self._registry.set_identity(connection, identity)
                connection.wire.send(text_frame(encode_authenticated(identity.account)))

    # Subscriptions (4.3).

    def _subscribe(self, connection: Connection, room: Room, message: Subscribe) -> bytes:
        """Register all items or none; the response lists them in order."""
        self._check_tails(room, message)
        items = [(item.subscription_id or secrets.token_hex(10), item) for item in message.items]
        self._check_count(connection, items)
        return encode_subscribed(
            [self._register(connection, room, subscription_id, item) for subscription_id, item in items],
            room.position,
        )

    def _register(
        self, connection: Connection, room: Room, subscription_id: str, item: SubscribeItem
    ) -> Subscribed:
        channels = convert(item.channels, connection.identity.user_id)
        if channels:
            room.index.subscribe(connection, subscription_id, channels, item.filter)
        # Nothing is replayed yet, and a client that asks for it must not believe so: it has to reload.
        recovered = False if item.since is not None else None
        return Subscribed(subscription_id, channels, item.queries, recovered)

    def _check_count(self, connection: Connection, items: Sequence[tuple[str, SubscribeItem]]) -> None:
        """Check what the connection would have afterwards: items add to subscriptions that exist (4.3)."""
        channels = {
            subscription_id: _requested(connection.subscriptions[subscription_id].channels)
            for subscription_id, _ in items
            if subscription_id in connection.subscriptions
        }
        for subscription_id, item in items:
            channels.setdefault(subscription_id, set()).update(item.channels)
        self._check_limit(
            len({*connection.subscriptions, *channels}), self._max_subscriptions, _ON_CONNECTION
        )
        for names in channels.values():
            self._check_limit(len(names), self._limits.max_channels, _IN_SUBSCRIPTION)
        added = {item.filter for _, item in items if item.filter is not None}
        cost = connection.query_cost + sum(query.cost for query in added)
        self._check_limit(cost, self._max_conditions, "conditions are allowed in the queries of a connection")

    def _check_limit(self, count: int, limit: int, what: str) -> None:
        if limit and count > limit:
            raise ClientError(ErrorKind.LIMIT_EXCEEDED, reason=f"At most {limit} {what}.")

    def _check_tails(self, room: Room, message: Subscribe) -> None:
        """Refuse console tails (4.7): they need a console, whose teams own the projects."""
        for item in message.items:
            for channel in item.channels:
                if channel.startswith(_TAIL):
                    if room.project.id != CONSOLE.id:
                        raise ClientError(ErrorKind.TAIL_NOT_CONSOLE)
                    raise ClientError(ErrorKind.TAIL_REFUSED, project=channel.removeprefix(_TAIL))

    # Presences (13.4).

    def _presence(self, connection: Connection, room: Room) -> bytes:
        """Refuse a presence, for the first of the reasons that applies."""
        if room.project.id == CONSOLE.id:
            raise ClientError(ErrorKind.PRESENCE_NO_PROJECT)
        if not connection.identity.user_id:
            raise ClientError(ErrorKind.PRESENCE_NO_USER)
        raise ClientError(ErrorKind.PRESENCE_UNSUPPORTED)


def _requested(channels: Iterable[str]) -> set[str]:
    """Return the channels of a subscription without those that stand for ``account`` (wire specification 5.2)."""
    return {channel for channel in channels if not channel.startswith("account.")}
