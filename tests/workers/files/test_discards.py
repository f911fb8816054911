"""Bytes that nobody needs are removed, after the transaction that said so and also after a failure."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from realtime.settings import Settings
from workers.files import discards
from workers.files.discards import Discards
from workers.files.folder import FolderStore
from workers.store.database import Database, open_database
from workers.store.discarded import discard_file, discard_rows, has_bytes
from workers.store.tables import discarded_files, metadata, uploads
from workers.store.times import to_text

LIFETIME_S = 3600


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = open_database(Settings(database_url=database_url))
    yield opened
    await opened.aclose()


@pytest.fixture
def files(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "files")


@pytest.fixture
def sweeper(database: Database, files: FolderStore) -> Discards:
    return Discards(database, files, upload_lifetime_s=LIFETIME_S)


async def put(files: FolderStore, key: str, source: Path) -> None:
    def write() -> None:
        source.write_bytes(b"bytes")

    await asyncio.to_thread(write)
    with source.open("rb") as file:
        await files.put(key, file, 5)


async def is_there(files: FolderStore, key: str) -> bool:
    try:
        return b"".join([block async for block in files.read(key, 0, 5)]) == b"bytes"
    except OSError:
        return False


async def discard(database: Database, *keys: str) -> None:
    async with database.writing() as connection:
        for key in keys:
            await discard_file(connection, key, datetime.now(UTC))


async def add_upload(
    database: Database,
    resource_id: str,
    token: str,
    *,
    age_s: float,
    begun_s: float | None = None,
    project: str = "demo",
) -> None:
    """Record an upload whose last part came ``age_s`` ago, and the first one ``begun_s``, if that is longer ago."""
    now = datetime.now(UTC)
    begun_s = age_s if begun_s is None else begun_s
    row = {
        "project_id": project,
        "kind": "file",
        "resource_id": resource_id,
        "storage_key": f"{project}/file/{resource_id}",
        "token": token,
        "total_bytes": 5,
        "chunk_bytes": 5,
        "details": {},
        "created_at": to_text(now - timedelta(seconds=begun_s)),
        "updated_at": to_text(now - timedelta(seconds=age_s)),
    }
    async with database.writing() as connection:
        await connection.execute(insert(uploads), row)


async def count(database: Database, table: object) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())  # type: ignore[arg-type]


class TestSweep:
    async def test_what_is_discarded_is_removed_and_forgotten(
        self, database: Database, files: FolderStore, sweeper: Discards, tmp_path: Path
    ) -> None:
        await put(files, "demo/file/gone-1", tmp_path / "source")
        await put(files, "demo/file/kept-1", tmp_path / "source")
        await discard(database, "demo/file/gone-1", "demo/file/never-there")
        assert await sweeper.sweep() == 2
        assert not await is_there(files, "demo/file/gone-1")
        assert await is_there(files, "demo/file/kept-1")
        assert await count(database, discarded_files) == 0

    async def test_a_transaction_that_fails_discards_nothing(
        self, database: Database, files: FolderStore, sweeper: Discards, tmp_path: Path
    ) -> None:
        await put(files, "demo/file/kept-1", tmp_path / "source")
        with contextlib.suppress(RuntimeError):
            async with database.writing() as connection:
                await discard_file(connection, "demo/file/kept-1", datetime.now(UTC))
                raise RuntimeError
        assert await sweeper.sweep() == 0
        assert await is_there(files, "demo/file/kept-1")

    async def test_what_cannot_be_removed_waits_and_holds_up_nobody(
        self,
        database: Database,
        files: FolderStore,
        sweeper: Discards,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await put(files, "demo/file/easy-1", tmp_path / "source")
        await discard(database, "demo/file/stuck-1", "demo/file/easy-1")
        delete = files.delete

        async def fail_once(key: str) -> None:
            if key == "demo/file/stuck-1":
                raise OSError("read-only")
            await delete(key)

        monkeypatch.setattr(files, "delete", fail_once)
        assert await sweeper.sweep() == 1
        assert not await is_there(files, "demo/file/easy-1")
        monkeypatch.undo()
        assert await sweeper.sweep() == 1
        assert await count(database, discarded_files) == 0

    async def test_an_upload_that_nobody_goes_on_with_is_given_up(
        self, database: Database, files: FolderStore, sweeper: Discards, tmp_path: Path
    ) -> None:
        tokens = [await files.begin("demo/file/any", 5) for _ in range(2)]
        await add_upload(database, "stale", tokens[0], age_s=LIFETIME_S + 60)
        await add_upload(database, "fresh", tokens[1], age_s=LIFETIME_S - 60)
        assert await sweeper.sweep() == 1
        assert [path.name for path in (tmp_path / "files/.uploads").iterdir()] == [tokens[1]]
        assert await count(database, uploads) == 1

    async def test_an_upload_that_is_never_completed_is_given_up_though_parts_come(
        self, database: Database, files: FolderStore, sweeper: Discards
    ) -> None:
        """Or it would keep its ID from everybody else for as long as somebody likes."""
        await add_upload(database, "endless", "", age_s=0, begun_s=7 * LIFETIME_S + 60)
        await add_upload(database, "long", "", age_s=0, begun_s=7 * LIFETIME_S - 60)
        assert await sweeper.sweep() == 1
        async with database.reading() as connection:
            assert (await connection.execute(select(uploads.c.resource_id))).scalars().all() == ["long"]


class TestClear:
    async def test_an_upload_that_nobody_recorded_is_aborted(
        self, database: Database, files: FolderStore, tmp_path: Path
    ) -> None:
        """As a process leaves it that is killed between the store and the database."""
        recorded, lost = [await files.begin("demo/file/any", 5) for _ in range(2)]
        await add_upload(database, "mine", recorded, age_s=0)
        assert await Discards(database, files, upload_lifetime_s=LIFETIME_S).clear() == 0
        assert await Discards(database, files, upload_lifetime_s=-1).clear() == 1
        assert [path.name for path in (tmp_path / "files/.uploads").iterdir()] == [recorded]
        assert lost != recorded


class TestRunning:
    async def test_it_sweeps_by_itself(
        self,
        database: Database,
        files: FolderStore,
        sweeper: Discards,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(discards, "SWEEP_INTERVAL_S", 0.01)
        await put(files, "demo/file/gone-1", tmp_path / "source")
        async with sweeper.running(), asyncio.timeout(20):
            await discard(database, "demo/file/gone-1")
            while await is_there(files, "demo/file/gone-1"):  # noqa: ASYNC110 - of a disk
                await asyncio.sleep(0.01)


class TestDiscardRows:
    async def test_rows_go_and_their_bytes_are_discarded(self, database: Database) -> None:
        await add_upload(database, "mine", "token", age_s=0)
        await add_upload(database, "theirs", "other", age_s=0, project="other")
        async with database.writing() as connection:
            gone = await discard_rows(connection, uploads, datetime.now(UTC), uploads.c.project_id == "demo")
        assert gone == 1
        assert await count(database, uploads) == 1
        async with database.reading() as connection:
            row = (await connection.execute(select(discarded_files))).one()
        assert (row.storage_key, row.token) == ("demo/file/mine", "token")

    async def test_many_rows_go_in_batches(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("workers.store.discarded._BATCH", 2)
        for name in "abcde":
            await add_upload(database, name, "", age_s=0)
        async with database.writing() as connection:
            gone = await discard_rows(connection, uploads, datetime.now(UTC), uploads.c.project_id == "demo")
        assert gone == await count(database, discarded_files) == 5

    def test_every_table_with_bytes_belongs_to_projects(self) -> None:
        """Or deleting a project would leave its files behind."""
        with_bytes = {table.name for table in metadata.sorted_tables if has_bytes(table)}
        assert with_bytes == {"files", "uploads", "deployments"}
        assert all("project_id" in metadata.tables[name].c for name in with_bytes)
