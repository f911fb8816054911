"""Clients lose their connections and miss nothing; nothing comes twice that they had confirmed."""

import asyncio
from pathlib import Path

import pytest

from tests.streams.checker import Kind
from tests.streams.load import TABLES
from tests.streams.stage import Stage, open_stage

pytestmark = pytest.mark.integration


class TestCuts:
    async def test_clients_cut_off_for_two_seconds_again_and_again_miss_nothing(
        self, redis_url: str, tmp_path: Path
    ) -> None:
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(2)
            await stage.connect(python=40, raw=40)
            async with stage.load.running():
                for _ in range(2):
                    await stage.load.go_on(30)
                    await stage.cut(away_s=2)
            await stage.check()

    async def test_frames_that_vanish_before_the_cut_come_again(self, redis_url: str, tmp_path: Path) -> None:
        """The network swallows frames and pongs for a while, so that the hub has sent what nobody received."""
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(2)
            await stage.connect(python=30, raw=30)
            async with stage.load.running():
                for _ in range(2):
                    await stage.load.go_on(20)
                    stage.swallow()
                    await stage.load.go_on(30)
                    await stage.cut(away_s=0.1)
            await stage.check()

    async def test_quick_cuts_one_after_the_other_leave_no_gap_between_replay_and_live(
        self, redis_url: str, tmp_path: Path
    ) -> None:
        """Many return while others are still being served what they missed, and are cut off in the middle of that."""
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(2)
            await stage.connect(python=30, raw=30)
            async with stage.load.running():
                for _ in range(8):
                    await asyncio.sleep(0.3)
                    stage.gateway.cut()
                await stage.all_connected()
            await stage.check()

    async def test_hubs_that_do_not_notice_lose_nothing_of_clients_that_are_back_elsewhere(
        self, redis_url: str, tmp_path: Path
    ) -> None:
        """Half-open connections: the old hub goes on sending into the void, and believes that it holds the client."""
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(2)
            await stage.connect(python=30, raw=30)
            async with stage.load.running():
                for _ in range(2):
                    await stage.load.go_on(20)
                    stage.gateway.abandon()
                    await stage.load.go_on(30)
                    await stage.all_connected()
            await stage.check()

    async def test_hundreds_of_events_are_read_from_the_log_while_more_come_live(
        self, redis_url: str, tmp_path: Path
    ) -> None:
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(2)
            await stage.connect(python=15, raw=15)
            async with stage.load.running():
                await stage.load.go_on(10)
                stage.gateway.refuse()
                for _ in range(20):
                    await stage.load.publish(*[(table, ["any"]) for table in TABLES] * 10)
                stage.gateway.accept()
                for _ in range(10):
                    await stage.load.publish(*[(table, ["any"]) for table in TABLES] * 10)
                    await asyncio.sleep(0.05)
                await stage.all_connected()
            await stage.check()


class TestSlow:
    async def test_clients_closed_since_they_were_too_slow_come_back_and_miss_nothing(
        self, redis_url: str, tmp_path: Path
    ) -> None:
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(2, send_buffer_bytes=200_000, compression=False)
            await stage.connect(python=8, raw=8)
            stage.gateway.stall()
            stage.load.text_bytes = 60_000
            while await count_closed(stage, "too_slow") < 16:
                await stage.load.publish(*[(table, ["any"]) for table in TABLES] * 5)
            stage.load.text_bytes = 0
            stage.gateway.flow()
            async with stage.load.running():
                await stage.load.go_on(20)
                await stage.all_connected()
            await stage.check()

    async def test_backlog_larger_than_the_send_buffer_is_replayed_at_the_pace_of_its_reader(
        self, redis_url: str, tmp_path: Path
    ) -> None:
        """A page of the log may hold far more bytes than may wait for a client."""
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(1, compression=False)
            await stage.connect(python=2, raw=2)
            stage.gateway.refuse()
            stage.load.text_bytes = 400_000
            for _ in range(10):
                await stage.load.publish(*[(table, ["any"]) for table in TABLES] * 2)
            stage.load.text_bytes = 0
            stage.gateway.accept()
            await stage.all_connected()
            await stage.check()
            assert await count_closed(stage, "too_slow") == 0


async def count_closed(stage: Stage, reason: str) -> int:
    """Return how many connections the hubs have closed for a reason."""
    samples = [sample for hub in stage.hubs for sample in await hub.samples()]
    return sum(
        int(value)
        for name, labels, value in samples
        if name == "realtime_connections_closed_total" and labels["reason"] == reason
    )


class TestConfirmed:
    async def test_what_was_confirmed_before_a_cut_is_not_repeated(
        self, redis_url: str, tmp_path: Path
    ) -> None:
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(2)
            await stage.connect(python=10, raw=30)
            for _ in range(2):
                async with stage.load.running():
                    await stage.load.go_on(30)
                await stage.all_settled()
                await stage.cut(away_s=0)
            await stage.check()
            assert stage.journal.repeats() == 0

    async def test_what_was_confirmed_before_a_hub_is_killed_is_not_repeated(
        self, redis_url: str, tmp_path: Path
    ) -> None:
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(2)
            await stage.connect(python=10, raw=30)
            async with stage.load.running():
                await stage.load.go_on(30)
            await stage.all_settled()
            await stage.kill_hub()
            async with stage.load.running():
                await stage.load.go_on(20)
                await stage.all_connected()
            await stage.check()
            assert stage.journal.repeats() == 0


class TestWithoutResume:
    """The scenarios above can fail: hubs that resume nothing lose events, and the checker says which."""

    async def test_checker_finds_what_is_lost(self, redis_url: str, tmp_path: Path) -> None:
        async with open_stage(redis_url, tmp_path) as stage:
            await stage.start_hubs(1, resume="off")
            await stage.connect(python=5, raw=5)
            async with stage.load.running():
                await stage.load.go_on(10)
                stage.gateway.refuse()
                missed = await stage.load.publish_to_all()
                stage.gateway.accept()
                await stage.all_connected()
                await stage.load.go_on(10)
            await stage.journal.until_seen(0.5)
            found = {(fault.kind, fault.stream) for fault in stage.journal.faults() if fault.number in missed}
            names = {stream.name for stream in stage.journal.streams}
            told = {name for name in names if name.startswith("python")}
            # The Python client knows that it must reload; nobody tells the others.
            assert set(stage.journal.gaps) == told
            assert found == {(Kind.LOST, name) for name in names - told}
