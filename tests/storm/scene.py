"""A storm: twenty endpoints, workers that are killed, a publisher; and in the end, what is in the log of deliveries."""

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from realtime.bus import connect
from realtime.bus.work import WorkQueue
from realtime.events.event import Event
from realtime.publisher import Publisher
from realtime.settings import Settings
from tests.api import PROJECT, running_api
from tests.storm.checker import Found, Logged, Wanted, check
from tests.storm.endpoints import Endpoint, Kind, read_records
from tests.topologies import free_ports
from workers.store import tables
from workers.store.database import Database, open_database
from workers.store.tables.delivery_tables import attempts, deliveries, webhook_events

BATCH = 20
"""How many events are published at once."""
RETRY_S = 60.0
"""How long the publisher tries, while Redis is away."""

KINDS = {
    Kind.FAST: 8,
    Kind.SLOW: 3,
    Kind.FAILS_AT_FIRST: 2,
    Kind.STARTS_LATE: 1,
    Kind.FLAKY: 1,
    Kind.REFUSES: 2,
    Kind.HANGS: 2,
    Kind.GONE: 1,
}
"""How many endpoints there are of each kind."""

SETTINGS: dict[str, Any] = {
    "webhooks_allow_private": True,
    "webhooks_schedule_s": (0.5, 1.0, 2.0, 4.0, 4.0, 4.0),
    "webhooks_timeout_s": 3.0,
    "webhooks_breaker_pause_s": 1.0,
    # Longer than a passing trouble, and than the time in which kills keep anything from being tried.
    "webhooks_disable_after_s": 12.0,
}
"""What makes three days as short as a test."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Who takes part.

    Args:
        settings: Those of the workers, and of everybody else.
        endpoints: By their names, which are those of their webhooks too.
        events: How many are published.
        shares: Each endpoint is called for one out of so many of them.
    """

    settings: Settings
    endpoints: dict[str, Endpoint]
    events: int
    shares: int

    def numbers(self, name: str) -> frozenset[int]:
        """Return the numbers of the events that an endpoint is called for."""
        return frozenset(range(self._share(name), self.events, self.shares))

    def _share(self, name: str) -> int:
        return list(self.endpoints).index(name) % self.shares

    async def make_webhooks(self) -> None:
        """Make the project, and a webhook for each endpoint, through the API."""
        async with running_api(self.settings) as api:
            for name, endpoint in self.endpoints.items():
                body = {
                    "webhookId": name,
                    "name": name,
                    "url": f"http://127.0.0.1:{endpoint.port}/{name}",
                    "events": [f"teams.share-{self._share(name)}.update"],
                }
                response = await api.server.post("/v1/webhooks", json=body)
                assert response.status_code == 201, response.text

    async def publish(self, lasting_s: float) -> None:
        """Publish all events, spread over at least this time."""
        pause_s = lasting_s * BATCH / self.events
        async with Publisher(PROJECT, redis_url=self.settings.redis_url, retry_s=RETRY_S) as publisher:
            for first in range(0, self.events, BATCH):
                numbers = range(first, min(first + BATCH, self.events))
                pause = asyncio.create_task(asyncio.sleep(pause_s))
                await publisher.publish_many([self._event(number) for number in numbers])
                await pause

    def _event(self, number: int) -> Event:
        team = f"share-{number % self.shares}"
        return Event(name=f"teams.{team}.update", payload={"$id": team, "number": number}, roles=[])

    async def until_over(self, deadline_s: float) -> None:
        """Wait until no event waits in the stream, and no delivery in the database."""
        database = open_database(self.settings)
        redis = connect(self.settings.redis_url)
        queue = WorkQueue(redis, "webhooks", "watcher")
        waiting = -1
        try:
            async with asyncio.timeout(deadline_s):
                while waiting := sum(await queue.lengths()) + await _pending(database):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"{waiting} are still waiting after {deadline_s:g} s") from None
        finally:
            await redis.aclose()
            await database.aclose()

    async def found(self, records: Path) -> Found:
        """Compare the log with what the endpoints saw."""
        database = open_database(self.settings)
        try:
            disabled = await _disabled(database)
            logged = await _logged(database)
        finally:
            await database.aclose()
        wanted = {
            name: Wanted(self.numbers(name), endpoint.kind.is_hopeless, name in disabled)
            for name, endpoint in self.endpoints.items()
        }
        return check(wanted, logged, list(read_records(records)))


def make_endpoints() -> dict[str, Endpoint]:
    """Return endpoints of every kind, on free ports."""
    ports = iter(free_ports(sum(KINDS.values())))
    made = [
        Endpoint(f"{kind}-{number}", kind, next(ports))
        for kind, count in KINDS.items()
        for number in range(count)
    ]
    return {endpoint.name: endpoint for endpoint in made}


async def _pending(database: Database) -> int:
    statement = select(func.count()).where(deliveries.c.due_at.is_not(None))
    async with database.reading() as connection:
        return int((await connection.execute(statement)).scalar_one())


async def _disabled(database: Database) -> set[str]:
    webhooks = tables.webhooks
    async with database.reading() as connection:
        return set((await connection.execute(select(webhooks.c.id).where(~webhooks.c.enabled))).scalars())


async def _logged(database: Database) -> list[Logged]:
    async with database.reading() as connection:
        answers = defaultdict[str, list[int]](list)
        columns = attempts.c.delivery_id, attempts.c.response_status
        for delivery_id, status in await connection.execute(select(*columns)):
            answers[delivery_id].append(status)
        payloads = await connection.execute(select(webhook_events.c.event_id, webhook_events.c.payload))
        numbers = {event_id: json.loads(payload)["number"] for event_id, payload in payloads}
        rows = await connection.execute(
            select(
                deliveries.c.id,
                deliveries.c.webhook_id,
                deliveries.c.event_id,
                deliveries.c.status,
                deliveries.c.attempts,
            )
        )
        return [
            Logged(
                row.id,
                row.webhook_id,
                numbers[row.event_id],
                row.status,
                row.attempts,
                tuple(answers[row.id]),
            )
            for row in rows
        ]
