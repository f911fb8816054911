"""What a server may send to `httpx` before the response itself.

`httpx` passes over any number of preliminary responses, such as `103 Early Hints`, as
:mod:`workers.outbound.responses` says of `aiohttp`; the bounds are the same. Source: RFC 9110 section 15.2.
"""

import re
import ssl
from typing import Any

import httpcore

from workers.outbound.responses import HEAD_MAX_BYTES, MAX_PRELIMINARY

# As lenient as what reads the heads afterwards.
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_PRELIMINARY = re.compile(rb"\s*HTTP/\d\.\d 1(?!01)")


class BoundedStream(httpcore.AsyncNetworkStream):
    """A connection that gives an error when more comes before a response than may.

    Args:
        stream: the connection.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._begin()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - the parent's
        """Read what has come.

        Raises:
            httpcore.RemoteProtocolError: it is too much.
        """
        data = await self._stream.read(max_bytes, timeout)
        if not self._is_answered:
            self._look_at(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the parent's
        """Send a part of a request; another response is to come."""
        self._begin()
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the parent's
    ) -> httpcore.AsyncNetworkStream:
        """Return the encrypted connection, with the same bounds."""
        return BoundedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        return self._stream.get_extra_info(info)

    def _begin(self) -> None:
        self._head = b""
        self._head_bytes = self._preliminary = 0
        self._is_answered = False

    def _look_at(self, data: bytes) -> None:
        """Count heads up to that of the response."""
        self._head += data
        while not self._is_answered and (end := _END_OF_HEAD.search(self._head)) is not None:
            if _PRELIMINARY.match(self._head):
                self._preliminary += 1
            else:
                self._is_answered = True
            self._head_bytes += end.end()
            self._head = self._head[end.end() :]
            if self._preliminary > MAX_PRELIMINARY:
                raise httpcore.RemoteProtocolError("There are too many preliminary responses.")
        if self._head_bytes + (0 if self._is_answered else len(self._head)) > HEAD_MAX_BYTES:
            raise httpcore.RemoteProtocolError("The headers are too large.")
        if self._is_answered:
            self._head = b""
