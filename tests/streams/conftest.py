"""What the scenarios share besides the fixtures of all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.topologies import Server, free_ports


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A Redis that keeps what it has confirmed, on a port of its own, to be paused and killed."""
    (port,) = free_ports(1)
    running = Server(tmp_path / "valkey", port, "appendonly yes", "appendfsync always")
    running.start()
    yield running
    running.kill()
