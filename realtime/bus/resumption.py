"""The records by which subscriptions return to any hub after their connection was lost.

Writes are gathered and sent in the order of the calls: while one batch is on its way the next one grows, so that
many connections that come or go together cost few round trips. What the records mean is in ``resume.lua``; when they
are written is decided in :mod:`realtime.hub.resumption`.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.bus.backoff import backoff_s
from realtime.bus.keys import resume_floor_key, resume_key

log = structlog.get_logger("realtime.bus")

_RESUME = Path(__file__).with_name("resume.lua").read_text()

_BATCH = 250
"""How many records one call of the script handles: it must not keep others waiting for long."""

_LIMIT = 200_000
"""How many operations may wait while Redis is away."""


class Holder(NamedTuple):
    """Who holds subscriptions: the connection that writes their records."""

    token: str
    """Unlike that of any other connection of this hub that lives at the same time. Without spaces."""
    owner: str
    """Whom the connection acts as: only they take the subscriptions over. Without spaces."""


class _Operation(NamedTuple):
    name: str
    key: str
    holder: str = "-"
    owner: str = "-"
    position: str = "0-0"
    answer: "asyncio.Future[str] | None" = None


class ResumeRecords:
    """Reads and writes the records of all subscriptions of a hub. Used from one event loop; :meth:`run` is its task.

    Args:
        redis: A client that answers with bytes.
        hub_id: Unlike that of any other hub, ever. Without spaces and colons.
        lifetime_s: How long a record lives after it was last written or renewed.
    """

    def __init__(self, redis: Redis, *, hub_id: str, lifetime_s: float) -> None:
        self._script = redis.register_script(_RESUME)
        self._hub_id = hub_id
        self._lifetime_ms = max(int(lifetime_s * 1000), 1)
        # Project -> operations in the order in which they are to happen.
        self._waiting: dict[str, list[_Operation]] = {}
        # Project -> its newest floor; written after what waits, which was said before.
        self._floors: dict[str, str] = {}
        self._count = 0
        self._has_work = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def run(self) -> None:
        """Write what is asked for, until cancelled. While Redis is away everything waits, and is tried again."""
        failures = 0
        while True:
            await self._has_work.wait()
            try:
                await self._work()
                failures = 0
            except (RedisError, OSError) as error:
                log.warning("records of subscriptions could not be written", error=repr(error))
                await asyncio.sleep(backoff_s(failures, random.random()))  # noqa: S311 - not a secret
                failures += 1

    async def flush(self, timeout_s: float) -> None:
        """Wait until everything that was asked for is written, for ``timeout_s`` at most, while :meth:`run` runs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._is_idle.wait()

    async def claim(
        self, project: str, subscription_ids: Sequence[str], holder: Holder, position: str
    ) -> list[str | None]:
        """Take subscriptions over for a connection; return from where each goes on, None for new ones.

        Waits for as long as Redis is away. A new one's record says that it goes on from ``position``, the present one;
        a returning one's, that it still goes on from where it did: :meth:`follow` ends that.

        Raises:
            redis.RedisError: Too much waits for Redis already.
        """
        if self._count >= _LIMIT:
            raise RedisError("Too many operations wait for Redis.")
        loop = asyncio.get_running_loop()
        answers = [loop.create_future() for _ in subscription_ids]
        for subscription_id, answer in zip(subscription_ids, answers, strict=True):
            key = resume_key(project, subscription_id)
            self._add(project, _Operation("claim", key, self._token(holder), holder.owner, position, answer))
        return [since or None for since in await asyncio.gather(*answers)]

    def hold(self, project: str, subscription_ids: Sequence[str], holder: Holder, position: str) -> None:
        """Let subscriptions go on from ``position``, whatever becomes of this hub."""
        self._write("at", project, subscription_ids, holder, position)

    def follow(self, project: str, subscription_ids: Sequence[str], holder: Holder, position: str) -> None:
        """Let subscriptions go on from this hub's floor, and from ``position`` at least."""
        self._write("from", project, subscription_ids, holder, position)

    def forget(self, project: str, subscription_ids: Sequence[str], holder: Holder) -> None:
        """Drop the records of subscriptions that ended."""
        self._write("forget", project, subscription_ids, holder, "0-0")

    def renew(self, project: str, subscription_ids: Sequence[str]) -> None:
        """Let the records of subscriptions live on."""
        self._write("renew", project, subscription_ids, Holder("-", "-"), "0-0")

    def set_floor(self, project: str, position: str) -> None:
        """Say up to where everybody on this hub has everything, but for those that :meth:`hold` was said of."""
        self._floors[project] = position
        self._wake()

    def _token(self, holder: Holder) -> str:
        return f"{self._hub_id}:{holder.token}"

    def _write(
        self, name: str, project: str, subscription_ids: Sequence[str], holder: Holder, position: str
    ) -> None:
        if self._count >= _LIMIT:
            # Such subscriptions return from an older position: what was received is repeated, nothing is lost.
            return
        for subscription_id in subscription_ids:
            key = resume_key(project, subscription_id)
            self._add(project, _Operation(name, key, self._token(holder), holder.owner, position))

    def _add(self, project: str, operation: _Operation) -> None:
        self._waiting.setdefault(project, []).append(operation)
        self._count += 1
        self._wake()

    def _wake(self) -> None:
        self._has_work.set()
        self._is_idle.clear()

    async def _work(self) -> None:
        """Do a batch for each project; what fails waits on, and holds up no other project."""
        self._has_work.clear()
        failure: Exception | None = None
        for project in dict.fromkeys([*self._waiting, *self._floors]):
            try:
                await self._do_batch(project)
            except (RedisError, OSError) as error:
                failure = error
        if self._waiting or self._floors:
            self._has_work.set()
        else:
            self._is_idle.set()
        if failure is not None:
            raise failure

    async def _do_batch(self, project: str) -> None:
        waiting = self._waiting.setdefault(project, [])
        batch = waiting[:_BATCH]
        floor = self._floors.get(project) if len(batch) == len(waiting) else None
        operations = list(batch)
        if floor is not None:
            key = resume_floor_key(project, self._hub_id)
            operations.append(_Operation("floor", key, position=floor))
        arguments = [
            text for each in operations for text in (each.name, each.holder, each.owner, each.position)
        ]
        answers = await self._script(
            keys=[each.key for each in operations],
            args=[self._lifetime_ms, resume_floor_key(project, ""), *arguments],
        )
        # Whatever was added meanwhile is behind the batch.
        del waiting[: len(batch)]
        self._count -= len(batch)
        if not waiting:
            del self._waiting[project]
        if floor is not None and self._floors.get(project) == floor:
            del self._floors[project]
        for operation, answer in zip(operations, answers, strict=True):
            if operation.answer is not None and not operation.answer.done():
                operation.answer.set_result(answer.decode())
