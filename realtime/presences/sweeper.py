"""Removing presences that are over: those that have expired, and those of hubs that died.

Every hub and every API process runs a sweeper; they take turns, and several at once do no harm, since each presence is
removed in one script that looks whether it is still there. Each gets its ``delete`` event.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import structlog
from redis.exceptions import RedisError

from realtime.bus.cluster import ClusterClient
from realtime.bus.keys import BUCKETS, PRESENCE_SWEEP_KEY, presence_ends_key, presence_leases_key
from realtime.presences.store import PAGE, PresenceStore

log = structlog.get_logger("realtime.presences")

_INTERVAL_S = 1.0
_TURN_MS = 800
"""For how long a sweep is nobody else's turn: less than the interval, so that a sweeper that dies costs one turn."""


class Sweeper:
    """Sweeps about once a second. While Redis is away it goes on trying.

    Args:
        store: the presences.
        lease_s: how long hubs' leases run. For so long after Redis was away, or the program began, no hub counts as
            dead: those that live renew their leases in that time.
    """

    def __init__(self, store: PresenceStore, *, lease_s: float) -> None:
        self._store = store
        self._redis = store.redis
        self._lease_s = lease_s

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweep until the block ends."""
        task = asyncio.create_task(self.run(), name="presence-sweeper")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def run(self) -> None:
        """Sweep until cancelled."""
        loop_time = asyncio.get_running_loop().time
        is_away = False
        reached_since = loop_time()
        while True:
            await asyncio.sleep(_INTERVAL_S * random.uniform(0.75, 1.25))  # noqa: S311 - not a secret
            try:
                if await self._redis.set(PRESENCE_SWEEP_KEY, "1", nx=True, px=_TURN_MS):
                    await self.sweep(with_hubs=loop_time() - reached_since > self._lease_s)
                is_away = False
            except RedisError as error:
                reached_since = loop_time()
                if not is_away:
                    log.warning("presences cannot be swept", error=repr(error))
                is_away = True
            except Exception:
                log.exception("sweeping presences failed")

    async def sweep(self, *, with_hubs: bool = True) -> None:
        """Remove what is over now, in every bucket; of hubs that died only ``with_hubs``.

        Raises:
            redis.RedisError: Redis failed; some of it may have been removed.
        """
        for number, ended, lapsed in await self._find_due():
            by_project: dict[str, list[str]] = {}
            for member in ended:
                project, _, presence_id = member.decode().partition(":")
                by_project.setdefault(project, []).append(presence_id)
            for project, presence_ids in by_project.items():
                with _going_on(project=project):
                    await self._store.expire(project, presence_ids)
            for hub_id in lapsed if with_hubs else ():
                with _going_on(bucket=number):
                    await self._sweep_hub(number, hub_id.decode())

    async def _sweep_hub(self, number: int, hub_id: str) -> None:
        """Let go of all that a hub held in a bucket, unless it turns out to live."""
        swept = 0
        while held := await self._store.held_by(number, hub_id):
            by_project: dict[str, list[Any]] = {}
            for project, user_id, holder in held:
                by_project.setdefault(project, []).append((user_id, holder))
            for project, pairs in by_project.items():
                if not await self._store.release(project, pairs, lapsed_hub=hub_id):
                    return
            swept += len(held)
        await self._store.bury(number, hub_id)
        log.info("what a lost hub held is let go", hub=hub_id, bucket=number, holders=swept)

    async def _find_due(self) -> list[tuple[int, list[bytes], list[bytes]]]:
        """Return the buckets in which there is something to do: what has expired, and hubs whose leases have lapsed."""
        seconds, microseconds = await self._redis.time()
        now_ms = seconds * 1000 + microseconds // 1000
        # On a cluster a pipeline is for one slot; elsewhere all buckets are asked at once.
        groups = _each(range(BUCKETS)) if isinstance(self._redis, ClusterClient) else [range(BUCKETS)]
        due = []
        for group in groups:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for number in group:
                    for key in (presence_ends_key(number), presence_leases_key(number)):
                        pipeline.zrangebyscore(key, "-inf", now_ms, start=0, num=PAGE)
                answers = await pipeline.execute()
            due += [
                (number, ended, lapsed)
                for number, ended, lapsed in zip(group, answers[::2], answers[1::2], strict=True)
                if ended or lapsed
            ]
        return due


@contextlib.contextmanager
def _going_on(**where: Any) -> Iterator[None]:
    """Let what is wrong in one place, such as a record that nobody can read, not keep others from being swept."""
    try:
        yield
    except RedisError:
        raise
    except Exception:
        log.exception("sweeping presences failed", **where)


def _each(numbers: Iterable[int]) -> list[range]:
    return [range(number, number + 1) for number in numbers]
