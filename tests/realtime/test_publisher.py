import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import RedisError

from realtime.bus import RedisBus, connect
from realtime.bus.keys import live_channel, log_key
from realtime.errors import InvalidEventError, InvalidPermissionError, NotPublishedError
from realtime.events.event import Event, decode_live
from realtime.publisher import Publisher, SyncPublisher
from workers.embedded import EmbeddedValkey

NAME = "databases.main.tables.posts.rows.42.create"
ROW = {"$id": "42", "title": "Hello", "$permissions": ['read("user:ann")']}


def event(number: int) -> Event:
    return Event(
        name=f"databases.main.tables.posts.rows.{number}.create", payload={"n": number}, roles=["any"]
    )


async def logged_ids(client: redis.asyncio.Redis, project: str = "demo") -> list[str]:
    """Return the IDs in a project's log."""
    entries: Any = await client.xrange(log_key(project))
    return [event_id.decode() for event_id, _ in entries]


async def logged(client: redis.asyncio.Redis, project: str = "demo") -> list[dict[str, Any]]:
    """Return the envelopes in a project's log."""
    entries: Any = await client.xrange(log_key(project))
    return [json.loads(fields[b"e"]) for _, fields in entries]


class TestPublish:
    async def test_event_goes_out_with_its_names_channels_and_readers(
        self, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        async with Publisher("demo", redis_url=redis_url) as publisher:
            published = await publisher.publish(NAME, ROW)

        assert published.roles == ["user:ann"]
        assert published.events[0] == NAME
        assert "databases.main.tables.posts.rows.42" in published.channels
        (sent,) = await logged(redis_client)
        assert sent["project"] == "demo"
        assert sent["roles"] == published.roles
        assert sent["data"]["events"] == published.events
        assert sent["data"]["channels"] == published.channels
        assert sent["data"]["payload"] == ROW
        assert await logged_ids(redis_client) == [published.id]

    async def test_live_message_carries_the_id(
        self, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        pubsub = redis_client.pubsub()
        await pubsub.subscribe(live_channel("demo"))
        await pubsub.get_message(timeout=5)
        async with Publisher("demo", redis_url=redis_url) as publisher:
            published = await publisher.publish(NAME, ROW)

        live = decode_live((await pubsub.get_message(timeout=5))["data"])
        assert (live.id, live.project, live.roles) == (published.id, "demo", ["user:ann"])
        await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def test_every_argument_reaches_the_event(
        self, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        async with Publisher("demo", redis_url=redis_url) as publisher:
            published = await publisher.publish(
                "databases.[databaseId].tables.[tableId].rows.[rowId].update",
                b'{"a":  1}',
                params={"databaseId": "main", "tableId": "posts", "rowId": "7"},
                permissions=['read("team:red")'],
                database_type="tablesdb",
                user_id="ann",
                timestamp="2026-01-02T03:04:05.678Z",
            )
            by_role = await publisher.publish(NAME, ROW, roles=["label:vip"])

        assert published.roles == ["team:red"]
        assert by_role.roles == ["label:vip"]
        sent = (await logged(redis_client))[0]
        assert sent["userId"] == "ann"
        assert sent["data"]["timestamp"] == "2026-01-02T03:04:05.678+00:00"
        assert sent["data"]["payload"] == {"a": 1}
        assert any(name.startswith("tablesdb.") for name in published.events)

    @pytest.mark.parametrize(
        ("name", "payload", "error"),
        [
            ("nonsense.42.create", {}, InvalidEventError),
            (NAME, b"not json", InvalidEventError),
            (NAME, {"$permissions": ["read(nobody)"]}, InvalidPermissionError),
        ],
    )
    async def test_wrong_event_is_refused_and_nothing_is_sent(
        self,
        redis_url: str,
        redis_client: redis.asyncio.Redis,
        name: str,
        payload: Any,
        error: type[Exception],
    ) -> None:
        async with Publisher("demo", redis_url=redis_url) as publisher:
            with pytest.raises(error):
                await publisher.publish(name, payload)

        assert await logged(redis_client) == []

    async def test_bus_that_was_handed_in_stays_open(self, redis_url: str) -> None:
        bus = RedisBus(connect(redis_url))
        async with Publisher("demo", bus=bus) as publisher:
            await publisher.publish(NAME, ROW)

        assert await bus.ping() > 0
        await bus.aclose()

    async def test_url_may_come_from_the_environment(
        self, redis_url: str, redis_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REALTIME_REDIS_URL", redis_url)
        async with Publisher("demo") as publisher:
            await publisher.publish(NAME, ROW)

        assert len(await logged(redis_client)) == 1

    async def test_without_a_url_the_embedded_server_is_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("REALTIME_REDIS_URL", raising=False)
        monkeypatch.setenv("REALTIME_DATA_DIR", str(tmp_path))
        with EmbeddedValkey(tmp_path, persist=False):
            async with Publisher("demo") as publisher:
                assert (await publisher.publish(NAME, ROW)).id


class TestPublishMany:
    async def test_batch_is_published_in_order(
        self, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        async with Publisher("demo", redis_url=redis_url) as publisher:
            published = await publisher.publish_many([event(n) for n in range(10)])

        assert [sent["data"]["payload"]["n"] for sent in await logged(redis_client)] == list(range(10))
        assert await logged_ids(redis_client) == [one.id for one in published]

    async def test_one_wrong_event_keeps_all_from_being_sent(
        self, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        async with Publisher("demo", redis_url=redis_url) as publisher:
            with pytest.raises(InvalidEventError):
                await publisher.publish_many([event(1), Event(name="nonsense", payload={})])

        assert await logged(redis_client) == []

    async def test_empty_batch_publishes_nothing(
        self, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        async with Publisher("demo", redis_url=redis_url) as publisher:
            assert await publisher.publish_many([]) == []

        assert await logged(redis_client) == []

    async def test_event_for_the_console_goes_there_too(
        self, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        async with Publisher("demo", redis_url=redis_url, project_team="owners") as publisher:
            (published,) = await publisher.publish_many(
                [Event(name="functions.f1.deployments.d1.create", payload={"$id": "d1", "resourceId": "f1"})]
            )

        (own,) = await logged(redis_client)
        (console,) = await logged(redis_client, "console")
        assert console["roles"] == ["team:owners"]
        assert own["project"] == "demo"
        assert await logged_ids(redis_client) == [published.id]


class TestIdempotencyKey:
    async def test_publishing_again_returns_the_same_id_and_sends_nothing(
        self, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        async with Publisher("demo", redis_url=redis_url) as publisher:
            first = await publisher.publish(NAME, ROW, idempotency_key="order-1")
            second = await publisher.publish(NAME, ROW, idempotency_key="order-1")

        assert first == second
        assert len(await logged(redis_client)) == 1

    async def test_key_used_for_another_number_of_events_is_refused(self, redis_url: str) -> None:
        async with Publisher("demo", redis_url=redis_url) as publisher:
            await publisher.publish_many([event(1)], idempotency_key="k")

            with pytest.raises(InvalidEventError, match="idempotency key"):
                await publisher.publish_many([event(1), event(2)], idempotency_key="k")

    async def test_own_keys_are_short_lived(self, redis_url: str, redis_client: redis.asyncio.Redis) -> None:
        async with Publisher("demo", redis_url=redis_url, retry_s=10) as publisher:
            await publisher.publish(NAME, ROW)
        (key,) = [key for key in await redis_client.keys() if b"idempotency" in key]

        assert 10 < await redis_client.ttl(key) <= 60

    async def test_without_retries_no_key_is_kept(
        self, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        async with Publisher("demo", redis_url=redis_url, retry_s=0) as publisher:
            await publisher.publish(NAME, ROW)

        assert await redis_client.keys() == [log_key("demo").encode()]


class TestRetries:
    async def test_event_is_published_when_redis_comes_back(
        self, proxy: Any, redis_client: redis.asyncio.Redis
    ) -> None:
        proxy.refuse()
        async with Publisher("demo", redis_url=proxy.url, retry_s=10) as publisher:
            publishing = asyncio.create_task(publisher.publish(NAME, ROW))
            while proxy.accepted < 3:  # noqa: ASYNC110 - counted by another connection
                await asyncio.sleep(0.002)
            assert not publishing.done()
            proxy.accept()

            assert (await publishing).id
        assert len(await logged(redis_client)) == 1

    async def test_when_redis_stays_away_the_caller_is_told(self, proxy: Any) -> None:
        proxy.refuse()
        async with Publisher("demo", redis_url=proxy.url, retry_s=0.3) as publisher:
            started = time.monotonic()
            with pytest.raises(NotPublishedError) as caught:
                await publisher.publish(NAME, ROW)

        assert time.monotonic() - started < 3
        assert "may or may not have been" in str(caught.value)
        assert caught.value.retryable
        assert isinstance(caught.value.__cause__, RedisError)
        assert proxy.accepted > 1

    async def test_without_retries_one_failure_is_enough(self, proxy: Any) -> None:
        proxy.refuse()
        async with Publisher("demo", redis_url=proxy.url, retry_s=0) as publisher:
            with pytest.raises(NotPublishedError):
                await publisher.publish(NAME, ROW)

        assert proxy.accepted == 1

    async def test_event_whose_answer_was_lost_is_not_published_twice(
        self, proxy: Any, redis_client: redis.asyncio.Redis
    ) -> None:
        async with Publisher("demo", redis_url=proxy.url, retry_s=10) as publisher:
            await publisher.publish(NAME, ROW)
            proxy.lose_next_reply()

            published = await publisher.publish(NAME, ROW)

        ids = await logged_ids(redis_client)
        assert len(ids) == 2
        assert ids[1] == published.id

    async def test_failure_that_will_not_pass_is_reported_at_once(
        self, redis_url: str, redis_client: redis.asyncio.Redis
    ) -> None:
        await redis_client.set(log_key("demo"), "not a stream")
        async with Publisher("demo", redis_url=redis_url, retry_s=30) as publisher:
            with pytest.raises(NotPublishedError, match="WRONGTYPE"):
                await publisher.publish(NAME, ROW)

    async def test_connections_cut_at_any_time_lose_and_repeat_nothing(
        self, proxy: Any, redis_client: redis.asyncio.Redis
    ) -> None:
        async def cut_now_and_then() -> None:
            while True:
                await asyncio.sleep(0.01)
                proxy.cut()

        cutter = asyncio.create_task(cut_now_and_then())
        async with Publisher("demo", redis_url=proxy.url, retry_s=30) as publisher:
            for number in range(60):
                await publisher.publish_many([event(number)])
        cutter.cancel()
        await asyncio.wait([cutter])

        assert [sent["data"]["payload"]["n"] for sent in await logged(redis_client)] == list(range(60))


class TestSyncPublisher:
    def test_event_is_published_without_asyncio(self, redis_url: str) -> None:
        with SyncPublisher("demo", redis_url=redis_url) as publisher:
            first = publisher.publish(NAME, ROW, idempotency_key="k")
            (second,) = publisher.publish_many([event(2)])
            assert publisher.publish(NAME, ROW, idempotency_key="k") == first

        with redis.Redis.from_url(redis_url) as client:
            ids = [event_id.decode() for event_id, _ in client.xrange(log_key("demo"))]
        assert ids == [first.id, second.id]

    def test_threads_may_share_it(self, redis_url: str) -> None:
        ids: list[str] = []
        with SyncPublisher("demo", redis_url=redis_url) as publisher:
            threads = [
                threading.Thread(target=lambda n=n: ids.append(publisher.publish_many([event(n)])[0].id))
                for n in range(20)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert len(set(ids)) == 20

    def test_errors_are_those_of_the_publisher(self, tmp_path: Path, redis_url: str) -> None:
        with SyncPublisher("demo", redis_url=redis_url) as publisher, pytest.raises(InvalidEventError):
            publisher.publish("nonsense", {})
        with (
            SyncPublisher("demo", redis_url=f"unix://{tmp_path}/none", retry_s=0) as publisher,
            pytest.raises(NotPublishedError),
        ):
            publisher.publish(NAME, ROW)

    def test_after_close_nothing_can_be_published(self, redis_url: str) -> None:
        publisher = SyncPublisher("demo", redis_url=redis_url)
        publisher.publish(NAME, ROW)
        publisher.close()
        publisher.close()

        with pytest.raises(RuntimeError, match="closed"):
            publisher.publish(NAME, ROW)

    def test_thread_ends_with_it(self, redis_url: str) -> None:
        with SyncPublisher("demo", redis_url=redis_url) as publisher:
            publisher.publish(NAME, ROW)
            assert "realtime-publisher" in {thread.name for thread in threading.enumerate()}

        assert "realtime-publisher" not in {thread.name for thread in threading.enumerate()}

    def test_unused_publisher_starts_no_thread(self, redis_url: str) -> None:
        with SyncPublisher("demo", redis_url=redis_url):
            assert "realtime-publisher" not in {thread.name for thread in threading.enumerate()}

    def test_close_ends_calls_that_still_try(self, tmp_path: Path) -> None:
        publisher = SyncPublisher("demo", redis_url=f"unix://{tmp_path}/none", retry_s=60)
        outcome: list[BaseException] = []

        def publish() -> None:
            try:
                publisher.publish(NAME, ROW)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
                outcome.append(error)

        thread = threading.Thread(target=publish)
        thread.start()
        deadline = time.monotonic() + 10
        while publisher._loop is None and time.monotonic() < deadline:
            time.sleep(0.002)
        publisher.close()
        thread.join(10)

        assert not thread.is_alive()
        assert len(outcome) == 1
