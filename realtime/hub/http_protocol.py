"""The HTTP side of the hub's port: uvicorn's protocol, with the limits that a stranger's first bytes need.

uvicorn neither bounds the size of a request's head nor the time it may take. This subclass adds both, and hands an
upgrade to the WebSocket protocol as parsed headers, rather than as text to be parsed again.
"""

import asyncio
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from realtime.hub.protocol import WebSocketProtocol
from realtime.settings import Settings


def _plain_response(status: str, text: str) -> bytes:
    body = text.encode()
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    ).encode() + body


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection, until it ends or becomes a WebSocket."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        settings: Settings,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._max_header_bytes = settings.max_header_bytes
        self._head_timeout_s = settings.handshake_timeout_s
        # Bytes of the request's head so far; None while its body is read or answered.
        self._head_bytes: int | None = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request's head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self._head_timeout_s, self._head_timed_out)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._cancel_head_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Count the bytes of a further request on the same connection anew."""
        super().on_message_begin()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Let the request through: its head came in time and is small enough."""
        self._cancel_head_timer()
        self._head_bytes = None
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse what came, within the limits on a request's head."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
            return
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade() and self._fits(len(data)):
                self._upgrade(data[upgrade.args[0] :])
            elif not self.transport.is_closing():
                self.send_400_response("Unsupported upgrade request.")
            return
        if self._head_bytes is not None:
            self._fits(len(data))

    def _fits(self, size_bytes: int) -> bool:
        """Count ``size_bytes`` more of the head; refuse the request when that is too much."""
        self._head_bytes = (self._head_bytes or 0) + size_bytes
        if self._head_bytes <= self._max_header_bytes:
            return True
        text = f"The request's line and headers are larger than {self._max_header_bytes} bytes."
        self._refuse("431 Request Header Fields Too Large", text)
        return False

    def _head_timed_out(self) -> None:
        self._head_timer = None
        self._refuse(
            "408 Request Timeout", f"No complete request came within {self._head_timeout_s:g} seconds."
        )

    def _refuse(self, status: str, text: str) -> None:
        if not self.transport.is_closing():
            self.transport.write(_plain_response(status, text))
            self.transport.close()

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _upgrade(self, following: bytes) -> None:
        """Hand the connection over to the WebSocket protocol, with any bytes that followed the request's head."""
        self.connections.discard(self)
        self._cancel_head_timer()
        assert self.ws_protocol_class is not None  # noqa: S101 - the hub always configures one
        protocol: WebSocketProtocol = self.ws_protocol_class(  # type: ignore[call-arg, assignment]
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers]
        protocol.handshake(self.scope["method"], self.url.decode("latin-1"), headers)
        # The parser and this object refer to each other; without this, each waits for the garbage collector.
        self.parser = None  # type: ignore[assignment]
        if following:
            protocol.data_received(following)
