"""WebSocket frames that the hub sends, as bytes ready for a socket.

Event frames are built from a part that all receivers share and a part of each connection's own, so that an event
is encoded once, and compressed once, however many connections it goes to. Server frames are never masked and never
fragmented (RFC 6455 sections 5.2 and 5.4). The module is pure.
"""

from collections.abc import Sequence
from struct import Struct

from websockets.frames import Close

from realtime.hub.deflate import Compressor
from realtime.hub.index import Subscription
from realtime.messages import EVENT_SUFFIX

_TEXT = 0x81
# With RSV1 set, the mark of a compressed message (RFC 7692 section 6).
_DEFLATED_TEXT = 0xC1
_CLOSE = 0x88
_PING = 0x89

_MEDIUM = Struct("!BBH")
_LARGE = Struct("!BBQ")

# A stored DEFLATE block: not the last one, type 00, filled up to the byte; then LEN and its complement.
_STORED = Struct("<BHH")
_MAX_STORED_BYTES = 65535


def text_header(size_bytes: int) -> bytes:
    """Return the header of an unmasked text frame with a payload of ``size_bytes`` (RFC 6455 section 5.2)."""
    return _header(_TEXT, size_bytes)


def _header(first: int, size_bytes: int) -> bytes:
    if size_bytes < 126:
        return bytes((first, size_bytes))
    if size_bytes < 65536:
        return _MEDIUM.pack(first, 126, size_bytes)
    return _LARGE.pack(first, 127, size_bytes)


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


def ping_frame(payload: bytes) -> bytes:
    """Return a ping that carries ``payload``, at most 125 bytes, which its pong repeats (RFC 6455 section 5.5.3)."""
    return bytes((_PING, len(payload))) + payload


PING_FRAME = ping_frame(b"")
"""A ping without payload: any pong, or any other sign of life, answers it."""


def own_part(subscriptions: Sequence[Subscription]) -> bytes:
    """Return what ends an event's text for a connection whose ``subscriptions`` (at least one) matched."""
    if len(subscriptions) == 1:
        return subscriptions[0].ending
    ids = [subscription.ending.removesuffix(EVENT_SUFFIX) for subscription in subscriptions]
    return b",".join(ids) + EVENT_SUFFIX


def stored_block(own: bytes) -> bytes:
    """Return what ends a compressed event for a connection: its own part as it is, in a stored block.

    Stored blocks hold at most 65,535 bytes (RFC 1951 section 3.2.4), so a longer part takes several. The last byte
    begins an empty block, which the four bytes complete that every receiver adds (RFC 7692 section 7.2.2).
    """
    blocks = bytearray()
    for start in range(0, len(own), _MAX_STORED_BYTES):
        part = own[start : start + _MAX_STORED_BYTES]
        blocks += _STORED.pack(0, len(part), len(part) ^ 0xFFFF) + part
    blocks.append(0)
    return bytes(blocks)


class EventFrame:
    """One event on its way to many connections: a shared prefix, completed by each connection's own part.

    A plain frame is ``frame.head(len(own)) + own``, with ``own`` from :func:`own_part`. A compressed one is
    ``frame.deflated_head(len(stored)) + stored``, with ``stored`` from :func:`stored_block`.

    Args:
        prefix: The JSON text up to the list of subscription IDs (:func:`realtime.messages.event_prefix`).
        compressor: What compresses the prefix, when the first compressed frame is asked for; None to send plain
            frames only.
    """

    __slots__ = ("_compressor", "_deflated", "_deflated_heads", "_heads", "_prefix")

    def __init__(self, prefix: bytes, compressor: Compressor | None = None) -> None:
        self._prefix = prefix
        # None once it was used.
        self._compressor = compressor
        # The compressed prefix; None before it is asked for, or if frames of this event stay plain.
        self._deflated: bytes | None = None
        # Length of the connection's own part -> header and prefix. IDs made by one SDK are all of one length, so
        # these hold one entry for most events (benchmarks/fanout.py).
        self._heads: dict[int, bytes] = {}
        self._deflated_heads: dict[int, bytes] = {}

    def head(self, own_bytes: int) -> bytes:
        """Return header and prefix of a plain frame, for an own part of ``own_bytes``."""
        head = self._heads.get(own_bytes)
        if head is None:
            head = _header(_TEXT, len(self._prefix) + own_bytes) + self._prefix
            _remember(self._heads, own_bytes, head)
        return head

    def deflated_head(self, stored_bytes: int) -> bytes | None:
        """Return header and prefix of a compressed frame, for a stored block of ``stored_bytes``.

        Returns:
            None if the event is to be sent plain, because compression gains nothing.
        """
        head = self._deflated_heads.get(stored_bytes)
        if head is not None:
            return head
        if self._compressor is not None:
            self._deflated = self._compressor.compress(self._prefix)
            self._compressor = None
        if self._deflated is None:
            return None
        head = _header(_DEFLATED_TEXT, len(self._deflated) + stored_bytes) + self._deflated
        _remember(self._deflated_heads, stored_bytes, head)
        return head

    def for_matches(self, subscriptions: Sequence[Subscription], *, deflates: bool = False) -> bytes:
        """Return the frame for a connection whose ``subscriptions`` (at least one) matched.

        It is compressed if the connection ``deflates`` and that gains something.
        """
        own = own_part(subscriptions)
        if deflates:
            stored = stored_block(own)
            head = self.deflated_head(len(stored))
            if head is not None:
                return head + stored
        return self.head(len(own)) + own


def _remember(heads: dict[int, bytes], own_bytes: int, head: bytes) -> None:
    """Keep the head for the latest length only: clients choose the lengths, and each head holds the whole event."""
    heads.clear()
    heads[own_bytes] = head
