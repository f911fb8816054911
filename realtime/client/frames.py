"""The hub's frames as a client reads them, and the client's messages. Pure.

Members that this client does not know are ignored, and so are frames of unknown type, so that hubs may add
both (wire specification 16). Source: wire specification 1.2, 3 and 4.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from realtime.bus.positions import Position, parse_position


class Event(msgspec.Struct, frozen=True):
    """One event as it was delivered to a subscription (wire specification 3.2)."""

    events: tuple[str, ...]
    """Every name of the event; the first one is its concrete name, the others are wildcard forms."""
    channels: tuple[str, ...]
    """All channels the event was published on, not only the subscribed ones."""
    timestamp: str
    """When it was published, for example ``2026-01-31T12:00:00.000+00:00``."""
    payload: Any
    """The resource, decoded from JSON; an object for every event of a project."""
    id: str = ""
    """Its position in the project's log; empty when the server keeps none (wire specification 16.2)."""
    subscriptions: tuple[str, ...] = ()
    """The IDs of the client's subscriptions that it matched."""


class Connected(msgspec.Struct, frozen=True):
    """``data`` of the frame that opens a connection (wire specification 3.1, 16.3)."""

    user: dict[str, Any] | None = None
    position: str = ""


class ErrorData(msgspec.Struct, frozen=True):
    """``data`` of an error frame (wire specification 3.3)."""

    code: int
    message: str


class SubscribedItem(msgspec.Struct, frozen=True, rename="camel"):
    """What the hub says of one subscription (wire specification 3.4, 16.4)."""

    subscription_id: str = ""
    channels: tuple[str, ...] = ()
    recovered: bool | None = None


class Response(msgspec.Struct, frozen=True):
    """``data`` of the answer to a message (wire specification 3.4, 13.4, 16.3)."""

    to: str
    subscriptions: tuple[SubscribedItem, ...] = ()
    user: dict[str, Any] | None = None
    position: str = ""
    presence: dict[str, Any] | None = None


class System(msgspec.Struct, frozen=True, rename="camel"):
    """``data`` of a frame about the stream itself (wire specification 16.6)."""

    code: str
    message: str = ""
    retry_after_ms: int | None = None


class Frame(msgspec.Struct, frozen=True):
    """Any frame: its type, and ``data`` still as bytes."""

    type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


_frame_decoder = msgspec.json.Decoder(Frame)
_DataT = TypeVar("_DataT")


def decode_frame(text: bytes) -> Frame:
    """Decode a frame's outer part; raise ``MsgspecError`` or ``UnicodeDecodeError`` when it is not one."""
    return _frame_decoder.decode(text)


def decode_data(frame: Frame, data_type: type[_DataT]) -> _DataT:
    """Decode ``data`` of a frame; raise as :func:`decode_frame` does when it is no ``data_type``."""
    return msgspec.json.decode(frame.data, type=data_type)


def position_of(event_id: str) -> Position | None:
    """Return an event's position in the log, for comparing; None for an event that is in no log."""
    try:
        return parse_position(event_id)
    except ValueError:
        return None


def encode_message(message_type: str, data: object) -> str:
    """Encode a message to the hub (wire specification 4)."""
    return msgspec.json.encode({"type": message_type, "data": data}).decode()


def subscribe_item(
    subscription_id: str, channels: Sequence[str], queries: Sequence[str], since: str
) -> dict[str, object]:
    """Return one element of a ``subscribe`` message; an empty ``since`` asks for no replay."""
    item: dict[str, object] = {
        "subscriptionId": subscription_id,
        "channels": list(channels),
        "queries": list(queries),
    }
    if since:
        item["since"] = since
    return item


def batches(
    items: Sequence[dict[str, object]], *, max_items: int, max_bytes: int
) -> list[list[dict[str, object]]]:
    """Split subscribe items into messages that a hub accepts, in order.

    A message holds at most ``max_items`` items and ``max_bytes`` bytes of them; an item that is larger alone
    travels alone, and the hub says what it thinks of it.
    """
    result: list[list[dict[str, object]]] = []
    size = 0
    for item in items:
        item_bytes = len(msgspec.json.encode(item)) + 1
        if not result or len(result[-1]) >= max_items or size + item_bytes > max_bytes:
            result.append([])
            size = 0
        result[-1].append(item)
        size += item_bytes
    return result


def realtime_url(endpoint: str, project: str) -> str:
    """Return the WebSocket URL of a project: ``http://host/v1`` gives ``ws://host/v1/realtime?project=...``.

    Raises:
        ValueError: the endpoint is not an absolute http, https, ws or wss URL, or the project is empty.
    """
    parts = urlsplit(endpoint)
    scheme = {"http": "ws", "ws": "ws", "https": "wss", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        message = f"the endpoint must be like http://localhost:8080/v1 or wss://host/v1, not {endpoint!r}"
        raise ValueError(message)
    if not project:
        raise ValueError("the project ID must not be empty")
    path = parts.path.rstrip("/") + "/realtime"
    return urlunsplit((scheme, parts.netloc, path, f"project={quote(project, safe='')}", ""))


class _Claims(msgspec.Struct, frozen=True):
    exp: float | None = None


def token_expiry(token: str) -> float | None:
    """Return when a JWT says it expires, in Unix seconds; None when it does not say. Nothing is verified."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    padded = parts[1] + "=" * (-len(parts[1]) % 4)
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=_Claims).exp
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        return None
