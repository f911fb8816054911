"""What a hub does once a second waits for nothing."""

from typing import TYPE_CHECKING

import pytest

from realtime.hub import registry

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import Start


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
