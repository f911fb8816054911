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
from typing import NamedTuple, Protocol

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.bus.backoff import backoff_s
from realtime.settings_workers import WorkerSettings
from realtime.triggers.model import Webhook
from workers.models.people import Row
from workers.store.failures import Failure, failure_of
from workers.store.metrics import WorkerMetrics
from workers.store.store import Store
from workers.webhooks import queue
from workers.webhooks.disabling import Disabling
from workers.webhooks.endpoints import Endpoints, Limits
from workers.webhooks.outcomes import Outcome, Verdict, failure_text, judge
from workers.webhooks.queue import Claimed
from workers.webhooks.recorder import Ended, WebhookKey, find_failing, record
from workers.webhooks.request import Delivery
from workers.webhooks.sending import AttemptResult

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


class Sends(Protocol):
    """What makes attempts: :class:`workers.webhooks.sending.Sender`."""

    async def attempt(self, webhook: Webhook, delivery: Delivery) -> AttemptResult:
        """Send ``delivery`` to ``webhook``, within ``webhooks_timeout_s``, and return what came of it."""


class _Taken(NamedTuple):
    """What a round took out of the store."""

    deliveries: Sequence[tuple[Claimed, Webhook, Row]]
    """With the event of each."""
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
        self._endpoints = Endpoints(
            Limits(
                concurrency=settings.webhooks_concurrency,
                endpoint_concurrency=settings.webhooks_endpoint_concurrency,
                endpoint_rate=settings.webhooks_endpoint_rate,
                breaker_failures=settings.webhooks_breaker_failures,
                breaker_pause_s=settings.webhooks_breaker_pause_s,
            )
        )
        self._disabling = Disabling(store, metrics)
        # The endpoints for which something may be due; those whose turn is next first.
        self._hungry: dict[int, None] = {}
        self._attempts: dict[asyncio.Task[None], Claimed] = {}
        # What is still to be recorded, in order. As many as attempts may run at most, since nothing is claimed
        # meanwhile.
        self._ended: list[Ended] = []
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
                    loop.cancel()
                    for task in self._attempts:
                        task.cancel()
                    await asyncio.gather(loop, *self._attempts, return_exceptions=True)

    def announce(self, numbers: Iterable[int]) -> None:
        """Be told that something is due for webhooks, by their ``seq``. Never blocks."""
        self._hungry.update(dict.fromkeys(numbers))
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
        until = min(self._next_look_at, self._endpoints.next_at(self._hungry, now))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - now)):
                await self._woken.wait()

    async def _look(self) -> None:
        """Look for endpoints that something is due for, if it is time to."""
        now = time.monotonic()
        if now < self._next_look_at:
            return
        async with self._store.read() as connection:
            found = await queue.find_endpoints(connection, datetime.now(UTC))
        self._hungry.update(dict.fromkeys(found))
        self._next_look_at = now + POLL_INTERVAL_S
        self._endpoints.forget(now)
        self._metrics.set_open_breakers(self._endpoints.open_breakers)

    async def _round(self) -> None:
        """Record what has ended, and begin what may begin."""
        rooms = self._endpoints.allot(self._hungry, time.monotonic())
        ended = list(self._ended)
        if not rooms and not ended:
            return
        # What is announced from now on is news.
        for number in rooms:
            del self._hungry[number]
        try:
            async with self._store.database.writing() as connection:
                failing = await self._record(connection, ended)
                taken = await self._take(connection, rooms)
        except BaseException as error:
            self._hungry.update(dict.fromkeys(rooms))
            if not _is_of_values(error):
                raise
            await self._record_one_by_one(ended)
            return
        del self._ended[: len(ended)]
        self._hungry.update(dict.fromkeys(taken.still_hungry))
        self._count(ended, taken.buried)
        for claimed, webhook, event in taken.deliveries:
            self._begin(claimed, webhook, event)
        self._disabling.soon(failing, "It has failed for too long.")
        self._disabling.soon(_gone(ended), "Its endpoint said that it is gone.")

    # Within the transaction.

    async def _record(self, connection: AsyncConnection, ended: Sequence[Ended]) -> list[WebhookKey]:
        """Record attempts; return the webhooks that have failed for too long."""
        now = datetime.now(UTC)
        await record(connection, ended, now)
        if not self._settings.webhooks_disable_after_s:
            return []
        failed = {each.claimed.webhook_seq for each in ended if each.outcome.verdict is Verdict.FAILS}
        return await find_failing(
            connection,
            sorted(failed),
            before=now - timedelta(seconds=self._settings.webhooks_disable_after_s),
            least_attempts=self._settings.webhooks_disable_attempts,
        )

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
        lease_s = self._settings.webhooks_timeout_s + LEASE_MARGIN_S
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
            (each, webhooks[each.webhook_seq], event)
            for each in claims
            if (event := events.get((each.project_id, each.event_id))) is not None
        ]
        return _Taken(deliveries, still_hungry, buried)

    async def _record_one_by_one(self, ended: Sequence[Ended]) -> None:
        """Record attempts of which one cannot be recorded as it is; without what was answered, then."""
        for each in ended:
            for variant in (each, each.without_texts()):
                try:
                    async with self._store.database.writing() as connection:
                        await record(connection, [variant], datetime.now(UTC))
                    break
                except Exception as error:
                    if not _is_of_values(error):
                        raise
                    log.exception("an attempt cannot be recorded as it is", delivery=each.claimed.id)
            self._ended.remove(each)
            self._count([each], 0)

    # Attempts.

    def _begin(self, claimed: Claimed, webhook: Webhook, event: Row) -> None:
        self._endpoints.begin(claimed.webhook_seq, time.monotonic())
        task = asyncio.create_task(self._attempt(claimed, webhook, event), name="realtime-attempt")
        self._attempts[task] = claimed
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        # What was cancelled is still to be given back.
        if not task.cancelled():
            self._attempts.pop(task, None)
        self._woken.set()

    async def _attempt(self, claimed: Claimed, webhook: Webhook, event: Row) -> None:
        delivery = Delivery(
            project_id=claimed.project_id,
            delivery_id=claimed.id,
            event_id=claimed.event_id,
            names=tuple(event["names"]),
            actor_id=event["actor_id"],
            payload=event["payload"],
            attempt=claimed.attempts,
        )
        verdict = Verdict.UNKNOWN
        try:
            result, outcome = await self._send(claimed, webhook, delivery)
            verdict = outcome.verdict
            failed = verdict in (Verdict.FAILS, Verdict.GONE)
            text = failure_text(webhook.url, delivery.names, result) if failed else ""
            self._ended.append(Ended(claimed, result, outcome, text))
        finally:
            self._endpoints.end(claimed.webhook_seq, time.monotonic(), verdict)

    async def _send(
        self, claimed: Claimed, webhook: Webhook, delivery: Delivery
    ) -> tuple[AttemptResult, Outcome]:
        schedule_s = self._settings.webhooks_schedule_s
        jitter = random.random()  # noqa: S311 - not a secret
        started_at = time.time()
        try:
            result = await self._sender.attempt(webhook, delivery)
        except Exception:
            # A mistake of this program: no fault of the endpoint.
            log.exception("an attempt broke off", delivery=claimed.id)
            result = AttemptResult(started_at, time.time() - started_at, error="The attempt broke off.")
            return result, judge(result, claimed.round, schedule_s, jitter)._replace(verdict=Verdict.UNKNOWN)
        return result, judge(result, claimed.round, schedule_s, jitter)

    def _count(self, ended: Iterable[Ended], buried: int) -> None:
        for _, result, outcome, _ in ended:
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
        await asyncio.wait([loop, *self._attempts], timeout=STOP_TIMEOUT_S)
        late = [task for task in (loop, *self._attempts) if not task.done()]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        now = datetime.now(UTC)
        try:
            async with self._store.database.writing() as connection:
                await record(connection, self._ended, now)
                await queue.give_back(connection, self._attempts.values(), now)
        except _PASSING as error:
            # They are due again when the claims have run out.
            log.warning("the end of attempts was not recorded", error=type(error).__name__)
        else:
            self._count(self._ended, 0)
            self._attempts.clear()


def _gone(ended: Iterable[Ended]) -> list[WebhookKey]:
    return [
        WebhookKey(each.claimed.webhook_seq, each.claimed.project_id, each.claimed.webhook_id)
        for each in ended
        if each.outcome.verdict is Verdict.GONE
    ]


def _is_of_values(error: BaseException) -> bool:
    """Tell whether what is to be recorded cannot be stored, rather than the database be away."""
    return isinstance(error, UnicodeError) or (
        isinstance(error, SQLAlchemyError) and failure_of(error) is Failure.VALUE
    )
