"""Unmodified SDKs lose their connections and hubs, and nothing else: the stream checker over the newest one.

They know nothing of resuming. Their subscriptions return under the IDs that they made themselves (wire specification
16.5); other clients are in the same crowd, so that 200 of them come back together.
"""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.streams.crowd import PACKAGE, SDK_FOLDER, Crowd, Member
from tests.streams.load import rows_channel
from tests.streams.roster import Roster
from tests.streams.stage import ALL_ROWS, PATIENT, Stage, open_stage


@pytest.fixture(autouse=True)
def sdk(require: Callable[[bool, str], None]) -> None:
    """Skip without Node.js or the SDK."""
    require(shutil.which("node") is not None, "Node.js is missing")
    require(
        (SDK_FOLDER / "node_modules" / PACKAGE).is_dir(),
        "the SDKs are not installed (make test-e2e installs them)",
    )


@pytest.fixture
async def stage(redis_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """Hubs, clients of all kinds and events, as in the scenarios of ``tests/streams``."""
    async with open_stage(redis_url, tmp_path) as stage:
        yield stage


class TestCuts:
    async def test_two_hundred_clients_cut_off_for_two_seconds_again_and_again_miss_nothing(
        self, stage: Stage
    ) -> None:
        await stage.set_up(hubs=2, sdk=100, python=50, raw=50)
        async with stage.under_load():
            for _ in range(3):
                await stage.load.go_on(30)
                await stage.all_confirmed()
                await stage.cut(away_s=2)
        await stage.check()

    async def test_what_was_confirmed_before_a_cut_is_not_repeated(self, stage: Stage) -> None:
        await stage.set_up(hubs=2, sdk=30)
        async with stage.load.running():
            await stage.load.go_on(30)
        await stage.all_settled()
        await stage.cut(away_s=0)
        await stage.check()
        assert stage.journal.repeats() == 0

    async def test_what_was_confirmed_under_load_is_not_repeated(self, stage: Stage) -> None:
        """There is always something on its way; the checker knows what the hubs knew before each cut."""
        await stage.set_up(hubs=2, sdk=40, raw=10)
        stage.load.pause_s /= 4
        async with stage.under_load():
            for _ in range(2):
                await stage.load.go_on(60)
                await stage.all_confirmed()
                await stage.cut(away_s=0)
        await stage.check()


class TestHubs:
    async def test_killed_hub_costs_its_clients_nothing(self, stage: Stage) -> None:
        await stage.set_up(hubs=2, sdk=40)
        async with stage.under_load():
            await stage.kill_hub()
        await stage.check()

    async def test_rolling_restart_costs_clients_nothing(self, stage: Stage) -> None:
        await stage.set_up(hubs=2, sdk=40, **PATIENT)
        async with stage.under_load():
            await stage.roll()
        await stage.check()
        assert stage.journal.repeats() == 0


class TestPermissions:
    async def test_teams_change_while_connections_and_hubs_are_lost(self, stage: Stage) -> None:
        """The SDKs sign in by a message after they have connected, each time anew."""
        wanted = {"table": (rows_channel("posts"),), "all": (ALL_ROWS,)}
        await stage.set_up(hubs=2)
        roster = Roster(stage.journal, stage.store, stage.publisher)
        names = [f"user{number}" for number in range(8)]
        people = [await roster.enrol(name, *["red"][: index % 2]) for index, name in enumerate(names)]
        crowd = Crowd(
            stage.journal, stage.gateway.port, [Member(person, person.name, wanted) for person in people]
        )
        for stream in crowd.streams:
            roster.follow(stream.name.partition("/")[0], [stream], is_delayed=True)
        await stage.add(crowd)
        async with stage.under_load(), roster.changing("red"):
            await stage.cut(away_s=1)
            await stage.load.go_on(30)
            await stage.kill_hub()
            await stage.load.go_on(30)
        await stage.check()
