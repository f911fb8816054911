"""The records by which subscriptions return to any hub after their connection was lost.

Writes are gathered and sent in the order of the calls: while one batch of a project is on its way the next one grows,
so that many connections that come or go together cost few round trips. What the records mean is in ``resume.lua``;
when they are written is decided in :mod:`realtime.hub.resumption`.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.bus.backoff import backoff_s
from realtime.bus.keys import resume_floor_key, resume_key

log = structlog.get_logger("realtime.bus")

_RESUME = Path(__file__).with_name("resume.lua").read_text()

_BATCH = 250
"""How many records one call of the script handles: it must not keep others waiting for long."""

_LINGER_S = 0.005
"""How long the next batch of a project is gathered. A call costs far more than one more record in it."""

_MAX_CLAIMS = 100_000
"""How many subscriptions may wait to be claimed while Redis is away."""


class Holder(NamedTuple):
    """Who holds subscriptions: the connection that writes their records."""

    number: int
    """The connection's, unlike that of any other connection of this hub."""
    owner: str
    """Whom the connection acts as: subscriptions return to them only."""


class _Operation(NamedTuple):
    name: str
    key: str
    holder: str
    position: str
    answer: "asyncio.Future[str] | None" = None
    is_wanted: Callable[[], bool] = lambda: True


# (key, holder) of a write -> the last one that was asked for; a claim has a number of its own instead of a holder.
_Waiting: TypeAlias = dict[tuple[str, str | int], _Operation]


