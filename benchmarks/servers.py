"""Servers under measurement, each alone on one core; and the Valkey server that they hear.

Everything but the server (Valkey, the publisher, the clients) runs on the other cores, so that a number is the
server's and nobody else's.
"""

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from benchmarks.candidates import Candidate, Speech
from benchmarks.common import PROJECT, cores, say
from realtime.bus import connect
from realtime.bus.keys import live_channel
from realtime.identity.model import Project
from realtime.identity.store import IdentityStore
from workers.embedded import EmbeddedValkey

START_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process that is watched."""

    pid: int

    def cpu_s(self) -> float:
        """Return the CPU time it has used in all of its threads, in user and kernel, in seconds."""
        # What clock_getcpuclockid(3) returns: the scheduler's own account, which is exact to the nanosecond.
        return time.clock_gettime((~self.pid << 3) | 2)

    def resident_bytes(self) -> int:
        """Return how much memory it has in use."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the kernel does not say how much memory a process uses")


@dataclass(frozen=True, slots=True)
class Server(Process):
    """A server under measurement."""

    name: str
    port: int
    speech: Speech
    is_hub: bool
    popen: "subprocess.Popen[bytes]"

    def metric(self, sample: str) -> float:
        """Return one sample of the hub's metrics, such as ``realtime_connections``; 0 if it is not there."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=START_TIMEOUT_S) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample + " "))


@contextlib.contextmanager
def running(
    candidate: Candidate, redis_url: str, *, deflates: bool = False, port: int | None = None
) -> Iterator[Server]:
    """Run one process of ``candidate``, on a free port if ``port`` is None.

    A peer compresses if ``deflates``; the hub does for clients that offer it.
    """
    if candidate.missing:
        sys.exit(f"{candidate.name} cannot be measured: {candidate.missing}.")
    port = port or free_port()
    env: dict[str, str] = {}
    command = candidate.command
    if candidate.is_hub:
        settings = {"port": str(port), "redis_url": redis_url, **dict(candidate.settings)}
        env = {f"REALTIME_{name.upper()}": value for name, value in settings.items()}
    else:
        command += (str(port), redis_url, live_channel(PROJECT), *(["deflate"] if deflates else []))
    with tempfile.TemporaryFile() as log:
        with on_servers_core():
            process = subprocess.Popen(command, env={**os.environ, **env}, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not _accepts(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    sys.exit(f"{candidate.name} did not start:\n{log.read().decode(errors='replace')}")
                time.sleep(0.05)
            yield Server(process.pid, candidate.name, port, candidate.speech, candidate.is_hub, process)
        finally:
            # Nothing is measured any more, so nothing has to be drained.
            process.kill()
            process.wait()


@contextlib.contextmanager
def on_servers_core() -> Iterator[None]:
    """Have what is started meanwhile, with every thread that it will make, run on the server's core alone."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores()[0])
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


@contextlib.contextmanager
def valkey() -> Iterator[str]:
    """Run a Valkey server that knows the project; return its URL.

    It, and the calling process from now on, keep off the server's core, and may open as many files as is allowed.
    """
    server_core, other_cores = cores()
    os.sched_setaffinity(0, other_cores)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
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


def free_port() -> int:
    """Return a TCP port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
