"""Failovers of Sentinel and Cluster, forced under load, which clients notice as a delay and nothing else."""

import asyncio

import pytest

from tests.streams.readers import PROJECT
from tests.streams.stage import QUICK, Stage
from tests.topologies import Cluster, Sentinels

pytestmark = pytest.mark.integration


class TestSentinel:
    @pytest.fixture
    def redis_url(self, sentinels: Sentinels) -> str:
        return sentinels.url

    async def test_master_killed(self, sentinels: Sentinels, stage: Stage) -> None:
        await stage.set_up(hubs=2, python=30, raw=30, **QUICK)
        async with stage.under_load():
            await asyncio.to_thread(sentinels.replace_master)
        await stage.check(redis_may_lose=True)

    async def test_master_replaced_while_clients_return(self, sentinels: Sentinels, stage: Stage) -> None:
        await stage.set_up(hubs=2, python=30, raw=30, **QUICK)
        async with stage.under_load():
            stage.gateway.cut()
            await asyncio.to_thread(sentinels.switch)
        await stage.check(redis_may_lose=True)


class TestCluster:
    @pytest.fixture
    def redis_url(self, cluster: Cluster) -> str:
        return cluster.url

    async def test_primary_of_the_project_killed(self, cluster: Cluster, stage: Stage) -> None:
        await stage.set_up(hubs=2, python=30, raw=30, **QUICK)
        async with stage.under_load():
            await asyncio.to_thread(cluster.replace_primary_of, PROJECT)
        await stage.check(redis_may_lose=True)

    async def test_slot_of_the_project_moved(self, cluster: Cluster, stage: Stage) -> None:
        await stage.set_up(hubs=2, python=30, raw=30, **QUICK)
        async with stage.under_load():
            await asyncio.to_thread(cluster.move, PROJECT)
        await stage.check()
