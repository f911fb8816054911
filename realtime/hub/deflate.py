"""permessage-deflate (RFC 7692) without a compression context a connection.

What all receivers of an event share is compressed once, by one compressor for the whole process, and flushed such
that it refers to nothing before it and ends at a byte. Each connection's own part follows uncompressed
(:func:`realtime.hub.frames.stored_block`). The module is pure.
"""

import zlib
from collections.abc import Sequence

from websockets.exceptions import NegotiationError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.typing import ExtensionParameter

_MAX_WINDOW_BITS = 15


class Compressor:
    """Compresses the shared parts of events; one serves all connections of a process.

    Args:
        level: How hard zlib tries, from 1 to 9.
        threshold_bytes: Shorter texts are left as they are.
    """

    __slots__ = ("_compressor", "_threshold_bytes")

    def __init__(self, *, level: int, threshold_bytes: int) -> None:
        # Making one takes longer than compressing an event, so it is kept. The negative window stands for DEFLATE
        # without a header of zlib's.
        self._compressor = zlib.compressobj(level, zlib.DEFLATED, -_MAX_WINDOW_BITS)
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


def inflater() -> PerMessageDeflate:
    """Return what decompresses the messages of one client, each by itself."""
    return PerMessageDeflate(
        remote_no_context_takeover=True,
        local_no_context_takeover=True,
        remote_max_window_bits=_MAX_WINDOW_BITS,
        local_max_window_bits=_MAX_WINDOW_BITS,
    )


class Negotiation(ServerPerMessageDeflateFactory):
    """Accepts an offer of permessage-deflate such that neither side keeps a context between messages.

    An offer that asks for a smaller window of the server is declined, since events are compressed before it is known
    who receives them (RFC 7692 section 7.1.2.1); a client may offer several.
    """

    def __init__(self) -> None:
        super().__init__(server_no_context_takeover=True, client_no_context_takeover=True)

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """Return the parameters of the answer to one offer, and the extension.

        Raises:
            NegotiationError: The offer is declined.
        """
        answer, extension = super().process_request_params(params, accepted_extensions)
        if extension.local_max_window_bits < _MAX_WINDOW_BITS:
            raise NegotiationError("a smaller window is not supported")
        return answer, extension
