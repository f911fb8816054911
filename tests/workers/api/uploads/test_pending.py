"""Uploads that are not complete: who wins, and what becomes of the bytes of those who do not."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from realtime.identity.model import Project
from tests.api import PROJECT, Api
from workers.api.errors import ApiError
from workers.api.uploads.pending import Slot, Stored, drop_upload, find_upload, finish_upload, store_upload
from workers.api.uploads.ranges import ChunkRange
from workers.api.uploads.receiving import Received
from workers.files.folder import FolderStore
from workers.store.projects import delete_project
from workers.store.tables import discarded_files, uploads

SLOT = Slot(Project(id=PROJECT), "file", "7/photo", owner_id="ada")
CONTENT = b"0123456789ab"

Receive = Callable[..., Received]


@pytest.fixture
def receive(tmp_path: Path) -> Iterator[Receive]:
    """Return what a request brought: bytes of the content from one up to another."""
    files = []

    def make(start: int = 0, end: int | None = None, *, content: bytes = CONTENT) -> Received:
        end = len(content) if end is None else end
        file: Any = tempfile.TemporaryFile(dir=tmp_path, buffering=0)  # noqa: SIM115 - closed below
        file.write(content[start:end])
        files.append(file)
        return Received({}, file, "photo.jpg", "image/jpeg", ChunkRange(start, end, len(content)), "")

    yield make
    for file in files:
        file.close()


async def store(api: Api, received: Received, slot: Slot = SLOT, **details: str) -> Stored:
    return await store_upload(api.services, slot, received, details=details)


async def finish(api: Api, stored: Stored) -> bool:
    async with api.services.store.write(SLOT.project) as tx:
        return await finish_upload(tx, stored)


async def drop(api: Api) -> bool:
    async with api.services.store.write(SLOT.project) as tx:
        return await drop_upload(tx, SLOT)


async def read(api: Api, stored: Stored) -> bytes:
    return b"".join([block async for block in api.services.files.read(stored.key, 0, stored.total_bytes)])


async def discarded(api: Api) -> list[str]:
    async with api.services.store.read() as connection:
        return list((await connection.execute(select(discarded_files.c.storage_key))).scalars())


def on_disk(api: Api) -> set[str]:
    root = api.settings.data_dir / "files"
    return {path.name for path in root.rglob("*") if path.is_file()}


async def refusal(storing: Any) -> tuple[int, str]:
    with pytest.raises(ApiError) as raised:
        await storing
    return raised.value.status, raised.value.type


class TestOnePiece:
    async def test_a_whole_file_is_complete_at_once(self, api: Api, receive: Receive) -> None:
        stored = await store(api, receive(), name="photo.jpg")
        assert (stored.is_complete, stored.chunks_total, stored.details) == (True, 1, {"name": "photo.jpg"})
        assert await finish(api, stored)
        assert not await finish(api, stored)
        assert await read(api, stored) == CONTENT

    async def test_a_second_one_takes_the_place_of_the_first(self, api: Api, receive: Receive) -> None:
        first, second = await store(api, receive()), await store(api, receive(content=b"other"))
        assert not await finish(api, first)
        assert await finish(api, second)
        assert await discarded(api) == [first.key]
        await api.services.discards.sweep()
        assert await read(api, second) == b"other"

    async def test_one_that_was_dropped_while_it_was_written_leaves_nothing(
        self, api: Api, receive: Receive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put = FolderStore.put

        async def drop_first(*arguments: Any) -> None:
            assert await drop(api)
            await api.services.discards.sweep()
            await put(*arguments)

        monkeypatch.setattr(FolderStore, "put", drop_first)
        assert await refusal(store(api, receive())) == (400, "storage_invalid_appwrite_id")
        await api.services.discards.sweep()
        assert on_disk(api) == set()


class TestParts:
    async def test_progress_is_told_and_kept(self, api: Api, receive: Receive) -> None:
        await store(api, receive(0, 5), name="first says")
        stored = await store(api, receive(10, 12), name="nobody asks")
        assert (stored.chunks_uploaded, stored.chunks_total, stored.is_complete) == (2, 3, False)
        assert stored.chunks_in_order == 1
        async with api.services.store.read() as connection:
            found = await find_upload(connection, SLOT)
        assert found == stored
        assert stored.details == {"name": "first says"}

    async def test_parts_at_once_are_all_counted(self, api: Api, receive: Receive) -> None:
        await store(api, receive(0, 1))
        results = await asyncio.gather(*(store(api, receive(n, n + 1)) for n in range(1, 12)))
        complete = [stored for stored in results if stored.is_complete]
        assert [await finish(api, stored) for stored in complete].count(True) == 1
        assert await read(api, complete[0]) == CONTENT

    async def test_first_parts_at_once_begin_one_upload(self, api: Api, receive: Receive) -> None:
        results = await asyncio.gather(*(store(api, receive(0, 5)) for _ in range(4)))
        assert len({stored.key for stored in results}) == 1
        # The others were given up.
        assert len(on_disk(api)) == 1

    async def test_a_part_of_a_dropped_upload_is_refused(
        self, api: Api, receive: Receive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store(api, receive(0, 5))
        put_part = FolderStore.put_part

        async def drop_first(*arguments: Any, **options: Any) -> None:
            assert await drop(api)
            await put_part(*arguments, **options)

        monkeypatch.setattr(FolderStore, "put_part", drop_first)
        assert await refusal(store(api, receive(5, 10))) == (400, "storage_invalid_appwrite_id")
        await api.services.discards.sweep()
        assert on_disk(api) == set()

    async def test_a_part_that_comes_again_meets_the_complete_upload(
        self, api: Api, receive: Receive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store(api, receive(0, 6))

        async def complete_first(*arguments: Any, **options: Any) -> None:
            patched.undo()
            assert (await store(api, receive(6, 12))).is_complete
            await api.services.files.put_part(*arguments[1:], **options)

        with monkeypatch.context() as patched:
            patched.setattr(FolderStore, "put_part", complete_first)
            stored = await store(api, receive(6, 12))
        assert stored.is_complete
        assert await read(api, stored) == CONTENT

    async def test_the_last_part_may_come_again_when_completing_failed(
        self, api: Api, receive: Receive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store(api, receive(0, 6))

        async def fail(*_: object) -> None:
            raise OSError("away")

        with monkeypatch.context() as patched:
            patched.setattr(FolderStore, "complete", fail)
            with pytest.raises(OSError, match="away"):
                await store(api, receive(6, 12))
        stored = await store(api, receive(6, 12))
        assert stored.is_complete
        assert await read(api, stored) == CONTENT

    async def test_a_whole_file_takes_the_place_of_parts(self, api: Api, receive: Receive) -> None:
        await store(api, receive(0, 5))
        stored = await store(api, receive(content=b"other"))
        await api.services.discards.sweep()
        assert await read(api, stored) == b"other"
        assert len(on_disk(api)) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestRefusals:
    async def test_a_part_of_nothing_is_refused(self, api: Api, receive: Receive) -> None:
        assert await refusal(store(api, receive(5, 10))) == (400, "storage_invalid_appwrite_id")

    @pytest.mark.parametrize(("start", "end"), [(5, 9), (4, 9), (5, 12), (11, 12)])
    async def test_a_part_that_does_not_fit_is_refused(
        self, api: Api, receive: Receive, start: int, end: int
    ) -> None:
        await store(api, receive(0, 5))
        assert await refusal(store(api, receive(start, end))) == (400, "storage_invalid_content_range")

    async def test_another_total_is_refused(self, api: Api, receive: Receive) -> None:
        await store(api, receive(0, 5))
        other = receive(0, 5, content=b"0123456789")
        assert await refusal(store(api, other)) == (400, "storage_invalid_content_range")

    async def test_nobody_else_goes_on_or_takes_its_place(self, api: Api, receive: Receive) -> None:
        bob = Slot(SLOT.project, SLOT.kind, SLOT.resource_id, owner_id="bob")
        stored = await store(api, receive(0, 5))
        for received in (receive(5, 10), receive(0, 5), receive()):
            assert await refusal(store(api, received, bob)) == (409, "storage_file_already_exists")
        async with api.services.store.read() as connection:
            assert await find_upload(connection, SLOT) == stored

    async def test_too_many_parts_are_refused(self, api: Api, receive: Receive) -> None:
        content = b"x" * 20_001
        assert await refusal(store(api, receive(0, 2, content=content))) == (
            400,
            "storage_invalid_content_range",
        )
        await store(api, receive(0, 3, content=content))

    async def test_parts_that_the_store_does_not_take_are_refused(
        self, api: Api, receive: Receive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As S3 does: none but the last may be smaller than 5 MiB."""
        monkeypatch.setattr(FolderStore, "min_part_bytes", 6)
        assert await refusal(store(api, receive(0, 5))) == (400, "storage_invalid_content_range")
        assert (await store(api, receive(content=b"tiny"))).is_complete

    async def test_deleting_the_project_discards_its_files(self, api: Api, receive: Receive) -> None:
        first = await store(api, receive(0, 5))
        async with api.services.store.write(SLOT.project) as tx:
            assert await delete_project(tx)
        await api.services.discards.sweep()
        assert on_disk(api) == set()
        async with api.services.store.read() as connection:
            assert (await connection.execute(select(uploads))).all() == []
        assert first.key.startswith("demo/file/7/photo-")
