"""The WebSocket protocol class that uvicorn is given: TCP and RFC 6455 on one side, the hub on the other.

The handshake and incoming frames go through the Sans-I/O layer of ``websockets``; outgoing frames are bytes that
the hub has built. A parser exists only while a message is on its way in, so an idle connection holds none.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from uvicorn.config import Config
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from realtime.errors import CloseCode
from realtime.hub.connection import Connection
from realtime.hub.deflate import Negotiation
from realtime.hub.frames import close_frame
from realtime.hub.incoming import Incoming, Received, logger, short_frame

if TYPE_CHECKING:
    from realtime.hub.hub import Hub

PATH = "/v1/realtime"
"""Where clients connect; a trailing slash is accepted (wire specification 1.1)."""

_COMPRESSION = (Negotiation(),)


class WebSocketProtocol(asyncio.Protocol):
    """One TCP connection that speaks WebSocket. Implements :class:`realtime.hub.connection.Wire`."""

    __slots__ = (
        "_closing",
        "_connection",
        "_hub",
        "_incoming",
        "_is_broken",
        "_open_protocols",
        "_transport",
    )

    def __init__(
        self,
        config: Config,  # noqa: ARG002 - given by uvicorn
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002 - given by uvicorn
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        hub: "Hub",
    ) -> None:
        self._hub = hub
        # uvicorn's own list: those in it are shut down with the server.
        self._open_protocols = server_state.connections
        self._transport: asyncio.Transport
        # What the hub knows of it; None before the handshake is done.
        self._connection: Connection | None = None
        # Present while a message is incomplete.
        self._incoming: Incoming | None = None
        # Whether a close frame was sent, or the connection given up.
        self._closing = False
        # Whether the client broke the protocol: whatever else it sends is dropped.
        self._is_broken = False

    # Called by asyncio and uvicorn.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._open_protocols.add(cast("Any", self))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Tell the hub that the client is gone."""
        self._open_protocols.discard(cast("Any", self))
        self._closing = True
        self._incoming = None
        if self._connection is not None:
            self._hub.lost(self._connection)

    def eof_received(self) -> bool:
        """Let the transport close itself when the client has ended its side."""
        return False

    def pause_writing(self) -> None:
        """Give up on a client that does not read: its send buffer is over the limit."""
        if self._connection is not None and not self._closing:
            self._hub.too_slow(self._connection)

    def resume_writing(self) -> None:
        """Do nothing: a client that was too slow has been given up."""

    def shutdown(self) -> None:
        """End the connection because the server stops; the hub spreads that over its drain window."""
        if self._connection is not None:
            self._hub.drain(self._connection)
        else:
            self._transport.close()

    # The handshake.

    def handshake(self, method: str, target: str, headers: list[tuple[str, str]]) -> None:
        """Answer the opening handshake; ``target`` is path and query. A refusal here is plain HTTP."""
        compression = _COMPRESSION if self._hub.settings.compression else None
        parser = ServerProtocol(extensions=compression, logger=logger)
        path = target.partition("?")[0]
        if path.rstrip("/") != PATH:
            response = parser.reject(HTTPStatus.NOT_FOUND, f"WebSocket clients connect to {PATH}.\n")
        else:
            response = parser.accept(Request(target, Headers(headers), method))
        parser.send_response(response)
        self._transport.write(b"".join(parser.data_to_send()))
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._closing = True
            self._transport.close()
            return
        self._transport.set_write_buffer_limits(high=self._hub.settings.send_buffer_bytes)
        remote = get_remote_addr(self._transport)
        self._connection = Connection(self, remote[0] if remote else "")
        self._connection.deflates = bool(parser.extensions)
        self._hub.open(self._connection, target, headers)

    # Incoming frames.

    def data_received(self, data: bytes) -> None:
        """Parse frames, answer control frames, and pass messages on."""
        connection = self._connection
        if connection is None or self._is_broken:
            return
        connection.awaits_pong = False
        incoming = self._incoming
        if incoming is None:
            received = short_frame(data)
            if received is not None:
                self._received(connection, received)
                return
            limit = self._hub.settings.max_message_bytes
            incoming = Incoming(max_message_bytes=limit, deflates=connection.deflates)
        for received in incoming.receive(data):
            self._received(connection, received)
        answer = incoming.answer()
        if not incoming.is_open:
            self._ended_by_client(connection, incoming, answer)
            return
        if answer and not self._closing:
            self._transport.write(answer)
        self._incoming = None if incoming.is_empty else incoming

    def _received(self, connection: Connection, received: Received) -> None:
        """Pass on a whole message or a pong."""
        opcode, payload = received
        if self._closing:
            return
        if opcode is Opcode.PONG:
            self._hub.ponged(connection, payload)
            return
        try:
            payload.decode()
        except UnicodeDecodeError:
            # RFC 6455 section 8.1
            self._hub.end(connection, CloseCode.INVALID_DATA, "not UTF-8", reason="invalid_utf8")
        else:
            self._hub.message(connection, payload)

    def _ended_by_client(self, connection: Connection, incoming: Incoming, farewell: bytes) -> None:
        """Close after a close frame from the client, or after bytes that are no WebSocket frames.

        ``farewell`` is the close frame that answers either; it is not sent if the hub has sent its own.
        """
        if not self._closing and not self._transport.is_closing():
            self._transport.write(farewell)
        self._closing = True
        self._incoming = None
        # Before anything else is sent to it: whoever is in a room may be written to (see `write`).
        self._hub.lost(connection)
        if incoming.has_closed:
            self._transport.close()
        else:
            # As in close(): more may be on its way, such as the rest of a message that is too large.
            self._is_broken = True
            if self._transport.can_write_eof() and not self._transport.is_closing():
                self._transport.write_eof()
        self._abort_later()

    # The port to the client.

    @property
    def buffered_bytes(self) -> int:
        """How much of what was sent still waits for the client to take it."""
        return self._transport.get_write_buffer_size()

    @property
    def write(self) -> Callable[[bytes], None]:
        """What :meth:`send` calls; only for a connection that is in a room, since it is not closing then."""
        return self._transport.write

    def send(self, frame: bytes) -> None:
        """Send one frame."""
        if not self._closing:
            self._transport.write(frame)

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame, and wait a few seconds for the client to answer it.

        Closing the TCP connection at once could make the client's kernel drop the close frame: what the client
        sent meanwhile would be answered with a reset (RFC 6455 section 7.1.1).
        """
        if self._closing:
            return
        self._transport.write(close_frame(code, reason))
        self._closing = True
        self._abort_later()

    def abort(self) -> None:
        """End the connection now."""
        self._closing = True
        self._transport.abort()

    def pause_reading(self) -> None:
        """Stop reading from the client."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the client again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _abort_later(self) -> None:
        asyncio.get_running_loop().call_later(self._hub.settings.close_timeout_s, self._transport.abort)
