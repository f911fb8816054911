"""What a client sends: from bytes to whole messages and pongs, and the control frames that answer.

A client is silent most of the time, and most of what it sends then is one short frame in one piece:
:func:`short_frame` reads that. Everything else goes through the Sans-I/O layer of ``websockets``, in an
:class:`Incoming` that exists only while something is on its way. The module is pure.
"""

import logging

from websockets.exceptions import PayloadTooBig
from websockets.extensions import Extension
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import ExtensionName
from websockets.utils import apply_mask

from realtime.hub.deflate import inflater
from realtime.hub.frames import masked_size

# The library logs each connection; the hub has its own line for that.
logger = logging.getLogger("realtime.hub.websockets")
"""Takes what ``websockets`` logs, and drops it."""
logger.setLevel(logging.CRITICAL)

_MESSAGE_OPCODES = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})

_FIN = 0x80
_MASKED = 0x80
_HEAD_BYTES = 2 + 4
_MAX_SHORT_BYTES = 125
_SHORT_OPCODES = {_FIN | Opcode.TEXT: Opcode.TEXT, _FIN | Opcode.PONG: Opcode.PONG}

Received = tuple[Opcode, bytes]
"""A whole message (``TEXT``; its bytes are not checked, and a client may call it binary) or a pong (``PONG``)."""


def short_frame(data: bytes) -> Received | None:
    """Read ``data`` if it is exactly one short frame: a pong, or a text message that is neither split nor compressed.

    Making a parser for it would cost ten times as much, and every ping is answered by one
    (benchmarks/frames.py).

    Returns:
        None if it is anything else, valid or not; an :class:`Incoming` is to read it then.
    """
    size = len(data) - _HEAD_BYTES
    if not 0 <= size <= _MAX_SHORT_BYTES or data[1] != _MASKED | size:
        return None
    opcode = _SHORT_OPCODES.get(data[0])
    return None if opcode is None else (opcode, apply_mask(data[_HEAD_BYTES:], data[2:_HEAD_BYTES]))


class Incoming:
    """Reads the frames of one client, until nothing is on its way any more.

    Args:
        max_message_bytes: How large a message may be; both as it came and decompressed.
        deflates: Whether messages may be compressed.
    """

    __slots__ = ("_fragments", "_parser", "_sizes", "_unread_bytes")

    def __init__(self, *, max_message_bytes: int, deflates: bool) -> None:
        self._parser = ServerProtocol(state=OPEN, max_size=max_message_bytes, logger=logger)
        self._sizes = _WireSizes(max_message_bytes)
        # Frames pass through them from the last to the first.
        self._parser.extensions = [inflater(), self._sizes] if deflates else [self._sizes]
        # What the parser was given and has not returned as a frame. Its buffer does not tell: it keeps the head
        # of an incomplete frame elsewhere.
        self._unread_bytes = 0
        # Of the message that is on its way.
        self._fragments: list[bytes] = []

    def receive(self, data: bytes) -> list[Received]:
        """Take bytes, and return what they complete, in its order."""
        self._parser.receive_data(data)
        received = []
        for event in self._parser.events_received():
            assert isinstance(event, Frame)  # noqa: S101 - the handshake is over
            if event.opcode in _MESSAGE_OPCODES:
                # Empty ones are not kept: the limit on a message's size would let any number of them in.
                if event.data:
                    self._fragments.append(bytes(event.data))
                if event.fin:
                    received.append((Opcode.TEXT, b"".join(self._fragments)))
                    self._fragments = []
            elif event.opcode is Opcode.PONG:
                received.append((Opcode.PONG, bytes(event.data)))
        self._unread_bytes += len(data) - self._sizes.take()
        return received

    def answer(self) -> bytes:
        """Return the control frames that answer what came since the last call."""
        return b"".join(self._parser.data_to_send())

    @property
    def is_open(self) -> bool:
        """Whether more may come: the client has neither closed nor broken the protocol."""
        return self._parser.state is OPEN

    @property
    def has_closed(self) -> bool:
        """Whether the client has sent a close frame."""
        return self._parser.close_rcvd is not None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on its way: no part of a frame, and no part of a message."""
        return not self._unread_bytes and self._parser.current_size is None


class _WireSizes(Extension):
    """Measures frames as they came, before they are decompressed; changes none."""

    name = ExtensionName("sizes")

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._message_bytes = 0
        self._taken_bytes = 0

    def take(self) -> int:
        """Return the size of all frames since the last call, their heads included."""
        taken_bytes, self._taken_bytes = self._taken_bytes, 0
        return taken_bytes

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Measure a frame.

        Raises:
            PayloadTooBig: Its message is too large as it came. Decompressed it may be nothing at all, so that no
                other limit would keep a message from going on for ever.
        """
        size = len(frame.data)
        self._taken_bytes += masked_size(size)
        if frame.opcode in _MESSAGE_OPCODES:
            self._message_bytes = size + (self._message_bytes if frame.opcode is Opcode.CONT else 0)
            if self._message_bytes > self._max_message_bytes:
                raise PayloadTooBig(self._message_bytes, max_size)
        return frame

    def encode(self, frame: Frame) -> Frame:
        """Pass an outgoing control frame on."""
        return frame
