import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest.mock import Mock

import pytest
import redis.asyncio
from redis.crc import key_slot
from redis.exceptions import RedisError

from realtime.bus import connect, link
from realtime.bus.link import Link

OPTIONS: dict[str, Any] = {"protocol": 2, "socket_timeout": None, "health_check_interval": 0}


class Received:
    """Everything that a link passed on, in order; conditions on it can be awaited."""

    def __init__(self) -> None:
        self.story: list[tuple[object, ...]] = []

    def subscribed(self, channel: bytes) -> None:
        self.story.append(("subscribed", channel))

    def message(self, channel: bytes, content: bytes) -> None:
        self.story.append(("message", channel, content))

    def lost(self, channel: bytes) -> None:
        self.story.append(("lost", channel))

    def moved(self, slot: int) -> None:
        self.story.append(("moved", slot))

    def settled(self) -> None:
        self.story.append(("settled",))

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - callbacks cannot set an event for every condition
                await asyncio.sleep(0.002)


@pytest.fixture
def received() -> Received:
    return Received()


@pytest.fixture
async def one(redis_url: str, received: Received) -> AsyncIterator[Link]:
    client = connect(redis_url, **OPTIONS)
    opened = await Link.open(client, received)
    yield opened
    await opened.close()
    await client.aclose()


class TestReceive:
    async def test_confirmation_comes_before_messages(
        self, one: Link, received: Received, redis_client: redis.asyncio.Redis
    ) -> None:
        one.subscribe([b"a", b"b"])
        await received.until(lambda: len(received.story) == 2)
        await redis_client.publish("b", "hello")

        await received.until(lambda: len(received.story) == 4)
        assert received.story == [
            ("subscribed", b"a"),
            ("subscribed", b"b"),
            ("message", b"b", b"hello"),
            ("settled",),
        ]

    async def test_channel_left_and_joined_again_is_confirmed_once_by_the_last_subscription(
        self, one: Link, received: Received, redis_client: redis.asyncio.Redis
    ) -> None:
        one.subscribe([b"a"])
        one.unsubscribe(b"a")
        one.subscribe([b"a"])
        await received.until(lambda: received.story)
        await redis_client.publish("a", "hello")

        await received.until(lambda: len(received.story) == 3)
        assert received.story[:2] == [("subscribed", b"a"), ("message", b"a", b"hello")]

    async def test_what_arrives_is_a_sign_of_life(self, one: Link, received: Received) -> None:
        opened_at = one.heard_at
        await asyncio.sleep(0.01)
        one.subscribe([b"a"])
        await received.until(lambda: received.story)

        assert one.heard_at > opened_at

    async def test_broken_connection_is_an_error(self, proxy: Any, received: Received) -> None:
        client = connect(proxy.url, **OPTIONS)
        opened = await Link.open(client, received)
        proxy.cut()

        with pytest.raises(RedisError):
            await asyncio.wait_for(opened.wait_broken(), 5)
        await opened.close()
        await client.aclose()

    async def test_refused_subscription_breaks_the_link(
        self, received: Received, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        await redis_client.execute_command(  # type: ignore[no-untyped-call]
            "ACL", "SETUSER", "deaf", "on", "nopass", "+@all", "~*", "resetchannels"
        )
        client = connect(redis_url, **OPTIONS, username="deaf", password="")
        opened = await Link.open(client, received)
        opened.subscribe([b"a"])

        with pytest.raises(RedisError, match="NOPERM"):
            await asyncio.wait_for(opened.wait_broken(), 5)
        await opened.close()
        await client.aclose()
        await redis_client.execute_command("ACL", "DELUSER", "deaf")  # type: ignore[no-untyped-call]


class TestBursts:
    """What one read of the socket brings is passed on in one go."""

    @staticmethod
    def reply(*parts: bytes) -> bytes:
        return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)

    async def test_messages_that_come_together_are_settled_once(self, one: Link, received: Received) -> None:
        messages = [self.reply(b"message", b"a", b"%d" % number) for number in range(3)]
        one.data_received(b"".join(messages))

        assert received.story == [*(("message", b"a", b"%d" % number) for number in range(3)), ("settled",)]

    async def test_message_in_two_parts_arrives_with_the_second(self, one: Link, received: Received) -> None:
        whole = self.reply(b"message", b"a", b"first") + self.reply(b"message", b"a", b"second")
        one.data_received(whole[:-3])
        assert received.story == [("message", b"a", b"first"), ("settled",)]

        one.data_received(whole[-3:])
        assert received.story[2:] == [("message", b"a", b"second"), ("settled",)]

    async def test_confirmations_alone_settle_nothing(self, one: Link, received: Received) -> None:
        one.data_received(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")

        assert received.story == [("subscribed", b"a")]

    async def test_what_is_no_reply_breaks_the_link(self, one: Link, received: Received) -> None:
        one.data_received(b"HTTP/1.1 400 Bad Request\r\n")

        with pytest.raises(RedisError, match="no reply"):
            await one.wait_broken()

    async def test_after_close_nothing_is_passed_on(self, one: Link, received: Received) -> None:
        await one.close()
        one.data_received(self.reply(b"message", b"a", b"late"))

        assert received.story == []


class TestSharded:
    """What a server of a cluster says about slots."""

    async def test_refused_subscription_tells_the_slot(self, one: Link, received: Received) -> None:
        one.data_received(b"-MOVED 3999 127.0.0.1:6381\r\n")

        assert received.story == [("moved", 3999)]

    async def test_subscription_that_the_server_ends_is_lost(self, one: Link, received: Received) -> None:
        one.data_received(b"*3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n")

        assert received.story == [("lost", b"a")]

    async def test_subscription_that_was_given_up_is_not_lost(self, one: Link, received: Received) -> None:
        one.subscribe([b"a"])
        one.unsubscribe(b"a")
        one.subscribe([b"b"])
        await received.until(lambda: ("subscribed", b"b") in received.story)

        assert received.story == [("subscribed", b"a"), ("subscribed", b"b")]

    async def test_refused_end_of_a_subscription_does_not_hide_that_a_later_one_is_lost(
        self, one: Link, received: Received
    ) -> None:
        slot = key_slot(b"a")
        one.subscribe([b"a"])
        await received.until(lambda: received.story == [("subscribed", b"a")])
        one._transport = Mock()  # What is sent from here on is answered by the test.
        one.unsubscribe(b"a")
        one.data_received(b"-MOVED %d 127.0.0.1:6381\r\n" % slot)
        one.data_received(b"*3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n")

        assert received.story[1:] == [("moved", slot), ("lost", b"a")]


class TestOpen:
    async def test_server_that_does_not_greet_is_given_up_in_time(
        self, proxy: Any, received: Received, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(link, "OPEN_TIMEOUT_S", 0.1)
        client = connect(proxy.url, **OPTIONS)
        proxy.stall()

        with pytest.raises(TimeoutError):
            await Link.open(client, received)
        proxy.flow()
        await client.aclose()
