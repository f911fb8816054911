"""Hubs die and are replaced under load; their clients miss nothing, and see no event twice that they confirmed."""

import pytest

from tests.streams.stage import PATIENT, Stage

pytestmark = pytest.mark.integration


class TestKilled:
    async def test_clients_of_a_killed_hub_go_on_at_another(self, stage: Stage) -> None:
        await stage.set_up(hubs=2, python=30, raw=30)
        async with stage.under_load():
            await stage.kill_hub()
        await stage.check()

    async def test_frames_that_vanished_before_a_hub_is_killed_come_again(self, stage: Stage) -> None:
        """Nobody can ask it any more what was confirmed: what it wrote down while it waited for answers must do."""
        await stage.set_up(hubs=2, raw=40)
        async with stage.under_load():
            stage.swallow()
            await stage.load.go_on(30)
            await stage.kill_hub()
            stage.gateway.cut()
        await stage.check()

    async def test_the_only_hub_killed_and_started_again(self, stage: Stage) -> None:
        await stage.set_up(hubs=1, python=20, raw=20)
        async with stage.under_load():
            await stage.hubs[0].kill()
            await stage.load.go_on(30)
            await stage.hubs[0].start()
        await stage.check()


class TestRollingRestart:
    async def test_every_hub_replaced_in_turn(self, stage: Stage) -> None:
        await stage.set_up(hubs=3, python=40, raw=40, **PATIENT)
        async with stage.under_load():
            await stage.roll()
        await stage.check()
        # A hub that stops asks its clients first what they have.
        assert stage.journal.repeats() == 0
