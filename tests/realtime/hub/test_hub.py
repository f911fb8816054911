"""What a hub is told by its listener, and what it does once a second."""

from typing import TYPE_CHECKING

import pytest
import redis.asyncio

from realtime.bus.keys import live_channel
from realtime.hub import registry

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import Start


class TestAccount:
    async def test_message_that_is_not_believed_is_dropped(
        self, start_hub: "Start", redis_client: redis.asyncio.Redis
    ) -> None:
        async with start_hub() as hub, hub.greeted() as client:
            await client.subscribe("rows")
            await redis_client.publish(live_channel("demo"), b'{"id":"99999999999999-0","project":"demo"}')
            await hub.deliver("databases.d.tables.t.rows.1.create", {}, roles=["any"])
            metrics = await hub.metrics()
        assert metrics["realtime_events_total/dropped/demo/too_far_ahead"] == 1
        assert metrics["realtime_events_received_total/demo"] == 2


class TestTick:
    async def test_time_goes_on_while_a_room_that_is_left_waits_for_redis(
        self, start_hub: "Start", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its lock is held by somebody who comes into another project, and Redis does not answer."""
        monkeypatch.setattr(registry, "ROOM_LINGER_S", 0.0)
        async with start_hub() as running:
            hub = running.hub
            async with running.greeted():
                lock = hub.registry._lock("demo")
                await lock.acquire()
            try:
                ticks = hub._ticks
                await running.until(lambda: hub._ticks >= ticks + 3)
                assert "demo" in hub.registry.rooms
            finally:
                lock.release()
            await running.until(lambda: "demo" not in hub.registry.rooms)
