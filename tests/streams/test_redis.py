"""Redis goes away and comes back; hubs keep their clients, and read from the log what they did not hear."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.streams.stage import Stage, open_stage
from tests.topologies import Server, free_ports

pytestmark = pytest.mark.integration

QUICK = {"probe_interval_s": 0.2, "probe_timeout_s": 0.5}


def url(server: Server) -> str:
    return f"redis://127.0.0.1:{server.port}"


class Connections:
    """How many connections there were before Redis went away: hubs must not lose them."""

    def __init__(self, stage: Stage) -> None:
        self._gateway = stage.gateway
        self._before = stage.gateway.carried

    def assert_kept(self) -> None:
        assert self._gateway.carried == self._before, "hubs keep their clients while Redis is away"


class TestKilled:
    async def test_redis_killed_and_started_again_delays_and_loses_nothing(
        self, server: Server, tmp_path: Path
    ) -> None:
        async with open_stage(url(server), tmp_path) as stage:
            await stage.start_hubs(2, **QUICK)
            await stage.connect(python=30, raw=30)
            connections = Connections(stage)
            async with stage.load.running():
                for _ in range(2):
                    await stage.load.go_on(30)
                    await asyncio.to_thread(server.kill)
                    await asyncio.sleep(0.5)
                    await asyncio.to_thread(server.start)
                await stage.load.go_on(30)
            await stage.check()
            connections.assert_kept()

    async def test_clients_that_lose_redis_and_their_connection_at_once_miss_nothing(
        self, server: Server, tmp_path: Path
    ) -> None:
        async with open_stage(url(server), tmp_path) as stage:
            await stage.start_hubs(2, **QUICK)
            await stage.connect(python=30, raw=30)
            async with stage.load.running():
                await stage.load.go_on(30)
                await asyncio.to_thread(server.kill)
                stage.gateway.cut()
                await asyncio.sleep(0.5)
                await asyncio.to_thread(server.start)
                await stage.load.go_on(30)
                await stage.all_connected()
            await stage.check()

    async def test_clients_that_return_twice_meanwhile_go_on_from_what_they_confirm_later(
        self, server: Server, tmp_path: Path
    ) -> None:
        """Hubs learn late of connections that have gone; these must not stand in the way of those that came after."""
        async with open_stage(url(server), tmp_path) as stage:
            await stage.start_hubs(2, **QUICK)
            await stage.connect(raw=40)
            async with stage.load.running():
                await stage.load.go_on(20)
                await asyncio.to_thread(server.kill)
                for _ in range(2):
                    stage.gateway.cut()
                    await asyncio.sleep(0.6)
                await asyncio.to_thread(server.start)
                await stage.all_connected()
                await stage.load.go_on(20)
            await stage.all_settled()
            await stage.cut(away_s=0)
            await stage.check()


class TestPaused:
    async def test_redis_silent_for_ten_seconds_with_the_usual_probes(
        self, server: Server, tmp_path: Path
    ) -> None:
        """Longer than the probes' patience: the hub notices by itself, as the connection stays open."""
        async with open_stage(url(server), tmp_path) as stage:
            await stage.start_hubs(1)
            await stage.connect(python=20, raw=20)
            connections = Connections(stage)
            async with stage.load.running():
                await stage.load.go_on(30)
                server.pause()
                await asyncio.sleep(10)
                server.resume()
                await stage.load.go_on(30)
            await stage.check()
            connections.assert_kept()

    async def test_redis_silent_for_a_moment_longer_than_the_probes_wait(
        self, server: Server, tmp_path: Path
    ) -> None:
        async with open_stage(url(server), tmp_path) as stage:
            await stage.start_hubs(2, **QUICK)
            await stage.connect(python=20, raw=20)
            connections = Connections(stage)
            async with stage.load.running():
                for _ in range(2):
                    await stage.load.go_on(20)
                    server.pause()
                    await asyncio.sleep(0.8)
                    server.resume()
                await stage.load.go_on(20)
            await stage.check()
            connections.assert_kept()


class TestEmptied:
    """Redis comes back without what it had: the one case in which clients are told to reload."""

    @pytest.fixture
    def forgetful(self, tmp_path: Path) -> Iterator[Server]:
        (port,) = free_ports(1)
        running = Server(tmp_path / "forgetful", port, "appendonly no")
        running.start()
        yield running
        running.kill()

    async def test_clients_are_told_and_go_on_with_what_comes_after(
        self, forgetful: Server, tmp_path: Path
    ) -> None:
        async with open_stage(url(forgetful), tmp_path) as stage:
            await stage.start_hubs(2, **QUICK)
            await stage.connect(python=10, raw=10)
            connections = Connections(stage)
            async with stage.load.running():
                await stage.load.go_on(30)
                await asyncio.to_thread(forgetful.kill)
                await asyncio.to_thread(forgetful.start)
                await stage.load.go_on(30)
            await stage.check(redis_may_lose=True)
            connections.assert_kept()
            assert set(stage.journal.gaps) == {stream.name for stream in stage.journal.streams}
