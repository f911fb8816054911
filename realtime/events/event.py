"""The event itself: what a publisher says, what travels through Redis, and what a hub reads there.

:func:`prepare` is everything about publishing that is not I/O: it turns an :class:`Event` into envelopes.
:func:`decode_live` is the other end. The module is pure. Sources: wire specification 3.2 (timestamps), 9.1,
9.2.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import orjson

from realtime.errors import InvalidEventError
from realtime.events.names import expand, parse_name, retarget
from realtime.events.routing import Route, route_pattern
from realtime.identity.model import CONSOLE
from realtime.permissions import is_valid_id


class EventData(msgspec.Struct):
    """The ``data`` of an envelope, which clients receive as it is (wire specification 3.2)."""

    events: list[str]
    """Every name of the event; the first has no wildcard. An update of a user is named with its attribute later."""
    channels: list[str]
    """Every channel the event reaches."""
    timestamp: str
    """``YYYY-MM-DDTHH:MM:SS.mmm+00:00``."""
    payload: msgspec.Raw
    """The resource, as JSON; an object, or ``[]`` for an empty one out of PHP."""


class Envelope(msgspec.Struct, omit_defaults=True, rename="camel"):
    """What is published for one project, as Appwrite's containers do it (wire specification 9.2)."""

    project: str
    """The project it is delivered in; ``console`` for those who run the projects."""
    roles: list[str]
    """Who may read it."""
    # Default factories, so that these two are always written, as Appwrite does, and may still be missing.
    permissions_changed: bool = msgspec.field(default_factory=bool)
    """Whether the subject's roles are computed anew before it is delivered."""
    user_id: str | None = msgspec.field(default_factory=lambda: None)
    """The subject: whom a user, membership or team event is about. Not who acted."""
    actor_id: str = ""
    """The acting user; empty for API keys and guests. For webhooks and functions."""
    depth: int = 0
    """How many functions, one setting off the next, led to it. For functions."""
    data: msgspec.Raw = msgspec.Raw()
    """An :class:`EventData` as JSON. Its names are looked for in the text, where it begins (``append.lua``)."""
    id: str = ""
    """The position in the project's log; empty until the event is written to it."""


class IdentityChange(msgspec.Struct, omit_defaults=True):
    """Tells the hubs that what they know of somebody is out of date. Never shown to clients."""

    user: str = ""
    """The user who changed; empty if ``all`` or ``project`` says more."""
    all: bool = False
    """Whether any identity of the project may have changed."""
    project: bool = False
    """Whether the record of the project itself changed."""


class LiveMessage(msgspec.Struct, rename="camel"):
    """Whatever arrives on a project's live channel: an event, a change of identities, or the two together."""

    id: str = ""
    """The position in the project's log; empty if it is not in the log."""
    project: str = ""
    roles: list[str] = []
    permissions_changed: bool = False
    user_id: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    """A JSON object, an :class:`EventData`; no bytes at all if there is no event."""
    identity: IdentityChange | None = None


class Acting(NamedTuple):
    """Who does what events tell of."""

    user_id: str = ""
    """The acting user; empty for API keys, guests, and what nobody asked for."""
    depth: int = 0
    """How many functions, one setting off the next, led to it; 0 when none did."""


NOBODY = Acting()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a resource."""

    name: str
    """A concrete name, ``teams.red.create``; or a pattern, ``teams.[teamId].create``, with ``params``. An ID
    with a dot in it needs the pattern."""
    payload: Mapping[str, Any] | bytes
    """The resource after the event (before it, if deleted). Bytes are a JSON object, and go out as they
    are."""
    params: Mapping[str, str] | None = None
    """The IDs for a pattern; beside a concrete name, further parameters."""
    permissions: Sequence[str] | None = None
    """Permissions of everything that decides who reads it. None: those of the payload, or what the catalogue
    says."""
    roles: Sequence[str] | None = None
    """Who may read it, if that is known better than by ``permissions``."""
    database_type: str | None = None
    """``legacy``, ``tablesdb``, ``documentsdb`` or ``vectorsdb``, for events in the words of
    ``databases``."""
    user_id: str | None = None
    """The subject. None: the parameter ``userId``; for memberships also the payload's ``userId``."""
    timestamp: str | None = None
    """When it happened, ISO 8601; UTC if it has no offset. None: now."""
    sensitive: Sequence[str] = ()
    """Members of the payload that are removed before it is published: nobody gets them."""
    hidden: Sequence[str] = ()
    """Members that realtime clients do not get, but webhooks and functions do (wire specification 9.2)."""
    actor_id: str = ""
    """The acting user; empty for API keys and guests."""
    depth: int = 0
    """How many functions, one setting off the next, led to it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An event, ready to be published for one project."""

    project: str
    envelope: bytes
    """An :class:`Envelope` as compact JSON that begins with ``{"project"``."""
    events: list[str]
    channels: list[str]
    roles: list[str]
    full_payload: bytes = b""
    """The payload, with what is hidden from realtime clients; empty if nothing is."""

    @property
    def record(self) -> bytes:
        """What is handed to the bus, or kept in an outbox: the envelope, and after a zero byte the full payload."""
        # JSON has no zero byte.
        return b"%b\0%b" % (self.envelope, self.full_payload) if self.full_payload else self.envelope


