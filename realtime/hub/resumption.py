"""How a subscription returns under its ID after its connection was lost, to this hub or to another.

SDKs make the IDs of subscriptions themselves and use them again when they reconnect (wire specification 16.5). So a
record in Redis, under who made it, says from where each goes on. That is the last position up to which its client
has confirmed everything, as far as anybody knows:

- While a connection is open and answers, its hub's *floor* stands for it: one position for all such connections of a
  project, written once a round at most, and only while events flow.
- A connection that is late with its answers, or has just been sent a replay, has a position of its own in the record,
  so that it does not hold the floor back; and so has one that ended, whose position is known exactly.
- When a hub dies, what its records say remains: its clients go on from the floor, wherever they turn up.

Every record errs towards the past. So nothing is missed, and what may come twice was sent and not yet confirmed.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import structlog

from realtime.bus.positions import parse_position
from realtime.bus.resumption import Holder, ResumeRecords
from realtime.hub.confirm import Confirmations
from realtime.hub.connection import Connection
from realtime.hub.frames import PING_FRAME, ping_frame
from realtime.hub.index import Subscription
from realtime.hub.room import Room
from realtime.identity.model import Identity

log = structlog.get_logger("realtime.hub")

MIN_ID_CHARS = 16
"""IDs of fewer characters may well be used by several clients at once, such as ``feed``: they do not return."""

_MIN_ROUND_S = 0.1
_MAX_ROUND_S = 2.0
_ASKING_S = 0.001
"""A round comes so long after the last one for each connection that was asked then, so that asking stays cheap: it
takes 7 % of the CPU time of fan-out to 1,000 connections (benchmarks/fanout.py, with and without "by URL")."""

_PATIENCE_S = 1.0
"""How late an answer may be before the connection gets a position of its own."""


class Resumption:
    """Keeps track of what the connections of a hub have received, and of where their subscriptions go on.

    Used from one event loop.

    Args:
        records: What all hubs know; None if subscriptions do not return by themselves.
        loop_time: The event loop's clock, in seconds.
    """

    def __init__(self, records: ResumeRecords | None, *, loop_time: Callable[[], float]) -> None:
        self._records = records
        self._loop_time = loop_time
        # Rooms in which something was sent and is not confirmed.
        self._unsettled: dict[Room, None] = {}
        # Late with their answers: their records hold a position of their own.
        self._held: dict[Connection, None] = {}
        # Are being sent a replay, or have not confirmed all of it.
        self._replays: dict[Connection, _Progress] = {}
        # Have left their room, and may still confirm what they were sent before.
        self._parting: dict[Connection, _Parting] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._round_s = _MIN_ROUND_S

    # Called by the registry.

    def leaving(self, connection: Connection, room: Room) -> None:
        """Record where the subscriptions of a connection go on that is about to leave its room."""
        if connection not in self._parting:
            self._let_go(connection, _Parting(room, room.position, _returning(connection)))

    def identity_changed(self, connection: Connection, room: Room, before: Identity) -> None:
        """Let the subscriptions return to whom the connection acts as now, and not to ``before``."""
        owner = _owner(before)
        if self._records is None or _owner(connection.identity) == owner:
            return
        for subscription in _returning(connection):
            self._records.forget(room.project.id, [subscription.id], Holder(connection.number, owner))
            self._write(connection, room, subscription)

    # Called by the conversation.

    async def claim(self, connection: Connection, room: Room, ids: Sequence[str]) -> dict[str, str]:
        """Take over those of the subscriptions that return; return from where each of them goes on.

        ``ids`` are IDs that :meth:`may_return` says yes to. Waits for as long as Redis is away.

        Raises:
            redis.RedisError: Too much waits for Redis already.
        """
        if self._records is None or not ids:
            return {}
        if room.confirmations is None:
            # Rooms of clients whose subscriptions do not return are spared all of this.
            room.confirmations = Confirmations(room.position, lambda: self._wake(room))
        position, holder = room.position, _holder(connection)
        found = await self._records.claim(
            room.project.id, ids, holder, position, lambda: connection.room is room
        )
        if connection.room is not room:
            # It went while this waited: new ones return to the beginning, since nothing was sent.
            new = [each for each, since in zip(ids, found, strict=True) if since is None]
            self._records.hold(room.project.id, new, holder, position)
        return {each: since for each, since in zip(ids, found, strict=True) if since is not None}

    def may_return(self, subscription_id: str) -> bool:
        """Tell whether a subscription with this ID, which its client made, returns by itself."""
        return self._records is not None and len(subscription_id) >= MIN_ID_CHARS

    def replaying(
        self, connection: Connection, room: Room, since: Mapping[str, str], claimed: Mapping[str, str]
    ) -> None:
        """Follow a replay that begins.

        ``since`` says from where, for each of its subscriptions that return by themselves; ``claimed`` is what
        :meth:`claim` returned, since a client may want to begin elsewhere.
        """
        if self._records is None or not since:
            return
        self._replays[connection] = _Progress(dict(since))
        for subscription_id, position in since.items():
            if claimed.get(subscription_id) != position:
                self._records.hold(room.project.id, [subscription_id], _holder(connection), position)

    def replayed(self, connection: Connection, room: Room, position: str) -> None:
        """Note that a replay has come to ``position``, and let the client confirm that."""
        progress = self._replays.get(connection)
        if progress is not None and room.confirmations is not None:
            progress.sent_to = position
            # One step is asked for at a time: if each page was another one, none would be answered in time.
            if progress.reached is None:
                progress.reached = room.confirmations.number, position
            room.sent({connection: None})

    def registered(self, connection: Connection, room: Room, subscription: Subscription) -> None:
        """Follow a subscription that returns by itself and is live from now on."""
        progress = self._replays.get(connection)
        if progress is None or subscription.id not in progress.confirmed or room.confirmations is None:
            subscription.since = ""
            return
        subscription.since = progress.confirmed[subscription.id]
        progress.is_over = True
        progress.reached = room.confirmations.number, room.position
        room.sent({connection: None})

    def begun_anew(self, connection: Connection, room: Room, subscription: Subscription) -> None:
        """Follow a subscription that could not go on from where its record said."""
        subscription.since = ""
        self._write(connection, room, subscription)

    def unsubscribed(self, connection: Connection, room: Room, subscription_id: str) -> None:
        """Forget a subscription that its client ended."""
        if self._records is not None and self.may_return(subscription_id):
            self._records.forget(room.project.id, [subscription_id], _holder(connection))

    # Called by the hub.

    def ponged(self, connection: Connection, payload: bytes) -> None:
        """Take the answer to a ping: the client has received everything that was sent before that ping."""
        parting = self._parting.get(connection)
        room = parting.room if parting else connection.room
        if room is None or room.confirmations is None or self._records is None:
            return
        number = room.confirmations.answered(connection, payload)
        if not number:
            return
        has_caught_up = self._confirm_replay(connection, room, number)
        if parting:
            self.gone(connection)
            return
        was_held = connection in self._held
        if was_held and room.confirmations.is_settled(connection):
            # Not before: the floor is ahead of a connection that is held.
            del self._held[connection]
        if has_caught_up or was_held:
            for subscription in _returning(connection):
                self._write(connection, room, subscription)
        if room.confirmations.all_settled:
            self._wake(room)

    def _confirm_replay(self, connection: Connection, room: Room, number: int) -> bool:
        """Note how much of a replay the answer to a question confirms; return whether that is all of it."""
        progress = self._replays.get(connection)
        if progress is None or progress.reached is None or number <= progress.reached[0]:
            return False
        position, progress.reached = progress.reached[1], None
        if progress.is_over:
            del self._replays[connection]
            for subscription in [*_returning(connection), *self._parted(connection)]:
                subscription.since = ""
            return True
        assert self._records is not None  # noqa: S101 - nobody claims a subscription without
        for subscription_id, since in progress.confirmed.items():
            if parse_position(since) < parse_position(position):
                progress.confirmed[subscription_id] = position
                self._records.hold(room.project.id, [subscription_id], _holder(connection), position)
        return False

    def _parted(self, connection: Connection) -> list[Subscription]:
        parting = self._parting.get(connection)
        return parting.subscriptions if parting else []

    def heartbeat(self, connection: Connection) -> bytes:
        """Return the ping of a connection's heartbeat; it asks again what an earlier one asked."""
        room = connection.room
        if room is None or room.confirmations is None or not self._matters(connection):
            return PING_FRAME
        payload = room.confirmations.ask(connection, room.position, self._loop_time())
        return PING_FRAME if payload is None else ping_frame(payload)

    def renew(self, connection: Connection) -> None:
        """Let the records of a connection live on."""
        room = connection.room
        ids = [subscription.id for subscription in _returning(connection)]
        if room is not None and self._records is not None and ids:
            self._records.renew(room.project.id, ids, _owner(connection.identity))
            room.floor = ""

    def keep_up(self, room: Room) -> None:
        """Let the floor follow a room whose connections have confirmed everything; to be called now and then.

        Otherwise the log could be trimmed past it, by events that are for nobody here.
        """
        if room.confirmations is not None and room.confirmations.all_settled:
            self._set_floor(room, room.position)

    def part(self, connection: Connection) -> None:
        """Ask a connection that is about to leave, because the server stops, what it has received.

        If there is something to wait for, it :meth:`is_parting` until it has answered, or until :meth:`gone`.
        """
        room = connection.room
        if room is None or room.confirmations is None or not self._matters(connection):
            return
        progress = self._replays.get(connection)
        if progress is not None and progress.sent_to:
            # It gets no more: what it has is all of that.
            progress.reached = room.confirmations.number, progress.sent_to
        payload = room.confirmations.ask(connection, room.position, self._loop_time())
        if payload is not None:
            self._parting[connection] = _Parting(room, room.position, _returning(connection))
            connection.wire.send(ping_frame(payload))

    def is_parting(self, connection: Connection) -> bool:
        """Tell whether a connection that has left may still confirm something."""
        return connection in self._parting

    def gone(self, connection: Connection) -> None:
        """Stop waiting for the answer of a connection that has left. No effect if nobody waits."""
        parting = self._parting.pop(connection, None)
        if parting is not None:
            self._let_go(connection, parting)

    def stop(self) -> None:
        """Ask nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Rounds.

    def _wake(self, room: Room) -> None:
        self._unsettled[room] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._round_s, self._round)

    def _round(self) -> None:
        """Ask everybody who was sent something, and write up to where all have confirmed it."""
        self._timer = None
        rooms, self._unsettled = self._unsettled, {}
        asked = 0
        for room in rooms:
            try:
                asked += self._ask_all(room)
            except Exception:
                log.exception("a round of questions failed", project=room.project.id)
        self._round_s = min(max(_MIN_ROUND_S, asked * _ASKING_S), _MAX_ROUND_S)
        for room in rooms:
            if room.confirmations is not None and not room.confirmations.only_waits_for(self._held):
                self._wake(room)

    def _ask_all(self, room: Room) -> int:
        """Begin a room's round; return how many were asked."""
        confirmations, now = room.confirmations, self._loop_time()
        assert confirmations is not None  # noqa: S101 - rooms without never wake
        for late in confirmations.overdue(now - _PATIENCE_S):
            if late not in self._held:
                self._held[late] = None
                for subscription in _returning(late):
                    self._write(late, room, subscription)
        payload, asked = confirmations.ask_all(room.position, now, self._matters)
        if asked:
            frame = ping_frame(payload)
            for connection in asked:
                connection.wire.send(frame)
        self._set_floor(room, confirmations.floor(room.position, self._held))
        return len(asked)

    def _set_floor(self, room: Room, position: str) -> None:
        if self._records is not None and room.floor != position:
            room.floor = position
            self._records.set_floor(room.project.id, position)

    def _matters(self, connection: Connection) -> bool:
        """Tell whether anybody will ever want to know what a connection has received."""
        return connection in self._replays or any(
            each.since is not None for each in connection.subscriptions.values()
        )

    def _let_go(self, connection: Connection, parting: "_Parting") -> None:
        """Record where the subscriptions of a connection that has left go on."""
        room = parting.room
        self._held.pop(connection, None)
        self._replays.pop(connection, None)
        if room.confirmations is None or self._records is None:
            return
        confirmed = room.confirmations.confirmed(connection, parting.position)
        room.confirmations.forget(connection)
        for each in parting.subscriptions:
            self._records.hold(room.project.id, [each.id], _holder(connection), each.since or confirmed)

    def _write(self, connection: Connection, room: Room, subscription: Subscription) -> None:
        """Bring the record of a subscription up to date."""
        confirmations, records = room.confirmations, self._records
        assert confirmations is not None and records is not None  # noqa: S101, PT018 - both are there or neither
        confirmed = confirmations.confirmed(connection, room.position)
        if subscription.since or connection in self._held:
            position = subscription.since or confirmed
            records.hold(room.project.id, [subscription.id], _holder(connection), position)
        else:
            records.follow(room.project.id, [subscription.id], _holder(connection), confirmed)


