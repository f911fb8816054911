"""Live messages of a room that wait: for an identity to be read again, or for the transports to write."""

import asyncio
from collections import deque

from realtime.bus.positions import Position, message_position

MAX_BACKLOG_BYTES = 64 * 1024 * 1024
"""How much may wait in one room. Beyond, it is given up: the log has it, and clients that return are sent it."""

_OVERHEAD_BYTES = 100
"""What keeping a message takes besides its own bytes, about."""


class Backlog:
    """Messages in the order in which they came, from the first that has to wait until none is left."""

    __slots__ = ("_messages", "drops", "is_worked_off", "size_bytes")

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        # How much memory they take, about.
        self.size_bytes = 0
        # How often they were given up. What was under way then is of before that.
        self.drops = 0
        # Set when none is left, or nobody deals with them any more.
        self.is_worked_off = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._messages)

    @property
    def is_half_full(self) -> bool:
        """Whether there is less time to wait for slow clients than for the others."""
        return self.size_bytes > MAX_BACKLOG_BYTES // 2

    @property
    def is_too_large(self) -> bool:
        """Whether it is to be given up."""
        return self.size_bytes > MAX_BACKLOG_BYTES

    @property
    def first(self) -> bytes:
        """The message that is next; there must be one."""
        return self._messages[0]

    def append(self, message: bytes) -> None:
        """Let a message wait."""
        self._messages.append(message)
        self.size_bytes += len(message) + _OVERHEAD_BYTES

    def popleft(self) -> bytes:
        """Return the next message, which waits no more; there must be one."""
        message = self._messages.popleft()
        self.size_bytes -= len(message) + _OVERHEAD_BYTES
        return message

    def drop(self) -> list[Position]:
        """Give up all messages; return the positions of those that are in the log, in their order."""
        positions = [message_position(message) for message in self._messages]
        self._messages.clear()
        self.size_bytes = 0
        self.drops += 1
        return [position for position in positions if position is not None]