class ResumeRecords:
    """Reads and writes the records of all subscriptions of a hub. Used from one event loop.

    Args:
        redis: A client that answers with bytes.
        hub_id: Unlike that of any other hub, ever. Without spaces and colons.
        lifetime_s: How long a record lives after it was last written or renewed.
        spawn: Runs a task.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        hub_id: str,
        lifetime_s: float,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._script = redis.register_script(_RESUME)
        self._hub_id = hub_id
        self._lifetime_ms = max(int(lifetime_s * 1000), 1)
        self._spawn = spawn
        # Project -> operations in the order in which they are to happen; present while its writer runs.
        self._waiting: dict[str, _Waiting] = {}
        # Project -> its newest floor; written after what waits, which was said before.
        self._floors: dict[str, str] = {}
        self._claims = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def flush(self, timeout_s: float) -> None:
        """Wait until everything that was asked for is written, for ``timeout_s`` at most."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_idle.wait()
        except TimeoutError:
            log.warning("records of subscriptions were not written", projects=len(self._waiting))

    async def claim(
        self,
        project: str,
        subscription_ids: Sequence[str],
        holder: Holder,
        position: str,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> list[str | None]:
        """Take subscriptions over for a connection; return from where each goes on, None for new ones.

        Waits for as long as Redis is away. A new one's record says that it goes on from ``position``, the present
        one; a returning one's, that it still goes on from where it did: :meth:`follow` ends that. A claim that is not
        wanted any more, because the connection is gone, is not made: by now it could take the subscription away from
        another connection. It answers None.

        Raises:
            redis.RedisError: Too much waits for Redis already.
        """
        if self._claims + len(subscription_ids) > _MAX_CLAIMS:
            raise RedisError("Too many subscriptions wait for Redis.")
        loop = asyncio.get_running_loop()
        answers = [loop.create_future() for _ in subscription_ids]
        for subscription_id, answer in zip(subscription_ids, answers, strict=True):
            key = resume_key(project, holder.owner, subscription_id)
            operation = _Operation("claim", key, self._token(holder), position, answer, is_wanted)
            self._add(project, id(answer), operation)
        self._claims += len(answers)
        try:
            return [since or None for since in await asyncio.gather(*answers)]
        finally:
            self._claims -= len(answers)

    def hold(self, project: str, subscription_ids: Sequence[str], holder: Holder, position: str) -> None:
        """Let subscriptions go on from ``position``, whatever becomes of this hub."""
        self._write("at", project, subscription_ids, holder, position)

    def follow(self, project: str, subscription_ids: Sequence[str], holder: Holder, position: str) -> None:
        """Let subscriptions go on from this hub's floor, and from ``position`` at least."""
        self._write("from", project, subscription_ids, holder, position)

    def forget(self, project: str, subscription_ids: Sequence[str], holder: Holder) -> None:
        """Drop the records of subscriptions that ended."""
        self._write("forget", project, subscription_ids, holder, "0-0")

    def renew(self, project: str, subscription_ids: Sequence[str], owner: str) -> None:
        """Let the records of subscriptions live on."""
        for subscription_id in subscription_ids:
            key = resume_key(project, owner, subscription_id)
            self._add(project, "", _Operation("renew", key, "-", "0-0"))

    def set_floor(self, project: str, position: str) -> None:
        """Say up to where everybody on this hub has everything, but for those that :meth:`hold` was said of."""
        self._floors[project] = position
        self._begin(project)

    def _token(self, holder: Holder) -> str:
        return f"{self._hub_id}:{holder.number}"

    def _write(
        self, name: str, project: str, subscription_ids: Sequence[str], holder: Holder, position: str
    ) -> None:
        token = self._token(holder)
        for subscription_id in subscription_ids:
            key = resume_key(project, holder.owner, subscription_id)
            self._add(project, token, _Operation(name, key, token, position))

    def _add(self, project: str, writer: str | int, operation: _Operation) -> None:
        # What the same connection said of the same record before, and was not written yet, counts no more. So what
        # waits is bounded by the number of records.
        self._begin(project)[operation.key, writer] = operation

    def _begin(self, project: str) -> _Waiting:
        waiting = self._waiting.get(project)
        if waiting is None:
            waiting = self._waiting[project] = {}
            self._is_idle.clear()
            self._spawn(self._write_all(project, waiting))
        return waiting

    async def _write_all(self, project: str, waiting: _Waiting) -> None:
        """Write what waits for a project until nothing does. While Redis is away it is tried again."""
        failures = 0
        while waiting or project in self._floors:
            try:
                await self._write_batch(project, waiting)
                failures = 0
                # The first is written at once; while more come and go, they go together.
                await asyncio.sleep(_LINGER_S)
            except Exception as error:  # noqa: BLE001 - whatever it is, who waits for an answer must not wait for ever
                log.warning(
                    "records of subscriptions could not be written", project=project, error=repr(error)
                )
                await asyncio.sleep(backoff_s(failures, random.random()))  # noqa: S311 - not a secret
                failures += 1
        del self._waiting[project]
        if not self._waiting:
            self._is_idle.set()

    async def _write_batch(self, project: str, waiting: _Waiting) -> None:
        for name, operation in [each for each in waiting.items() if not each[1].is_wanted()]:
            del waiting[name]
            _answer(operation, "")
        batch = list(islice(waiting.items(), _BATCH))
        operations = [operation for _, operation in batch]
        floor = self._floors.get(project) if len(batch) == len(waiting) else None
        if floor is not None:
            key = resume_floor_key(project, self._hub_id)
            operations.append(_Operation("floor", key, "-", floor))
        arguments = [text for each in operations for text in (each.name, each.holder, each.position)]
        if not operations:
            return
        answers = await self._script(
            keys=[each.key for each in operations],
            args=[self._lifetime_ms, resume_floor_key(project, ""), *arguments],
        )
        for name, operation in batch:
            # What was said again meanwhile is still to be written.
            if waiting[name] is operation:
                del waiting[name]
        if floor is not None and self._floors[project] == floor:
            del self._floors[project]
        for operation, answer in zip(operations, answers, strict=True):
            _answer(operation, answer.decode())


def _answer(operation: _Operation, text: str) -> None:
    if operation.answer is not None and not operation.answer.done():
        operation.answer.set_result(text)
