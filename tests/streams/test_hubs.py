"""Hubs die and are replaced under load; their clients miss nothing, and see no event twice that they confirmed."""

from pathlib import Path

import pytest

from tests.streams.stage import open_stage

pytestmark = pytest.mark.integration


class TestKilled:
    async def test_clients_of_a_killed_hub_go_on_at_another(self, redis_url: str, tmp_path: Path) -> None:
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(2)
            await stage.connect(python=30, raw=30)
            async with stage.load.running():
                await stage.load.go_on(30)
                await stage.kill_hub()
                await stage.load.go_on(60)
                await stage.all_connected()
            await stage.check()

    async def test_the_only_hub_killed_and_started_again(self, redis_url: str, tmp_path: Path) -> None:
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(1)
            await stage.connect(python=20, raw=20)
            async with stage.load.running():
                await stage.load.go_on(30)
                await stage.hubs[0].kill()
                await stage.load.go_on(30)
                await stage.hubs[0].start()
                await stage.all_connected()
            await stage.check()


class TestRollingRestart:
    async def test_every_hub_replaced_in_turn(self, redis_url: str, tmp_path: Path) -> None:
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(3)
            await stage.connect(python=40, raw=40)
            async with stage.load.running():
                await stage.roll()
                await stage.load.go_on(20)
            await stage.check()
            # A hub that stops asks its clients first what they have.
            assert stage.journal.repeats() == 0
