"""How long to wait before trying again. Pure: the random number comes in as an argument."""


def backoff_s(attempt: int, jitter: float, *, base_s: float = 0.05, cap_s: float = 2.0) -> float:
    """Return the pause after a failed attempt, in seconds.

    It doubles from ``base_s`` up to ``cap_s``; up to half of it is taken off at random, so that many
    processes that lost the same server do not come back in step.

    Args:
        attempt: How many attempts failed before this one; 0 for the first.
        jitter: A random number in [0, 1).
        base_s: The pause after the first failure.
        cap_s: The longest pause.
    """
    # Beyond 2**30 the cap has long been reached; larger powers would only overflow.
    return min(cap_s, base_s * 2.0 ** min(attempt, 30)) * (1 - jitter / 2)
