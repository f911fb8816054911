"""What can go wrong for a Python subscriber."""

from realtime.errors import RealtimeError


class RefusedError(RealtimeError):
    """The hub answered with an ``error`` frame: it does not want this connection or this message.

    ``code`` is the frame's ``data.code`` (wire specification 2.3 and 4), ``message`` its text.
    """

    type = "realtime_refused"

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        # Too much was asked for, or the hub cannot reach Redis.
        self.retryable = code in {1013, 503}
        super().__init__(f"{message} (code {code})")


class UnreachableError(RealtimeError):
    """The hub could not be reached: no route, no answer in time, or no WebSocket behind the endpoint."""

    type = "realtime_unreachable"
    retryable = True


class ConnectionLostError(RealtimeError):
    """The connection ended before the hub answered; the client is about to make another one."""

    type = "realtime_connection_lost"
    retryable = True
