"""From a live message to the frames of those who subscribed and may read it: the hub's hot path.

Messages of a project are dealt with strictly in their order. Most pass straight through, without a task. One that
may have changed what somebody may read (a membership, a session, a label) first has the identities concerned read
again; messages behind it wait in the room's backlog meanwhile. It is then delivered under the new roles, and to
the person concerned under the former ones as well (wire specification 8.3 and 16.12).
"""

from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, cast

import msgspec
import orjson
import structlog
from redis.exceptions import RedisError

from realtime.errors import CloseCode
from realtime.events.event import IdentityChange, LiveMessage, decode_live
from realtime.hub.connection import Connection
from realtime.hub.frames import EventFrame, text_frame
from realtime.hub.index import Subscription
from realtime.hub.metrics import Stats
from realtime.hub.registry import Registry
from realtime.hub.revocation import concerned_role, may_revoke, precise_name, without_revoked
from realtime.hub.room import FORMER_LIFETIME_S, Room
from realtime.identity.model import GUEST, Identity, Project
from realtime.identity.scopes import roles_of_channels
from realtime.messages import encode_system, event_prefix

log = structlog.get_logger("realtime.hub")

_IDENTITY_FAMILIES = ("users.", "teams.")
"""Events of these families may change what their subject may read."""


class EventParts(msgspec.Struct):
    """The parts of an event's ``data`` that decide who receives it. The rest stays as the bytes it came in."""

    channels: list[str]
    events: list[str] = []
    payload: msgspec.Raw = msgspec.Raw(b"{}")


_decode_parts = msgspec.json.Decoder(EventParts).decode

Refresh = Callable[[Project, Identity], Coroutine[Any, Any, Identity]]
"""Reads an identity again: the same person as they are now, or a guest."""

Receivers = dict[Connection, list[Subscription]]
"""Who is to receive an event, each with the subscriptions that match it."""


