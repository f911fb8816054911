"""What a listener keeps of one project that it watches."""

import asyncio

from realtime.bus.keys import live_channel
from realtime.bus.positions import START, message_position

HELD_MESSAGES = 10_000
"""How many live messages of a project are held while its log is read; beyond, the log is read once more."""


class Watch:
    """A watched project."""

    __slots__ = (
        "channel",
        "failure",
        "has_gap",
        "has_position",
        "held",
        "is_ended",
        "is_ready",
        "last",
        "overflowed",
        "project",
        "waiters",
    )

    def __init__(self, project: str) -> None:
        self.project = project
        self.channel = live_channel(project).encode()
        # The last event delivered, or the log's end when watching began; meaningless until `has_position`.
        self.last = START
        self.has_position = False
        # Live messages that wait until the log has been read; None while they are delivered as they come.
        self.held: list[bytes] | None = []
        # Whether held messages were dropped, because the log has them too.
        self.overflowed = False
        # Whether events are missing that the log no longer had; until it has been reported.
        self.has_gap = False
        # Set for good once messages are delivered for the first time.
        self.is_ready = asyncio.Event()
        # Why the project cannot be watched; set before `is_ready`, for those who wait for that.
        self.failure = ""
        # How many calls of `watch` wait for that.
        self.waiters = 0
        self.is_ended = False

    def hold(self, message: bytes, held: list[bytes]) -> None:
        """Keep a live message for later."""
        held.append(message)
        if len(held) > HELD_MESSAGES:
            # The log has every message with a position. The others say that identities changed: few, and
            # needed.
            self.held = [message for message in held if message_position(message) is None]
            self.overflowed = True
