"""permessage-deflate (RFC 7692) without a compression context a connection.

What all receivers of an event share is compressed once, by one compressor for the whole process, and flushed such
that it refers to nothing before it and ends at a byte. Each connection's own part follows uncompressed
(:func:`realtime.hub.frames.stored_block`). The module is pure.
"""

import zlib

_RAW_DEFLATE = -15
"""DEFLATE without a header, with the largest window."""


class Compressor:
    """Compresses the shared parts of events; one serves all connections of a process.

    Args:
        level: How hard zlib tries, from 1 to 9.
        threshold_bytes: Shorter texts are left as they are.
    """

    __slots__ = ("_compressor", "_threshold_bytes")

    def __init__(self, *, level: int, threshold_bytes: int) -> None:
        # Making one takes longer than compressing an event, so it is kept.
        self._compressor = zlib.compressobj(level, zlib.DEFLATED, _RAW_DEFLATE)
        self._threshold_bytes = threshold_bytes

    def compress(self, text: bytes) -> bytes | None:
        """Return ``text`` as DEFLATE blocks that can be decompressed by themselves and end at a byte.

        More blocks may follow; none of these is marked as the last.

        Returns:
            None if the text is under the threshold, or would not get shorter.
        """
        if len(text) < self._threshold_bytes:
            return None
        # A full flush forgets the text as well, so that the next one cannot refer to it: no context takeover
        # (RFC 7692 section 7.1.1.1).
        blocks = self._compressor.compress(text) + self._compressor.flush(zlib.Z_FULL_FLUSH)
        return blocks if len(blocks) < len(text) else None
