"""A hub whose Redis fails over: its clients see a delay, and lose nothing."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.topologies import Cluster, Sentinels

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import Client, RunningHub, Start

EVENT = "databases.main.tables.posts.rows.1.create"
PROBES = {"probe_interval_s": 0.2, "probe_timeout_s": 1}


async def survive(hub: "RunningHub", client: "Client", fail: Callable[[], object]) -> None:
    """Have Redis fail while a client is subscribed and somebody publishes; nothing may be lost or repeated."""
    await client.subscribe("rows")
    for number in range(5):
        await hub.publish(EVENT, {"n": number}, roles=["any"])
    await asyncio.to_thread(fail)
    await hub.until(lambda: not hub.hub.listener.healthy)
    for number in range(5, 10):
        await hub.publish(EVENT, {"n": number}, roles=["any"])

    received = [(await client.receive_event())["payload"]["n"] for _ in range(10)]
    assert received == list(range(10))
    await hub.until(lambda: hub.hub.listener.healthy)
    assert await hub.greeting() is not None
    await client.assert_silent()


@pytest.mark.parametrize("resume", ["auto", "off"])
async def test_killed_master_is_a_delay(start_hub: "Start", sentinels: Sentinels, resume: str) -> None:
    async with start_hub(redis_url=sentinels.url, resume=resume, **PROBES) as hub, hub.greeted() as client:
        await survive(hub, client, sentinels.kill_master)


@pytest.mark.parametrize("resume", ["auto", "off"])
async def test_killed_primary_of_a_shard_is_a_delay(
    start_hub: "Start", cluster: Cluster, resume: str
) -> None:
    async with start_hub(redis_url=cluster.url, resume=resume, **PROBES) as hub, hub.greeted() as client:
        await survive(hub, client, lambda: cluster.kill_primary_of("demo"))
