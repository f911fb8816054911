"""Counting in fixed windows, in Redis: what all processes together have allowed so far."""

import math
from typing import NamedTuple

from redis.asyncio import Redis

from realtime.bus.keys import window_key


class WindowCount(NamedTuple):
    """How a counter stands."""

    uses: int
    """How often it was counted in this window, this time included."""
    resets_at: int
    """When the window ends; Unix time in seconds."""


async def count_in_window(redis: Redis, project: str, name: str, *, window_s: int, now: float) -> WindowCount:
    """Count once under ``name``, in the window that ``now`` (Unix time in seconds) is in.

    Windows begin at multiples of ``window_s``. One round trip; the counter goes away with its window. ``name`` is any
    text; only its hash is kept.

    Raises:
        redis.RedisError: it was counted or not.
    """
    number = math.floor(now / window_s)
    key = window_key(project, name, number)
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.incr(key)
        # Clocks of processes may differ a little, so it outlives its window.
        pipeline.expire(key, window_s + 1)
        count, _ = await pipeline.execute()
    return WindowCount(int(count), (number + 1) * window_s)
