"""What becomes of who somebody is while they are connected: identities are read again when they may have changed.

A change is announced by whoever wrote it, or told by an event; it reaches every open connection that it concerns
(wire specification 8.3 and 16.12). What cannot be read is not guessed: who it concerns is sent away, to come back.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, cast

import structlog
from redis.exceptions import RedisError

from realtime.errors import CloseCode
from realtime.events.event import IdentityChange, LiveMessage
from realtime.hub.connection import Connection
from realtime.hub.decoding import DecodedEvent
from realtime.hub.delivery import Delivery
from realtime.hub.frames import text_frame
from realtime.hub.metrics import Stats
from realtime.hub.registry import Registry
from realtime.hub.revocation import concerned_role, without_revoked
from realtime.hub.room import Room
from realtime.identity.model import GUEST, Identity, Project
from realtime.messages import encode_system

log = structlog.get_logger("realtime.hub")

_IDENTITY_FAMILIES = ("users.", "teams.")
"""Events of these families may change what their subject may read."""

_AT_ONCE = 32
"""How many identities are read at the same time."""

_REFRESH_S = 5.0
"""For how long identities may be read without one more group of them read."""

Refresh = Callable[[Project, Identity], Coroutine[Any, Any, Identity]]
"""Reads an identity again: the same person as they are now, or a guest."""


class Identities:
    """Keeps who the connections of a hub act as up to date. Used from one event loop.

    Args:
        registry: Changes who a connection acts as.
        delivery: Sends first what was gathered for a connection under its former roles.
        stats: Counts what is read.
        refresh: Reads an identity again.
        reload_project: Reads a project's record; None if there is none.
        loop_time: The event loop's clock, in seconds.
    """

    def __init__(
        self,
        registry: Registry,
        delivery: Delivery,
        stats: Stats,
        *,
        refresh: Refresh,
        reload_project: Callable[[str], Coroutine[Any, Any, Project | None]],
        loop_time: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._delivery = delivery
        self._refresh = refresh
        self._reload_project = reload_project
        self._stats = stats
        self._loop_time = loop_time

    # Who is concerned, and what changes.

    def concerned(self, room: Room, live: LiveMessage, name: str) -> list[Connection]:
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

    def revoke_tokens(self, event: DecodedEvent, name: str, concerned: list[Connection]) -> None:
        """Take what an event says is lost from identities that a token carries, since there is no record to read."""
        for connection in concerned:
            if not connection.identity.stored:
                identity = without_revoked(connection.identity, name, event.payload())
                if identity is not connection.identity:
                    self._become(connection, identity)

    async def changed(self, room: Room, live: LiveMessage) -> None:
        """Follow a change of the read model that its writer announced."""
        change = live.identity or IdentityChange()
        room.changes += 1
        if change.project:
            await self._project_changed(room)
        if change.all:
            await self.read_again(room, room.connections)
        elif change.user:
            await self.read_again(room, room.users.get(change.user, ()))
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

    # Reading again.

    async def read_again(self, room: Room, connections: Iterable[Connection]) -> None:
        """Read the identities of ``connections`` again, once for each that several share.

        One that has no record stays as it is. Who it concerns is sent away when it cannot be read in time.
        """
        room.changes += 1
        sharers: dict[tuple[str, str, str], list[tuple[Connection, Identity]]] = {}
        for connection in connections:
            old = connection.identity
            if not old.stored:
                continue
            key = (old.user_id, old.session_id, old.key_id)
            sharers.setdefault(key, []).append((connection, old))
        unread = list(sharers.values())
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_REFRESH_S) as deadline:
                while unread:
                    group = unread[:_AT_ONCE]
                    fresh = await asyncio.gather(*(self._refreshed(room, same[0][1]) for same in group))
                    del unread[:_AT_ONCE]
                    for same, identity in zip(group, fresh, strict=True):
                        self._replace(room, same, identity)
                    deadline.reschedule(loop.time() + _REFRESH_S)
        except TimeoutError:
            log.warning(
                "identities could not be read in time", project=room.project.id, identities=len(unread)
            )
            for same in unread:
                self._replace(room, same, None)

    def _replace(
        self, room: Room, same: list[tuple[Connection, Identity]], identity: Identity | None
    ) -> None:
        """Make connections that acted as the same become ``identity``; None if nobody knows."""
        for connection, old in same:
            # While it was read, the connection may have left, or become somebody else.
            if connection.room is room and connection.identity is old:
                self._become(connection, identity)

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

    # What follows.

    def sign_out(self, connection: Connection) -> None:
        """Make a connection a guest, because what it had proved has come to its end. No event announces that."""
        self._become(connection, GUEST, announced=False)

    def _become(self, connection: Connection, identity: Identity | None, *, announced: bool = True) -> None:
        if connection.room is not None:
            self._delivery.flush_room(connection.room)
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
