"""What endpoints may send before the response itself, around its body, and after it.

HTTP lets a server send any number of preliminary responses, such as `103 Early Hints`. `aiohttp` reads them as long as
they come, thousands at a time, and nothing else of the event loop runs meanwhile. Nobody needs more than a few; and
nobody needs chunks of one byte: a body of a few megabytes is millions of those, which take seconds to read. Source:
RFC 9110 section 15.2, RFC 9112 section 7.1; wire specification 11.5.
"""

from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage

MAX_PRELIMINARY = 16
"""How many preliminary responses there may be to a request."""

HEAD_MAX_BYTES = 65_536
"""How large they may be, together with status and headers of the response."""

_PIECE_BYTES = 4_096
"""How much is read before what it was is looked at; a socket gives 64 times that."""


FRAMING_MAX_BYTES = 65_536
"""How much may come with a body that is not of it, lengths of chunks for example, besides a quarter of its own size."""


class HeadError(aiohttp.ClientError):
    """There is more before the response than there may be."""


class FramingError(aiohttp.ClientError):
    """There is more around the body of the response than there may be."""


class BoundedResponseHandler(ResponseHandler):
    """Reads the responses of one connection, and hangs up on a server that sends more than a response to a request."""

    _preliminary = 0
    _head_bytes = 0
    _body_bytes = 0
    _is_answered = False
    _is_excessive = False

    def set_response_params(self, **params: Any) -> None:
        """Get ready for the response to a further request."""
        self._preliminary = self._head_bytes = self._body_bytes = 0
        self._is_answered = False
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Read what has come: in pieces, until the response has begun."""
        while not self._is_answered and len(data) > _PIECE_BYTES and self._parser is not None:
            self._read(data[:_PIECE_BYTES])
            data = data[_PIECE_BYTES:]
            if self.exception() is not None or self._is_excessive:
                return
        self._read(data)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take a response whose headers are complete; count it instead, if it is one too many."""
        message: RawResponseMessage = data[0]
        if self._is_answered or self._preliminary > MAX_PRELIMINARY:
            self._is_excessive = True
            return
        if 100 <= message.code < 200 and message.code != 101:
            self._preliminary += 1
        else:
            self._is_answered = True
        super().feed_data(data, size)

    def _read(self, data: bytes) -> None:
        if self._is_answered:
            self._body_bytes += len(data)
        else:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_answered:
            self._check_framing()
        else:
            self._is_excessive |= self._preliminary > MAX_PRELIMINARY or self._head_bytes > HEAD_MAX_BYTES
        if self._is_excessive:
            self._hang_up()

    def _check_framing(self) -> None:
        payload = self._payload
        # While reading is paused, some of what has come is not parsed yet.
        if payload is None or self._reading_paused:
            return
        framing = self._body_bytes - payload.total_bytes
        if framing > FRAMING_MAX_BYTES + payload.total_bytes // 4:
            self._is_excessive = True
            payload.set_exception(FramingError())
            # Hanging up would replace the error.
            self._payload = None

    def _hang_up(self) -> None:
        if not self._is_answered and self.exception() is None:
            self.set_exception(HeadError())
        self.force_close()
        if self.transport is not None:
            self.transport.abort()
