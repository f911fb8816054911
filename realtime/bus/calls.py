"""Calls to workers: that something is due for them in the database, which no event on the work streams tells them of.

A call says no more than that, and may be lost: workers look for what is due by themselves as well, though not at once.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from realtime.bus.backoff import backoff_s
from realtime.bus.keys import WorkKind, calls_channel

log = structlog.get_logger("realtime.work")

PAUSE_S = 0.02
"""For how long calls are gathered: so often a worker looks at most, however many there are."""

_WAIT_S = 5.0


async def call_workers(redis: Redis, kind: WorkKind) -> None:
    """Have all workers of a kind look for what is due. Never fails: they look now and then in any case."""
    with contextlib.suppress(RedisError, OSError):
        await redis.publish(calls_channel(kind), b"")


class Calls:
    """What hears calls, in one worker. For one event loop. While Redis is away nothing is heard."""

    def __init__(self, redis: Redis, kind: WorkKind, wake: Callable[[], None]) -> None:
        """Have ``wake`` called, which neither blocks nor raises; ``redis`` stays its owner's to close."""
        self._redis = redis
        self._channel = calls_channel(kind)
        self._wake = wake

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hear calls until the block ends."""
        task = asyncio.create_task(self._run(), name="realtime-calls")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        attempt = 0
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(self._channel)
                    attempt = 0
                    await self._hear(pubsub)
            except (RedisError, OSError) as error:
                log.warning("calls to workers are not heard", error=type(error).__name__)
            await asyncio.sleep(backoff_s(attempt, random.random()))  # noqa: S311 - not a secret
            attempt += 1

    async def _hear(self, pubsub: PubSub) -> None:
        while True:
            if await pubsub.get_message(timeout=_WAIT_S) is None:
                continue
            await asyncio.sleep(PAUSE_S)
            while await pubsub.get_message(timeout=0.0) is not None:
                pass
            self._wake()
