"""Work queues: the events that webhooks, or functions, still have to be told of, shared by any number of workers.

Publishing appends an event to the work stream of its bucket, in the same script, if somebody waits for one of its names
(``append.lua``). All workers of a kind are one consumer group: each entry is read by one of them, is claimed by another
if that one dies, and is deleted when it is done. So each entry is handled at least once. Names and fields of the
streams: :mod:`realtime.bus.keys`.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, ResponseError

from realtime.bus.cluster import ClusterClient
from realtime.bus.keys import BUCKETS, WorkKind, work_dead_key, work_key
from realtime.events.work import WorkItem

__all__ = [
    "DEAD_MAX_ENTRIES",
    "GROUP",
    "MAX_BLOCK_S",
    "WorkFullError",
    "WorkItem",
    "WorkKind",
    "WorkQueue",
    "telling_full",
]

GROUP = "workers"
"""The consumer group of every work stream."""

DEAD_MAX_ENTRIES = 1000
"""How many entries that could not be handled are kept, about, for each bucket and kind."""

MAX_BLOCK_S = 3.0
"""How long one command waits at most: less than clients wait for any answer (:func:`realtime.bus.connect`)."""

_CLUSTER_POLL_S = 0.25
"""How often the streams of a Cluster are asked, each by a command of its own, which nobody could wait for."""

_FULL = "WORKFULL"
"""What the scripts' error begins with."""

_FORGET = Path(__file__).with_name("forget_consumers.lua").read_text()

T = TypeVar("T")


class WorkFullError(RedisError):
    """Nothing was published: too many events wait already for webhooks or for functions."""


