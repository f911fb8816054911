"""From a message of a live channel, or of a project's log, to the event in it: the one place that knows how. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from realtime.events.event import LiveMessage, decode_live
from realtime.hub.revocation import precise_name
from realtime.identity.scopes import roles_of_channels


class UndecodableError(Exception):
    """A message that holds no event that could be delivered.

    Attributes:
        reason: Why not, as a label of metrics: ``undecodable`` or ``not_text``.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class EventParts(msgspec.Struct):
    """The parts of an event's ``data`` that decide who receives it. The rest stays as the bytes it came in."""

    channels: list[str]
    events: list[str] = []
    payload: msgspec.Raw = msgspec.Raw(b"{}")


class LazyPayload:
    """An event's payload, decoded when the first query asks for it and at most once."""

    __slots__ = ("_decoded", "_raw")

    def __init__(self, raw: msgspec.Raw) -> None:
        self._raw = raw
        self._decoded: Mapping[str, Any] | None = None

    def __call__(self) -> Mapping[str, Any]:
        """Return the payload; an empty one if it is no JSON object."""
        if self._decoded is None:
            try:
                # As the queries' own values are: numbers too large for an integer become floats in both.
                decoded = orjson.loads(memoryview(self._raw))
            except orjson.JSONDecodeError:
                decoded = None
            # PHP encodes an empty object as [] (wire specification 9.2).
            self._decoded = decoded if isinstance(decoded, dict) else {}
        return self._decoded


class DecodedEvent:
    """An event as far as a hub has to understand it.

    Attributes:
        live: The message that it came in; ``live.data`` is what clients get, as it is.
        parts: What of that decides who receives it.
        roles: Who may read it: its own roles, and the internal ones of API keys (wire specification 16.7).
        payload: Returns the payload; decodes it on the first call.
    """

    __slots__ = ("live", "parts", "payload", "roles")

    def __init__(self, live: LiveMessage, parts: EventParts) -> None:
        self.live = live
        self.parts = parts
        self.roles = roles_of_channels(parts.channels).union(live.roles)
        self.payload = LazyPayload(parts.payload)

    @property
    def name(self) -> str:
        """The most precise concrete name; empty if it has none."""
        return precise_name(self.parts.events)


def decode_message(message: bytes) -> tuple[LiveMessage, DecodedEvent | None]:
    """Decode a message; there is no event in one that only announces a change of identities.

    Raises:
        UndecodableError: It is not of the shape that is agreed, nested too deeply, or its text is no UTF-8.
    """
    try:
        live = decode_live(message)
        parts = _decode_parts(live.data) if live.data else None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UndecodableError("undecodable", str(error)) from error
    if parts is None:
        return live, None
    try:
        # Decoding its parts has not looked at all of it, and a client that gets it has to fail its connection
        # (RFC 6455 section 8.1).
        str(memoryview(live.data), "utf-8")
    except UnicodeDecodeError as error:
        raise UndecodableError("not_text", str(error)) from error
    return live, DecodedEvent(live, parts)


def decode_event(message: bytes) -> DecodedEvent | None:
    """Return the event in a message; None if there is none, or none that could be delivered."""
    try:
        return decode_message(message)[1]
    except UndecodableError:
        return None


_decode_parts = msgspec.json.Decoder(EventParts).decode
