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


class _HeadTooLargeError(Exception):
    """Stops the parser."""


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
        self._close_timeout_s = settings.close_timeout_s
        # Whether a request's head is awaited, or on its way.
        self._is_in_head = True
        # What has come of it, in bytes; and what the parser has made out of that.
        self._received_bytes = 0
        self._parsed_bytes = 0
        # Ends the wait for a head; and after a refusal, the wait for the client to go.
        self._timer: asyncio.TimerHandle | None = None
        # Whether the client was refused: whatever else it sends is dropped.
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request's head."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._head_timeout_s, self._head_timed_out)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._cancel_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Measure a request's head anew, in bytes and in time; connections may be used for several."""
        super().on_message_begin()
        self._is_in_head = True
        self._received_bytes = self._parsed_bytes = 0
        if self._timer is None:
            self._timer = self.loop.call_later(self._head_timeout_s, self._head_timed_out)

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._parsed_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._parsed_bytes += len(name) + len(value) + len(b": \r\n")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request through: its head came in time and is small enough."""
        if self._parsed_bytes > self._max_header_bytes:
            raise _HeadTooLargeError
        self._cancel_timer()
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse what came, within the limits on a request's head."""
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        was_in_head = self._is_in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # A request to speak anything else is answered as if it did not ask (RFC 9110 section 7.8).
            if not self._should_upgrade():
                return
            if self.cycle is not None and not self.cycle.response_complete:
                # The answer to an earlier request would end up among the frames.
                self._refuse("400 Bad Request", "Wait for the answer before upgrading the connection.")
            else:
                self._upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            if self._parsed_bytes > self._max_header_bytes:
                self._refuse_size()
            else:
                self._refuse("400 Bad Request", "Invalid HTTP request received.")
            return
        if was_in_head and self._is_in_head:
            # A header is parsed when it is complete, which the sender decides.
            self._received_bytes += len(data)
            if self._received_bytes > self._max_header_bytes:
                self._refuse_size()

    def _refuse_size(self) -> None:
        text = f"The request's line and headers are larger than {self._max_header_bytes} bytes."
        self._refuse("431 Request Header Fields Too Large", text)

    def _head_timed_out(self) -> None:
        self._timer = None
        text = f"No complete request came within {self._head_timeout_s:g} seconds."
        self._refuse("408 Request Timeout", text)

    def _refuse(self, status: str, text: str) -> None:
        """Answer and end the connection, once the client has read that or a few seconds have passed.

        Closing it at once would answer what is still on its way with a reset, which can overtake the answer.
        """
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        self.transport.write(_plain_response(status, text))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._cancel_timer()
        self._timer = self.loop.call_later(self._close_timeout_s, self.transport.abort)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _upgrade(self, following: bytes) -> None:
        """Hand the connection over to the WebSocket protocol, with any bytes that followed the request's head."""
        self.connections.discard(self)
        self._cancel_timer()
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
