"""Who may publish a project's outbox: one relay at a time, whatever the number of processes.

The lock ends with the process that holds it, so nobody has to notice that one died.
"""

import asyncio
import contextlib
import fcntl
import os
import zlib
from collections.abc import AsyncIterator

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.store.database import Database

_TRY_CLASS = 0x7275
_POSTGRES_CLASS = 0x7274  # "rt": sets these locks apart from those of other programs in the same database


class RelayLock:
    """The locks of one database: in PostgreSQL one a project, beside SQLite a single one on a file.

    SQLite itself has no lock for this: while a relay waits for Redis, others must be able to write.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        # Within this process, a relay waits here: a lock on a file knows processes only.
        self._local = asyncio.Lock()
        # Each drain takes a connection; some are left for requests.
        self._drains = asyncio.Semaphore(max(1, database.pool_size // 2))
        self._file: int | None = None

    @contextlib.asynccontextmanager
    async def held(self, project_id: str) -> AsyncIterator[AsyncConnection | None]:
        """Wait for the lock of a project, and hold it until the block ends.

        Yields:
            The connection that holds the lock, to be used for all statements: what it changes is committed when the
            block ends. None with SQLite, where each statement has a transaction of its own.
        """
        if self._database.is_sqlite:
            async with self._local, self._held_file():
                yield None
            return
        async with self._drains, self._database.writing() as connection:
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:class, :project)"),
                {"class": _POSTGRES_CLASS, "project": zlib.crc32(project_id.encode()) - 2**31},
            )
            yield connection

    @contextlib.asynccontextmanager
    async def _held_file(self) -> AsyncIterator[None]:
        if self._file is None:
            self._file = os.open(
                f"{self._database.engine.url.database}-relay.lock", os.O_RDWR | os.O_CREAT, 0o600
            )
        try:
            # At once, unless another process has it.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await self._wait_for_file(self._file)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    async def _wait_for_file(self, file: int) -> None:
        """Wait in a thread, which cannot be cancelled: if this is, the thread gives the lock back when it has it."""
        waiting = asyncio.ensure_future(asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX))
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            waiting.add_done_callback(lambda _: fcntl.flock(file, fcntl.LOCK_UN))
            raise

    def close(self) -> None:
        """Close the file, which gives up the lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


async def try_lock(connection: AsyncConnection, name: str) -> bool:
    """Take the lock ``name`` until the transaction ends; False when somebody else has it.

    Whoever writes to SQLite has all of it, and so every lock.
    """
    if connection.dialect.name == "sqlite":
        return True
    taken = await connection.execute(
        text("SELECT pg_try_advisory_xact_lock(:class, :name)"),
        {"class": _TRY_CLASS, "name": zlib.crc32(name.encode()) - 2**31},
    )
    return bool(taken.scalar_one())
