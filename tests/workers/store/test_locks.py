import asyncio
import fcntl
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from realtime.settings import Settings
from workers.store.database import Database, open_database
from workers.store.locks import RelayLock

_HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


async def take(lock: RelayLock, taken: asyncio.Event, project: str = "demo") -> None:
    async with lock.held(project):
        taken.set()


class TestRelayLock:
    async def test_second_one_waits_for_the_first(self, database: Database) -> None:
        lock, taken = RelayLock(database), asyncio.Event()
        async with lock.held("demo"):
            waiting = asyncio.create_task(take(lock, taken))
            await write(database)
            assert not taken.is_set()
        await waiting
        lock.close()

    async def test_cancelling_who_waits_leaves_the_lock_usable(self, database: Database) -> None:
        lock, taken = RelayLock(database), asyncio.Event()
        async with lock.held("demo"):
            waiting = asyncio.create_task(take(lock, taken))
            await write(database)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert not taken.is_set()
        await take(lock, taken)
        lock.close()

    async def test_other_engine_waits_too(self, database: Database, database_url: str) -> None:
        second = open_database(Settings(database_url=database_url))
        one, other, taken = RelayLock(database), RelayLock(second), asyncio.Event()
        async with one.held("demo"):
            waiting = asyncio.create_task(take(other, taken))
            await write(second)
            assert not taken.is_set()
        await waiting
        one.close()
        other.close()
        await second.aclose()


class TestPostgres:
    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    async def test_projects_do_not_wait_for_each_other(self, database: Database) -> None:
        lock, taken = RelayLock(database), asyncio.Event()
        async with lock.held("demo"):
            await take(lock, taken, "other")

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    async def test_some_connections_are_left_for_requests(self, database: Database) -> None:
        lock = RelayLock(database)
        events = [asyncio.Event() for _ in range(database.pool_size)]
        async with asyncio.TaskGroup() as group, lock.held("demo"):
            for event in events:
                group.create_task(take(lock, event))
            await write(database)
        assert all(event.is_set() for event in events)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestFile:
    async def test_lock_ends_with_the_process_that_held_it(self, database: Database) -> None:
        lock, taken = RelayLock(database), asyncio.Event()
        holder = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _HOLD,
            f"{database.engine.url.database}-relay.lock",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"held\n"
        waiting = asyncio.create_task(take(lock, taken))
        # Nobody's writes wait meanwhile.
        await write(database)
        assert not taken.is_set()
        holder.kill()
        await waiting
        await holder.wait()
        lock.close()

    async def test_cancelling_who_waits_for_a_process_gives_the_lock_back(self, database: Database) -> None:
        path = Path(f"{database.engine.url.database}-relay.lock")
        lock, taken = RelayLock(database), asyncio.Event()
        with path.open("a") as file:  # noqa: ASYNC230 - it is there at once
            fcntl.flock(file, fcntl.LOCK_EX)
            waiting = asyncio.create_task(take(lock, taken))
            await write(database)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(10):
            await take(lock, taken)
        lock.close()


async def write(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(text("UPDATE store_info SET store_id = store_id"))
