"""WebSocket frames that the hub sends, as bytes ready for a socket.

Event frames are built from a part that all receivers share and a part of each connection's own, so that an event
is encoded once however many connections it goes to. Server frames are never masked and never fragmented (RFC 6455
sections 5.2 and 5.4). The module is pure.
"""

from collections.abc import Sequence
from struct import Struct

from websockets.frames import Close

from realtime.hub.index import Subscription
from realtime.messages import EVENT_SUFFIX

_TEXT = 0x81
_CLOSE = 0x88
_PING = 0x89

_MEDIUM = Struct("!BBH")
_LARGE = Struct("!BBQ")


def text_header(size_bytes: int) -> bytes:
    """Return the header of an unmasked text frame with a payload of ``size_bytes`` (RFC 6455 section 5.2)."""
    if size_bytes < 126:
        return bytes((_TEXT, size_bytes))
    if size_bytes < 65536:
        return _MEDIUM.pack(_TEXT, 126, size_bytes)
    return _LARGE.pack(_TEXT, 127, size_bytes)


def masked_size(size_bytes: int) -> int:
    """Return how long a client's frame with a payload of ``size_bytes`` is, head and mask included.

    A client that writes a length in a longer form than it needs sends more (RFC 6455 section 5.2 forbids that).
    """
    return len(text_header(size_bytes)) + 4 + size_bytes


def text_frame(payload: bytes) -> bytes:
    """Return ``payload`` (UTF-8) as one text frame."""
    return text_header(len(payload)) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame; ``reason`` is cut to the 123 bytes that fit (RFC 6455 section 5.5.1)."""
    fitting = reason.encode()[:123].decode(errors="ignore")
    payload = Close(code, fitting).serialize()
    return bytes((_CLOSE, len(payload))) + payload


PING_FRAME = bytes((_PING, 0))
"""A ping without payload: any pong, or any other sign of life, answers it."""


class EventFrame:
    """One event on its way to many connections: a shared prefix, completed by each connection's matches.

    ``prefix`` is the JSON text up to the list of subscription IDs (:func:`realtime.messages.event_prefix`).
    """

    __slots__ = ("_prefix", "_shared")

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        # Length of the connection's own part -> header and prefix. IDs made by one SDK are all of one length, so
        # this holds one entry for most events (benchmarks/fanout.py).
        self._shared: dict[int, bytes] = {}

    def for_matches(self, subscriptions: Sequence[Subscription]) -> bytes:
        """Return the frame for a connection whose ``subscriptions`` (at least one) matched."""
        if len(subscriptions) == 1:
            own = subscriptions[0].ending
        else:
            ids = [subscription.ending.removesuffix(EVENT_SUFFIX) for subscription in subscriptions]
            own = b",".join(ids) + EVENT_SUFFIX
        shared = self._shared.get(len(own))
        if shared is None:
            shared = text_header(len(self._prefix) + len(own)) + self._prefix
            self._shared[len(own)] = shared
        return shared + own
