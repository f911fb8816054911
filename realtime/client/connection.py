"""One WebSocket connection to the hub, from its ``connected`` frame to its close."""

import asyncio
import logging
import ssl as ssl_module
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from realtime.client.errors import ConnectionLostError, RefusedError, UnreachableError
from realtime.client.frames import (
    Connected,
    ErrorData,
    Event,
    Frame,
    Response,
    System,
    decode_data,
    decode_frame,
    encode_message,
)
from realtime.errors import CloseCode

_logger = logging.getLogger("realtime.client")

_MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Events are at most 1 MB where they are published; a larger frame than this is no event."""


_NOT_UNDERSTOOD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding a frame raises; the last for a payload that is nested more deeply than this program can follow."""


class Timeouts(NamedTuple):
    """How long a client waits for the hub, in seconds."""

    open_s: float = 10.0
    """From the first packet to the ``connected`` frame."""
    response_s: float = 10.0
    """For the answer to a message, as long as nothing else arrives: an answer may have to wait behind a replay.
    Without one the connection is given up."""
    heartbeat_s: float = 20.0
    """Between WebSocket pings, and for the pong; a silent peer is left after twice that."""
    close_s: float = 2.0
    """For the hub's part of the closing handshake."""
    position_s: float = 30.0
    """Between questions for the position of the log; each is a message."""
    stall_s: float = 5.0
    """Not for the hub but for a reader with a full queue, while missed events come in: if it takes none for so
    long, events are dropped."""


class _Request(NamedTuple):
    answer: asyncio.Future[Response]
    on_response: Callable[[Response], None] | None


