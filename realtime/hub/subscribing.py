"""Making, changing and ending subscriptions: wire specification 4.3, 4.4 and 16.4.

Most messages are answered at once. One whose subscriptions may go on from somewhere, because it says so or because
their IDs have been seen before, waits for Redis: then the answer comes first, and what was missed follows.
"""

import contextlib
import secrets
from collections.abc import Collection, Coroutine, Iterable, Mapping
from typing import Any

import structlog
from redis.exceptions import RedisError

from realtime.bus import RedisBus
from realtime.bus.positions import parse_position
from realtime.channels import convert
from realtime.errors import ClientError, CloseCode, ErrorKind
from realtime.hub.connection import Connection
from realtime.hub.deflate import Compressor
from realtime.hub.frames import text_frame
from realtime.hub.limits import message_limits
from realtime.hub.log_window import LogWindows
from realtime.hub.metrics import Stats
from realtime.hub.registry import CONSOLE, Registry
from realtime.hub.replay import ConnectionGoneError, Replay, Turns
from realtime.hub.resumption import Resumption
from realtime.hub.room import Room
from realtime.messages import (
    Subscribe,
    Subscribed,
    SubscribeItem,
    Unsubscribe,
    encode_subscribed,
    encode_unsubscribed,
)
from realtime.settings import Settings

log = structlog.get_logger("realtime.hub")

_TAIL = "console.tail."

_ON_CONNECTION = "subscriptions are allowed on a connection"
_IN_SUBSCRIPTION = "channels are allowed in a subscription"

_Items = list[tuple[str, SubscribeItem]]


