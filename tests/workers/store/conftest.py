"""What the tests of the store share: a database, a bus, and a relay between them."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from realtime.bus import RedisBus, connect
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from realtime.triggers.store import TriggerStore
from workers.store.database import Database, open_database
from workers.store.relay import Relay
from workers.store.write_through import WriteThrough

OpenRelay = Callable[..., AbstractAsyncContextManager[Relay]]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database that holds nothing, on a pool of its own."""
    database = open_database(Settings(database_url=database_url))
    yield database
    await database.aclose()


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[RedisBus]:
    bus = RedisBus(connect(redis_url))
    yield bus
    await bus.aclose()


@pytest.fixture
async def identities(redis_url: str) -> AsyncIterator[IdentityStore]:
    redis = connect(redis_url)
    yield IdentityStore(redis)
    await redis.aclose()


@pytest.fixture
async def triggers(redis_url: str) -> AsyncIterator[TriggerStore]:
    redis = connect(redis_url)
    yield TriggerStore(redis)
    await redis.aclose()


@pytest.fixture
def open_relay(database: Database, redis_url: str) -> OpenRelay:
    """Runs a relay with connections of its own to Redis; through a proxy if it is given another URL."""

    @contextlib.asynccontextmanager
    async def run(url: str = redis_url, *, on: Database = database) -> AsyncIterator[Relay]:
        redis = connect(url)
        try:
            through = WriteThrough(IdentityStore(redis), TriggerStore(redis))
            async with Relay(on, RedisBus(redis), through).running() as relay:
                yield relay
        finally:
            await redis.aclose()

    return run


@pytest.fixture
async def relay(open_relay: OpenRelay) -> AsyncIterator[Relay]:
    """A relay that runs."""
    async with open_relay() as relay:
        yield relay
