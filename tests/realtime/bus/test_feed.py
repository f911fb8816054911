"""One server that messages come from; what several of them do together is tested as the listener."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.bus.catchup import CatchUp
from realtime.bus.feed import Feed
from realtime.bus.nodes import nodes_of
from realtime.bus.watch import Watch
from tests.realtime.bus.conftest import Heard


class Owner:
    def opened(self) -> None:
        pass

    def displaced(self, watches: Iterable[Watch]) -> None:
        pass

    def failed(self, watch: Watch) -> None:
        pass

    def bridged(self, content: bytes) -> None:
        pass


@pytest.fixture
async def feed(proxy: Any, heard: Heard) -> AsyncIterator[Feed]:
    """A feed that hears."""
    nodes = nodes_of(proxy.url)
    catch_up = CatchUp(
        heard.on_message,
        heard.on_resuming,
        heard.on_resumed,
        lambda: None,
        heard.ignored.append,
        lambda _: asyncio.sleep(0),
        is_bridged=False,
    )
    (node, *_) = await nodes.locate()
    feed = Feed(Owner(), nodes, node, 0, catch_up, probe_interval_s=60, probe_timeout_s=5)
    running = asyncio.create_task(feed.run())
    await heard.until(lambda: feed.is_healthy)
    yield feed
    running.cancel()
    # Where the connection was cut, it has ended with that.
    with contextlib.suppress(asyncio.CancelledError, ExceptionGroup):
        await running
    await nodes.aclose()


class TestSubscribed:
    async def test_channel_that_is_confirmed_again_is_caught_up_with_once(
        self, feed: Feed, heard: Heard
    ) -> None:
        watch = Watch("demo")
        feed.add(watch)
        await watch.is_ready.wait()

        watch.begin()
        feed.subscribed(watch.channel)
        feed.subscribed(watch.channel)
        await heard.until(lambda: watch.held is None)
        feed.subscribed(watch.channel)
        await asyncio.sleep(0.05)
        assert heard.resuming == ["demo"]
        assert heard.resumed == [("demo", True)]


class TestProbe:
    async def test_server_that_is_heard_no_more_is_not_asked(
        self, feed: Feed, heard: Heard, proxy: Any
    ) -> None:
        """What the answer would come by is gone; waiting for it would take the whole probe timeout."""
        assert await feed.probe() < 5
        proxy.cut()
        await heard.until(lambda: not feed.is_healthy)

        async with asyncio.timeout(2):
            with pytest.raises(RedisConnectionError):
                await feed.probe()