class Fanout:
    """Delivers what comes in on live channels to the connections in the rooms of a hub."""

    def __init__(
        self,
        registry: Registry,
        *,
        refresh: Refresh,
        reload_project: Callable[[str], Coroutine[Any, Any, Project | None]],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        stats: Stats,
        loop_time: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._refresh = refresh
        self._reload_project = reload_project
        self._spawn = spawn
        self._stats = stats
        self._loop_time = loop_time

    def receive(self, project_id: str, message: bytes) -> None:
        """Take a message from a project's live channel: deliver it now, or after those before it."""
        room = self._registry.rooms.get(project_id)
        if room is None:
            return
        if room.backlog is not None:
            room.backlog.append(message)
            return
        pending = self._process(room, message)
        if pending is not None:
            room.backlog = deque()
            self._spawn(self._catch_up(room, pending))

    def receive_foreign(self, message: bytes) -> None:
        """Take an envelope that an Appwrite container published for all projects (wire specification 9.2)."""
        try:
            project_id = decode_live(message).project
        except msgspec.MsgspecError:
            self._stats.count("realtime_events_undecodable")
        else:
            self.receive(project_id, message)

    def resumed(self, project_id: str, complete: bool) -> None:
        """Go on after Redis was away: identities may have changed unheard, and events may be missing."""
        room = self._registry.rooms.get(project_id)
        if room is None:
            return
        room.expects_loss = not complete
        self.receive(project_id, b'{"identity":{"all":true,"project":true}}')
        if complete:
            return
        self._stats.count("realtime_gaps")
        log.warning("events may be missing: the log does not reach back", project=project_id)
        notice = text_frame(encode_system("gap", "Events may be missing. Reload what you show."))
        # A copy: sending may give up a connection that does not read.
        for connection in list(room.connections):
            connection.wire.send(notice)

    def flush(self) -> None:
        """Send what was gathered from messages that came in together."""

    async def _catch_up(self, room: Room, pending: Coroutine[Any, Any, None]) -> None:
        """Finish one message that waits for Redis, then those that came in behind it."""
        backlog = room.backlog
        assert backlog is not None  # noqa: S101 - set by receive()
        try:
            await self._finish(pending)
            while backlog:
                await self._finish(self._process_next(room, backlog.popleft()))
        finally:
            room.backlog = None

    async def _process_next(self, room: Room, message: bytes) -> None:
        pending = self._process(room, message)
        if pending is not None:
            await pending

    async def _finish(self, pending: Coroutine[Any, Any, None]) -> None:
        """Wait for ``pending``; a message that cannot be dealt with must not hold up those behind it."""
        try:
            await pending
        except Exception:
            log.exception("a live message was not processed")

    def _process(self, room: Room, message: bytes) -> Coroutine[Any, Any, None] | None:
        """Deliver ``message``; or return what has to be awaited for that, when identities must be read first."""
        try:
            live = decode_live(message)
            parts = _decode_parts(live.data) if live.data else None
        except msgspec.MsgspecError as error:
            self._stats.count("realtime_events_undecodable")
            log.warning("ignored an undecodable message", project=room.project.id, error=str(error))
            return None
        if not _is_text(live.data):
            # A client that gets it has to fail its connection (RFC 6455 section 8.1).
            self._stats.count("realtime_events_undecodable")
            log.warning("ignored an event that is not UTF-8", project=room.project.id)
            return None
        if parts is None:
            return self._identity_changed(room, live)
        self._stats.events_received += 1
        name = precise_name(parts.events)
        concerned = self._concerned(room, live, name)
        if live.identity is not None or any(connection.identity.stored for connection in concerned):
            return self._deliver_after_refresh(room, live, parts, concerned)
        subjects = _subjects(live, concerned)
        self._revoke_tokens(parts, name, concerned)
        self._deliver(room, live, parts, subjects if may_revoke(name) else ())
        return None

    # Identities.

    def _concerned(self, room: Room, live: LiveMessage, name: str) -> list[Connection]:
        """Return the connections whose identity this event may have changed: those of its subject, if it has one.

        A membership or team is also found by the role that goes with it.
        """
        if not (live.permissions_changed or name.startswith(_IDENTITY_FAMILIES)):
            return []
        concerned = dict(room.users.get(live.user_id or "", {}))
        for holder in room.index.holders(concerned_role(name)):
            # Only connections are ever added to a room's index.
            concerned[cast("Connection", holder)] = None
        return list(concerned)

    async def _deliver_after_refresh(
        self, room: Room, live: LiveMessage, parts: EventParts, concerned: list[Connection]
    ) -> None:
        name, subjects = precise_name(parts.events), _subjects(live, concerned)
        if live.identity is not None:
            await self._identity_changed(room, live)
        await self._refresh_all(room, [c for c in concerned if c.identity.stored])
        self._revoke_tokens(parts, name, [c for c in concerned if c.room is room])
        self._deliver(room, live, parts, subjects if may_revoke(name) else ())

    def _revoke_tokens(self, parts: EventParts, name: str, concerned: list[Connection]) -> None:
        """Take what an event says is lost from identities that a token carries, since there is no record to read."""
        payload = _LazyPayload(parts.payload)
        for connection in concerned:
            if not connection.identity.stored:
                identity = without_revoked(connection.identity, name, payload())
                if identity is not connection.identity:
                    self._become(connection, identity)

    async def _identity_changed(self, room: Room, live: LiveMessage) -> None:
        """Follow a change of the read model that its writer announced."""
        change = live.identity or IdentityChange()
        room.changes += 1
        if change.project:
            await self._project_changed(room)
        if change.all:
            await self._refresh_all(room, [c for c in room.connections if c.identity.stored])
        elif change.user:
            concerned = room.users.get(change.user, ())
            await self._refresh_all(room, [c for c in concerned if c.identity.stored])
            room.settle_announced(change.user, self._loop_time())

    async def _project_changed(self, room: Room) -> None:
        try:
            project = await self._reload_project(room.project.id)
        except RedisError as error:
            log.exception("a project's record could not be read", project=room.project.id, error=str(error))
            return
        if project is None and room.expects_loss:
            # Redis came back without what it had. That is no deletion: the record may be written anew, and clients
            # that are told to go would not come back (wire specification 1.4).
            log.error("a project's record is gone since Redis was away", project=room.project.id)
            return
        room.expects_loss = False
        room.is_deleted = project is None
        if project is not None:
            room.project = project
            return
        for connection in list(room.connections):
            self._registry.end(
                connection, CloseCode.POLICY_VIOLATION, "The project was deleted.", reason="project_deleted"
            )

    async def _refresh_all(self, room: Room, connections: list[Connection]) -> None:
        """Read the identities of ``connections`` again, once for each identity that several share."""
        room.changes += 1
        fresh: dict[tuple[str, str, str], Identity | None] = {}
        for connection in connections:
            old = connection.identity
            key = (old.user_id, old.session_id, old.key_id)
            if key not in fresh:
                fresh[key] = await self._refreshed(room, old)
            # While this waited, the connection may have left, or become somebody else.
            if connection.room is room and connection.identity is old:
                self._become(connection, fresh[key])

    async def _refreshed(self, room: Room, identity: Identity) -> Identity | None:
        """Read one identity again; None if that failed."""
        self._stats.count("realtime_identity_refreshes")
        try:
            return await self._refresh(room.project, identity)
        except RedisError as error:
            log.warning("an identity could not be read again", user=identity.user_id, error=repr(error))
        except Exception:
            log.exception("reading an identity again failed", user=identity.user_id)
        return None

    async def recheck(self, room: Room, connection: Connection) -> None:
        """Read the identity of one connection again, without having been told that it changed."""
        await self._refresh_all(room, [connection])

    def sign_out(self, connection: Connection) -> None:
        """Make a connection a guest, because what it had proved has come to its end. No event announces that."""
        self._become(connection, GUEST, announced=False)

    def _become(self, connection: Connection, identity: Identity | None, *, announced: bool = True) -> None:
        if identity is None:
            # Nobody knows what it may still read, so it may read nothing; it can come back and prove who it is.
            text = "Your identity could not be checked. Try again."
            self._registry.end(connection, CloseCode.TRY_AGAIN_LATER, text, reason="identity_unreadable")
            return
        signed_out = identity.roles == GUEST.roles != connection.identity.roles
        self._registry.set_identity(connection, identity, announced=announced)
        if signed_out:
            notice = encode_system("signed_out", "Your session ended. This connection now acts as a guest.")
            connection.wire.send(text_frame(notice))

    # Delivery.

    def _deliver(self, room: Room, live: LiveMessage, parts: EventParts, subjects: Collection[str]) -> None:
        """Send an event to its readers; and to ``subjects``, who it says have lost something, as former readers."""
        payload = _LazyPayload(parts.payload)
        roles = roles_of_channels(parts.channels).union(live.roles)
        # Only connections are ever added to a room's index.
        receivers = cast("Receivers", room.index.match(parts.channels, roles, payload))
        for subject in subjects:
            self._add_former(receivers, room, subject, parts, roles, payload)
        if not receivers:
            self._stats.events_without_receiver += 1
            self._advance(room, live)
            return
        frame = EventFrame(event_prefix(bytes(live.data), live.id))
        for connection, subscriptions in receivers.items():
            connection.wire.send(frame.for_matches(subscriptions))
        self._stats.deliveries += len(receivers)
        room.sent(receivers)
        self._advance(room, live)

    def _advance(self, room: Room, live: LiveMessage) -> None:
        if live.id:
            room.advance(live.id)

    def _add_former(
        self,
        receivers: Receivers,
        room: Room,
        subject: str,
        parts: EventParts,
        roles: frozenset[str],
        payload: "_LazyPayload",
    ) -> None:
        """Add to the receivers of an event that announces a loss who may read it by the roles just lost."""
        now = self._loop_time()
        lost = room.take_former(subject, now)
        if not lost:
            # The loss is still to come, or concerns nobody here.
            room.remember_announced(subject, now + FORMER_LIFETIME_S)
        for former in lost:
            connection = former.connection
            if connection in receivers or connection.room is not room or roles.isdisjoint(former.roles):
                continue
            subscriptions = room.index.match_one(connection, parts.channels, payload)
            if subscriptions:
                receivers[connection] = subscriptions


class _LazyPayload:
    """An event's payload, decoded when the first query asks for it and at most once."""

    __slots__ = ("_decoded", "_raw")

    def __init__(self, raw: msgspec.Raw) -> None:
        self._raw = raw
        self._decoded: Mapping[str, Any] | None = None

    def __call__(self) -> Mapping[str, Any]:
        if self._decoded is None:
            try:
                # As the queries' own values are: numbers too large for an integer become floats in both.
                decoded = orjson.loads(memoryview(self._raw))
            except orjson.JSONDecodeError:
                decoded = None
            # PHP encodes an empty object as [] (wire specification 9.2).
            self._decoded = decoded if isinstance(decoded, dict) else {}
        return self._decoded


def _subjects(live: LiveMessage, concerned: list[Connection]) -> set[str]:
    """Return the IDs of the users whom an event concerns, before it changes who they are."""
    return ({live.user_id or ""} | {connection.identity.user_id for connection in concerned}) - {""}


def _is_text(data: msgspec.Raw) -> bool:
    """Tell whether ``data`` is UTF-8 throughout; decoding its parts has not looked at all of it."""
    try:
        str(memoryview(data), "utf-8")
    except UnicodeDecodeError:
        return False
    return True
