"""The frames that the hub sends, as UTF-8 JSON bytes ready for the socket.

Everything is encoded here but the events themselves: the bytes that a publisher wrote go out as they came,
between a prefix that all receivers share and each connection's subscription IDs. The module is pure and
stateless. Sources: wire specification 3 and 16.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

PONG = b'{"type":"pong"}'
"""The answer to a ``ping``; the only frame without ``data`` (wire specification 3.5)."""
EVENT_SUFFIX = b"]}}"
"""What follows the subscription IDs of an ``event`` frame; see :func:`event_prefix`."""

_encode = msgspec.json.Encoder().encode


class Subscribed(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How one item of a ``subscribe`` message was registered."""

    subscription_id: str
    """The client's own ID, or the one that the server made."""
    channels: Sequence[str]
    """The converted channel names (wire specification 5.2)."""
    queries: Sequence[str]
    """The queries in the form they were understood, each a JSON text; empty when the item had none."""
    recovered: bool | None = None
    """Whether everything after the item's ``since`` is replayed; None leaves the member out."""


def encode_connected(
    channels: Sequence[str],
    subscriptions: Mapping[str | int, str],
    user: Mapping[str, Any] | None,
    position: str,
) -> bytes:
    """Encode the ``connected`` frame (wire specification 3.1 and 16.3).

    Args:
        channels: The converted channel names, in conversion order.
        subscriptions: Slot key to subscription ID. It becomes an array if the keys are exactly 0 to n-1 in
            order, and an object with string keys otherwise.
        user: The account object; None for guests and API keys.
        position: The position of the project's log when the connection was made.
    """
    is_list = list(subscriptions) == list(range(len(subscriptions)))
    data = {
        "channels": channels,
        "subscriptions": list(subscriptions.values()) if is_list else subscriptions,
        "user": user,
        "position": position,
    }
    return _encode({"type": "connected", "data": data})


def encode_error(code: int, message: str) -> bytes:
    """Encode an ``error`` frame (wire specification 3.3)."""
    return _encode({"type": "error", "data": {"code": code, "message": message}})


def encode_authenticated(user: Mapping[str, Any] | None) -> bytes:
    """Encode the response to ``authentication`` with the account object; None for an API key."""
    return _encode_response({"to": "authentication", "success": True, "user": user})


def encode_subscribed(items: Sequence[Subscribed], position: str) -> bytes:
    """Encode the response to ``subscribe`` (wire specification 3.4 and 16.3).

    Args:
        items: One for each item of the message, in its order.
        position: The position of the project's log when they were registered: events after it arrive.
    """
    return _encode_response(
        {"to": "subscribe", "success": True, "subscriptions": items, "position": position}
    )


def encode_unsubscribed(items: Sequence[tuple[str, bool]]) -> bytes:
    """Encode the response to ``unsubscribe``: IDs in input order, with whether something was removed."""
    removed = [
        {"subscriptionId": subscription_id, "removed": was_there} for subscription_id, was_there in items
    ]
    return _encode_response({"to": "unsubscribe", "success": True, "subscriptions": removed})


def encode_presence(presence: Mapping[str, Any]) -> bytes:
    """Encode the response to ``presence`` with the presence as it is now (wire specification 13.4)."""
    return _encode_response({"to": "presence", "presence": presence})


def encode_system(code: str, message: str, **extra: Any) -> bytes:
    """Encode a ``system`` frame, which tells a client about its stream (wire specification 16.6).

    Args:
        code: ``gap`` (events may be missing), ``draining`` (the server is about to close the connection) or
            ``signed_out`` (the session or token ended, and the connection goes on as a guest's).
        message: The same for people.
        **extra: Further members of ``data`` under their names on the wire, such as ``retryAfterMs``.
    """
    return _encode({"type": "system", "data": {"code": code, "message": message, **extra}})


def event_prefix(data: bytes, event_id: str) -> bytes:
    """Return the part of an ``event`` frame that all its receivers share (wire specification 3.2 and 16.2).

    The frame is ``event_prefix(...)``, the connection's subscription IDs as JSON strings joined by commas,
    and :data:`EVENT_SUFFIX`.

    Args:
        data: The ``data`` of the envelope as the publisher wrote it: a JSON object with at least one member
            and no white space around it. It is not looked into.
        event_id: The event's position in its project's log, such as ``1718000000000-0``. Empty for an event that
            is in no log: the frame then has no ``id``.
    """
    if not event_id:
        return b'{"type":"event","data":%b,"subscriptions":[' % data[:-1]
    return b'{"type":"event","data":%b,"id":"%b","subscriptions":[' % (data[:-1], event_id.encode())


def _encode_response(data: dict[str, Any]) -> bytes:
    return _encode({"type": "response", "data": data})
