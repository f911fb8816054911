"""Presences that connections set: who may, what they may say, and that they end with their connections.

Wire specification 13.4 and 13.5. What is held, and where, is in :mod:`realtime.presences`.
"""

import uuid

from realtime.errors import (
    ClientError,
    ErrorKind,
    InvalidPermissionError,
    PresenceExistsError,
    PresenceInvalidError,
)
from realtime.hub.connection import Connection
from realtime.hub.registry import CONSOLE
from realtime.hub.room import Room
from realtime.identity.model import Identity
from realtime.identity.store import IdentityStore
from realtime.messages import Presence as PresenceMessage
from realtime.messages import encode_presence
from realtime.presences.holdings import Holdings
from realtime.presences.model import (
    MAX_LIFETIME,
    Draft,
    check_metadata,
    check_status,
    default_permissions,
    expand_permissions,
    explain_unheld,
    find_unheld,
    presence_model,
)

_UNIQUE = "unique()"


class Presences:
    """Answers presence messages, and lets go of what connections leave behind. Used from one event loop.

    Args:
        holdings: what the hub holds.
        store: where users are looked up.
        metadata_bytes: how large metadata may be, as JSON.
    """

    def __init__(self, holdings: Holdings, store: IdentityStore, *, metadata_bytes: int) -> None:
        self._holdings = holdings
        self._store = store
        self._metadata_bytes = metadata_bytes

    async def set(self, connection: Connection, room: Room, message: PresenceMessage) -> bytes | None:
        """Set the presence of a connection's user, and return the response; None if the connection is gone by then.

        Waits for as long as Redis is away.

        Raises:
            ClientError: the first of the reasons of wire specification 13.4 that applies.
            redis.RedisError: the user could not be looked up.
        """
        identity = connection.identity
        if room.project.id == CONSOLE.id:
            raise ClientError(ErrorKind.PRESENCE_NO_PROJECT)
        if "presences" in room.project.disabled_services:
            raise ClientError(ErrorKind.PRESENCE_DISABLED)
        if not identity.user_id:
            raise ClientError(ErrorKind.PRESENCE_NO_USER)
        await self._require_user(room, identity)
        draft = self._draft(identity, message)

        def is_wanted() -> bool:
            return connection.room is room and connection.identity.user_id == identity.user_id

        try:
            presence = await self._holdings.hold(room.project.id, draft, connection.number, is_wanted)
        except PresenceExistsError as error:
            raise ClientError(ErrorKind.PRESENCE_EXISTS, reason=str(error)) from error
        if presence is None:
            return None
        return encode_presence({**presence_model(presence), "$sequence": str(presence.sequence)})

    def leaving(self, connection: Connection, room: Room) -> None:
        """Let go of what a connection holds that leaves its room."""
        self._let_go(connection, room, connection.identity)

    def identity_changed(self, connection: Connection, room: Room, before: Identity) -> None:
        """Let go of what a connection holds as somebody it is no more."""
        if connection.identity.user_id != before.user_id:
            self._let_go(connection, room, before)

    def _let_go(self, connection: Connection, room: Room, identity: Identity) -> None:
        if identity.user_id:
            self._holdings.release(room.project.id, identity.user_id, connection.number)

    async def _require_user(self, room: Room, identity: Identity) -> None:
        """Refuse a user whom the project does not have; one of a token that vouches for itself has no record."""
        is_there = not identity.home and (
            not identity.stored or await self._store.get_user(room.project.id, identity.user_id) is not None
        )
        if not is_there:
            raise ClientError(ErrorKind.PRESENCE_USER_UNKNOWN)

    def _draft(self, identity: Identity, message: PresenceMessage) -> Draft:
        """Return what a message asks for, checked."""
        permissions = default_permissions(identity.user_id)
        try:
            if message.permissions is not None:
                permissions = expand_permissions(message.permissions)
                if find_unheld(permissions, identity.roles) is not None:
                    reason = explain_unheld(identity.roles)
                    raise ClientError(ErrorKind.PRESENCE_PERMISSIONS, reason=reason)
            metadata = {} if message.metadata is None else message.metadata
            check_status(message.status)
            check_metadata(metadata, max_bytes=self._metadata_bytes)
        except InvalidPermissionError as error:
            raise ClientError(ErrorKind.PARAMETER_INVALID, name="permissions", reason=str(error)) from error
        except PresenceInvalidError as error:
            raise ClientError(ErrorKind.PRESENCE_INVALID, reason=str(error)) from error
        return Draft(
            presence_id=_new_id() if message.presence_id == _UNIQUE else message.presence_id,
            user_id=identity.user_id,
            status=message.status,
            permissions=permissions,
            metadata=metadata,
            source="realtime",
            lifetime=MAX_LIFETIME,
        )


def _new_id() -> str:
    return uuid.uuid4().hex[:20]
