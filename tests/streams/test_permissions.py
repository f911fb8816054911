"""Teams change while events are published: nobody sees what they may not read, or misses what they may."""

import pytest

from tests.streams.load import rows_channel
from tests.streams.readers import PythonReader, RawReader, Reader
from tests.streams.roster import Roster
from tests.streams.stage import ALL_ROWS, QUICK, Stage
from tests.topologies import Server

pytestmark = pytest.mark.integration

PEOPLE = 5
WANTED = {"table": (rows_channel("posts"),), "all": (ALL_ROWS,)}


async def enrol_readers(stage: Stage, *, is_delayed: bool) -> Roster:
    """Connect two clients for each of some users; every other user begins in the team."""
    roster = Roster(stage.journal, stage.store, stage.publisher)
    readers: list[Reader] = []
    for number in range(PEOPLE):
        name = f"user{number}"
        person = await roster.enrol(name, *["red"][: number % 2])
        own: list[Reader] = [
            PythonReader(stage.journal, stage.gateway.port, person, f"{name}-python", WANTED),
            RawReader(stage.journal, stage.gateway.port, person, f"{name}-raw", WANTED),
        ]
        for reader in own:
            roster.follow(name, reader.streams, is_delayed=is_delayed)
        readers += own
    await stage.add(*readers)
    return roster


class TestChanges:
    async def test_memberships_that_come_and_go_are_followed_to_the_event(self, stage: Stage) -> None:
        await stage.set_up(hubs=2)
        roster = await enrol_readers(stage, is_delayed=False)
        async with stage.under_load(), roster.changing("red"):
            await stage.load.go_on(120)
        await stage.check()

    async def test_memberships_change_while_connections_and_hubs_are_lost(self, stage: Stage) -> None:
        await stage.set_up(hubs=2, python=5, raw=5)
        roster = await enrol_readers(stage, is_delayed=True)
        async with stage.under_load(), roster.changing("red"):
            await stage.cut(away_s=1)
            await stage.load.go_on(30)
            await stage.kill_hub()
            await stage.load.go_on(30)
            await stage.all_connected()
            await stage.roll()
        await stage.check()

    async def test_memberships_change_while_redis_is_lost(self, server: Server, stage: Stage) -> None:
        """Hubs hear of a change late, or from the records only; they read them before they go on."""
        await stage.set_up(hubs=2, **QUICK)
        roster = await enrol_readers(stage, is_delayed=True)
        async with stage.under_load(), roster.changing("red"):
            for _ in range(2):
                await stage.restart(server)
                await stage.load.go_on(30)
            await stage.silence(server)
            await stage.load.go_on(30)
        await stage.check()
