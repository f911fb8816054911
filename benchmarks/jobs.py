"""What the benchmarks of workers share: how work is done by a process with a core to itself, and by its peers.

All of the work is there before the process starts. It is measured from when the first of it was seen to be done, so
that its start is not in the numbers.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, cast

import httptools
from sqlalchemy import ColumnElement, func, select

from benchmarks.common import PROJECT
from benchmarks.payloads import sentence
from benchmarks.servers import Process, on_servers_core
from realtime.events.event import Event
from realtime.publisher import Publisher
from realtime.settings import Settings
from tests.api import Api, running_api
from workers.store.database import open_database
from workers.store.migrate import migrate

BATCH = 500
"""How many events are published at once."""
POLL_S = 0.02
"""How often it is looked how much is done."""
STUCK_S = 60.0
"""How long nothing may be done."""

EVENT = "databases.main.tables.posts.rows.post.create"

Done = Callable[[], Awaitable[int]]
"""Tells how much of the work is done."""


class Result(NamedTuple):
    """How fast work was done."""

    per_second: float
    per_cpu_second: float


class Endpoint:
    """An HTTP server in this process that answers each request at once, with 200, and counts them."""

    def __init__(self) -> None:
        self.requests = 0
        self.port = 0

    async def done(self) -> int:
        """Return how many requests were answered, since somebody last set ``requests`` to 0."""
        return self.requests


class _Connection(asyncio.Protocol):
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._endpoint.requests += 1
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Endpoint]:
    """Serve an endpoint on a free port of 127.0.0.1."""
    endpoint = Endpoint()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: _Connection(endpoint), "127.0.0.1", 0) as server:
        endpoint.port = server.sockets[0].getsockname()[1]
        yield endpoint


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that works."""

    name: str
    command: Sequence[str]
    settings: Sequence[tuple[str, str]] = ()
    """For one of ours."""


def ours(command: str, settings: Settings, **others: object) -> Worker:
    """Return the worker that a command of ``realtime`` starts."""
    named = {
        "database_url": settings.database_url,
        "redis_url": settings.redis_url,
        "data_dir": settings.data_dir,
        "webhooks_allow_private": True,
        "log_level": "warning",
        **others,
    }
    program = (sys.executable, "-c", "from workers.cli import main; main()", command)
    return Worker(f"realtime {command}", program, tuple((name, str(value)) for name, value in named.items()))


def peer(name: str, module: str, *arguments: str) -> Worker:
    """Return a peer, which is told everything by its arguments."""
    return Worker(name, (sys.executable, "-m", f"benchmarks.peers.{module}", *arguments))


async def measure(worker: Worker, total: int, done: Done) -> Result:
    """Run the process until ``total`` of its work is done.

    Raises:
        SystemExit: it has ended, or got stuck.
    """
    with _started(worker) as (process, log):
        began_at = await _until(process, log, done, 1)
        start_s, used_s = time.perf_counter(), _cpu_s(process.pid)
        await _until(process, log, done, total)
        took_s, used_s = time.perf_counter() - start_s, _cpu_s(process.pid) - used_s
        return Result((total - began_at) / took_s, (total - began_at) / used_s)


async def measure_saq(
    redis_url: str, concurrency: int, total: int, function: str, **arguments: object
) -> Result | None:
    """Measure saq, with so many jobs of a function of its worker; return None if it is not installed."""
    if find_spec("saq") is None:
        return None
    from benchmarks.peers import saq_worker  # noqa: PLC0415 - it needs saq

    async with saq_worker.open_queue(redis_url) as queue:
        await saq_worker.fill(queue, total, function, **arguments)

        async def done() -> int:
            return int(total - await queue.count("incomplete"))

        return await measure(peer("saq", "saq_worker", redis_url, str(concurrency)), total, done)


def row_of(name: str, result: Result | None) -> list[object]:
    """Return what stands in a table for a result; None for a peer that is not installed."""
    return [name, *(result or ("not installed", ""))]


def best_of(results: Iterable[Result | None]) -> Result | None:
    """Return the result of the round that cost least; None if there are none."""
    return max(filter(None, results), key=lambda each: each.per_cpu_second, default=None)


async def _until(process: "subprocess.Popen[bytes]", log: Path, done: Done, count: int) -> int:
    """Wait until so much is done; return how much it is then."""
    deadline_s, before = time.monotonic() + STUCK_S, -1
    while (now := await done()) < count:
        if now > before:
            deadline_s, before = time.monotonic() + STUCK_S, now
        elif time.monotonic() > deadline_s or process.poll() is not None:
            sys.exit(f"only {now:,} of {count:,} were done:\n{_end(log)}")
        await asyncio.sleep(POLL_S)
    return now


def _end(log: Path) -> str:
    return log.read_text(errors="replace")[-4_000:]


@contextlib.contextmanager
def _started(worker: Worker) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    environment = {f"REALTIME_{name.upper()}": value for name, value in worker.settings}
    with tempfile.NamedTemporaryFile() as log:
        with on_servers_core():
            process = subprocess.Popen(
                worker.command, env={**os.environ, **environment}, stdout=log, stderr=log
            )
        try:
            yield process, Path(log.name)
        finally:
            process.terminate()
            process.wait()


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of all that it has started, and that still run."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return Process(pid).cpu_s() + sum(_cpu_s(int(child)) for child in children)


@contextlib.asynccontextmanager
async def project(settings: Settings) -> AsyncIterator[Api]:
    """Run the API in this process, on an empty database that it has made its tables in."""
    database = open_database(settings)
    await migrate(database)
    await database.aclose()
    async with running_api(settings) as api:
        yield api


async def ask(api: Api, path: str, body: Mapping[str, object]) -> None:
    """Have the API make something.

    Raises:
        SystemExit: it refuses.
    """
    answer = await api.server.post(path, json=body)
    if answer.is_error:
        sys.exit(f"{path}: {answer.text}")


async def publish(settings: Settings, count: int) -> None:
    """Publish so many events of rows, of about 1 KB each."""
    async with Publisher(PROJECT, redis_url=settings.redis_url) as publisher:
        for first in range(0, count, BATCH):
            numbers = range(first, min(first + BATCH, count))
            await publisher.publish_many([Event(name=EVENT, payload=payload(number)) for number in numbers])


def payload(number: int) -> dict[str, object]:
    """Return what an event says."""
    return {"$id": "post", "number": number, "text": sentence(900, number)}


@contextlib.asynccontextmanager
async def counting(
    settings: Settings, column: ColumnElement[object], condition: ColumnElement[bool]
) -> AsyncIterator[Done]:
    """Return what counts the rows of a table of which a condition holds."""
    database = open_database(settings)
    statement = select(func.count(column)).where(condition)

    async def done() -> int:
        async with database.reading() as connection:
            return int((await connection.execute(statement)).scalar_one())

    try:
        yield done
    finally:
        await database.aclose()
