import asyncio
import multiprocessing
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, select, text

from realtime.settings import Settings
from tests.postgres import Postgres
from workers.store.database import Database, open_database
from workers.store.migrate import NewerDatabaseError, migrate
from workers.store.tables import metadata, store_info


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create(is_empty=True)
    yield server.url_of(name)
    server.drop(name)


@pytest.fixture
async def database(empty_url: str) -> AsyncIterator[Database]:
    database = open_database(Settings(database_url=empty_url))
    yield database
    await database.aclose()


def migrate_in_a_process(url: str) -> None:
    async def run() -> None:
        database = open_database(Settings(database_url=url))
        await migrate(database)
        await database.aclose()

    asyncio.run(run())


async def store_ids(database: Database) -> list[str]:
    async with database.reading() as connection:
        return list((await connection.execute(select(store_info.c.store_id))).scalars())


def differences(connection: Connection) -> object:
    context = MigrationContext.configure(connection, opts={"target_metadata": metadata})
    return compare_metadata(context, metadata)


@pytest.mark.integration
class TestMigrate:
    async def test_steps_lead_to_the_tables_of_the_code(self, database: Database) -> None:
        await migrate(database)
        async with database.reading() as connection:
            assert await connection.run_sync(differences) == []

    async def test_twice_is_harmless(self, database: Database) -> None:
        await migrate(database)
        (before,) = await store_ids(database)
        await migrate(database)
        assert await store_ids(database) == [before]
        assert len(before) == 32

    async def test_several_processes_at_once_make_one_store(self, database: Database, empty_url: str) -> None:
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=migrate_in_a_process, args=(empty_url,)) for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            await asyncio.to_thread(process.join)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert len(await store_ids(database)) == 1

    async def test_newer_database_is_refused_and_left_alone(self, database: Database) -> None:
        await migrate(database)
        async with database.writing() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(NewerDatabaseError, match="version 9999"):
            await migrate(database)
        async with database.reading() as connection:
            version = await connection.execute(text("SELECT version_num FROM alembic_version"))
            assert version.scalar_one() == "9999"

    async def test_step_that_fails_leaves_nothing_behind(self, database: Database) -> None:
        async with database.writing() as connection:
            # Stands in the way of a table that is made late.
            await connection.execute(text("CREATE TABLE outbox (seq INTEGER)"))
        with pytest.raises(Exception, match="outbox"):
            await migrate(database)
        async with database.reading() as connection:
            assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == ["outbox"]


class TestSqlite:
    async def test_statements_are_those_that_the_code_would_make(self, tmp_path: Path) -> None:
        """Down to AUTOINCREMENT, which a comparison of schemas does not see."""
        database = open_database(Settings(database_url=f"sqlite:///{tmp_path}/migrated.db"))
        await migrate(database)
        await database.aclose()
        engine = create_engine(f"sqlite:///{tmp_path}/made.db")
        metadata.create_all(engine)
        engine.dispose()
        assert statements(tmp_path / "migrated.db") == statements(tmp_path / "made.db")


def statements(path: Path) -> dict[str, list[str]]:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        made = {
            # The order of columns and keys does not matter; SQLite adds a column on the line of the one before.
            name: sorted(part.strip() for part in re.split(r",(?![^()]*\))|\n", sql) if part.strip())
            for name, sql in found
            if name != "alembic_version"
        }
    engine.dispose()
    return made
