"""Clients lose their connections and miss nothing; nothing comes twice that they had confirmed."""

import pytest

from tests.streams.checker import Kind
from tests.streams.journal import until
from tests.streams.load import TABLES
from tests.streams.stage import Stage

pytestmark = pytest.mark.integration

ONE_PER_TABLE = [(table, ["any"]) for table in TABLES]


class TestCuts:
    async def test_clients_cut_off_for_two_seconds_again_and_again_miss_nothing(self, stage: Stage) -> None:
        await stage.set_up(hubs=2, python=40, raw=40)
        async with stage.under_load():
            for _ in range(2):
                await stage.cut(away_s=2)
                await stage.load.go_on(30)
        await stage.check()

    async def test_frames_that_vanish_before_the_cut_come_again(self, stage: Stage) -> None:
        """The network swallows frames and pongs for a while, so that the hub has sent what nobody received."""
        await stage.set_up(hubs=2, python=30, raw=30)
        async with stage.under_load():
            for _ in range(2):
                stage.swallow()
                await stage.load.go_on(30)
                await stage.cut(away_s=0.1)
                await stage.load.go_on(20)
        await stage.check()

    async def test_quick_cuts_one_after_the_other_leave_no_gap_between_replay_and_live(
        self, stage: Stage
    ) -> None:
        """Many return while others are still being served what they missed, and are cut off in the middle of that."""
        await stage.set_up(hubs=2, python=30, raw=30)
        async with stage.under_load():
            for _ in range(8):
                returned = stage.gateway.carried
                stage.gateway.cut()
                await stage.carried(returned + 30)
        await stage.check()

    async def test_hubs_that_do_not_notice_lose_nothing_of_clients_that_are_back_elsewhere(
        self, stage: Stage
    ) -> None:
        """Half-open connections: the old hub goes on sending into the void, and believes that it holds the client."""
        await stage.set_up(hubs=2, python=30, raw=30)
        async with stage.under_load():
            for _ in range(2):
                stage.gateway.abandon()
                await stage.load.go_on(30)
                await stage.all_connected()
                await stage.load.go_on(20)
        await stage.check()

    async def test_hundreds_of_events_are_read_from_the_log_while_more_come_live(self, stage: Stage) -> None:
        await stage.set_up(hubs=2, python=15, raw=15)
        async with stage.under_load():
            stage.gateway.refuse()
            for _ in range(20):
                await stage.load.publish(*ONE_PER_TABLE * 10)
            returned = stage.gateway.carried
            stage.gateway.accept()
            for clients in range(3, 31, 3):
                await stage.carried(returned + clients)
                await stage.load.publish(*ONE_PER_TABLE * 10)
        await stage.check()


class TestSlow:
    async def test_clients_closed_since_they_were_too_slow_come_back_and_miss_nothing(
        self, stage: Stage
    ) -> None:
        await stage.set_up(hubs=2, python=8, raw=8, send_buffer_bytes=200_000, compression=False)
        stage.gateway.stall()
        stage.load.text_bytes = 60_000
        while await count_too_slow(stage) < 16:
            await stage.load.publish(*ONE_PER_TABLE * 5)
        stage.load.text_bytes = 0
        stage.gateway.flow()
        async with stage.under_load():
            await stage.all_connected()
        await stage.check()

    async def test_backlog_larger_than_the_send_buffer_is_replayed_at_the_pace_of_its_reader(
        self, stage: Stage
    ) -> None:
        """A page of the log may hold far more bytes than may wait for a client."""
        await stage.set_up(hubs=1, python=2, raw=2, compression=False)
        stage.gateway.refuse()
        stage.load.text_bytes = 400_000
        for _ in range(10):
            await stage.load.publish(*ONE_PER_TABLE * 2)
        stage.load.text_bytes = 0
        stage.gateway.accept()
        await stage.all_connected()
        await stage.check()
        assert await count_too_slow(stage) == 0


async def count_too_slow(stage: Stage) -> float:
    """Return how many connections the hubs have closed because their clients were too slow."""
    return await stage.count("realtime_connections_closed_total", reason="too_slow")


class TestConfirmed:
    async def test_what_was_confirmed_before_a_cut_is_not_repeated(self, stage: Stage) -> None:
        await stage.set_up(hubs=2, python=10, raw=30)
        for _ in range(2):
            async with stage.load.running():
                await stage.load.go_on(30)
            await stage.all_settled()
            await stage.cut(away_s=0)
        await stage.check()
        assert stage.journal.repeats() == 0

    async def test_what_was_confirmed_before_a_hub_is_killed_is_not_repeated(self, stage: Stage) -> None:
        await stage.set_up(hubs=2, python=10, raw=30)
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

    async def test_checker_finds_what_is_lost(self, stage: Stage) -> None:
        await stage.set_up(hubs=1, python=5, raw=5, resume="off")
        async with stage.load.running():
            await stage.load.go_on(10)
            async with stage.cut_off():
                missed = await stage.load.publish_to_all()
        # Frames of a connection come in order: who has seen one of these will not see what is missing.
        last = set(await stage.load.publish_to_all())
        streams = stage.journal.streams
        await until(
            lambda: all(any(entry.number in last for entry in stream.seen) for stream in streams),
            "all to see what was published last",
        )
        found = {(fault.kind, fault.stream) for fault in stage.journal.faults() if fault.number in missed}
        names = {stream.name for stream in streams}
        told = {name for name in names if name.startswith("python")}
        # The Python client knows that it must reload; nobody tells the others.
        assert set(stage.journal.gaps) == told
        assert found == {(Kind.LOST, name) for name in names - told}
