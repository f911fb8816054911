"""Redis goes away and comes back; hubs keep their clients, and read from the log what they did not hear."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.streams.stage import QUICK, Stage
from tests.topologies import Server, free_ports

pytestmark = pytest.mark.integration


class Connections:
    """How many connections there were before Redis went away: hubs must not lose them."""

    def __init__(self, stage: Stage) -> None:
        self._gateway = stage.gateway
        self._before = stage.gateway.carried

    def assert_kept(self) -> None:
        assert self._gateway.carried == self._before, "hubs keep their clients while Redis is away"


class TestKilled:
    async def test_redis_killed_and_started_again_delays_and_loses_nothing(
        self, server: Server, stage: Stage
    ) -> None:
        await stage.set_up(hubs=2, python=30, raw=30, **QUICK)
        connections = Connections(stage)
        async with stage.under_load():
            for _ in range(2):
                await stage.restart(server)
                await stage.load.go_on(30)
        await stage.check()
        connections.assert_kept()

    async def test_clients_that_lose_redis_and_their_connection_at_once_miss_nothing(
        self, server: Server, stage: Stage
    ) -> None:
        await stage.set_up(hubs=2, python=30, raw=30, **QUICK)
        async with stage.under_load():
            await asyncio.to_thread(server.kill)
            stage.gateway.cut()
            await stage.redis_missed()
            await asyncio.to_thread(server.start)
        await stage.check()

    async def test_clients_that_return_twice_meanwhile_go_on_from_what_they_confirm_later(
        self, server: Server, stage: Stage
    ) -> None:
        """Hubs learn late of connections that have gone; these must not stand in the way of those that came after."""
        await stage.set_up(hubs=2, raw=40, **QUICK)
        asked = await stage.subscribe_messages()
        async with stage.under_load():
            await asyncio.to_thread(server.kill)
            for times in (1, 2):
                stage.gateway.cut()
                await stage.asked(asked + times * 40)
            await asyncio.to_thread(server.start)
        await stage.all_settled()
        await stage.cut(away_s=0)
        await stage.check()


class TestPaused:
    async def test_redis_silent_for_ten_seconds_with_the_usual_probes(
        self, server: Server, stage: Stage
    ) -> None:
        """Longer than the probes' patience: the hub notices by itself, as the connection stays open."""
        await stage.set_up(hubs=1, python=20, raw=20)
        connections = Connections(stage)
        async with stage.under_load():
            server.pause()
            # The scenario itself; what must have happened by then is asked for below.
            await asyncio.sleep(10)
            await stage.redis_missed()
            server.resume()
        await stage.check()
        connections.assert_kept()

    async def test_redis_silent_for_a_moment_longer_than_the_probes_wait(
        self, server: Server, stage: Stage
    ) -> None:
        await stage.set_up(hubs=2, python=20, raw=20, **QUICK)
        connections = Connections(stage)
        async with stage.under_load():
            for _ in range(2):
                await stage.silence(server)
                await stage.load.go_on(20)
        await stage.check()
        connections.assert_kept()


class TestEmptied:
    """Redis comes back without what it had: the one case in which clients are told to reload."""

    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[Server]:
        """A Redis that keeps nothing."""
        (port,) = free_ports(1)
        running = Server(tmp_path / "forgetful", port, "appendonly no")
        running.start()
        yield running
        running.kill()

    async def test_clients_are_told_and_go_on_with_what_comes_after(
        self, server: Server, stage: Stage
    ) -> None:
        await stage.set_up(hubs=2, python=10, raw=10, **QUICK)
        connections = Connections(stage)
        async with stage.under_load():
            await stage.restart(server)
        await stage.check(redis_may_lose=True)
        connections.assert_kept()
        assert set(stage.journal.gaps) == {stream.name for stream in stage.journal.streams}
