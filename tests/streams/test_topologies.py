"""Failovers of Sentinel and Cluster, forced under load, which clients notice as a delay and nothing else."""

import asyncio
from pathlib import Path

import pytest

from tests.streams.readers import PROJECT
from tests.streams.stage import open_stage
from tests.topologies import Cluster, Sentinels

pytestmark = pytest.mark.integration

QUICK = {"probe_interval_s": 0.2, "probe_timeout_s": 1}


class TestSentinel:
    async def test_master_killed(self, sentinels: Sentinels, tmp_path: Path) -> None:
        async with open_stage(sentinels.url, tmp_path) as stage:
            await stage.start_hubs(2, **QUICK)
            await stage.connect(python=30, raw=30)
            async with stage.load.running():
                await stage.load.go_on(30)
                killed = await asyncio.to_thread(sentinels.kill_master)
                await asyncio.to_thread(sentinels.wait_for_master, other_than=killed)
                await stage.load.go_on(30)
            await stage.check(redis_may_lose=True)

    async def test_master_replaced_while_clients_return(self, sentinels: Sentinels, tmp_path: Path) -> None:
        async with open_stage(sentinels.url, tmp_path) as stage:
            await stage.start_hubs(2, **QUICK)
            await stage.connect(python=30, raw=30)
            async with stage.load.running():
                await stage.load.go_on(30)
                stage.gateway.cut()
                await asyncio.to_thread(sentinels.switch)
                await stage.load.go_on(30)
                await stage.all_connected()
            await stage.check(redis_may_lose=True)


class TestCluster:
    async def test_primary_of_the_project_killed(self, cluster: Cluster, tmp_path: Path) -> None:
        async with open_stage(cluster.url, tmp_path) as stage:
            await stage.start_hubs(2, **QUICK)
            await stage.connect(python=30, raw=30)
            async with stage.load.running():
                await stage.load.go_on(30)
                killed = await asyncio.to_thread(cluster.kill_primary_of, PROJECT)
                await asyncio.to_thread(cluster.wait_for_primary_of, PROJECT, other_than=killed)
                await stage.load.go_on(30)
            await stage.check(redis_may_lose=True)

    async def test_slot_of_the_project_moved(self, cluster: Cluster, tmp_path: Path) -> None:
        async with open_stage(cluster.url, tmp_path) as stage:
            await stage.start_hubs(2, **QUICK)
            await stage.connect(python=30, raw=30)
            async with stage.load.running():
                await stage.load.go_on(30)
                await asyncio.to_thread(cluster.move, PROJECT)
                await stage.load.go_on(30)
            await stage.check()
