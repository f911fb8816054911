"""Tests of the whole worker: what is published is delivered, by however many workers."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from realtime.bus import RedisBus, connect
from realtime.bus.work import WorkQueue
from realtime.events.event import Event
from realtime.publisher import Publisher
from realtime.settings import Settings
from realtime.triggers.model import Webhook
from realtime.triggers.store import TriggerStore
from realtime.triggers.watch import TriggerWatch
from workers.store.tables import deliveries, webhook_events
from workers.webhooks.worker import WebhookWorker


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[RedisBus]:
    bus = RedisBus(connect(redis_url))
    yield bus
    await bus.aclose()


def _worker(world: Any, bus: RedisBus, consumer: str) -> WebhookWorker:
    triggers = TriggerStore(bus.redis)
    return WebhookWorker(
        world.store,
        world.sender,
        WorkQueue(bus.redis, "webhooks", consumer),
        TriggerWatch(triggers),
        Settings(),
        world.metrics,
    )


class TestWebhookWorker:
    async def test_what_is_published_is_delivered_once_to_each_webhook(
        self, world: Any, bus: RedisBus
    ) -> None:
        await world.put_webhooks("a", "b")
        for webhook_id in ("a", "b"):
            await TriggerStore(bus.redis).put_webhook(
                "demo", Webhook(webhook_id, webhook_id, "", ("teams.*.create",), "")
            )
        async with contextlib.AsyncExitStack() as stack:
            for consumer in ("one", "two"):
                await stack.enter_async_context(_worker(world, bus, consumer).running())
            publisher = await stack.enter_async_context(Publisher("demo", bus=bus))
            await publisher.publish_many([Event(f"teams.t{n}.create", {"$id": f"t{n}"}) for n in range(50)])
            await world.until_rows(100, deliveries, status="delivered")
        sent = Counter((webhook_id, delivery.payload) for webhook_id, delivery in world.sender.seen)
        assert sent == {(each, f'{{"$id":"t{n}"}}'.encode()): 1 for each in ("a", "b") for n in range(50)}
        assert len(await world.rows(webhook_events)) == 50
        assert sum(await WorkQueue(bus.redis, "webhooks", "watcher").lengths()) == 0
