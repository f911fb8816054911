"""Dead work: the events that webhooks or functions could not be told of, laid aside for operators.

Workers bury an entry of a work stream that they fail at again and again (:meth:`realtime.bus.work.WorkQueue.bury`).
Here it is looked at, put back into its stream, or removed. Names and fields: :func:`realtime.bus.keys.work_dead_key`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from realtime.bus.cluster import ClusterClient
from realtime.bus.keys import BUCKETS, WorkKind, work_dead_key, work_key


class DeadEntry(NamedTuple):
    """An entry that was laid aside."""

    bucket: int
    entry_id: bytes
    """Where it lies among the dead: when it was laid aside, in milliseconds, and a number."""
    event_id: str
    """The event's position in its project's log."""
    envelope: bytes
    full_payload: bytes
    """As in :class:`realtime.events.work.WorkItem`."""
    reason: str
    """Why it could not be handled."""


class DeadWork:
    """The dead work of one kind. For one event loop.

    Every method raises :class:`redis.RedisError` when Redis fails; what it was to do can then be repeated.
    """

    def __init__(self, redis: Redis, kind: WorkKind) -> None:
        """Look after what is dead of ``kind``; ``redis`` stays its owner's to close."""
        self._redis = redis
        self._kind: WorkKind = kind

    async def lengths(self) -> list[int]:
        """Return how many entries there are, by bucket: one round trip, or one a bucket on a Cluster."""
        names = [work_dead_key(number, self._kind) for number in range(BUCKETS)]
        if isinstance(self._redis, ClusterClient):
            return [await self._redis.xlen(name) for name in names]
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.xlen(name)
            lengths: list[int] = await pipeline.execute()
        return lengths

    async def page(self, number: int, *, after: bytes = b"", count: int) -> list[DeadEntry]:
        """Return up to ``count`` entries of a bucket, the oldest first, that come after the one with that ID."""
        found: Any = await self._redis.xrange(
            work_dead_key(number, self._kind), min=b"(" + after if after else b"-", count=count
        )
        return [
            DeadEntry(
                number,
                entry_id,
                fields.get(b"i", b"").decode(errors="replace"),
                fields.get(b"e", b""),
                fields.get(b"f", b""),
                fields.get(b"r", b"").decode(errors="replace"),
            )
            for entry_id, fields in found
        ]

    async def replay(self, entries: Sequence[DeadEntry]) -> None:
        """Put entries back into their streams, at the end, where workers find them as if they were new.

        Each goes with those of its bucket at once. What is put back twice is handled twice, with the same event ID.
        """
        for number, of_bucket in _by_bucket(entries).items():
            async with self._redis.pipeline(transaction=True) as pipeline:
                for entry in of_bucket:
                    fields = {b"e": entry.envelope, b"i": entry.event_id.encode()}
                    if entry.full_payload:
                        fields[b"f"] = entry.full_payload
                    pipeline.xadd(work_key(number, self._kind), fields)  # type: ignore[arg-type]
                self._remove(pipeline, number, of_bucket)
                await pipeline.execute()

    async def remove(self, entries: Sequence[DeadEntry]) -> None:
        """Remove entries for good. Harmless for those that are gone."""
        for number, of_bucket in _by_bucket(entries).items():
            async with self._redis.pipeline(transaction=True) as pipeline:
                self._remove(pipeline, number, of_bucket)
                await pipeline.execute()

    def _remove(self, pipeline: Pipeline, number: int, entries: Iterable[DeadEntry]) -> None:
        pipeline.xdel(work_dead_key(number, self._kind), *(entry.entry_id for entry in entries))


def _by_bucket(entries: Iterable[DeadEntry]) -> dict[int, list[DeadEntry]]:
    by_bucket: dict[int, list[DeadEntry]] = {}
    for entry in entries:
        by_bucket.setdefault(entry.bucket, []).append(entry)
    return by_bucket
