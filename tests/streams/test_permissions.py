"""Teams change while events are published: nobody sees what they may not read, or misses what they may."""

import asyncio
from pathlib import Path

import pytest

from tests.streams.load import rows_channel
from tests.streams.readers import PythonReader, RawReader, Reader
from tests.streams.roster import Roster
from tests.streams.stage import ALL_ROWS, Stage, open_stage
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
            roster.follow(name, reader.streams)
            for stream in reader.streams:
                stream.is_delayed = is_delayed
        readers += own
    await stage.add(*readers)
    return roster


class TestChanges:
    async def test_memberships_that_come_and_go_are_followed_to_the_event(
        self, redis_url: str, tmp_path: Path
    ) -> None:
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(2)
            roster = await enrol_readers(stage, is_delayed=False)
            async with stage.load.running(), roster.changing("red"):
                await stage.load.go_on(120)
            await stage.check()
            assert roster.changes >= PEOPLE

    async def test_memberships_change_while_connections_and_hubs_are_lost(
        self, redis_url: str, tmp_path: Path
    ) -> None:
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(2)
            roster = await enrol_readers(stage, is_delayed=True)
            await stage.connect(python=5, raw=5)
            async with stage.load.running(), roster.changing("red"):
                await stage.load.go_on(30)
                await stage.cut(away_s=1)
                await stage.load.go_on(30)
                await stage.kill_hub()
                await stage.load.go_on(30)
                await stage.all_connected()
                await stage.roll()
            await stage.check()
            assert roster.changes >= PEOPLE

    async def test_memberships_change_while_redis_is_lost(self, server: Server, tmp_path: Path) -> None:
        """Hubs hear of a change late, or from the records only; they read them before they go on."""
        async with open_stage(f"redis://127.0.0.1:{server.port}", tmp_path) as stage:
            await stage.start_hubs(2, probe_interval_s=0.2, probe_timeout_s=0.5)
            roster = await enrol_readers(stage, is_delayed=True)
            async with stage.load.running(), roster.changing("red"):
                for _ in range(2):
                    await stage.load.go_on(30)
                    await asyncio.to_thread(server.kill)
                    await asyncio.sleep(0.3)
                    await asyncio.to_thread(server.start)
                await stage.load.go_on(30)
                server.pause()
                await asyncio.sleep(0.8)
                server.resume()
                await stage.load.go_on(30)
            await stage.check()
            assert roster.changes >= PEOPLE
