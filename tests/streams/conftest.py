"""What the scenarios share besides the fixtures of all tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.streams.stage import Stage, open_stage
from tests.topologies import Server, free_ports


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A Redis that keeps what it has confirmed, on a port of its own, to be paused and killed."""
    (port,) = free_ports(1)
    running = Server(tmp_path / "valkey", port, "appendonly yes", "appendfsync always")
    running.start()
    yield running
    running.kill()


@pytest.fixture
def redis_url(server: Server) -> str:
    """The URL of that server. Scenarios on servers of another shape have a fixture of this name of their own."""
    return server.url


@pytest.fixture
async def stage(redis_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage on that Redis: a scenario says what is there, breaks something under load, and checks it all."""
    async with open_stage(redis_url, tmp_path) as stage:
        yield stage
