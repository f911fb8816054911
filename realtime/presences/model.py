"""A presence: what somebody lets others see of them while they are there, and for how long.

A user has one presence at most. Here is what it consists of, how it is shown, who may read it, and how an upsert
changes it; where it is kept is decided in :mod:`realtime.presences.store`. The module is pure. Source: wire
specification 13.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

import msgspec
import orjson

from realtime.errors import InvalidPermissionError, PresenceInvalidError
from realtime.events.event import NOBODY, Acting, Event, format_timestamp, prepare
from realtime.permissions import ANY, Permission

Source: TypeAlias = Literal["rest", "realtime"]
"""What last set a presence: the API, or a connection."""

Action: TypeAlias = Literal["upsert", "update", "delete"]
"""What can happen to a presence; the last word of its event."""

MAX_STATUS_CHARS = 255
MAX_PERMISSIONS = 100
MAX_METADATA_LEVELS = 32
"""Up to how many levels of objects and lists metadata may have; what clients and hubs can follow with ease."""

MAX_LIFETIME = timedelta(days=30)
"""How far in the future a presence may end; those of connections end there, unless their connections do before."""

_MAX_SHOWN_ROLES = 50
_ACTIONS = ("read", "update", "delete")


class Presence(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One presence. Replaced, never changed."""

    id: str
    user_id: str
    status: str
    source: Source
    permissions: tuple[str, ...]
    """Well-formed ones, each once, none of them ``write``."""
    metadata: Any
    """Any JSON value; an object unless a connection said otherwise."""
    created_at: str
    """``YYYY-MM-DDTHH:MM:SS.mmm+00:00``, as the other times, so that they sort as texts."""
    updated_at: str
    expires_at: str
    sequence: int
    """Grows with each presence that is made in its project."""
    version: int
    """Grows with each change of a presence in its project."""
    actor_id: str = ""
    """Who last set it, as its event says, and as that of its expiry will."""
    depth: int = 0
    """How many functions, one setting off the next, led to that: one whose presence expires goes on with its chain."""

    @property
    def set_by(self) -> Acting:
        """Who last set it."""
        return Acting(self.actor_id, self.depth)

    def is_over(self, now: datetime) -> bool:
        """Tell whether it has expired by ``now``, which is aware."""
        return self.expires_at <= format_timestamp(None, now)

    def is_granted(self, action: str, roles: Collection[str]) -> bool:
        """Tell whether somebody who holds ``roles`` may ``read``, ``update`` or ``delete`` it."""
        return any(
            permission.action == action and (str(permission.role) in roles or permission.role.kind == ANY)
            for text in self.permissions
            for permission in Permission.parse(text)
        )


class Draft(msgspec.Struct, frozen=True):
    """A presence as somebody asks for it, checked."""

    presence_id: str
    """The ID for a new presence; a user who has one keeps its ID."""
    user_id: str
    status: str
    permissions: tuple[str, ...]
    metadata: Any
    source: Source
    lifetime: timedelta | None = None
    """How long it lasts; None for what ``expires_at`` says."""
    expires_at: str = ""


def upserted(
    draft: Draft, existing: Presence | None, *, number: int, now: datetime, by: Acting = NOBODY
) -> Presence:
    """Return the presence that an upsert leads to.

    Args:
        draft: what is asked for.
        existing: the presence that the user has, which keeps its ID and the time it was made; None for none.
        number: the project's next number.
        now: the time, aware.
        by: who acts.
    """
    moment = format_timestamp(None, now)
    expires_at = draft.expires_at if draft.lifetime is None else format_timestamp(None, now + draft.lifetime)
    return Presence(
        id=draft.presence_id if existing is None else existing.id,
        user_id=draft.user_id,
        status=draft.status,
        source=draft.source,
        permissions=draft.permissions,
        metadata=draft.metadata,
        created_at=moment if existing is None else existing.created_at,
        updated_at=moment,
        expires_at=expires_at,
        sequence=number if existing is None else existing.sequence,
        version=number,
        actor_id=by.user_id,
        depth=by.depth,
    )


def updated(presence: Presence, *, number: int, now: datetime, by: Acting = NOBODY) -> Presence:
    """Return a presence whose members were changed as of that change; arguments as for :func:`upserted`."""
    return msgspec.structs.replace(
        presence,
        updated_at=format_timestamp(None, now),
        version=number,
        actor_id=by.user_id,
        depth=by.depth,
    )


