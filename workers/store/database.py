"""The database itself: SQLite in the data folder, or PostgreSQL by URL."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from realtime.settings import Settings

_WRITES = "realtime_writes"
"""The execution option of connections that are going to write."""

_BUSY_TIMEOUT_MS = 10_000
"""How long a writer waits for another process; within one, writers queue up (:meth:`Database.writing`)."""


class Database:
    """One database, with its pool of connections. Shared by the tasks of one event loop.

    Raises what SQLAlchemy raises: :class:`sqlalchemy.exc.IntegrityError` for a unique key that is taken,
    :class:`sqlalchemy.exc.OperationalError` and the like when the database cannot be reached.
    """

    def __init__(self, engine: AsyncEngine, pool_size: int, *, read_timeout_s: float) -> None:
        self.engine = engine
        # How long what is read for a request may take.
        self.read_timeout_s = read_timeout_s
        # How many connections there are at most.
        self.pool_size = pool_size
        # SQLite has one writer at a time: within a process they queue up here, in order, instead of by polling.
        self._writer = asyncio.Lock() if self.is_sqlite else None

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite; PostgreSQL otherwise."""
        return self.engine.dialect.name == "sqlite"

    @contextlib.asynccontextmanager
    async def reading(self, *, timeout_s: float | None = None) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that only reads, on what is committed now.

        Raises:
            TimeoutError: the block took longer than ``timeout_s``; its statement is given up. With SQLite
                :class:`sqlalchemy.exc.OperationalError`.
        """
        async with self.engine.connect() as connection:
            limit = _interrupting(connection, timeout_s) if self.is_sqlite else asyncio.timeout(timeout_s)
            async with limit:
                yield connection

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that writes; it is committed when the block ends, and undone when the block raises."""
        async with self._writer or contextlib.nullcontext(), self.engine.connect() as connection:
            if self.is_sqlite:
                await connection.execution_options(**{_WRITES: True})
            # Begun with its first statement, and undone when it is closed without this.
            yield connection
            await connection.commit()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.engine.dispose()


def database_url(settings: Settings) -> URL:
    """Return where the database is, with the driver in it; the data folder's ``realtime.db`` by default.

    Raises:
        ValueError: the URL is of neither database. Its password is not in the text.
    """
    if not settings.database_url:
        return URL.create("sqlite+aiosqlite", database=str(settings.data_dir / "realtime.db"))
    url = make_url(settings.database_url)
    backend = url.get_backend_name()
    if backend == "sqlite":
        return url.set(drivername="sqlite+aiosqlite")
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+asyncpg")
    raise ValueError(f"REALTIME_DATABASE_URL must begin with postgresql:// or sqlite:///, not {backend}://.")


def open_database(settings: Settings) -> Database:
    """Return the database of the settings; connections are made when they are first needed.

    Raises:
        ValueError: the URL is of no kind of database that is known here.
    """
    url = database_url(settings)
    options: dict[str, Any] = {
        "json_serializer": lambda value: orjson.dumps(value).decode(),
        "json_deserializer": orjson.loads,
        "pool_size": settings.database_pool_size,
        "max_overflow": 0,
        "pool_timeout": settings.database_timeout_s,
        # Errors are logged with their statements, whose values may be passwords' hashes and people's addresses.
        "hide_parameters": True,
    }
    if url.get_backend_name() == "sqlite":
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_async_engine(url, **options)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return Database(engine, settings.database_pool_size, read_timeout_s=settings.database_read_timeout_s)
    engine = create_async_engine(url, pool_recycle=1800, **options)
    return Database(engine, settings.database_pool_size, read_timeout_s=settings.database_read_timeout_s)


@contextlib.asynccontextmanager
async def _interrupting(connection: AsyncConnection, timeout_s: float | None) -> AsyncIterator[None]:
    """Interrupt what SQLite does after ``timeout_s``; it does so in a thread, which no cancelled task stops."""
    if timeout_s is None:
        yield
        return
    opened = await connection.get_raw_connection()
    driver: Any = opened.driver_connection
    timer = asyncio.get_running_loop().call_later(
        timeout_s, lambda: asyncio.ensure_future(driver.interrupt())
    )
    try:
        yield
    finally:
        timer.cancel()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin late and without a lock; `_begin_sqlite` begins them instead.
    connection.isolation_level = None
    # Its own knows ASCII only.
    connection.create_function("lower", 1, _lower, deterministic=True)
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {_BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        # A commit that was answered survives a loss of power.
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail where it meets another's writes.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
