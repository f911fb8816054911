"""Calls to workers, on a real Valkey server."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.bus import connect
from realtime.bus.calls import PAUSE_S, Calls, call_workers
from realtime.bus.keys import WorkKind, calls_channel


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


class Worker:
    """Counts how often it is woken."""

    def __init__(self, client: Redis, kind: WorkKind = "functions") -> None:
        self.woken = 0
        self._was_woken = asyncio.Event()
        self.calls = Calls(client, kind, self._wake)
        self._client = client
        self._channel = calls_channel(kind)

    def _wake(self) -> None:
        self.woken += 1
        self._was_woken.set()

    async def until_heard(self, *, listeners: int = 1) -> None:
        async with asyncio.timeout(10):
            while True:
                counts = dict(await self._client.pubsub_numsub(self._channel))
                if counts[self._channel.encode()] >= listeners:
                    return
                await asyncio.sleep(0.005)

    async def until_woken(self) -> None:
        async with asyncio.timeout(10):
            await self._was_woken.wait()


class TestCalls:
    async def test_all_workers_of_the_kind_are_woken_and_no_others(self, client: Redis) -> None:
        ada, bob, other = Worker(client), Worker(client), Worker(client, "webhooks")
        async with ada.calls.running(), bob.calls.running(), other.calls.running():
            await ada.until_heard(listeners=2)
            await other.until_heard()
            await call_workers(client, "functions")
            await ada.until_woken()
            await bob.until_woken()
            assert other.woken == 0

    async def test_thousands_of_calls_wake_a_few_times(self, client: Redis) -> None:
        worker = Worker(client)
        async with worker.calls.running():
            await worker.until_heard()
            loop = asyncio.get_running_loop()
            began = loop.time()
            for _ in range(2000):
                await call_workers(client, "functions")
            await worker.until_woken()
            seen = -1
            while seen < worker.woken:
                seen = worker.woken
                await asyncio.sleep(5 * PAUSE_S)
            assert worker.woken <= 1 + (loop.time() - began) / PAUSE_S
            assert worker.woken < 1000

    async def test_they_are_heard_again_when_the_connection_broke(self, client: Redis) -> None:
        worker = Worker(client)
        async with worker.calls.running():
            await worker.until_heard()
            await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]
            async with asyncio.timeout(10):
                while not worker.woken:
                    await call_workers(client, "functions")
                    await asyncio.sleep(0.01)

    async def test_nobody_who_calls_is_told_that_redis_is_away(
        self, client: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def publish(*_: object) -> None:
            raise RedisConnectionError

        monkeypatch.setattr(client, "publish", publish)
        await call_workers(client, "functions")
