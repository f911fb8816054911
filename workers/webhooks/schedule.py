"""When a delivery is attempted again after it failed. Pure: the random number comes in as an argument."""

from collections.abc import Sequence

MAX_RETRY_AFTER_S = 86_400.0
"""How long an endpoint can have the next attempt put off at most."""

_SPREAD = 0.1
"""By which part of a delay it is made shorter or longer, so that what failed together does not come back together."""


def retry_delay_s(
    schedule_s: Sequence[float], failures: int, jitter: float, retry_after_s: float | None = None
) -> float | None:
    """Return how long after a failed attempt the next one is made, in seconds; None if there is none.

    Args:
        schedule_s: how long after the first failure, the second one, and so on.
        failures: how many attempts have failed, this one included: at least 1.
        jitter: a random number in [0, 1).
        retry_after_s: how long the endpoint asked to be left alone; None if it did not. It can only put the attempt
            off.
    """
    if failures > len(schedule_s):
        return None
    delay_s = schedule_s[failures - 1] * (1 - _SPREAD + 2 * _SPREAD * jitter)
    return max(delay_s, min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))
