"""Delivering: takes what is due out of the store, has it attempted, and writes down what came of it.

Theory of operation. There is one loop, and each of its rounds is one transaction: it records the attempts that ended
since the round before, and claims as many deliveries as may begin now (:mod:`workers.webhooks.endpoints`). While one
is written, further attempts end; so the more there is to do, the more is done by each transaction. Attempts themselves
are tasks, and hold no connection to the database.

An endpoint is *hungry* as long as something may be due for it: from when something is recorded, or found by a look
through the index of what is due, until a claim finds less than there was room for. Endpoints that are full, or that are
left alone, stay hungry and cost nothing.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog
from sqlalchemy import ColumnElement
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.bus.backoff import backoff_s
from realtime.settings_workers import WorkerSettings
from workers.store.failures import Failure, failure_of
from workers.store.metrics import WorkerMetrics
from workers.store.store import Store
from workers.webhooks import queue
from workers.webhooks.attempts import AHEAD_S, Attempts, Prepared, Sends
from workers.webhooks.disabling import Disabling
from workers.webhooks.ends import Ended
from workers.webhooks.outcomes import Verdict
from workers.webhooks.recorder import WebhookKey, fails_for_long, find_failing, record

log = structlog.get_logger("realtime.webhooks")

POLL_INTERVAL_S = 1.0
"""How often each process looks for what has become due, or was left behind by others."""

LEASE_MARGIN_S = 15.0
"""How long after its time limit an attempt may still be about to be recorded, before it is made again."""

STOP_TIMEOUT_S = 5.0
"""How long a process that stops waits for its attempts, before they are left to others."""

DISABLED = "The webhook is disabled."
EVENT_GONE = "The event is gone."

_PASSING = (SQLAlchemyError, OSError)
"""What it looks like when the database is away for a while."""


class _Taken(NamedTuple):
    """What a round took out of the store."""

    deliveries: Sequence[Prepared]
    still_hungry: Sequence[int]
    """The endpoints for which there may be more."""
    buried: int
    """How many deliveries became dead letters without an attempt."""


_NOTHING = _Taken((), (), 0)


class Dispatcher:
    """What delivers, in one process. For one event loop; :meth:`running` opens and closes it."""

    def __init__(self, store: Store, sender: Sends, settings: WorkerSettings, metrics: WorkerMetrics) -> None:
        """Make it.

        Args:
            store: where deliveries wait.
            sender: what makes attempts.
            settings: all that begins with ``webhooks_``.
            metrics: what counts.
        """
        self._store = store
        self._sender = sender
        self._settings = settings
        self._metrics = metrics
        self._attempts = Attempts(sender, settings, self.wake)
        self._disabling = Disabling(store, metrics)
        # The endpoints for which something may be due, with their projects; those whose turn is next first.
        self._hungry: dict[int, str] = {}
        self._woken = asyncio.Event()
        self._next_look_at = 0.0
        self._stopping = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Dispatcher"]:
        """Deliver until the block ends; then wait a little for attempts to end, and leave the rest to others."""
        async with self._disabling.running():
            loop = asyncio.create_task(self._serve(), name="realtime-deliveries")
            try:
                yield self
            finally:
                self._stopping = True
                self._woken.set()
                try:
                    await self._stop(loop)
                finally:
                    # If that was broken off.
                    loop.cancel()
                    self._attempts.cancel()
                    await asyncio.gather(loop, return_exceptions=True)

    def announce(self, found: Mapping[int, str]) -> None:
        """Be told that something is due for webhooks: ``seq`` and project. Never blocks."""
        self._hungry.update(found)
        self._woken.set()

    def wake(self) -> None:
        """Look soon for what there is to do. Never blocks."""
        self._woken.set()

    def look(self) -> None:
        """Look soon for what has become due in the store, too. Never blocks."""
        self._next_look_at = 0.0
        self._woken.set()

    # The loop.

    async def _serve(self) -> None:
        failures = 0
        while not self._stopping:
            self._woken.clear()
            try:
                await self._look()
                await self._round()
            except _PASSING as error:
                log.warning("deliveries wait in the store", error=type(error).__name__)
                failures += 1
            except Exception:
                # Whatever it is, what waits must not be given up.
                log.exception("deliveries wait in the store")
                failures += 1
            else:
                failures = 0
                await self._sleep()
            if failures:
                await asyncio.sleep(backoff_s(failures - 1, random.random()))  # noqa: S311 - not a secret

    async def _sleep(self) -> None:
        """Wait for something to do: until somebody says so, or the time has come."""
        now = time.monotonic()
        until = min(self._next_look_at, self._attempts.endpoints.next_at(self._hungry, now))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - now)):
                await self._woken.wait()

    async def _look(self) -> None:
        """Look for endpoints that something is due for, and where those are now that failed, if it is time to."""
        now = time.monotonic()
        if now < self._next_look_at:
            return
        endpoints = self._attempts.endpoints
        async with self._store.read() as connection:
            found = await queue.find_endpoints(connection, datetime.now(UTC))
            urls = await queue.load_urls(connection, endpoints.left_alone())
        self._hungry.update(found)
        self._next_look_at = now + POLL_INTERVAL_S
        endpoints.move(urls)
        endpoints.forget(now)
        self._metrics.set_open_breakers(len(endpoints.left_alone()))

    async def _round(self) -> None:
        """Record what has ended, and claim what may begin."""
        attempts = self._attempts
        attempts.begin(time.monotonic())
        wanted = attempts.wanted(self._hungry, time.monotonic())
        ended, returned = list(attempts.ended), list(attempts.returned)
        if not wanted and not ended and not returned:
            return
        # What is announced from now on is news.
        projects = {number: self._hungry.pop(number) for number in wanted}
        try:
            async with self._store.database.writing() as connection:
                recorded = await record(connection, ended, datetime.now(UTC))
                failing = await self._find_failing(connection, ended)
                await queue.give_back(connection, returned, datetime.now(UTC))
                taken = await self._take(connection, wanted)
        except BaseException as error:
            self._hungry.update(projects)
            if not _is_of_values(error):
                raise
            await self._record_one_by_one(ended)
            return
        del attempts.ended[: len(ended)], attempts.returned[: len(returned)]
        self._hungry.update({number: projects[number] for number in taken.still_hungry})
        self._hungry.update({each.webhook_seq: each.project_id for each in returned})
        self._count(recorded, taken.buried)
        attempts.add(taken.deliveries, time.monotonic())
        self._disabling.soon(failing, "It has failed for too long.", self._fails_for_long())
        self._disabling.soon(_gone(ended), "Its endpoint said that it is gone.")

    # Within the transaction.

    async def _find_failing(self, connection: AsyncConnection, ended: Sequence[Ended]) -> list[WebhookKey]:
        """Return those webhooks of which an attempt failed, now that it is recorded, and all have for too long."""
        if not self._settings.webhooks_disable_after_s:
            return []
        failed = {each.claimed.webhook_seq for each in ended if each.outcome.verdict is Verdict.FAILS}
        return await find_failing(connection, sorted(failed), self._fails_for_long())

    def _fails_for_long(self) -> ColumnElement[bool]:
        before = datetime.now(UTC) - timedelta(seconds=self._settings.webhooks_disable_after_s)
        return fails_for_long(before, self._settings.webhooks_disable_attempts)

    async def _take(self, connection: AsyncConnection, rooms: Mapping[int, int]) -> _Taken:
        """Claim what there is room for, and make dead letters of what can no longer be delivered."""
        if not rooms:
            return _NOTHING
        now = datetime.now(UTC)
        webhooks = await queue.load_webhooks(connection, rooms)
        open_rooms = {
            number: room
            for number, room in rooms.items()
            if (webhook := webhooks.get(number)) is not None and webhook.enabled
        }
        lease_s = AHEAD_S + self._settings.webhooks_timeout_s + LEASE_MARGIN_S
        claims = await queue.claim(connection, open_rooms, now, lease_s)
        events = await queue.load_events(connection, claims)
        without_event = [each for each in claims if (each.project_id, each.event_id) not in events]
        await queue.bury(connection, without_event, EVENT_GONE, now)
        counts = Counter(each.webhook_seq for each in claims)
        still_hungry = [number for number, room in open_rooms.items() if counts[number] == room]
        buried = len(without_event)
        for number in rooms.keys() - open_rooms.keys():
            if number in webhooks:
                removed = await queue.bury_due(connection, number, DISABLED, now)
                buried += removed
            else:
                removed = await queue.remove_open(connection, number)
            if removed == queue.BATCH:
                still_hungry.append(number)
        deliveries = [
            Prepared(each, webhooks[each.webhook_seq], event)
            for each in claims
            if (event := events.get((each.project_id, each.event_id))) is not None
        ]
        return _Taken(deliveries, still_hungry, buried)

    async def _record_one_by_one(self, ended: Sequence[Ended]) -> None:
        """Record attempts of which one cannot be recorded as it is; without what was answered, then."""
        for each in ended:
            recorded: Sequence[Ended] = ()
            for variant in (each, each.without_texts()):
                try:
                    async with self._store.database.writing() as connection:
                        recorded = await record(connection, [variant], datetime.now(UTC))
                    break
                except Exception as error:
                    if not _is_of_values(error):
                        raise
                    log.warning(
                        "an attempt cannot be recorded as it is",
                        delivery=each.claimed.id,
                        error=type(error).__name__,
                    )
            self._attempts.ended.remove(each)
            self._count(recorded or [each], 0)

    def _count(self, ended: Iterable[Ended], buried: int) -> None:
        for _, _, result, outcome, _ in ended:
            if result.refused:
                self._metrics.count_delivery("refused")
                continue
            self._metrics.count_attempt(result.status, result.duration_s)
            self._metrics.count_delivery("retried" if outcome.status == "pending" else outcome.status)
        for _ in range(buried):
            self._metrics.count_delivery("dead")

    # The end.

    async def _stop(self, loop: asyncio.Task[None]) -> None:
        """Let the present round and attempts end, for a while; record what has, and give back the others."""
        await asyncio.wait([loop], timeout=STOP_TIMEOUT_S)
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        await self._attempts.stop(STOP_TIMEOUT_S)
        attempts, now = self._attempts, datetime.now(UTC)
        try:
            async with self._store.database.writing() as connection:
                recorded = await record(connection, attempts.ended, now)
                await queue.give_back(connection, attempts.returned, now)
        except (*_PASSING, UnicodeError) as error:
            # They are due again when the claims have run out.
            log.warning("the end of attempts was not recorded", error=type(error).__name__)
        else:
            self._count(recorded, 0)


def _gone(ended: Iterable[Ended]) -> list[WebhookKey]:
    return [
        WebhookKey(each.claimed.webhook_seq, each.claimed.project_id, each.claimed.webhook_id, each.url)
        for each in ended
        if each.outcome.verdict is Verdict.GONE
    ]


def _is_of_values(error: BaseException) -> bool:
    """Tell whether what is to be recorded cannot be stored, rather than the database be away."""
    return isinstance(error, UnicodeError) or (
        isinstance(error, SQLAlchemyError) and failure_of(error) is Failure.VALUE
    )
