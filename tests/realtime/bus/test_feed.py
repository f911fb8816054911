"""One server that messages come from; what several of them do together is tested as the listener."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from redis.exceptions import AskError
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.bus.catchup import CatchUp
from realtime.bus.feed import Feed
from realtime.bus.nodes import Nodes, nodes_of
from realtime.bus.sentinel import NotMasterError
from realtime.bus.watch import Watch
from tests.realtime.bus.conftest import Heard


class Owner:
    def __init__(self) -> None:
        self.has_opened = False
        self.taken_back: list[Watch] = []

    def opened(self) -> None:
        self.has_opened = True

    def displaced(self, watches: Iterable[Watch]) -> None:
        self.taken_back += watches

    def failed(self, watch: Watch) -> None:
        pass

    def bridged(self, content: bytes) -> None:
        pass


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
async def nodes(proxy: Any) -> AsyncIterator[Nodes]:
    nodes = nodes_of(proxy.url)
    yield nodes
    await nodes.aclose()


@pytest.fixture
async def idle(owner: Owner, nodes: Nodes, heard: Heard) -> Feed:
    """A feed that does not run."""
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
    return Feed(owner, nodes, node, 0, catch_up, probe_interval_s=60, probe_timeout_s=5)


@pytest.fixture
async def feed(idle: Feed, heard: Heard) -> AsyncIterator[Feed]:
    """A feed that hears."""
    running = asyncio.create_task(idle.run())
    await heard.until(lambda: idle.is_healthy)
    yield idle
    running.cancel()
    # Where the connection was cut, it has ended with that.
    with contextlib.suppress(asyncio.CancelledError, ExceptionGroup):
        await running


class TestRun:
    async def test_server_that_is_no_master_is_not_listened_to(
        self, idle: Feed, nodes: Nodes, owner: Owner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(*_: object) -> None:
            raise NotMasterError

        monkeypatch.setattr(nodes, "verify", refuse)
        with pytest.raises(NotMasterError):
            async with asyncio.timeout(2):
                await idle.run()
        assert not owner.has_opened


class TestLost:
    async def test_project_is_handed_back_and_what_was_begun_for_it_is_void(
        self, feed: Feed, owner: Owner
    ) -> None:
        watch = Watch("demo")
        feed.add(watch)
        await watch.is_ready.wait()
        attempt = watch.attempt

        feed.lost(watch.channel)
        assert owner.taken_back == [watch]
        assert watch.is_void(attempt)
        assert feed.is_idle

    async def test_project_whose_log_is_elsewhere_is_handed_back(
        self, feed: Feed, owner: Owner, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(*_: object) -> None:
            raise AskError("1 127.0.0.1:1")

        monkeypatch.setattr(CatchUp, "settle", refuse)
        watch = Watch("demo")
        feed.add(watch)
        await heard.until(lambda: owner.taken_back)
        assert owner.taken_back == [watch]
        assert feed.is_healthy

    async def test_probes_take_the_way_of_a_project_that_is_still_heard(
        self, feed: Feed, owner: Owner, heard: Heard
    ) -> None:
        watch = Watch("demo")
        assert watch.bucket
        feed.add(watch)
        before = feed._probe_channel

        feed.lost(before)
        assert not feed.is_healthy
        await heard.until(lambda: feed.is_healthy)
        assert await feed.probe() < 5
        assert feed._probe_channel != before
        assert not owner.taken_back


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
