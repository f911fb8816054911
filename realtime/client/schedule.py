"""When to try again: exponential back-off with full jitter. Pure."""

from typing import NamedTuple


class Backoff(NamedTuple):
    """The delays before the attempts to reconnect.

    Full jitter (a delay between nothing and the ceiling) spreads the clients of a hub that went away over the
    whole ceiling; a common delay would bring all of them back in one moment.
    """

    base_s: float = 1.0
    """The ceiling of the first delay, in seconds."""
    max_s: float = 30.0
    """The highest ceiling, in seconds."""
    factor: float = 2.0
    """By how much the ceiling grows with each failed attempt."""

    def delay_s(self, attempt: int, fraction: float) -> float:
        """Return the delay before attempt ``attempt`` (from 0), for a random ``fraction`` in [0, 1)."""
        # 63 doublings reach any ceiling; the cap keeps the power from overflowing after days offline.
        return fraction * min(self.max_s, self.base_s * self.factor ** min(attempt, 63))