class Connection:
    """A connection that the hub has accepted.

    ``receive`` must run for as long as the connection is used: answers arrive through it. The hub processes a
    connection's messages in order and answers each with one ``response`` or ``error`` frame (wire
    specification 4.1), so the oldest unanswered request is the one that a frame answers.
    """

    def __init__(
        self,
        websocket: ClientConnection,
        connected: Connected,
        *,
        on_event: Callable[[Event], None],
        on_system: Callable[[System], None],
        response_timeout_s: float,
    ) -> None:
        self.user = connected.user
        self.position = connected.position
        # The last error frame: the hub's reason if it closes for good.
        self.refusal: RefusedError | None = None
        self._websocket = websocket
        self._on_event = on_event
        self._on_system = on_system
        self._response_timeout_s = response_timeout_s
        self._unanswered: deque[_Request] = deque()
        # Whether a reader holds it back: frames wait here, maybe an answer among them.
        self._is_held = False
        # How many frames have arrived.
        self._frames = 0

    @classmethod
    async def open(
        cls,
        url: str,
        headers: Mapping[str, str],
        *,
        on_event: Callable[[Event], None],
        on_system: Callable[[System], None],
        timeouts: Timeouts,
        ssl: ssl_module.SSLContext | None = None,
    ) -> "Connection":
        """Connect and wait for the ``connected`` frame. Cancelling leaves no socket behind.

        Raises:
            RefusedError: the hub answered with an ``error`` frame; ``retryable`` tells whether to come back.
            UnreachableError: no WebSocket was opened in time.
        """
        options: dict[str, Any] = {} if ssl is None else {"ssl": ssl}
        try:
            async with asyncio.timeout(timeouts.open_s):
                websocket = await connect(
                    url,
                    additional_headers=headers,
                    max_size=_MAX_FRAME_BYTES,
                    ping_interval=timeouts.heartbeat_s,
                    ping_timeout=timeouts.heartbeat_s,
                    open_timeout=None,
                    close_timeout=timeouts.close_s,
                    **options,
                )
                try:
                    connected = await _await_connected(websocket)
                except BaseException:
                    websocket.transport.abort()
                    raise
        except (OSError, WebSocketException, *_NOT_UNDERSTOOD) as error:
            reason = str(error) or type(error).__name__
            raise UnreachableError(f"cannot open {url.partition('?')[0]}: {reason}") from error
        return cls(
            websocket,
            connected,
            on_event=on_event,
            on_system=on_system,
            response_timeout_s=timeouts.response_s,
        )

    @property
    def is_refused(self) -> bool:
        """Whether the hub closed the connection for good: do not come back."""
        return _is_final(self._websocket, self.refusal)

    def raise_if_refused(self) -> None:
        """Raise the hub's reason as :class:`RefusedError` if it closed the connection for good."""
        if self.is_refused:
            raise self.refusal or RefusedError(
                CloseCode.POLICY_VIOLATION, "the hub closed the connection for good"
            )

    async def receive(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Read frames until the connection is closed, by either side. Requests without answer fail then.

        ``ready`` is awaited after each frame. While it waits nothing is read, so that the hub has to wait too.
        """
        try:
            while True:
                self._take(await self._websocket.recv(decode=False))
                self._frames += 1
                self._is_held = True
                await ready()
                self._is_held = False
        except ConnectionClosed as closed:
            _logger.debug("connection closed: %s", closed)
        finally:
            for request in self._unanswered:
                if not request.answer.done():
                    request.answer.set_exception(ConnectionLostError("the connection was lost"))
            self._unanswered.clear()

    async def request(
        self, message_type: str, data: object, on_response: Callable[[Response], None] | None = None
    ) -> Response:
        """Send a message and return the hub's answer.

        ``on_response`` is called with it in the order of the frames, before any later event is delivered.
        Cancelling stops the wait only; the hub may still act on the message.

        Raises:
            RefusedError: the hub answered with an error frame.
            ConnectionLostError: the connection ended first, or the hub did not answer in time.
        """
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        # The place in the line is taken before the message is on its way, hence in the order of the messages.
        self._unanswered.append(_Request(answer, on_response))
        try:
            await self._websocket.send(encode_message(message_type, data))
            await self._await_answer(answer)
            return answer.result()
        except ConnectionClosed as error:
            raise ConnectionLostError("the connection was lost") from error
        finally:
            answer.cancel()

    async def close(self) -> None:
        """Close the connection and wait for the hub's close frame, for a bounded time."""
        await self._websocket.close()

    async def _await_answer(self, answer: asyncio.Future[Response]) -> None:
        while not answer.done():
            frames = self._frames
            await asyncio.wait([answer], timeout=self._response_timeout_s)
            if not answer.done() and self._frames == frames and not self._is_held:
                # Answers are told apart by their order only: a connection that skips one is of no more use.
                self._websocket.transport.abort()
                raise ConnectionLostError(f"no answer within {self._response_timeout_s:g} s")

    def _take(self, text: bytes) -> None:
        try:
            frame = decode_frame(text)
            if frame.type == "event":
                self._on_event(decode_data(frame, Event))
            elif frame.type == "response":
                self._answer(decode_data(frame, Response))
            elif frame.type == "error":
                error = decode_data(frame, ErrorData)
                self._answer(RefusedError(error.code, error.message))
            elif frame.type == "system":
                self._on_system(decode_data(frame, System))
        except _NOT_UNDERSTOOD as error:
            _logger.warning("a frame from the hub was not understood: %s", error)

    def _answer(self, answer: Response | RefusedError) -> None:
        if isinstance(answer, RefusedError):
            self.refusal = answer
        if not self._unanswered:
            _logger.warning("the hub answered what was not asked: %s", answer)
            return
        request = self._unanswered.popleft()
        if request.answer.done():
            return
        if isinstance(answer, RefusedError):
            request.answer.set_exception(answer)
            return
        if request.on_response is not None:
            request.on_response(answer)
        request.answer.set_result(answer)


async def _await_connected(websocket: ClientConnection) -> Connected:
    frame = _expect(await websocket.recv(decode=False))
    if frame.type == "connected":
        return decode_data(frame, Connected)
    error = decode_data(frame, ErrorData)
    refusal = RefusedError(error.code, error.message)
    # The close code takes part in the decision whether the refusal is final, so wait for it.
    await websocket.wait_closed()
    refusal.retryable = not _is_final(websocket, refusal)
    raise refusal


def _is_final(websocket: ClientConnection, refusal: RefusedError | None) -> bool:
    # Servers that cut the connection after the frame, without a close code, exist (wire specification 1.5).
    codes = {websocket.close_code, refusal.code if refusal is not None else None}
    return CloseCode.POLICY_VIOLATION in codes


def _expect(text: bytes) -> Frame:
    frame = decode_frame(text)
    if frame.type not in {"connected", "error"}:
        raise msgspec.ValidationError(f"the first frame was {frame.type!r}, not 'connected'")
    return frame
