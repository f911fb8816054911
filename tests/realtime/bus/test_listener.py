"""Hearing of what is published, on a real server: delivery, unreadable logs, and signs of life."""

import asyncio
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import RedisError

from realtime.bus import LiveListener, RedisBus, catchup
from realtime.bus.keys import live_channel, log_key
from realtime.bus.positions import parse_position
from realtime.settings import Settings
from tests.realtime.bus.conftest import Heard, envelope, link_of
from tests.topologies import DEADLINE_S

PROBES = {"probe_interval_s": 0.1, "probe_timeout_s": 0.5}


class TestDelivery:
    async def test_events_published_after_watching_are_delivered_in_order(
        self, listen: Any, redis_url: str, heard: Heard, bus: RedisBus
    ) -> None:
        await (await listen(redis_url)).watch("demo")
        ids = await bus.publish("demo", [envelope(n) for n in range(100)])

        await heard.until(lambda: len(heard.messages) == 100)
        assert heard.numbers() == list(range(100))
        assert heard.messages[0] == ("demo", b'{"id":"%s","project":"demo","n":0}' % ids[0].encode())
        assert heard.resumed == []

    async def test_watch_returns_the_logs_end_and_events_up_to_it_are_not_delivered(
        self, listen: Any, redis_url: str, heard: Heard, bus: RedisBus
    ) -> None:
        ids = await bus.publish("demo", [envelope(1), envelope(2)])

        assert await (await listen(redis_url)).watch("demo") == ids[-1]

        await bus.publish("demo", [envelope(3)])
        await heard.until(lambda: heard.messages)
        assert heard.numbers() == [3]

    async def test_watch_of_an_empty_project_returns_the_start(self, listen: Any, redis_url: str) -> None:
        assert await (await listen(redis_url)).watch("demo") == "0-0"

    async def test_second_watch_returns_the_last_event_delivered(
        self, listen: Any, redis_url: str, heard: Heard, bus: RedisBus
    ) -> None:
        one = await listen(redis_url)
        await one.watch("demo")
        (event_id,) = await bus.publish("demo", [envelope(1)])
        await heard.until(lambda: heard.messages)

        assert await one.watch("demo") == event_id

    async def test_nothing_falls_between_the_position_and_the_first_live_event(
        self, listen: Any, redis_url: str, heard: Heard, bus: RedisBus
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
        self, listen: Any, redis_url: str, heard: Heard, bus: RedisBus
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
        self, listen: Any, redis_url: str, heard: Heard, redis_client: redis.asyncio.Redis
    ) -> None:
        await (await listen(redis_url)).watch("demo")
        await redis_client.publish(live_channel("demo"), b'{"identity":{"user":"u1"}}')

        await heard.until(lambda: heard.messages)
        assert heard.messages == [("demo", b'{"identity":{"user":"u1"}}')]

    async def test_message_that_its_receiver_fails_on_does_not_silence_the_next(
        self, redis_url: str, heard: Heard, bus: RedisBus
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
        self, listen: Any, redis_url: str, heard: Heard, bus: RedisBus
    ) -> None:
        settled_at: list[int] = []
        one = await listen(redis_url, on_settled=lambda: settled_at.append(len(heard.messages)))
        await one.watch("demo")
        await bus.publish("demo", [envelope(n) for n in range(1000)])

        await heard.until(lambda: settled_at and settled_at[-1] == 1000)
        assert len(settled_at) < 100

    async def test_projects_are_told_apart(
        self, listen: Any, redis_url: str, heard: Heard, bus: RedisBus
    ) -> None:
        one = await listen(redis_url)
        await asyncio.gather(one.watch("demo"), one.watch("other"))
        await bus.publish("demo", [envelope(1)])
        await bus.publish("other", [envelope(2)])
        await bus.publish("third", [envelope(3)])

        await heard.until(lambda: len(heard.messages) == 2)
        assert (heard.numbers("demo"), heard.numbers("other")) == ([1], [2])

    async def test_after_stop_nothing_is_delivered(self, redis_url: str, heard: Heard, bus: RedisBus) -> None:
        one = LiveListener(redis_url, on_message=heard.on_message, on_resumed=heard.on_resumed)
        await one.start()
        await one.watch("demo")
        await one.stop()
        await bus.publish("demo", [envelope(1)])

        assert heard.messages == []
        assert not one.healthy

    async def test_listener_is_made_from_settings(self, redis_url: str, heard: Heard, bus: RedisBus) -> None:
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
        heard: Heard,
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
        self, listen: Any, redis_url: str, heard: Heard, redis_client: redis.asyncio.Redis, bus: RedisBus
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
        self, listen: Any, redis_url: str, heard: Heard, redis_client: redis.asyncio.Redis
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
        self, listen: Any, redis_url: str, heard: Heard, bus: RedisBus
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
        self, listen: Any, redis_url: str, heard: Heard, redis_client: redis.asyncio.Redis
    ) -> None:
        one = await listen(redis_url)
        watching = asyncio.create_task(one.watch("demo"))
        await asyncio.sleep(0)
        watching.cancel()
        await asyncio.wait([watching])
        await one.watch("other")

        assert await self.subscribers(redis_client) == 0

    async def test_cancelled_watch_does_not_harm_another(
        self, listen: Any, redis_url: str, heard: Heard, bus: RedisBus
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
        self, listen: Any, redis_url: str, heard: Heard, redis_client: redis.asyncio.Redis
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
        self, listen: Any, proxy: Any, heard: Heard
    ) -> None:
        one = await listen(proxy.url, bridge=True, on_bridge=heard.bridged.append)
        await one.watch("demo")
        proxy.cut()

        await heard.until(lambda: heard.resumed)
        assert heard.resumed == [("demo", False)]


class TestBadLog:
    """What is wrong with one project's log concerns nobody else."""

    async def test_foreign_entry_breaks_nothing(
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus, redis_client: redis.asyncio.Redis
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
        heard: Heard,
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
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus, redis_client: redis.asyncio.Redis
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
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus, redis_client: redis.asyncio.Redis
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
        self, listen: Any, redis_url: str, heard: Heard, bus: RedisBus, redis_client: redis.asyncio.Redis
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


class TestProbe:
    async def test_probe_measures_the_way_through_redis_and_back(
        self, listen: Any, redis_url: str, heard: Heard
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
        self, listen: Any, redis_url: str, redis_client: redis.asyncio.Redis, heard: Heard
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

    async def test_idle_connection_stays(self, listen: Any, proxy: Any, heard: Heard) -> None:
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
        self, listen: Any, proxy: Any, heard: Heard, bus: RedisBus
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
