"""Removes bytes that nobody needs any more, after the transaction that said so; gives up uploads nobody goes on with.

Every API process does so, now and then. Removing is done once or twice, with the same outcome: keys are never used
again. A record is forgotten when its bytes are gone, so a crash or a store that is away leaves nothing behind.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog
from sqlalchemy import delete, or_, select
from sqlalchemy.exc import SQLAlchemyError

from workers.files.store import FileStore
from workers.store.database import Database
from workers.store.discarded import discard_rows
from workers.store.tables import discarded_files, uploads
from workers.store.times import to_text

log = structlog.get_logger("realtime.files")

SWEEP_INTERVAL_S = 5.0
"""How often a process looks for what is to be removed; up to twice as long, by chance."""

_SWEEPS_PER_CLEARING = 500
"""After how many of them it looks through the store for uploads that are not recorded: about once an hour."""

_BATCH = 100

_LIFETIMES = 7
"""An upload that goes on is given up after so many of the lifetimes of one that pauses: it keeps its ID from others."""


class _Discarded(NamedTuple):
    """What is to be removed: a row of ``discarded_files``."""

    seq: int
    key: str
    token: str


class Discards:
    """Removes what is recorded as discarded. For one event loop.

    Args:
        database: where it is recorded.
        files: where the bytes are.
        upload_lifetime_s: after how long without a new part an upload is given up; one that nobody completes after
            seven times as long.
    """

    def __init__(self, database: Database, files: FileStore, *, upload_lifetime_s: float) -> None:
        self._database = database
        self._files = files
        self._upload_lifetime = timedelta(seconds=upload_lifetime_s)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweep from time to time, until the block ends."""
        task = asyncio.create_task(self._run(), name="realtime-discards")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def sweep(self) -> int:
        """Give up uploads that nobody goes on with, remove all that is discarded, and return how many files that was.

        What the file store fails to remove waits for the next time.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database cannot be reached, for example.
        """
        await self._give_up(datetime.now(UTC))
        removed = after = 0
        while batch := await self._read(after):
            gone = [record.seq for record in batch if await self._remove(record)]
            after = batch[-1].seq
            if gone:
                async with self._database.writing() as connection:
                    await connection.execute(delete(discarded_files).where(discarded_files.c.seq.in_(gone)))
            removed += len(gone)
        return removed

    async def _remove(self, record: _Discarded) -> bool:
        try:
            # In this order: an upload that is completed meanwhile is then found as a file.
            await self._files.abort(record.key, record.token)
            await self._files.delete(record.key)
        except (OSError, ValueError) as error:
            # The others need not wait for it.
            log.warning("a discarded file waits", key=record.key, error=type(error).__name__)
            return False
        return True

    async def clear(self) -> int:
        """Abort uploads that the file store has and nobody recorded, and return how many.

        A process that dies as it begins one, or as it writes a file in one piece, leaves such.

        Raises:
            OSError: the file store fails.
            sqlalchemy.exc.SQLAlchemyError: the database cannot be reached, for example.
        """
        cleared = 0
        for key, token in await self._files.unfinished(self._upload_lifetime.total_seconds()):
            async with self._database.reading() as connection:
                recorded = await connection.execute(select(uploads.c.seq).where(uploads.c.token == token))
                is_recorded = recorded.first() is not None
            if not is_recorded:
                await self._files.abort(key, token)
                cleared += 1
        return cleared

    async def _run(self) -> None:
        sweeps = 0
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S * (1 + random.random()))  # noqa: S311 - not a secret
            try:
                await self.sweep()
                if sweeps % _SWEEPS_PER_CLEARING == 0:
                    await self.clear()
                sweeps += 1
            except (OSError, SQLAlchemyError) as error:
                log.warning("discarded files wait", error=type(error).__name__)
            except Exception:
                # Whatever it is, the next ones must not be given up.
                log.exception("discarded files wait")

    async def _give_up(self, now: datetime) -> None:
        is_stale = or_(
            uploads.c.updated_at < to_text(now - self._upload_lifetime),
            uploads.c.created_at < to_text(now - _LIFETIMES * self._upload_lifetime),
        )
        async with self._database.reading() as connection:
            stale = (
                (await connection.execute(select(uploads.c.seq).where(is_stale).limit(_BATCH)))
                .scalars()
                .all()
            )
        if stale:
            async with self._database.writing() as connection:
                given_up = await discard_rows(connection, uploads, now, uploads.c.seq.in_(stale), is_stale)
            log.info("uploads were given up", count=given_up)

    async def _read(self, after: int) -> list[_Discarded]:
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(discarded_files.c.seq, discarded_files.c.storage_key, discarded_files.c.token)
                .where(discarded_files.c.seq > after)
                .order_by(discarded_files.c.seq)
                .limit(_BATCH)
            )
            return [_Discarded(*row) for row in found]
