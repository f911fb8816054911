import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import RedisError

from realtime.bus import connect, link
from realtime.bus.link import Link

OPTIONS: dict[str, Any] = {"protocol": 2, "socket_timeout": None, "health_check_interval": 0}


@pytest.fixture
async def one(redis_url: str) -> AsyncIterator[Link]:
    """A link whose commands are sent."""
    client = connect(redis_url, **OPTIONS)
    opened = await Link.open(client)
    writer = asyncio.create_task(opened.write())
    yield opened
    writer.cancel()
    await asyncio.wait([writer])
    await opened.close()
    await client.aclose()


class TestReceive:
    async def test_confirmation_comes_before_messages(
        self, one: Link, redis_client: redis.asyncio.Redis
    ) -> None:
        one.subscribe([b"a", b"b"])
        assert [(await one.receive())[:2] for _ in range(2)] == [(b"subscribe", b"a"), (b"subscribe", b"b")]

        await redis_client.publish("b", "hello")
        assert await one.receive() == (b"message", b"b", b"hello")

    async def test_channel_left_and_joined_again_is_confirmed_once_by_the_last_subscription(
        self, one: Link, redis_client: redis.asyncio.Redis
    ) -> None:
        one.subscribe([b"a"])
        one.unsubscribe(b"a")
        one.subscribe([b"a"])
        assert (await one.receive())[:2] == (b"subscribe", b"a")

        await redis_client.publish("a", "hello")
        assert await one.receive() == (b"message", b"a", b"hello")

    async def test_what_arrives_is_a_sign_of_life(self, one: Link) -> None:
        opened_at = one.heard_at
        await asyncio.sleep(0.01)
        one.subscribe([b"a"])
        await one.receive()

        assert one.heard_at > opened_at

    async def test_broken_connection_is_an_error(self, proxy: Any) -> None:
        client = connect(proxy.url, **OPTIONS)
        opened = await Link.open(client)
        proxy.cut()

        with pytest.raises(RedisError):
            await opened.receive()
        await opened.close()
        await client.aclose()


class TestOpen:
    async def test_server_that_does_not_greet_is_given_up_in_time(
        self, proxy: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(link, "OPEN_TIMEOUT_S", 0.1)
        client = connect(proxy.url, **OPTIONS)
        proxy.stall()

        with pytest.raises(TimeoutError):
            await Link.open(client)
        proxy.flow()
        await client.aclose()