class Subscribing:
    """Answers the messages of a hub's connections that are about subscriptions."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        bus: RedisBus,
        resumption: Resumption,
        stats: Stats,
        *,
        compressor: Compressor | None,
    ) -> None:
        self._registry = registry
        self._windows = LogWindows(bus, compressor)
        self._turns = Turns()
        self._resumption = resumption
        self._stats = stats
        self._replays = settings.resume != "off"
        self._buffer_bytes = settings.send_buffer_bytes // 2
        self._max_subscriptions = settings.subscriptions_per_connection
        self._max_conditions = settings.conditions_per_connection
        self._limits = message_limits(settings)

    # Subscribing (4.3).

    def subscribe(
        self, connection: Connection, room: Room, message: Subscribe
    ) -> Coroutine[Any, Any, None] | None:
        """Register all items or none, and answer; or return what has to be awaited for that.

        Raises:
            ClientError: A rule is broken; nothing was registered.
        """
        self._check_tails(room, message)
        items = [(item.subscription_id or secrets.token_hex(10), item) for item in message.items]
        self._check_count(connection, items)
        if self._waits(connection, message):
            return self._go_on(connection, room, items)
        response = [self._register(connection, room, each, item) for each, item in items]
        connection.wire.send(text_frame(encode_subscribed(response, room.position)))
        return None

    def _waits(self, connection: Connection, message: Subscribe) -> bool:
        """Tell whether an item may have to go on from where an earlier connection was."""
        return self._replays and any(
            item.channels
            and (
                item.since is not None
                or (self._returns(item) and item.subscription_id not in connection.subscriptions)
            )
            for item in message.items
        )

    def _returns(self, item: SubscribeItem) -> bool:
        return item.subscription_id is not None and self._resumption.may_return(item.subscription_id)

    def _register(
        self, connection: Connection, room: Room, subscription_id: str, item: SubscribeItem
    ) -> Subscribed:
        """Let a subscription begin now."""
        channels = convert(item.channels, connection.identity.user_id)
        if channels:
            room.index.subscribe(connection, subscription_id, channels, item.filter)
        # Whoever asks for a replay that there is none of must not believe that it has everything.
        recovered = False if item.since is not None else None
        return Subscribed(subscription_id, channels, item.queries, recovered)

    async def _go_on(self, connection: Connection, room: Room, items: _Items) -> None:
        try:
            await self._resume(connection, room, items)
        except ConnectionGoneError:
            log.debug("a client left while events were replayed", project=room.project.id)
        except RedisError as error:
            log.warning("subscriptions could not be resumed", project=room.project.id, error=repr(error))
            self._registry.refuse(connection, ClientError(ErrorKind.UNAVAILABLE))
        except Exception:
            log.exception("subscribing failed")
            self._registry.refuse(connection, ClientError(ErrorKind.SERVER_ERROR))

    async def _resume(self, connection: Connection, room: Room, items: _Items) -> None:
        """Answer, replay what was missed, and go live."""
        user_id = connection.identity.user_id
        own = dict.fromkeys(
            [each for each, item in items if self._returns(item) and convert(item.channels, user_id)]
        )
        claimable = [each for each in own if each not in connection.subscriptions]
        returning = await self._resumption.claim(connection, room, claimable)
        if connection.room is not room:
            raise ConnectionGoneError
        since = returning | _wanted(items)
        if not since:
            self._answer(connection, room, items, {})
            self._follow(connection, room, own)
            return
        with self._windows.open(room.project.id) as window:
            replay = Replay(
                window,
                room,
                connection,
                stats=self._stats,
                turns=self._turns,
                buffer_bytes=self._buffer_bytes,
                on_progress=lambda position: self._resumption.replayed(connection, room, position),
                give_up=lambda: self._give_up(connection),
            )
            with contextlib.closing(replay):
                await self._replay(connection, room, items, replay, own, returning, since)

    async def _replay(
        self,
        connection: Connection,
        room: Room,
        items: _Items,
        replay: Replay,
        own: Collection[str],
        returning: Mapping[str, str],
        since: Mapping[str, str],
    ) -> None:
        for each, item in items:
            channels = convert(item.channels, connection.identity.user_id)
            if each in since and channels:
                replay.add(each, channels, item.filter, since[each])
        recovered = await replay.check()
        resumed = {each: since[each] for each in own if recovered.get(each)}
        self._answer(connection, room, items, recovered)
        self._follow(connection, room, [each for each in own if each not in recovered])
        for each in own:
            if recovered.get(each) is False:
                self._resumption.begun_anew(connection, room, connection.subscriptions[each])
        self._resumption.replaying(connection, room, resumed, returning)
        await replay.run()
        self._follow(connection, room, resumed)

    def _answer(
        self, connection: Connection, room: Room, items: _Items, recovered: Mapping[str, bool]
    ) -> None:
        """Let subscriptions begin now, but for those of a replay: for these, ``recovered`` says how that went."""
        response = []
        for each, item in items:
            if each in recovered:
                channels = convert(item.channels, connection.identity.user_id)
                response.append(Subscribed(each, channels, item.queries, recovered[each]))
            else:
                response.append(self._register(connection, room, each, item))
        connection.wire.send(text_frame(encode_subscribed(response, room.position)))

    def _follow(self, connection: Connection, room: Room, ids: Iterable[str]) -> None:
        """Let subscriptions return by themselves."""
        for each in ids:
            self._resumption.registered(connection, room, connection.subscriptions[each])

    def _give_up(self, connection: Connection) -> None:
        self._registry.end(connection, CloseCode.TRY_AGAIN_LATER, "Too slow.", reason="too_slow")

    def _check_count(self, connection: Connection, items: _Items) -> None:
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

    # Unsubscribing (4.4).

    def unsubscribe(self, connection: Connection, room: Room, message: Unsubscribe) -> bytes:
        """End subscriptions; return the answer."""
        removed = []
        for subscription_id in message.ids:
            was_there = room.index.unsubscribe(connection, subscription_id)
            if was_there:
                self._resumption.unsubscribed(connection, room, subscription_id)
            removed.append((subscription_id, was_there))
        return encode_unsubscribed(removed)


def _requested(channels: Iterable[str]) -> set[str]:
    """Return the channels of a subscription without those that stand for ``account`` (wire specification 5.2)."""
    return {channel for channel in channels if not channel.startswith("account.")}


def _wanted(items: _Items) -> dict[str, str]:
    """Return from where each subscription is to go on that says so; from the earliest if it does so twice."""
    wanted: dict[str, str] = {}
    for each, item in items:
        if item.since is not None:
            wanted[each] = min(item.since, wanted.get(each, item.since), key=parse_position)
    return wanted
