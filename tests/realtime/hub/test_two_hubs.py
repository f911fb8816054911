"""Several hubs on one Redis: each serves its own clients, and pays for its own projects only."""

from typing import TYPE_CHECKING

import redis.asyncio

from realtime.bus.keys import live_channel
from realtime.hub.registry import ROOM_LINGER_S

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import RunningHub, Start

EVENT = "databases.d.tables.t.rows.1.create"


async def listeners(redis_client: redis.asyncio.Redis, project: str) -> int:
    """Return how many hubs listen to a project's live channel."""
    ((_, count),) = await redis_client.pubsub_numsub(live_channel(project))
    return int(count)


class TestTwoHubs:
    async def test_clients_of_both_receive_the_same_event(
        self, hub: "RunningHub", start_hub: "Start"
    ) -> None:
        async with start_hub() as other, hub.greeted() as here, other.greeted() as there:
            await here.subscribe("rows")
            await there.subscribe("rows")
            published = await hub.publish(EVENT, {"n": 1}, roles=["any"])
            received = [await here.receive_event(), await there.receive_event()]
        assert [event["id"] for event in received] == [published.id, published.id]
        assert received[0] == received[1]

    async def test_project_without_connections_costs_a_hub_nothing(
        self, hub: "RunningHub", start_hub: "Start", redis_client: redis.asyncio.Redis
    ) -> None:
        async with start_hub() as idle, hub.greeted() as client:
            await client.subscribe("rows")
            assert await listeners(redis_client, "demo") == 1
            await hub.publish(EVENT, {}, roles=["any"])
            await client.receive_event()
            assert idle.hub.registry.rooms == {}
            assert not idle.hub.stats.ledger.received

    async def test_hub_stops_listening_a_while_after_the_last_connection_left(
        self, hub: "RunningHub", redis_client: redis.asyncio.Redis
    ) -> None:
        registry = hub.hub.registry
        async with hub.greeted():
            pass
        await hub.until(lambda: registry.connection_count == 0)
        await registry.reap()
        assert await listeners(redis_client, "demo") == 1

        now = registry._loop_time()
        registry._loop_time = lambda: now + ROOM_LINGER_S + 1
        await registry.reap()
        assert registry.rooms == {}
        # Leaving is sent without waiting for an answer; a probe behind it has one.
        await hub.hub.listener.probe()
        assert await listeners(redis_client, "demo") == 0

    async def test_connections_keep_a_hub_listening(self, hub: "RunningHub") -> None:
        registry = hub.hub.registry
        async with hub.greeted() as client:
            await client.subscribe("rows")
            now = registry._loop_time()
            registry._loop_time = lambda: now + ROOM_LINGER_S + 1
            await registry.reap()
            await hub.publish(EVENT, {}, roles=["any"])
            await client.receive_event()

    async def test_project_can_be_entered_again_after_it_was_left(self, hub: "RunningHub") -> None:
        registry = hub.hub.registry
        async with hub.greeted():
            pass
        await hub.until(lambda: registry.connection_count == 0)
        before = registry._loop_time
        registry._loop_time = lambda: before() + ROOM_LINGER_S + 1
        await registry.reap()
        async with hub.greeted() as client:
            await client.subscribe("rows")
            await hub.publish(EVENT, {}, roles=["any"])
            await client.receive_event()
