"""Thousands of events to twenty endpoints, half of which are in trouble, while what delivers is killed again and again.

With ``--thorough``, each of the 10,000 events is for each endpoint; otherwise an endpoint is called for a part of them.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime.settings import Settings
from tests.postgres import Postgres
from tests.storm import endpoints, processes
from tests.storm.scene import SETTINGS, Scene, make_endpoints
from tests.topologies import Server, free_ports

EVENTS = 10_000
SHARES = 10
WORKERS = 2
PUBLISHING_S = 6.0
KILLED_EVERY_S = 2.0
DEADLINE_S = 80.0


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Server]:
    """A Redis that keeps what it has confirmed, on a port of its own."""
    (port,) = free_ports(1)
    server = Server(tmp_path / "valkey", port, "appendonly yes", "appendfsync always")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, postgres: Postgres, redis_server: Server, tmp_path: Path
) -> Iterator[Scene]:
    is_thorough = request.config.getoption("thorough")
    name = postgres.create()
    settings = Settings(
        database_url=postgres.url_of(name),
        redis_url=redis_server.url,
        data_dir=tmp_path / "data",
        # Or else all would wait for the slow ones.
        webhooks_endpoint_concurrency=60 if is_thorough else 25,
        **SETTINGS,
    )
    yield Scene(settings, make_endpoints(), EVENTS, shares=1 if is_thorough else SHARES)
    postgres.drop(name)


def publishing_s(scene: Scene) -> float:
    """Return how long events are published for, and workers killed."""
    return PUBLISHING_S if scene.shares > 1 else 5 * PUBLISHING_S


async def storm(
    scene: Scene, folder: Path, trouble: Callable[[], Coroutine[Any, Any, None]] | None = None
) -> None:
    """Publish, kill, and see what became of it; ``trouble`` is what else happens meanwhile."""
    await scene.make_webhooks()
    records = folder / "records"
    began_s = time.monotonic()
    async with (
        endpoints.running(records, list(scene.endpoints.values())),
        processes.running("webhooks", WORKERS, folder, scene.settings) as workers,
    ):
        # A worker that has ended by itself, or an event that cannot be published, ends all of it.
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(workers.kill_every(KILLED_EVERY_S))
            async with asyncio.TaskGroup() as publishing:
                publishing.create_task(scene.publish(publishing_s(scene)))
                if trouble is not None:
                    publishing.create_task(trouble())
            # What a killed worker had under way is left alone until its lease is over.
            killing.cancel()
            await scene.until_over(DEADLINE_S * (1 if scene.shares > 1 else 4))
        workers.assert_alive()
        found = await scene.found(records)
    took_s = time.monotonic() - began_s
    print(f"{found._replace(faults=[])}, {workers.kills} kills, {took_s:.0f} s")  # noqa: T201 - for -s
    assert found.faults[:20] == []
    assert found.delivered
    assert found.dead
    # Or else nobody was hit.
    assert found.cut_off


@pytest.mark.timeout(420)
async def test_deliveries_arrive_whoever_dies(scene: Scene, tmp_path: Path) -> None:
    await storm(scene, tmp_path)


@pytest.mark.timeout(420)
async def test_deliveries_arrive_though_redis_dies_too(
    scene: Scene, redis_server: Server, tmp_path: Path
) -> None:
    async def kill_redis() -> None:
        for _ in range(2):
            await asyncio.sleep(publishing_s(scene) / 3)
            await asyncio.to_thread(redis_server.kill)
            await asyncio.to_thread(redis_server.start)

    await storm(scene, tmp_path, kill_redis)
