"""One client of the hub: who it acts as, what it subscribed to, and the wire to it.

A connection holds state and takes no decisions; those are in :mod:`realtime.hub.opening`,
:mod:`realtime.hub.conversation` and :mod:`realtime.hub.fanout`. It has neither a task nor a timer of its own.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from realtime.errors import ClientError
from realtime.hub.index import Subscriber
from realtime.identity.model import GUEST, Identity

if TYPE_CHECKING:
    from realtime.hub.room import Room


class Wire(Protocol):
    """The port through which a connection reaches its client. Nothing here blocks or raises.

    Frames arrive in the order of the calls, each whole or, if the connection dies first, not at all.
    """

    @property
    def buffered_bytes(self) -> int:
        """How much of what was sent still waits for the client to take it."""

    @property
    def write(self) -> Callable[[bytes], None]:
        """What :meth:`send` calls while the wire is open; for a connection that is in a room (hub/delivery.py)."""

    def send(self, frame: bytes) -> None:
        """Send one whole frame, or several in one piece; silently dropped once the wire is closing."""

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and end the TCP connection once what was sent is flushed, or a few seconds later."""

    def abort(self) -> None:
        """End the TCP connection now, and drop what was not sent."""

    def pause_reading(self) -> None:
        """Stop taking bytes from the client, until :meth:`resume_reading`."""

    def resume_reading(self) -> None:
        """Take bytes from the client again."""


class Connection(Subscriber):
    """The hub's view of one WebSocket."""

    __slots__ = (
        "awaits_pong",
        "closed",
        "deflates",
        "identity",
        "inbox",
        "is_paused",
        "messages",
        "messages_window",
        "number",
        "peer",
        "room",
        "wire",
    )

    def __init__(self, wire: Wire, peer: str) -> None:
        super().__init__()
        self.roles = GUEST.roles
        # How to reach the client.
        self.wire = wire
        # Its IP address, as far as it is known; for limits and logs.
        self.peer = peer
        # The project it belongs to; None while it opens, and after it closed.
        self.room: Room | None = None
        # Who it acts as now. Replaced through Hub.set_identity only, which keeps the indexes true.
        self.identity: Identity = GUEST
        # Messages that wait until an earlier one is done, and refusals of such; None while nothing is under way. A
        # connection that opens begins with an empty queue, since clients may send before they are greeted.
        self.inbox: deque[bytes | ClientError] | None = deque()
        # Whether so many wait that nothing is read from it; its pongs are not seen then.
        self.is_paused = False
        # Messages received in the minute that began at `messages_window`.
        self.messages = 0
        self.messages_window = 0
        # Unlike that of any other connection that this hub has greeted.
        self.number = 0
        # Whether a heartbeat went out that nothing has answered yet.
        self.awaits_pong = False
        # Whether the client takes compressed messages (permessage-deflate); decided in the handshake.
        self.deflates = False
        # Whether it is over, or about to be: nothing is sent to it any more.
        self.closed = False
