"""A listener whose connection or server was lost: what it missed comes from the log, once and in order."""

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import RedisError

from realtime.bus import RedisBus, connect, feed, listener, watch
from realtime.bus.keys import live_channel, log_key
from tests.realtime.bus.conftest import Heard, envelope
from workers.embedded import EmbeddedValkey

PROBES = {"probe_interval_s": 0.1, "probe_timeout_s": 0.5}


class TestReconnect:
    async def test_events_of_an_outage_are_delivered_once_and_in_order_before_live_ones(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus
    ) -> None:
        await (await listen(proxy.url)).watch("demo")
        await bus.publish("demo", [envelope(0)])
        await heard.until(lambda: heard.numbers() == [0])

        proxy.refuse()
        await bus.publish("demo", [envelope(n) for n in range(1, 1500)])
        proxy.accept()
        await heard.until(lambda: heard.resumed)
        await bus.publish("demo", [envelope(1500)])

        await heard.until(lambda: 1500 in heard.numbers())
        assert heard.numbers() == list(range(1501))
        assert heard.resumed == [("demo", True)]
        # Behind them and what came first: the event before the outage, and the word that it is over.
        assert heard.story.index(True) == 1501

    async def test_identities_are_to_be_read_again_before_any_event_of_the_outage(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus
    ) -> None:
        """What changed them was published while nobody heard it, and events may have followed."""
        await (await listen(proxy.url)).watch("demo")
        await bus.publish("demo", [envelope(0)])
        await heard.until(lambda: heard.numbers() == [0])
        assert heard.resuming == []

        proxy.refuse()
        await bus.publish("demo", [envelope(n) for n in range(1, 5)])
        proxy.accept()
        await heard.until(lambda: heard.resumed)
        assert heard.resuming == ["demo"]
        assert heard.story.index("demo") == 1

    async def test_log_is_passed_on_no_faster_than_it_is_taken(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus
    ) -> None:
        taken_at: list[int] = []
        may_go_on = asyncio.Event()

        async def wait_taken(project: str) -> None:
            assert project == "demo"
            taken_at.append(len(heard.messages))
            await may_go_on.wait()

        await (await listen(proxy.url, wait_taken=wait_taken)).watch("demo")
        proxy.refuse()
        large = b'{"project":"demo","x":"%s","n":0}' % (b"x" * 100_000)
        larger = b'{"project":"demo","x":"%s","n":0}' % (b"x" * 300_000)
        await bus.publish("demo", [large] * 5 + [larger, large])
        proxy.accept()
        await heard.until(lambda: taken_at)
        # Live events wait too, so that none is ahead of the log's.
        await bus.publish("demo", [envelope(1)])
        assert len(heard.messages) == 2
        may_go_on.set()
        await heard.until(lambda: len(heard.messages) == 8)
        assert taken_at[:4] == [2, 4, 5, 6]
        assert heard.numbers() == [0] * 7 + [1]
        await heard.until(lambda: heard.resumed == [("demo", True)])

    async def test_log_that_is_not_taken_in_time_is_read_on_by_the_next_connection(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus
    ) -> None:
        may_go_on = asyncio.Event()

        async def wait_taken(project: str) -> None:
            await may_go_on.wait()

        await (await listen(proxy.url, wait_taken=wait_taken)).watch("demo")
        proxy.refuse()
        large = b'{"project":"demo","x":"%s","n":0}' % (b"x" * 200_000)
        await bus.publish("demo", [large] * 3)
        proxy.accept()
        await heard.until(lambda: heard.messages)
        proxy.cut()
        await heard.until(lambda: len(heard.resuming) == 2)
        may_go_on.set()
        await heard.until(lambda: heard.resumed)
        assert heard.numbers() == [0, 0, 0]

    async def test_change_of_identities_does_not_wait_for_the_log(
        self,
        listen: Any,
        proxy: Any,
        heard: Heard,
        bus: RedisBus,
        redis_client: redis.asyncio.Redis,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The log may have events of after it: nobody may get those as who they were before."""
        change = b'{"identity":{"user":"u1"}}'
        read_page = RedisBus.read_page

        async def read_after_change(self: RedisBus, *arguments: Any, **options: Any) -> Any:
            await redis_client.publish(live_channel("demo"), change)
            await bus.publish("demo", [envelope(2)])
            await heard.until(lambda: change in heard.story)
            return await read_page(self, *arguments, **options)

        await (await listen(proxy.url)).watch("demo")
        proxy.refuse()
        await bus.publish("demo", [envelope(1)])
        monkeypatch.setattr(RedisBus, "read_page", read_after_change)
        proxy.accept()
        await heard.until(lambda: heard.resumed)
        assert heard.story[:2] == ["demo", change]
        assert heard.numbers() == [1, 2]

    async def test_first_events_of_a_project_are_not_missed(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus
    ) -> None:
        await (await listen(proxy.url)).watch("demo")
        proxy.refuse()
        await bus.publish("demo", [envelope(1)])
        proxy.accept()

        await heard.until(lambda: heard.resumed)
        assert heard.numbers() == [1]
        assert heard.resumed == [("demo", True)]

    async def test_gap_that_the_log_no_longer_covers_is_reported(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        await (await listen(proxy.url)).watch("demo")
        await bus.publish("demo", [envelope(0)])
        await heard.until(lambda: heard.numbers() == [0])

        proxy.refuse()
        await bus.publish("demo", [envelope(n) for n in range(1, 10)])
        await redis_client.xtrim(log_key("demo"), maxlen=5, approximate=False)
        proxy.accept()

        await heard.until(lambda: heard.resumed)
        assert heard.numbers() == [0, 5, 6, 7, 8, 9]
        assert heard.resumed == [("demo", False)]
        assert heard.missed == [4]

    async def test_events_missed_are_counted_exactly_while_more_are_published(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        """Published is received and missed, over several gaps."""
        await bus.publish("demo", [envelope(0)])
        await (await listen(proxy.url)).watch("demo")
        published = 1
        for gap in range(1, 4):
            proxy.refuse()
            await bus.publish("demo", [envelope(n) for n in range(published, published + 700)])
            await redis_client.xtrim(log_key("demo"), maxlen=600, approximate=False)
            published += 700
            proxy.accept()
            while len(heard.resumed) < gap:
                await bus.publish("demo", [envelope(published)])
                published += 1
        await heard.until(lambda: heard.numbers() and heard.numbers()[-1] == published - 1)

        assert heard.numbers() == sorted(set(heard.numbers()))
        assert all(missed is not None and 0 < missed <= 700 for missed in heard.missed)
        assert sum(missed or 0 for missed in heard.missed) + len(heard.messages) == published - 1

    async def test_events_missed_of_another_log_are_unknown(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        await (await listen(proxy.url)).watch("demo")
        await bus.publish("demo", [envelope(0)])
        await heard.until(lambda: heard.numbers() == [0])

        proxy.refuse()
        await redis_client.delete(log_key("demo"))
        await bus.publish("demo", [envelope(n) for n in range(1, 10)])
        proxy.accept()
        await heard.until(lambda: heard.resumed)
        assert heard.numbers() == list(range(10))
        assert (heard.resumed, heard.missed) == ([("demo", False)], [None])

        # The other log is known from there on.
        proxy.refuse()
        await bus.publish("demo", [envelope(n) for n in range(10, 20)])
        await redis_client.xtrim(log_key("demo"), maxlen=1, approximate=False)
        proxy.accept()
        await heard.until(lambda: len(heard.resumed) == 2)
        assert heard.missed == [None, 9]

    async def test_log_that_lost_its_end_is_a_gap_and_its_new_events_are_delivered(
        self, listen: Any, proxy: Any, heard: Heard, redis_client: redis.asyncio.Redis
    ) -> None:
        """As after a failover to a replica that lagged behind and whose clock does too."""
        channel = live_channel("demo")
        await redis_client.xadd(log_key("demo"), {"e": envelope(1)}, id="100-0")
        await (await listen(proxy.url)).watch("demo")
        await redis_client.publish(channel, b'{"id":"200-0","project":"demo","n":2}')
        await heard.until(lambda: heard.numbers() == [2])

        proxy.cut()
        await heard.until(lambda: heard.resumed)
        await redis_client.publish(channel, b'{"id":"150-0","project":"demo","n":3}')

        await heard.until(lambda: heard.numbers() == [2, 3])
        assert heard.resumed == [("demo", False)]

    async def test_connections_cut_at_any_time_lose_and_repeat_nothing(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus
    ) -> None:
        await (await listen(proxy.url)).watch("demo")
        dice = random.Random(7)
        for number in range(400):
            await bus.publish("demo", [envelope(number)])
            if dice.random() < 0.05:
                proxy.cut()
            if dice.random() < 0.2:
                await asyncio.sleep(dice.random() / 50)

        await heard.until(lambda: len(heard.messages) >= 400)
        assert heard.numbers() == list(range(400))
        assert all(complete for _, complete in heard.resumed)

    async def test_flood_during_the_catch_up_is_read_from_the_log_instead(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watch, "HELD_MESSAGES", 5)
        await (await listen(proxy.url)).watch("demo")
        published = 0

        async def publish_meanwhile() -> None:
            nonlocal published
            while not heard.resumed and published < 6000:
                await bus.publish("demo", [envelope(n) for n in range(published, published + 10)])
                published += 10

        proxy.refuse()
        await bus.publish("demo", [envelope(n) for n in range(3000)])
        published = 3000
        proxy.accept()
        await publish_meanwhile()

        await heard.until(lambda: len(heard.messages) >= published)
        assert heard.numbers() == list(range(published))

    async def test_unwatched_during_an_outage_stays_unwatched(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus
    ) -> None:
        one = await listen(proxy.url)
        await one.watch("demo")
        await one.watch("other")
        proxy.refuse()
        await one.unwatch("demo")
        await bus.publish("demo", [envelope(1)])
        proxy.accept()

        await heard.until(lambda: heard.resumed)
        assert heard.resumed == [("other", True)]
        assert heard.messages == []

    async def test_watch_during_an_outage_waits_for_its_end(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus
    ) -> None:
        one = await listen(proxy.url)
        proxy.refuse()
        await heard.until(lambda: not one.healthy)
        watching = asyncio.create_task(one.watch("demo"))
        (event_id,) = await bus.publish("demo", [envelope(1)])
        proxy.accept()

        assert await watching == event_id
        await bus.publish("demo", [envelope(2)])
        await heard.until(lambda: heard.numbers() == [2])

    async def test_watch_gives_up_in_time_and_then_nothing_is_watched(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listener, "_WATCH_TIMEOUT_S", 0.1)
        proxy.refuse()
        one = await listen(proxy.url)

        with pytest.raises(RedisError):
            await one.watch("demo")

        proxy.accept()
        await heard.until(lambda: one.healthy)
        monkeypatch.undo()
        await one.watch("other")
        await bus.publish("demo", [envelope(1)])
        await bus.publish("other", [envelope(2)])
        await heard.until(lambda: heard.messages)
        assert heard.numbers("demo") == []

    async def test_start_without_a_server_returns_and_connects_later(
        self, listen: Any, tmp_path: Path, heard: Heard
    ) -> None:
        server = EmbeddedValkey(tmp_path, persist=False)
        one = await listen(server.url)
        assert not one.healthy

        with server:
            assert await one.watch("demo") == "0-0"
            assert one.healthy


class TestPauses:
    async def test_connection_that_breaks_at_once_again_and_again_is_remade_ever_more_slowly(
        self, listen: Any, redis_url: str, redis_client: redis.asyncio.Redis, heard: Heard
    ) -> None:
        one = await listen(redis_url)
        while one._failures < 3:
            known = one._failures
            await heard.until(lambda: one.healthy)
            await redis_client.client_kill_filter(_type="pubsub")
            await heard.until(lambda: not one.healthy)
            await heard.until(lambda: one.healthy)
            assert one._failures == known + 1

    async def test_connection_that_was_good_for_a_while_is_remade_at_once(
        self,
        listen: Any,
        redis_url: str,
        redis_client: redis.asyncio.Redis,
        heard: Heard,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(feed, "_STEADY_S", 0)
        one = await listen(redis_url)
        one._failures = 100
        await redis_client.client_kill_filter(_type="pubsub")

        await heard.until(lambda: one._failures == 1)


class TestServerRestart:
    async def restart(self, server: EmbeddedValkey) -> None:
        """Kill the server as a crash does, and start it again on its data."""
        os.kill(server.pid, signal.SIGKILL)
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)

    async def test_events_before_and_after_a_crash_are_delivered_once(
        self, listen: Any, tmp_path: Path, heard: Heard
    ) -> None:
        with EmbeddedValkey(tmp_path) as server:
            bus = RedisBus(connect(server.url))
            await (await listen(server.url)).watch("demo")
            await bus.publish("demo", [envelope(1), envelope(2)])
            await heard.until(lambda: heard.numbers() == [1, 2])

            await self.restart(server)
            await bus.publish("demo", [envelope(3)])

            await heard.until(lambda: heard.numbers() == [1, 2, 3])
            await heard.until(lambda: heard.resumed == [("demo", True)])
            await bus.aclose()

    async def test_loss_of_all_data_is_reported(self, listen: Any, tmp_path: Path, heard: Heard) -> None:
        with EmbeddedValkey(tmp_path, persist=False) as server:
            bus = RedisBus(connect(server.url))
            await (await listen(server.url)).watch("demo")
            await bus.publish("demo", [envelope(1)])
            await heard.until(lambda: heard.numbers() == [1])

            await self.restart(server)
            await heard.until(lambda: heard.resumed == [("demo", False)])
            await bus.publish("demo", [envelope(2)])

            await heard.until(lambda: heard.numbers() == [1, 2])
            await bus.aclose()
