import asyncio
import os
import random
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
from redis.exceptions import RedisError

from realtime.bus import LiveListener, RedisBus, catchup, connect, feed, listener, watch
from realtime.bus.keys import live_channel, log_key
from realtime.bus.link import Link
from realtime.bus.positions import parse_position
from realtime.settings import Settings
from tests.topologies import DEADLINE_S
from workers.embedded import EmbeddedValkey

if TYPE_CHECKING:
    from tests.realtime.bus.conftest import Heard

PROBES = {"probe_interval_s": 0.1, "probe_timeout_s": 0.5}


def envelope(number: int) -> bytes:
    return b'{"project":"demo","n":%d}' % number


def link_of(one: LiveListener) -> Link:
    """Return the connection of a listener that has one."""
    (only,) = one._feeds.values()
    assert only._link is not None
    return only._link


class TestDelivery:
    async def test_events_published_after_watching_are_delivered_in_order(
        self, listen: Any, redis_url: str, heard: "Heard", bus: RedisBus
    ) -> None:
        await (await listen(redis_url)).watch("demo")
        ids = await bus.publish("demo", [envelope(n) for n in range(100)])

        await heard.until(lambda: len(heard.messages) == 100)
        assert heard.numbers() == list(range(100))
        assert heard.messages[0] == ("demo", b'{"id":"%s","project":"demo","n":0}' % ids[0].encode())
        assert heard.resumed == []

    async def test_watch_returns_the_logs_end_and_events_up_to_it_are_not_delivered(
        self, listen: Any, redis_url: str, heard: "Heard", bus: RedisBus
    ) -> None:
        ids = await bus.publish("demo", [envelope(1), envelope(2)])

        assert await (await listen(redis_url)).watch("demo") == ids[-1]

        await bus.publish("demo", [envelope(3)])
        await heard.until(lambda: heard.messages)
        assert heard.numbers() == [3]

    async def test_watch_of_an_empty_project_returns_the_start(self, listen: Any, redis_url: str) -> None:
        assert await (await listen(redis_url)).watch("demo") == "0-0"

    async def test_second_watch_returns_the_last_event_delivered(
        self, listen: Any, redis_url: str, heard: "Heard", bus: RedisBus
    ) -> None:
        one = await listen(redis_url)
        await one.watch("demo")
        (event_id,) = await bus.publish("demo", [envelope(1)])
        await heard.until(lambda: heard.messages)

        assert await one.watch("demo") == event_id

    async def test_nothing_falls_between_the_position_and_the_first_live_event(
        self, listen: Any, redis_url: str, heard: "Heard", bus: RedisBus
    ) -> None:
        """Watch again and again while somebody publishes without a pause."""
        one = await listen(redis_url)
        ids: list[str] = []

        async def publish() -> None:
            while True:
                ids.extend(await bus.publish("demo", [envelope(0)]))

        publisher = asyncio.create_task(publish())

        async def watch_and_compare() -> None:
            already = len(ids)
            position = await one.watch("demo")
            known = len(heard.messages)
            await heard.until(lambda: len(heard.messages) > known + 3)
            first = heard.messages[known][1].split(b'"')[3].decode()
            await heard.until(lambda: first in ids)
            later = ids[already:]
            between = [
                i for i in later if parse_position(position) < parse_position(i) < parse_position(first)
            ]
            assert between == []
            await one.unwatch("demo")

        for _ in range(20):
            await watch_and_compare()
        publisher.cancel()
        await asyncio.wait([publisher])

    async def test_events_already_delivered_when_watch_returns_are_not_after_its_position(
        self, listen: Any, redis_url: str, heard: "Heard", bus: RedisBus
    ) -> None:
        one = await listen(redis_url)
        watching = asyncio.create_task(one.watch("demo"))
        await bus.publish("demo", [envelope(n) for n in range(20)])
        position = parse_position(await watching)
        await bus.publish("demo", [envelope(20)])

        await heard.until(lambda: 20 in heard.numbers())
        ids = [parse_position(m.split(b'"')[3]) for _, m in heard.messages]
        assert ids == sorted(set(ids))
        assert len([i for i in ids if i > position]) >= 1

    async def test_message_without_a_position_is_delivered(
        self, listen: Any, redis_url: str, heard: "Heard", redis_client: redis.asyncio.Redis
    ) -> None:
        await (await listen(redis_url)).watch("demo")
        await redis_client.publish(live_channel("demo"), b'{"identity":{"user":"u1"}}')

        await heard.until(lambda: heard.messages)
        assert heard.messages == [("demo", b'{"identity":{"user":"u1"}}')]

    async def test_message_that_its_receiver_fails_on_does_not_silence_the_next(
        self, redis_url: str, heard: "Heard", bus: RedisBus
    ) -> None:
        def fail_at_first(project: str, message: bytes) -> None:
            heard.on_message(project, message)
            if len(heard.messages) == 1:
                raise ValueError("out of order")

        one = LiveListener(redis_url, on_message=fail_at_first, on_resumed=heard.on_resumed)
        await one.start()
        await one.watch("demo")
        await bus.publish("demo", [envelope(1), envelope(2)])

        await heard.until(lambda: heard.numbers() == [1, 2])
        await one.stop()

    async def test_messages_that_came_in_together_are_settled_together(
        self, listen: Any, redis_url: str, heard: "Heard", bus: RedisBus
    ) -> None:
        settled_at: list[int] = []
        one = await listen(redis_url, on_settled=lambda: settled_at.append(len(heard.messages)))
        await one.watch("demo")
        await bus.publish("demo", [envelope(n) for n in range(1000)])

        await heard.until(lambda: settled_at and settled_at[-1] == 1000)
        assert len(settled_at) < 100

    async def test_projects_are_told_apart(
        self, listen: Any, redis_url: str, heard: "Heard", bus: RedisBus
    ) -> None:
        one = await listen(redis_url)
        await asyncio.gather(one.watch("demo"), one.watch("other"))
        await bus.publish("demo", [envelope(1)])
        await bus.publish("other", [envelope(2)])
        await bus.publish("third", [envelope(3)])

        await heard.until(lambda: len(heard.messages) == 2)
        assert (heard.numbers("demo"), heard.numbers("other")) == ([1], [2])

    async def test_after_stop_nothing_is_delivered(
        self, redis_url: str, heard: "Heard", bus: RedisBus
    ) -> None:
        one = LiveListener(redis_url, on_message=heard.on_message, on_resumed=heard.on_resumed)
        await one.start()
        await one.watch("demo")
        await one.stop()
        await bus.publish("demo", [envelope(1)])

        assert heard.messages == []
        assert not one.healthy

    async def test_listener_is_made_from_settings(
        self, redis_url: str, heard: "Heard", bus: RedisBus
    ) -> None:
        one = LiveListener.from_settings(
            Settings(redis_url=redis_url), on_message=heard.on_message, on_resumed=heard.on_resumed
        )
        await one.start()
        await one.watch("demo")
        await bus.publish("demo", [envelope(1)])

        await heard.until(lambda: heard.numbers() == [1])
        await one.stop()


