"""How much is handed to connections at a time, so that one that reads is never taken for one that does not.

The send buffer of a connection is bounded, and its transport writes only when the event loop runs on. So a room is
handed a portion; then, if there is more, the loop runs, and those who have much to take are waited for, briefly.
"""

import asyncio
import contextlib
from collections import Counter

from realtime.hub.room import Room

_PATIENCE_S = 0.1
"""How long the clients of a room wait, after each portion of a great deal, for the slower ones of them."""

_POLL_S = 0.005
"""How often to look whether those have taken enough."""


class Pace:
    """What each room has been handed since the event loop last ran on.

    Args:
        send_buffer_bytes: How much may wait for a client at most. A portion is a quarter of it, and is handed on when
            no more than half of it waits: framing is not counted.
    """

    def __init__(self, send_buffer_bytes: int) -> None:
        self._portion_bytes = send_buffer_bytes // 4
        self._waiting_bytes = send_buffer_bytes // 2
        self._handed: Counter[Room] = Counter()

    def allows(self, room: Room, size_bytes: int) -> bool:
        """Tell whether a room may be handed so much more; the first of a portion always is."""
        handed_bytes = self._handed[room]
        return not handed_bytes or handed_bytes + size_bytes <= self._portion_bytes

    def hand(self, room: Room, size_bytes: int) -> None:
        """Note that a room is handed so much, most of which a connection may receive."""
        self._handed[room] += size_bytes

    def begin(self) -> None:
        """Begin new portions: the event loop runs on."""
        self._handed.clear()

    async def written(self, room: Room) -> None:
        """Wait until nobody in a room has much to take; a client that is slow by itself is not waited for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                while self._is_behind(room):  # noqa: ASYNC110 - having each one tell would cost all of them
                    await asyncio.sleep(_POLL_S)

    def _is_behind(self, room: Room) -> bool:
        return any(each.wire.buffered_bytes > self._waiting_bytes for each in room.connections)
