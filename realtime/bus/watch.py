"""What a listener keeps of one project that it watches."""

import asyncio

from realtime.bus.keys import bucket, live_channel
from realtime.bus.positions import START

HELD_MESSAGES = 10_000
HELD_BYTES = 16 * 1024 * 1024
"""How many live events of a project are held while its log is read; beyond, the log is read once more."""


class Watch:
    """A watched project."""

    __slots__ = (
        "attempt",
        "bucket",
        "channel",
        "counted",
        "failure",
        "has_gap",
        "has_position",
        "held",
        "held_bytes",
        "is_confirmed",
        "is_ended",
        "is_ready",
        "last",
        "missed",
        "overflowed",
        "project",
        "waiters",
    )

    def __init__(self, project: str) -> None:
        self.project = project
        self.bucket = bucket(project)
        self.channel = live_channel(project).encode()
        # Another object each time that the channel is subscribed anew: what belongs to an earlier one is void.
        self.attempt = object()
        # Whether the subscription is in force, and thus the log is being read, or has been.
        self.is_confirmed = False
        # The last event delivered, or the log's end when watching began; meaningless until `has_position`.
        self.last = START
        self.has_position = False
        # How many events the log had ever had up to `last`, if nothing was missed; None if nobody knows.
        self.counted: int | None = None
        # How many events are missing that the log no longer had; None if nobody knows. Until it has been reported.
        self.missed: int | None = 0
        # Live events that wait until the log has been read; None while they are delivered as they come.
        self.held: list[bytes] | None = []
        # How much they are.
        self.held_bytes = 0
        # Whether held events were dropped, because the log has them too.
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

    def begin(self) -> None:
        """Prepare for a new subscription; what an earlier one left half done is started over: the log has it."""
        self.attempt = object()
        self.is_confirmed = False
        self.held, self.held_bytes, self.overflowed = [], 0, False

    def is_void(self, attempt: object) -> bool:
        """Whether nobody wants what belongs to a subscription any more."""
        return self.is_ended or self.attempt is not attempt

    def hold(self, message: bytes, held: list[bytes]) -> None:
        """Keep a live event for later."""
        held.append(message)
        self.held_bytes += len(message)
        if len(held) > HELD_MESSAGES or self.held_bytes > HELD_BYTES:
            # The log has them too.
            held.clear()
            self.held_bytes = 0
            self.overflowed = True