class _Progress:
    """How far a connection has confirmed a replay."""

    __slots__ = ("confirmed", "is_over", "reached", "sent_to")

    def __init__(self, since: dict[str, str]) -> None:
        # Subscription ID -> up to where it is confirmed; for those that return by themselves.
        self.confirmed = since
        # Up to where it was sent; empty before its first page.
        self.sent_to = ""
        # The number of the latest question when the replay had come somewhere, and where; None if that is confirmed.
        self.reached: tuple[int, str] | None = None
        # Whether the subscriptions are live: what is confirmed next is all of it.
        self.is_over = False


class _Parting(NamedTuple):
    """What a connection leaves behind."""

    room: Room
    position: str
    """Where the room was when it was last sent something."""
    subscriptions: list[Subscription]


def _returning(connection: Connection) -> list[Subscription]:
    """Return the subscriptions of a connection that return by themselves."""
    return [each for each in connection.subscriptions.values() if each.since is not None]


def _holder(connection: Connection) -> Holder:
    return Holder(connection.number, _owner(connection.identity))


def _owner(identity: Identity) -> str:
    """Name whom a connection acts as; a digest, since a token's subject may be any text."""
    who = f"key:{identity.key_id}" if identity.key_id else f"user:{identity.user_id}"
    return sha256(who.encode()).hexdigest()[:16]