def presence_model(presence: Presence) -> dict[str, Any]:
    """Return a presence as clients are shown it (wire specification 13.1)."""
    return {
        "$id": presence.id,
        "$createdAt": presence.created_at,
        "$updatedAt": presence.updated_at,
        "$permissions": list(presence.permissions),
        "userId": presence.user_id,
        "status": presence.status,
        "source": presence.source,
        "expiresAt": presence.expires_at,
        "metadata": presence.metadata,
    }


def encode_presence_event(
    presence: Presence, action: Action, project: str, *, now: datetime, by: Acting = NOBODY
) -> bytes:
    """Return the envelope of the event that tells of a change; its payload is the presence after it, or the last."""
    event = Event(
        f"presences.[presenceId].{action}",
        presence_model(presence),
        params={"presenceId": presence.id},
        actor_id=by.user_id,
        depth=by.depth,
    )
    return prepare(event, project, now=now)[0].envelope


# Records.


def encode_record(presence: Presence) -> bytes:
    """Return what Redis keeps: the version, for scripts, a space, and JSON."""
    return b"%d %b" % (presence.version, _ENCODER.encode(presence))


def decode_record(record: bytes) -> Presence:
    """Return the presence in a record of :func:`encode_record`."""
    return _DECODER.decode(record[record.index(b" ") + 1 :])


def unix_ms(text: str) -> int:
    """Return the Unix time, in milliseconds, of a time as a presence has it."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Presence)


# What may be asked for.


def default_permissions(user_id: str) -> tuple[str, ...]:
    """Return the permissions of a presence that names none: its user may do everything, and nobody else anything."""
    return tuple(f'{action}("user:{user_id}")' for action in _ACTIONS)


def expand_permissions(given: Sequence[str]) -> tuple[str, ...]:
    """Return permissions as presences keep them: each once, in order, ``write`` taken apart.

    What ``write`` says about creating means nothing here, since there is nothing to be made inside a presence.

    Raises:
        InvalidPermissionError: one is malformed, or there are too many, or one is to create.
    """
    if len(given) > MAX_PERMISSIONS:
        raise InvalidPermissionError(f"You can only provide up to {MAX_PERMISSIONS} permissions.")
    expanded: dict[str, None] = {}
    for text in given:
        parts = Permission.parse(text)
        if [part.action for part in parts] == ["create"]:
            raise InvalidPermissionError(
                'Permission "create" is not allowed. Must be one of: read, update, delete, write.'
            )
        expanded.update({str(part): None for part in parts if part.action != "create"})
    return tuple(expanded)


def find_unheld(permissions: Iterable[str], roles: Collection[str]) -> str | None:
    """Return the first role that ``permissions`` name and somebody with ``roles`` does not hold; None for none.

    ``any`` is held by everybody.
    """
    for text in permissions:
        for permission in Permission.parse(text):
            role = str(permission.role)
            if role != ANY and role not in roles:
                return role
    return None


def explain_unheld(roles: Iterable[str]) -> str:
    """Return what somebody with ``roles`` is told who names a role of others (wire specification 13.2)."""
    shown = [ANY, *sorted(roles)]
    more = ["..."] if len(shown) > _MAX_SHOWN_ROLES else []
    return f"Permissions must be one of: ({', '.join([*shown[:_MAX_SHOWN_ROLES], *more])})"


def check_metadata(metadata: Any, *, max_bytes: int) -> None:
    """Check that metadata is not too large and not nested too deeply.

    Raises:
        PresenceInvalidError: it is, or it is no JSON.
    """
    try:
        size = len(orjson.dumps(metadata))
    except orjson.JSONEncodeError as error:
        raise PresenceInvalidError("metadata", f"Value must be valid JSON: {error}") from error
    if size > max_bytes:
        raise PresenceInvalidError("metadata", f"Value must be at most {max_bytes} bytes of JSON")
    if _levels(metadata) > MAX_METADATA_LEVELS:
        raise PresenceInvalidError("metadata", f"Value must have at most {MAX_METADATA_LEVELS} levels")


def _levels(value: Any) -> int:
    """Return how many levels of objects and lists there are, up to one more than are allowed."""
    level, count = [value], 0
    while count <= MAX_METADATA_LEVELS:
        level = [node for node in level if isinstance(node, dict | list)]
        if not level:
            break
        count += 1
        level = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
    return count


def check_status(status: str) -> None:
    """Check that a status is a text that can be kept.

    Raises:
        PresenceInvalidError: it is empty, too long, or holds half of a surrogate pair.
    """
    is_text = not any("\ud800" <= character <= "\udfff" for character in status)
    if not is_text or not 1 <= len(status) <= MAX_STATUS_CHARS:
        raise PresenceInvalidError(
            "status",
            f"Value must be a valid string and at least 1 chars and no longer than {MAX_STATUS_CHARS} chars",
        )
