"""API workers are killed again and again while rows are written: no event is lost, doubled, or told of nothing."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text

from realtime.bus import RedisBus, connect
from realtime.client import RealtimeClient
from realtime.settings import Settings
from tests.api import KEY, PROJECT, running_api, running_hub
from workers.store.database import Database, open_database
from workers.store.tables import outbox, tables

KILLS = {"postgresql": 50, "sqlite": 10}
ROWS_PER_KILL = 100
WRITERS = 16
DEADLINE_S = 60.0

ROW_PATH = "/v1/tablesdb/main/tables/posts/rows"

_PROGRAM = """
import os

import uvloop

from realtime.hub.server import Server, bind
from realtime.settings import Settings
from workers.api.standalone import uvicorn_config

settings = Settings()
config = uvicorn_config(settings)
listening = bind(settings.host, 0)
print(listening.getsockname()[1], flush=True)

def start():
    pid = os.fork()
    if pid == 0:
        uvloop.run(Server(config).serve(sockets=[listening]))
        os._exit(0)
    print(pid, flush=True)

for _ in range(2):
    start()
while True:
    os.wait()
    start()
"""
"""Runs two workers of ``realtime api``, and at once another one for each that ends.

They are forked from a process that has made the application and not used it: to start one takes no time.
"""


class Workers:
    """Processes that share a port, one of which can be killed at any time."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.endpoint = f"http://127.0.0.1:{port}"
        self._alive: list[int] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._alive.append(int(line))

    async def kill_one(self, chance: random.Random) -> None:
        while not self._alive:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
        os.kill(self._alive.pop(chance.randrange(len(self._alive))), signal.SIGKILL)

    async def aclose(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await self._reading


@contextlib.asynccontextmanager
async def running_workers(settings: Settings, log: Path) -> AsyncIterator[Workers]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")}
    environment |= {
        "REALTIME_DATABASE_URL": settings.database_url,
        "REALTIME_REDIS_URL": settings.redis_url,
        "REALTIME_DATA_DIR": str(settings.data_dir),
    }
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _PROGRAM,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=file,
            start_new_session=True,
        )
    assert process.stdout is not None
    workers = Workers(process, int(await process.stdout.readline()))
    try:
        yield workers
    finally:
        await workers.aclose()


class Writing:
    """Writes the rows, each until it is there."""

    def __init__(self, endpoint: str, row_ids: Iterable[str]) -> None:
        self._client = httpx.AsyncClient(
            base_url=endpoint,
            headers={"X-Appwrite-Project": PROJECT, "X-Appwrite-Key": KEY},
            timeout=DEADLINE_S,
            trust_env=False,
        )
        self._row_ids = iter(row_ids)
        self.written = 0
        # Requests whose answer never came: nobody knew whether the row was there.
        self.broken = 0

    async def run(self) -> None:
        async with self._client, asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._write())

    async def _write(self) -> None:
        for row_id in self._row_ids:
            while not await self._is_written(row_id):
                self.broken += 1
            self.written += 1

    async def _is_written(self, row_id: str) -> bool:
        try:
            response = await self._client.post(ROW_PATH, json={"rowId": row_id, "data": {"title": row_id}})
        except httpx.TransportError:
            return False
        # Taken: an attempt that was cut off had come far enough.
        assert response.status_code in (201, 409), response.text
        return True


async def kill_at_random(workers: Workers, writing: Writing, kills: int, chance: random.Random) -> None:
    for threshold in sorted(chance.sample(range((kills - 1) * ROWS_PER_KILL), kills)):
        while writing.written < threshold:  # noqa: ASYNC110 - the moment is to be a random one
            await asyncio.sleep(chance.random() * 0.01)
        await workers.kill_one(chance)


async def listen(endpoint: str, ready: asyncio.Event, received: list[tuple[str, str]]) -> None:
    async with (
        RealtimeClient(endpoint, PROJECT, key=KEY) as client,
        client.subscribe("tablesdb.main.tables.posts.rows") as events,
    ):
        ready.set()
        async for event in events:
            received.append((event.id, event.payload["$id"]))  # noqa: PERF401 - as they come


async def logged(bus: RedisBus) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    after = "0-0"
    while events := (await bus.read_page(PROJECT, after)).events:
        after = events[-1][0]
        found += [(event_id, _row_of(message)) for event_id, message in events if b"rows.row-" in message]
    return found


def _row_of(message: bytes) -> str:
    return "row-" + message.partition(b"rows.row-")[2].partition(b".")[0].decode()


async def stored(database: Database) -> list[str]:
    """Wait until nothing is left to be told, and return the IDs of the rows in SQL."""
    async with asyncio.timeout(DEADLINE_S):
        while await _count(database):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    async with database.reading() as connection:
        seq = (await connection.execute(select(tables.c.seq))).scalar_one()
        return list((await connection.execute(text(f"SELECT id FROM rows_{seq}"))).scalars())


async def _count(database: Database) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(outbox))).scalar_one())


async def make_table(client: httpx.AsyncClient) -> None:
    table: dict[str, Any] = {
        "tableId": "posts",
        "name": "Posts",
        "columns": [{"key": "title", "type": "string", "size": 100, "required": True}],
    }
    for path, body in (
        ("/v1/tablesdb", {"databaseId": "main", "name": "Main"}),
        ("/v1/tablesdb/main/tables", table),
    ):
        response = await client.post(path, json=body)
        assert response.status_code == 201, response.text


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings(database_url=database_url, redis_url=redis_url, data_dir=tmp_path)


@pytest.mark.timeout(180)
async def test_rows_and_events_agree_whoever_dies(settings: Settings, tmp_path: Path) -> None:
    """5,000 rows and 50 kills on PostgreSQL; a fifth of that on SQLite."""
    kills = KILLS["sqlite" if settings.database_url.startswith("sqlite") else "postgresql"]
    row_ids = [f"row-{number}" for number in range(kills * ROWS_PER_KILL)]
    chance = random.Random(1)
    received: list[tuple[str, str]] = []
    async with running_api(settings) as api:
        await make_table(api.server)
        await api.published()
    redis = connect(settings.redis_url)
    database = open_database(settings)
    async with running_hub(settings) as hub, running_workers(settings, tmp_path / "api.log") as workers:
        ready = asyncio.Event()
        listening = asyncio.create_task(listen(hub, ready, received))
        await ready.wait()
        writing = Writing(workers.endpoint, row_ids)
        async with asyncio.TaskGroup() as group:
            group.create_task(writing.run())
            group.create_task(kill_at_random(workers, writing, kills, chance))

        rows = await stored(database)
        log = await logged(RedisBus(redis))
        async with asyncio.timeout(DEADLINE_S):
            while len(received) < len(log) and not listening.done():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
    await database.aclose()
    await redis.aclose()

    assert sorted(rows) == sorted(row_ids)
    assert sorted(row_id for _, row_id in log) == sorted(rows)
    assert received == log
    # Or else nobody was hit.
    assert writing.broken > kills / 2