class TestImplausible:
    async def test_id_far_in_the_future_is_ignored_and_the_project_goes_on(
        self,
        listen: Any,
        redis_url: str,
        heard: "Heard",
        bus: RedisBus,
        redis_client: redis.asyncio.Redis,
    ) -> None:
        one = await listen(redis_url)
        await one.watch("demo")
        await redis_client.publish(live_channel("demo"), b'{"id":"99999999999999-0","project":"demo","n":1}')
        await bus.publish("demo", [envelope(2)])

        await heard.until(lambda: heard.messages)
        assert heard.numbers() == [2]
        assert heard.ignored == ["demo"]

    async def test_log_that_is_far_in_the_future_itself_goes_on(
        self, listen: Any, redis_url: str, heard: "Heard", redis_client: redis.asyncio.Redis, bus: RedisBus
    ) -> None:
        """As after a time when Redis' clock was wrong: its IDs go on from there."""
        await redis_client.xadd(log_key("demo"), {"e": envelope(1)}, id="99999999999999-0")
        await (await listen(redis_url)).watch("demo")
        await bus.publish("demo", [envelope(2)])

        await heard.until(lambda: heard.numbers() == [2])


class TestUnwatch:
    async def subscribers(self, client: redis.asyncio.Redis) -> int:
        return int((await client.pubsub_numsub(live_channel("demo")))[0][1])

    async def test_project_without_watchers_costs_nothing(
        self, listen: Any, redis_url: str, heard: "Heard", redis_client: redis.asyncio.Redis
    ) -> None:
        one = await listen(redis_url)
        await one.watch("demo")
        await one.watch("demo")
        assert await self.subscribers(redis_client) == 1

        await one.unwatch("demo")
        await one.unwatch("demo")
        async with asyncio.timeout(DEADLINE_S):
            while await self.subscribers(redis_client):  # noqa: ASYNC110 - it happens in the server
                await asyncio.sleep(0.002)
        assert heard.messages == []

    async def test_project_left_and_joined_again_at_once_is_watched(
        self, listen: Any, redis_url: str, heard: "Heard", bus: RedisBus
    ) -> None:
        one = await listen(redis_url)
        for number in range(50):
            await one.watch("demo")
            await bus.publish("demo", [envelope(number)])
            await one.unwatch("demo")
        await one.watch("demo")
        await bus.publish("demo", [envelope(50)])

        await heard.until(lambda: 50 in heard.numbers())
        assert heard.numbers() == sorted(set(heard.numbers()))

    async def test_cancelled_watch_is_forgotten(
        self, listen: Any, redis_url: str, heard: "Heard", redis_client: redis.asyncio.Redis
    ) -> None:
        one = await listen(redis_url)
        watching = asyncio.create_task(one.watch("demo"))
        await asyncio.sleep(0)
        watching.cancel()
        await asyncio.wait([watching])
        await one.watch("other")

        assert await self.subscribers(redis_client) == 0

    async def test_cancelled_watch_does_not_harm_another(
        self, listen: Any, redis_url: str, heard: "Heard", bus: RedisBus
    ) -> None:
        one = await listen(redis_url)
        first, second = (asyncio.create_task(one.watch("demo")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()

        assert await second == "0-0"
        await bus.publish("demo", [envelope(1)])
        await heard.until(lambda: heard.numbers() == [1])


class TestBridge:
    async def test_messages_of_appwrite_arrive_as_they_are(
        self, listen: Any, redis_url: str, heard: "Heard", redis_client: redis.asyncio.Redis
    ) -> None:
        await listen(redis_url, bridge=True, on_bridge=heard.bridged.append)
        await redis_client.publish("realtime", b'{"project":"demo","data":{}}')
        await redis_client.publish("realtime", b"not json")

        await heard.until(lambda: len(heard.bridged) == 2)
        assert heard.bridged == [b'{"project":"demo","data":{}}', b"not json"]

    async def test_without_the_bridge_nobody_listens(
        self, listen: Any, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        await listen(redis_url)

        assert (await redis_client.pubsub_numsub("realtime"))[0][1] == 0

    async def test_resuming_with_the_bridge_is_never_complete(
        self, listen: Any, proxy: Any, heard: "Heard"
    ) -> None:
        one = await listen(proxy.url, bridge=True, on_bridge=heard.bridged.append)
        await one.watch("demo")
        proxy.cut()

        await heard.until(lambda: heard.resumed)
        assert heard.resumed == [("demo", False)]


class TestReconnect:
    async def test_events_of_an_outage_are_delivered_once_and_in_order_before_live_ones(
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus
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
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus
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
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus
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
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus
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
        heard: "Heard",
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
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus
    ) -> None:
        await (await listen(proxy.url)).watch("demo")
        proxy.refuse()
        await bus.publish("demo", [envelope(1)])
        proxy.accept()

        await heard.until(lambda: heard.resumed)
        assert heard.numbers() == [1]
        assert heard.resumed == [("demo", True)]

    async def test_gap_that_the_log_no_longer_covers_is_reported(
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus, redis_client: redis.asyncio.Redis
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
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus, redis_client: redis.asyncio.Redis
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
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus, redis_client: redis.asyncio.Redis
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
        self, listen: Any, proxy: Any, heard: "Heard", redis_client: redis.asyncio.Redis
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
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus
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
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus, monkeypatch: pytest.MonkeyPatch
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
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus
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
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus
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
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus, monkeypatch: pytest.MonkeyPatch
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
        self, listen: Any, tmp_path: Path, heard: "Heard"
    ) -> None:
        server = EmbeddedValkey(tmp_path, persist=False)
        one = await listen(server.url)
        assert not one.healthy

        with server:
            assert await one.watch("demo") == "0-0"
            assert one.healthy


class TestBadLog:
    """What is wrong with one project's log concerns nobody else."""

    async def test_foreign_entry_breaks_nothing(
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        one = await listen(proxy.url)
        await asyncio.gather(one.watch("demo"), one.watch("other"))
        proxy.refuse()
        await bus.publish("other", [envelope(1)])
        await redis_client.xadd(log_key("other"), {"foo": "bar"})
        await bus.publish("other", [envelope(2)])
        proxy.accept()

        await heard.until(lambda: len(heard.resumed) == 2)
        assert sorted(heard.resumed) == [("demo", True), ("other", True)]
        assert heard.numbers("other") == [1, 2]

    async def test_events_after_pages_of_foreign_entries_are_delivered(
        self,
        listen: Any,
        proxy: Any,
        heard: "Heard",
        bus: RedisBus,
        redis_client: redis.asyncio.Redis,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(catchup, "_PAGE", 2)
        await (await listen(proxy.url)).watch("demo")
        proxy.refuse()
        for number in range(3):
            for _ in range(5):
                await redis_client.xadd(log_key("demo"), {"foo": "bar"})
            await bus.publish("demo", [envelope(number)])
        proxy.accept()

        await heard.until(lambda: heard.resumed)
        assert heard.numbers() == [0, 1, 2]
        assert heard.resumed == [("demo", True)]

    async def test_log_of_another_type_is_a_gap_of_its_project_alone_and_the_link_stays(
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        one = await listen(proxy.url)
        await asyncio.gather(one.watch("demo"), one.watch("other"))
        proxy.cut()
        await redis_client.set(log_key("other"), "not a stream")

        await heard.until(lambda: len(heard.resumed) == 2)
        assert sorted(heard.resumed) == [("demo", True), ("other", False)]
        link = link_of(one)
        await bus.publish("demo", [envelope(1)])
        # Changes of identities are not in the log: they still arrive.
        await redis_client.publish(live_channel("other"), b'{"identity":{"user":"u1"}}')
        await heard.until(lambda: len(heard.messages) == 2)
        assert one.healthy
        assert link_of(one) is link

    async def test_mended_log_is_delivered_again(
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        await (await listen(proxy.url)).watch("demo")
        await redis_client.set(log_key("demo"), "not a stream")
        proxy.cut()
        await heard.until(lambda: heard.resumed == [("demo", False)])

        await redis_client.delete(log_key("demo"))
        await bus.publish("demo", [envelope(1)])
        await heard.until(lambda: heard.numbers() == [1])
        proxy.cut()
        await heard.until(lambda: heard.resumed == [("demo", False), ("demo", True)])

    async def test_project_whose_log_cannot_be_read_is_not_watched_and_the_link_stays(
        self, listen: Any, redis_url: str, heard: "Heard", bus: RedisBus, redis_client: redis.asyncio.Redis
    ) -> None:
        one = await listen(redis_url)
        link = link_of(one)
        await redis_client.set(log_key("demo"), "not a stream")

        async with asyncio.timeout(DEADLINE_S):
            failures = await asyncio.gather(one.watch("demo"), one.watch("demo"), return_exceptions=True)
        assert all(isinstance(failure, RedisError) and "demo" in str(failure) for failure in failures)

        await redis_client.delete(log_key("demo"))
        assert await one.watch("demo") == "0-0"
        await bus.publish("demo", [envelope(1)])
        await heard.until(lambda: heard.numbers() == [1])
        assert link_of(one) is link


class TestPauses:
    async def test_connection_that_breaks_at_once_again_and_again_is_remade_ever_more_slowly(
        self, listen: Any, redis_url: str, redis_client: redis.asyncio.Redis, heard: "Heard"
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
        heard: "Heard",
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
        self, listen: Any, tmp_path: Path, heard: "Heard"
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

    async def test_loss_of_all_data_is_reported(self, listen: Any, tmp_path: Path, heard: "Heard") -> None:
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


class TestProbe:
    async def test_probe_measures_the_way_through_redis_and_back(
        self, listen: Any, redis_url: str, heard: "Heard"
    ) -> None:
        one = await listen(redis_url)

        assert 0 < await one.probe() < 5
        assert one.healthy
        assert heard.messages == []

    async def test_probe_without_a_connection_fails_at_once(self, listen: Any, proxy: Any) -> None:
        proxy.refuse()
        one = await listen(proxy.url)

        with pytest.raises(RedisError):
            await one.probe()

    async def test_probe_through_a_half_open_connection_fails_in_time(self, listen: Any, proxy: Any) -> None:
        one = await listen(proxy.url, probe_interval_s=60, probe_timeout_s=0.2)
        proxy.stall()

        with pytest.raises(TimeoutError):
            await one.probe()
        proxy.flow()

    async def test_probe_ends_with_the_connection_that_would_have_heard_it(
        self, listen: Any, redis_url: str, redis_client: redis.asyncio.Redis, heard: "Heard"
    ) -> None:
        one = await listen(redis_url, probe_interval_s=60, probe_timeout_s=60)
        # What is sent elsewhere does not come back.
        (only,) = one._feeds.values()
        only._probe_channel = b"elsewhere"
        probing = asyncio.create_task(one.probe())
        await heard.until(lambda: only._probes)
        await redis_client.client_kill_filter(_type="pubsub")

        with pytest.raises(RedisError, match="broke"):
            await asyncio.wait_for(probing, DEADLINE_S)

    async def test_idle_connection_stays(self, listen: Any, proxy: Any, heard: "Heard") -> None:
        one = await listen(proxy.url, probe_interval_s=0.1, probe_timeout_s=1)
        await one.watch("demo")
        link = link_of(one)
        began = link.heard_at
        # Nothing but probes is heard, and without them it would have been given up by then.
        await heard.until(lambda: link.heard_at > began + 1.2)

        assert one.healthy
        assert link_of(one) is link
        assert heard.resumed == []

    async def test_half_open_connection_is_noticed_and_replaced(
        self, listen: Any, proxy: Any, heard: "Heard", bus: RedisBus
    ) -> None:
        one = await listen(proxy.url, **PROBES)
        await one.watch("demo")
        proxy.stall()
        await bus.publish("demo", [envelope(1)])

        await heard.until(lambda: not one.healthy)
        proxy.cut()
        proxy.flow()

        await heard.until(lambda: heard.numbers() == [1])
        await heard.until(lambda: heard.resumed == [("demo", True)])

    async def test_default_times_notice_it_within_five_seconds(self) -> None:
        assert Settings.model_fields["probe_timeout_s"].default <= 5
        assert (
            Settings.model_fields["probe_interval_s"].default
            < Settings.model_fields["probe_timeout_s"].default
        )
