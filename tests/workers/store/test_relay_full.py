"""The relay when too many events wait for webhooks: everything waits in the outbox, and read models do not."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from sqlalchemy import func, insert, select
from structlog.testing import capture_logs

from realtime.bus import RedisBus, connect
from realtime.bus.work import WorkQueue
from realtime.events.event import Event
from realtime.events.work import decode_work
from realtime.identity.model import Project
from realtime.identity.store import IdentityStore
from realtime.triggers.model import Webhook
from realtime.triggers.store import TriggerStore
from tests.topologies import DEADLINE_S
from workers.store import relay as relay_module
from workers.store import tables
from workers.store.database import Database
from workers.store.relay import Relay
from workers.store.store import Store
from workers.store.write_through import WriteThrough

DEMO = Project(id="demo")
HOOK = Webhook("w1", "Hook", "https://example.com/", ("teams.*.create",), "sealed")
BOUND = 3


@pytest.fixture
async def redis_connection(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    client = connect(redis_url)
    await TriggerStore(client).put_webhook("demo", HOOK)
    yield client
    await client.aclose()


@pytest.fixture
async def bus(redis_connection: redis.asyncio.Redis) -> RedisBus:
    return RedisBus(redis_connection, work_max_events=BOUND)


@pytest.fixture
async def relay(
    database: Database, bus: RedisBus, redis_connection: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Relay]:
    # What is still full at the end is not waited for.
    monkeypatch.setattr(relay_module, "FLUSH_TIMEOUT_S", 0.5)
    through = WriteThrough(IdentityStore(redis_connection), TriggerStore(redis_connection))
    async with Relay(database, bus, through).running() as relay:
        yield relay


@pytest.fixture
def store(database: Database, relay: Relay) -> Store:
    return Store(database, relay)


@pytest.fixture
def queue(redis_connection: redis.asyncio.Redis) -> WorkQueue:
    return WorkQueue(redis_connection, "webhooks", "reader")


async def write(store: Store, *numbers: int) -> None:
    async with store.write(DEMO) as tx:
        for number in numbers:
            tx.emit(Event("teams.[teamId].create", {"n": number}, params={"teamId": "red"}))


async def take(queue: WorkQueue) -> list[int]:
    """Do what a worker does with all that waits; return the numbers."""
    items = []
    while found := await queue.read(6400, block_s=0):
        items += found
    await queue.done(items)
    return [json.loads(decode_work(item).payload)["n"] for item in items]


async def waiting(database: Database) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(tables.outbox))).scalar_one())


class TestTooMuchWaits:
    async def test_events_wait_in_the_outbox_and_are_published_in_order_when_there_is_room(
        self, store: Store, relay: Relay, queue: WorkQueue, database: Database
    ) -> None:
        for number in range(BOUND):
            await write(store, number)
            assert await relay.flush("demo")
        with capture_logs() as logs:
            for number in range(BOUND, 10):
                await write(store, number)
            assert not await relay.flush("demo")
        assert await waiting(database) == 10 - BOUND
        told = next(entry for entry in logs if entry["event"] == "events wait in the outbox")
        assert (told["log_level"], told["project"]) == ("error", "demo")
        assert "`realtime webhooks`" in told["reason"]
        seen: list[int] = []
        async with asyncio.timeout(DEADLINE_S):
            while len(seen) < 10:
                seen += await take(queue)
        assert seen == list(range(10))
        assert await relay.flush("demo")
        assert await waiting(database) == 0

    async def test_read_models_do_not_wait(
        self, store: Store, relay: Relay, database: Database, redis_connection: redis.asyncio.Redis
    ) -> None:
        await write(store, *range(BOUND))
        assert await relay.flush("demo")
        await write(store, 7)
        assert not await relay.flush("demo")
        async with asyncio.timeout(DEADLINE_S):
            async with store.write(DEMO) as tx:
                times = {"created_at": tx.now_text, "updated_at": tx.now_text}
                await tx.connection.execute(
                    insert(tables.projects).values(
                        id="demo", name="Renamed", disabled={}, policies={}, **times
                    )
                )
                tx.change_project()
                tx.change_webhook("w1")
        # SQL has no such webhook: it was deleted, for example since nobody serves it.
        assert (await TriggerStore(redis_connection).read("demo")).webhooks == ()
        project = await IdentityStore(redis_connection).get_project("demo")
        assert project is not None
        assert project.name == "Renamed"
        # Then nothing more is to wait for it either.
        assert await relay.flush("demo")
        assert await waiting(database) == 0
