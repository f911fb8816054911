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

from workers.store.database import Database

_POSTGRES_CLASS = 0x7274  # "rt": sets these locks apart from those of other programs in the same database


class RelayLock:
    """The locks of one database: in PostgreSQL one a project, beside SQLite a single one on a file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Within this process, a relay waits here; a lock on a file knows processes only.
        self._local = asyncio.Lock()
        self._file: int | None = None

    @contextlib.asynccontextmanager
    async def held(self, project_id: str) -> AsyncIterator[None]:
        """Wait for the lock of a project, and hold it until the block ends. Nobody else's reads or writes wait."""
        if self._database.is_sqlite:
            async with self._held_file():
                yield
            return
        async with self._database.engine.connect() as connection, connection.begin():
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:class, :project)"),
                {"class": _POSTGRES_CLASS, "project": zlib.crc32(project_id.encode()) - 2**31},
            )
            yield

    @contextlib.asynccontextmanager
    async def _held_file(self) -> AsyncIterator[None]:
        async with self._local:
            if self._file is None:
                self._file = os.open(
                    f"{self._database.engine.url.database}-relay.lock", os.O_RDWR | os.O_CREAT, 0o600
                )
            try:
                # At once, unless another process has it.
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.to_thread(fcntl.flock, self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
