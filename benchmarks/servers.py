"""Servers under measurement, each alone on one core; and the Valkey server that they hear.

Everything but the server (Valkey, the publisher, the client) runs on the other cores, so that a number is the
server's and nobody else's.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from benchmarks.common import PROJECT, SECRET, say
from realtime.bus import connect
from realtime.bus.keys import live_channel
from realtime.identity.model import Project
from realtime.identity.store import IdentityStore
from workers.embedded import EmbeddedValkey

START_TIMEOUT_S = 20.0

_PEERS = Path(__file__).with_name("peers")


@dataclass(frozen=True, slots=True)
class Server:
    """A server under measurement."""

    name: str
    pid: int
    port: int

    def cpu_s(self) -> float:
        """Return the CPU time it has used in all of its threads, in user and kernel, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Return how much memory it has in use."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the kernel does not say how much memory a process uses")


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server to compare with: it sends what it hears on the project's live channel to everybody."""

    name: str
    command: tuple[str, ...]


def websockets_peer() -> Peer:
    """Return the server made with ``websockets`` and its ``broadcast``."""
    return Peer("websockets", (sys.executable, "-m", "benchmarks.peers.websockets_server"))


def bare_peer() -> Peer:
    """Return the server that does the least that Python and uvloop can do."""
    return Peer("bare uvloop", (sys.executable, "-m", "benchmarks.peers.bare_server"))


def bun_peer() -> Peer | None:
    """Return the server made with Bun and its native ``publish``; None where Bun is not installed."""
    bun = which("bun")
    return Peer("Bun", (bun, str(_PEERS / "bun_server.js"))) if bun else None


@contextlib.contextmanager
def hub(redis_url: str) -> Iterator[Server]:
    """Run one process of the hub with its default settings, but for the limits."""
    port = free_port()
    settings = {"port": str(port), "redis_url": redis_url, "secret": SECRET, "limits": "off"}
    env = {f"REALTIME_{name.upper()}": value for name, value in settings.items()}
    command = (sys.executable, "-c", "from workers.cli import main; main()", "hub")
    with _running("hub", command, port, env) as server:
        yield server


@contextlib.contextmanager
def running(peer: Peer, redis_url: str) -> Iterator[Server]:
    """Run one process of ``peer``."""
    port = free_port()
    command = (*peer.command, str(port), redis_url, live_channel(PROJECT))
    with _running(peer.name, command, port, {}) as server:
        yield server


@contextlib.contextmanager
def valkey() -> Iterator[str]:
    """Run a Valkey server that knows the project; return its URL.

    It, and the calling process from now on, keep off the server's core.
    """
    server_core, other_cores = _cores()
    os.sched_setaffinity(0, other_cores)
    if server_core == other_cores:
        say("there is only one core for server and client: read the CPU time, not the wall time")
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedValkey(Path(folder), port=free_port(), persist=False) as server,
    ):
        asyncio.run(_put_project(server.url))
        yield server.url


async def _put_project(redis_url: str) -> None:
    async with connect(redis_url) as redis:
        await IdentityStore(redis).put_project(Project(PROJECT))


@contextlib.contextmanager
def _running(name: str, command: Sequence[str], port: int, env: Mapping[str, str]) -> Iterator[Server]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env={**os.environ, **env}, stdout=log, stderr=log)
        try:
            os.sched_setaffinity(process.pid, _cores()[0])
            deadline = time.monotonic() + START_TIMEOUT_S
            while not _accepts(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    sys.exit(f"The server {name} did not start:\n{log.read().decode(errors='replace')}")
                time.sleep(0.05)
            yield Server(name, process.pid, port)
        finally:
            # Nothing is measured any more, so nothing has to be drained.
            process.kill()
            process.wait()


def _cores() -> tuple[set[int], set[int]]:
    """Return the core of the server, and those of everything else: the same one if there is only one."""
    count = os.cpu_count() or 1
    return {count - 1}, set(range(count - 1)) or {0}


def free_port() -> int:
    """Return a TCP port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
