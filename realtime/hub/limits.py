"""What a client may ask for, and how often. Pure: the time comes in."""

from collections import Counter

from realtime.messages import MessageLimits
from realtime.settings import Settings

WINDOW_S = 60
"""Windows are aligned to multiples of this many seconds (wire specification 2.2, step 5, and 4.1)."""


def window_of(now: float) -> int:
    """Return the number of the window that Unix time ``now`` (seconds) falls into."""
    return int(now) // WINDOW_S


def message_limits(settings: Settings) -> MessageLimits:
    """Return the limits on a ``subscribe`` message, and on the subscriptions of a URL."""
    return MessageLimits(
        max_items=settings.subscriptions_per_connection,
        max_channels=settings.channels_per_subscription,
        max_queries=settings.queries_per_subscription,
        max_query_depth=settings.query_depth,
    )


class WindowCounter:
    """Counts hits by key in the current window. Memory is bounded by the keys of one window."""

    __slots__ = ("_hits", "_window")

    def __init__(self) -> None:
        self._window = 0
        self._hits: Counter[str] = Counter()

    def hit(self, key: str, now: float) -> int:
        """Count one more for ``key`` and return how many there were in this window, this one included."""
        window = window_of(now)
        if window != self._window:
            self._window = window
            self._hits.clear()
        self._hits[key] += 1
        return self._hits[key]
