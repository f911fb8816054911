"""The attempts of one process: those that are being made, those that may soon be, and those that have ended.

A quick endpoint has some deliveries claimed for it in advance, so that the next attempt begins when one ends, without
asking the store. They wait here for :data:`AHEAD_S` at most, and are given back then.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from realtime.settings_workers import WorkerSettings
from realtime.triggers.model import Webhook
from workers.models.people import Row
from workers.webhooks.endpoints import Endpoints, Limits, Place
from workers.webhooks.ends import Ended
from workers.webhooks.outcomes import Outcome, Verdict, failure_text, judge
from workers.webhooks.queue import Claimed
from workers.webhooks.request import Delivery
from workers.webhooks.sending import AttemptResult

log = structlog.get_logger("realtime.webhooks")

AHEAD_S = 1.0
"""How long a delivery may be claimed before its attempt begins: as long, what was known of its webhook is trusted."""

_AHEAD = 4
"""How many deliveries are claimed in advance for a quick endpoint, as a multiple of how many it is sent at a time."""

_QUICK_S = 0.1
"""How soon an endpoint answers that is quick: what is claimed in advance for it is not here for long."""


class Sends(Protocol):
    """What makes attempts: :class:`workers.webhooks.sending.Sender`."""

    async def attempt(self, webhook: Webhook, delivery: Delivery) -> AttemptResult:
        """Send ``delivery`` to ``webhook``, within ``webhooks_timeout_s``, and return what came of it."""


class Prepared(NamedTuple):
    """A claimed delivery with all that an attempt needs."""

    claimed: Claimed
    webhook: Webhook
    event: Row

    @property
    def place(self) -> Place:
        """Where the attempt is made."""
        return Place(self.claimed.webhook_seq, self.claimed.project_id, self.webhook.url)


class Attempts:
    """What makes attempts. For one event loop. Nothing here waits, but for :meth:`stop`."""

    def __init__(self, sender: Sends, settings: WorkerSettings, wake: Callable[[], None]) -> None:
        """Make it; ``wake`` is called when an attempt has ended."""
        # Attempts that have ended and are to be recorded, in order. Whoever records them removes them.
        self.ended: list[Ended] = []
        # Deliveries to be given back. Whoever does that removes them.
        self.returned: list[Claimed] = []
        self.endpoints = Endpoints(
            Limits(
                concurrency=settings.webhooks_concurrency,
                endpoint_concurrency=settings.webhooks_endpoint_concurrency,
                endpoint_rate=settings.webhooks_endpoint_rate,
                breaker_failures=settings.webhooks_breaker_failures,
                breaker_pause_s=settings.webhooks_breaker_pause_s,
            )
        )
        self._sender = sender
        self._schedule_s = settings.webhooks_schedule_s
        # A rate is to be kept, not to be prepared for.
        self._ahead = (
            0 if settings.webhooks_endpoint_rate else _AHEAD * settings.webhooks_endpoint_concurrency
        )
        self._wake = wake
        self._tasks: dict[asyncio.Task[None], Claimed] = {}
        # What was claimed in advance, with the time at which it was, by endpoint.
        self._waiting: dict[int, deque[tuple[float, Prepared]]] = {}
        # The endpoints whose last answer came soon.
        self._quick: set[int] = set()

    def wanted(self, hungry: Mapping[int, str], now: float) -> dict[int, int]:
        """Return how many deliveries are to be claimed for which of the endpoints ``hungry``, the first ones first.

        These are given with their projects.
        """
        rooms = self.endpoints.allot(hungry, now)
        wanted = {number: room + self._ahead * (number in self._quick) for number, room in rooms.items()}
        for number in self._quick & hungry.keys() - rooms.keys():
            if (missing := self._ahead - len(self._waiting.get(number, ()))) > self._ahead // 2:
                wanted[number] = missing
        return wanted

    def add(self, prepared: Sequence[Prepared], now: float) -> None:
        """Attempt deliveries, at once or as soon as their endpoints may be sent more."""
        for each in prepared:
            self._waiting.setdefault(each.claimed.webhook_seq, deque()).append((now, each))
        self.begin(now)

    def begin(self, now: float) -> None:
        """Begin what may begin of what waits, and return what has waited for too long."""
        for number in [number for number, waiting in self._waiting.items() if now - waiting[0][0] > AHEAD_S]:
            # It is not as quick as it was.
            self._quick.discard(number)
            self.returned += [each.claimed for _, each in self._waiting.pop(number)]
        if self._waiting:
            projects = {number: waiting[0][1].claimed.project_id for number, waiting in self._waiting.items()}
            for number, room in self.endpoints.allot(projects, now).items():
                self._begin(number, room, now)

    def cancel(self) -> None:
        """Break off all attempts, and return what they were to deliver."""
        for task in self._tasks:
            task.cancel()
        self.returned += self._tasks.values()

    async def stop(self, timeout_s: float) -> None:
        """Let what is being attempted end, within a time; return the rest."""
        for waiting in self._waiting.values():
            self.returned += [each.claimed for _, each in waiting]
        self._waiting.clear()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=timeout_s)
        late = list(self._tasks)
        self.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _begin(self, number: int, room: int, now: float) -> None:
        waiting = self._waiting[number]
        for _ in range(min(room, len(waiting))):
            _, prepared = waiting.popleft()
            self.endpoints.begin(prepared.place, now)
            task = asyncio.create_task(self._attempt(prepared), name="realtime-attempt")
            self._tasks[task] = prepared.claimed
            task.add_done_callback(self._forget)
        if not waiting:
            del self._waiting[number]

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self._wake()

    async def _attempt(self, prepared: Prepared) -> None:
        claimed, webhook, event = prepared
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
            self.ended.append(Ended(claimed, webhook.url, result, outcome, text))
            self._judge_speed(claimed.webhook_seq, result.duration_s)
        finally:
            self._end(prepared.place, verdict)

    async def _send(
        self, claimed: Claimed, webhook: Webhook, delivery: Delivery
    ) -> tuple[AttemptResult, Outcome]:
        jitter = random.random()  # noqa: S311 - not a secret
        started_at = time.time()
        try:
            result = await self._sender.attempt(webhook, delivery)
        except Exception:
            # A mistake of this program: no fault of the endpoint.
            log.exception("an attempt broke off", delivery=claimed.id)
            result = AttemptResult(started_at, time.time() - started_at, error="The attempt broke off.")
            outcome = judge(result, claimed.round, self._schedule_s, jitter)
            return result, outcome._replace(verdict=Verdict.UNKNOWN)
        return result, judge(result, claimed.round, self._schedule_s, jitter)

    def _judge_speed(self, number: int, duration_s: float) -> None:
        if duration_s <= _QUICK_S:
            self._quick.add(number)
        else:
            self._quick.discard(number)

    def _end(self, place: Place, verdict: Verdict) -> None:
        """End an attempt, and begin the next one to the same endpoint if it waits here."""
        now = time.monotonic()
        self.endpoints.end(place, now, verdict)
        number = place.number
        if number in self._waiting and (
            room := self.endpoints.allot({number: place.project_id}, now).get(number)
        ):
            self._begin(number, room, now)