def prepare(event: Event, project: str, *, now: datetime, project_team: str = "") -> tuple[Prepared, ...]:
    """Turn an event into envelopes: expand its name, find its channels and readers, encode it.

    The first is for the project itself, always: one without channels or readers is still heard by webhooks,
    functions and API keys. A second one is for the console if the catalogue says so and the project has a
    team; there the team reads it and nobody else, while inside the project the team's ID has no meaning, so
    it reads nothing. This keeps a public execution of one tenant from being shown to all others.

    Args:
        event: what happened.
        project: the ID of the project it happened in.
        now: the time, aware; used when the event has none.
        project_team: the console team that owns the project; empty if nobody watches from a console.

    Raises:
        InvalidEventError: the name, parameters, payload, timestamp or project is not valid.
        InvalidPermissionError: a role or permission is malformed.
    """
    pattern, params = _named(event)
    events = expand(pattern, params)
    payload, encoded, full = _payload(event)
    route = route_pattern(
        pattern,
        params,
        payload,
        permissions=event.permissions,
        roles=event.roles,
        project_id=project,
        project_team=project_team,
    )
    channels = list(route.channels)
    data = msgspec.json.encode(
        EventData(events, channels, format_timestamp(event.timestamp, now), msgspec.Raw(encoded))
    )
    subject = _subject(event, pattern, params, payload)
    if event.actor_id and not is_valid_id(event.actor_id):
        raise InvalidEventError("The acting user's ID is not valid.")
    return tuple(
        Prepared(
            target,
            msgspec.json.encode(
                Envelope(
                    target,
                    roles,
                    route.permissions_changed,
                    subject,
                    event.actor_id,
                    event.depth,
                    msgspec.Raw(data),
                )
            ),
            events,
            channels,
            roles,
            # The console has no webhooks and functions.
            full if target == project else b"",
        )
        for target, roles in _targets(route, project, project_team)
    )


def decode_live(message: bytes) -> LiveMessage:
    """Decode a message of a live channel, or of the channel that Appwrite publishes on.

    Unknown members are ignored; all that are known may be missing.

    Raises:
        msgspec.DecodeError: it is not JSON, or (as :class:`msgspec.ValidationError`) not of this shape.
    """
    live = _LIVE.decode(message)
    if live.data and bytes(memoryview(live.data)[:1]) != b"{":
        raise msgspec.ValidationError("Expected `object` - at `$.data`")
    return live


def decode_data(data: msgspec.Raw) -> EventData:
    """Decode the ``data`` of a :class:`LiveMessage`.

    Raises:
        msgspec.DecodeError: it is not JSON, or (as :class:`msgspec.ValidationError`) not of this shape.
    """
    return _DATA.decode(data)


def format_timestamp(timestamp: str | None, now: datetime) -> str:
    """Return a time as clients expect it, ``YYYY-MM-DDTHH:MM:SS.mmm+00:00`` (wire specification 3.2).

    Args:
        timestamp: ISO 8601, in UTC if it has no offset; None for ``now``.
        now: the time, aware.

    Raises:
        InvalidEventError: ``timestamp`` is not ISO 8601.
    """
    moment = now
    if timestamp is not None:
        try:
            moment = datetime.fromisoformat(timestamp)
            moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise InvalidEventError("The timestamp is not an ISO 8601 date and time.") from error
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


_MAX_DEPTH = 250
"""Up to about so many levels of objects and lists a payload may have, whether it is given as a mapping or as JSON."""

_LIVE = msgspec.json.Decoder(LiveMessage)
_DATA = msgspec.json.Decoder(EventData)


def _named(event: Event) -> tuple[str, Mapping[str, str]]:
    """Return the event's pattern, in the words of its database, and its parameters."""
    given = event.params or {}
    if "[" in event.name:
        return retarget(event.name, event.database_type), given
    name = parse_name(event.name)
    # The name's own parameters come first, since their order decides that of the expansion, and they win.
    return retarget(name.pattern, event.database_type), {**name.params, **given, **name.params}


def _payload(event: Event) -> tuple[Mapping[str, Any], bytes, bytes]:
    """Return the payload for clients, as a mapping and as JSON; and with what is hidden, empty if nothing is."""
    try:
        if isinstance(event.payload, bytes):
            # Parsed in full even though only a few members are read: what is not JSON would break every
            # client that receives it.
            payload = orjson.loads(event.payload)
            if not isinstance(payload, dict):
                raise InvalidEventError("The payload is not a JSON object.")
            if not event.sensitive and not event.hidden:
                if event.payload.count(b"[") + event.payload.count(b"{") > _MAX_DEPTH:
                    # It may be nested more deeply than hubs and clients can follow: orjson writes no such thing.
                    orjson.dumps(payload)
                return payload, event.payload, b""
        else:
            payload = event.payload
        full = {key: value for key, value in payload.items() if key not in event.sensitive}
        shown = {key: value for key, value in full.items() if key not in event.hidden}
        return shown, orjson.dumps(shown), orjson.dumps(full) if len(full) > len(shown) else b""
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise InvalidEventError(f"The payload is not JSON: {error}.") from error


def _subject(event: Event, pattern: str, params: Mapping[str, str], payload: Mapping[str, Any]) -> str | None:
    """Return the user the event is about; None if it is about no user."""
    if event.user_id is not None:
        if not is_valid_id(event.user_id):
            raise InvalidEventError("The user's ID is not valid.")
        return event.user_id
    member = payload.get("userId") if ".memberships." in pattern else None
    return params.get("userId") or (member if isinstance(member, str) and is_valid_id(member) else None)


def _targets(route: Route, project: str, project_team: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each project that the event is published for, with its readers there."""
    hidden = route.team_only and route.project != "project" and project != CONSOLE
    yield project, [] if hidden else list(route.roles)
    if route.project != "project" and project_team and project != CONSOLE:
        yield CONSOLE, [f"team:{project_team}"]