class WorkQueue:
    """The work streams of one kind. For one event loop.

    Every method raises :class:`redis.RedisError` when Redis fails; what it was to do may then have been done or not,
    and can be repeated. An entry whose reader was cancelled, or did not see the answer, is claimed like those of the
    dead.
    """

    def __init__(self, redis: Redis, kind: WorkKind, consumer: str) -> None:
        """Read as ``consumer``, a name that no other process reads by; ``redis`` stays its owner's to close."""
        self._redis = redis
        self._kind: WorkKind = kind
        self._consumer = consumer
        self._names = [work_key(number, kind) for number in range(BUCKETS)]
        self._numbers = {name.encode(): number for number, name in enumerate(self._names)}
        self._forget = redis.register_script(_FORGET)
        # In how many streams the last read found something; COUNT is for each of them.
        self._busy = BUCKETS
        # From where on each stream is searched for what the dead left.
        self._cursors: list[bytes] = [b"0-0"] * BUCKETS

    @property
    def kind(self) -> WorkKind:
        """What the events wait for."""
        return self._kind

    async def read(self, count: int, *, block_s: float) -> list[WorkItem]:
        """Return entries that nobody has read, of all buckets; none when none came for ``block_s`` seconds.

        Args:
            count: About how many. They may be several times as many when many buckets have something all of a sudden.
            block_s: How long to wait; at most :data:`MAX_BLOCK_S`.
        """
        share = max(1, count // max(1, self._busy))
        block_s = min(block_s, MAX_BLOCK_S)
        if isinstance(self._redis, ClusterClient):
            items = await self._poll(share, block_s)
        else:
            block_ms = max(1, int(block_s * 1000)) if block_s > 0 else None
            items = await self._with_groups(lambda: self._read_streams(self._names, share, block_ms))
        self._busy = len({item.bucket for item in items}) or BUCKETS
        return items

    async def claim(self, count: int, *, idle_s: float) -> list[WorkItem]:
        """Return entries that a worker has read and not finished for ``idle_s`` seconds; they are this one's now.

        Args:
            count: How many of each bucket at most.
            idle_s: Longer than handling takes, or what a living worker is at is done twice.
        """
        idle_ms = int(idle_s * 1000)

        def add(pipeline: Pipeline, number: int) -> None:
            name, start = self._names[number], self._cursors[number]
            pipeline.xautoclaim(name, GROUP, self._consumer, idle_ms, start_id=start, count=count)

        answers = await self._with_groups(lambda: self._each(range(BUCKETS), add))
        found: dict[int, list[Any]] = {}
        for number, (cursor, entries, *_) in answers.items():
            self._cursors[number] = cursor
            # A server before Redis 7 hands out what is deleted, too.
            if present := [entry for entry in entries if entry[1]]:
                found[number] = present
        reads = await self._times_read(found)
        return [
            _item(number, entry_id, fields, reads.get((number, entry_id), 2))
            for number, entries in found.items()
            for entry_id, fields in entries
        ]

    async def done(self, items: Iterable[WorkItem]) -> None:
        """Delete entries, which were handled. Harmless for one that is deleted already."""
        by_bucket = _by_bucket(items)

        def add(pipeline: Pipeline, number: int) -> None:
            self._delete(pipeline, number, [item.entry_id for item in by_bucket[number]])

        await self._each(by_bucket, add, transaction=True)

    async def bury(self, item: WorkItem, reason: str) -> None:
        """Delete an entry that cannot be handled, and keep it, with the reason, where operators find it."""
        fields: dict[Any, Any] = {b"e": item.envelope, b"i": item.event_id, b"r": reason}
        if item.full_payload:
            fields[b"f"] = item.full_payload

        def add(pipeline: Pipeline, number: int) -> None:
            name = work_dead_key(number, self._kind)
            pipeline.xadd(name, fields, maxlen=DEAD_MAX_ENTRIES, approximate=True)
            self._delete(pipeline, number, [item.entry_id])

        await self._each([item.bucket], add, transaction=True)

    async def forget_consumers(self, *, idle_s: float) -> int:
        """Forget workers that asked for nothing for ``idle_s`` seconds and hold nothing; return in how many streams.

        Each process reads by a name of its own, which a stream remembers for good unless this is called now and then.
        """
        forgotten = 0
        for name in self._names:
            forgotten += int(await self._forget(keys=[name], args=[GROUP, int(idle_s * 1000)]))
        return forgotten

    async def lengths(self) -> list[int]:
        """Return how many entries wait, or are being handled, by bucket."""
        answers = await self._each(
            range(BUCKETS), lambda pipeline, number: pipeline.xlen(self._names[number])
        )
        return [answers[number] for number in range(BUCKETS)]

    async def oldest_s(self) -> float:
        """Return how long ago the oldest entry was published that is not done, in seconds; 0.0 for none."""
        answers = await self._each(
            range(BUCKETS), lambda pipeline, number: pipeline.xrange(self._names[number], count=1)
        )
        times_ms = [int(entries[0][0].split(b"-")[0]) for entries in answers.values() if entries]
        if not times_ms:
            return 0.0
        seconds, microseconds = await _answer(self._redis.time())
        now_s = float(seconds) + float(microseconds) / 1e6
        return max(0.0, now_s - min(times_ms) / 1000)

    # Inside.

    async def _poll(self, share: int, block_s: float) -> list[WorkItem]:
        """Read the streams one by one, again and again until one has something."""
        deadline = time.monotonic() + block_s
        while True:
            items: list[WorkItem] = []
            for name in self._names:
                items += await self._with_groups(lambda name=name: self._read_streams([name], share, None))  # type: ignore[misc]
            pause_s = min(_CLUSTER_POLL_S, deadline - time.monotonic())
            if items or pause_s <= 0:
                return items
            await asyncio.sleep(pause_s)

    async def _read_streams(self, names: Sequence[str], share: int, block_ms: int | None) -> list[WorkItem]:
        streams: dict[Any, Any] = dict.fromkeys(names, ">")
        found = await _answer(
            self._redis.xreadgroup(GROUP, self._consumer, streams, count=share, block=block_ms)
        )
        # A list in RESP2, a mapping with one more level in RESP3.
        pairs = found.items() if isinstance(found, dict) else found or ()
        return [
            _item(self._numbers[name], entry_id, fields, 1)
            for name, entries in pairs
            for entry_id, fields in _flat(entries)
            if fields
        ]

    async def _with_groups(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask; make streams and groups first if they are not there, as at the very start, or after Redis lost them."""
        try:
            return await ask()
        except ResponseError as error:
            # In a pipeline the library puts words of its own before the server's.
            if not any(code in str(error) for code in ("NOGROUP", "UNBLOCKED")):
                raise
        await self._make_groups()
        return await ask()

    async def _make_groups(self) -> None:
        def add(pipeline: Pipeline, number: int) -> None:
            pipeline.xgroup_create(self._names[number], GROUP, id="0", mkstream=True)

        answers = await self._each(range(BUCKETS), add, raise_on_error=False)
        for answer in answers.values():
            if isinstance(answer, Exception) and not str(answer).startswith("BUSYGROUP"):
                raise answer

    async def _times_read(self, found: Mapping[int, Sequence[Any]]) -> dict[tuple[int, bytes], int]:
        """Return how often entries of this consumer were read, by bucket and ID."""

        def add(pipeline: Pipeline, number: int) -> None:
            entries = found[number]
            first, last = entries[0][0], entries[-1][0]
            pipeline.xpending_range(
                self._names[number], GROUP, first, last, len(entries), consumername=self._consumer
            )

        answers = await self._each(found, add)
        return {
            (number, pending["message_id"]): pending["times_delivered"]
            for number, pendings in answers.items()
            for pending in pendings
        }

    def _delete(self, pipeline: Pipeline, number: int, entry_ids: Sequence[bytes]) -> None:
        pipeline.xack(self._names[number], GROUP, *entry_ids)
        pipeline.xdel(self._names[number], *entry_ids)

    async def _each(
        self,
        numbers: Iterable[int],
        add: Callable[[Pipeline, int], Any],
        *,
        transaction: bool = False,
        raise_on_error: bool = True,
    ) -> dict[int, Any]:
        """Send commands for each of some buckets; return the answer to the first command of each.

        One round trip; one a bucket on a Cluster, one after the other: at once, each would have its own connection.
        """
        numbers = list(numbers)
        if not numbers:
            return {}
        is_cluster = isinstance(self._redis, ClusterClient)
        batches = [[number] for number in numbers] if is_cluster else [numbers]
        answers: dict[int, Any] = {}
        for batch in batches:
            async with self._redis.pipeline(transaction=transaction) as pipeline:
                firsts = []
                for number in batch:
                    firsts.append(len(pipeline))
                    add(pipeline, number)
                found = await pipeline.execute(raise_on_error=raise_on_error)
            answers.update((number, found[first]) for number, first in zip(batch, firsts, strict=True))
        return answers


@contextlib.contextmanager
def telling_full() -> Iterator[None]:
    """Raise the scripts' refusal to publish as :class:`WorkFullError`."""
    try:
        yield
    except ResponseError as error:
        text = str(error)
        if not text.startswith(_FULL):
            raise
        kind = text.split()[1]
        raise WorkFullError(
            f"Nothing was published: too many events wait for {kind}. Start `realtime {kind}`, or more of it."
        ) from error


async def _answer(reply: Any) -> Any:
    # redis-py types replies as maybe immediate.
    return await reply


def _flat(entries: Any) -> Any:
    """Return the entries of one stream, which RESP3 answers in a list of their own."""
    return entries[0] if entries and isinstance(entries[0], list) else entries


def _item(number: int, entry_id: bytes, fields: Mapping[bytes, bytes], times_read: int) -> WorkItem:
    return WorkItem(
        number,
        entry_id,
        fields.get(b"i", b"").decode(errors="replace"),
        fields.get(b"e", b""),
        fields.get(b"f", b""),
        times_read,
    )


def _by_bucket(items: Iterable[WorkItem]) -> dict[int, list[WorkItem]]:
    by_bucket: dict[int, list[WorkItem]] = {}
    for item in items:
        by_bucket.setdefault(item.bucket, []).append(item)
    return by_bucket
