"""What is particular to files in a folder."""

import asyncio
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from workers.files.folder import FolderStore
from workers.files.store import FileStoreError, MissingFileError

Source = Callable[[bytes], BinaryIO]
KEY = "demo/file/12/picture-1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def store(root: Path) -> FolderStore:
    return FolderStore(root)


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


async def read(store: FolderStore, key: str, size_bytes: int) -> bytes:
    return b"".join([block async for block in store.read(key, 0, size_bytes)])


async def put_part(store: FolderStore, token: str, offset: int, file: BinaryIO, size_bytes: int) -> None:
    await store.put_part(KEY, token, number=1, offset=offset, source=file, size_bytes=size_bytes)


class TestWhatIsOnTheDisk:
    async def test_a_failed_put_leaves_nothing(self, store: FolderStore, root: Path, source: Source) -> None:
        with pytest.raises(FileStoreError):
            await store.put(KEY, source(b"abc"), 4)
        assert everything(root) == [".uploads"]

    async def test_an_upload_that_cannot_be_begun_leaves_nothing(
        self, store: FolderStore, root: Path
    ) -> None:
        with pytest.raises(OSError, match="File too large"):
            await store.begin(KEY, 2**62)
        assert everything(root) == [".uploads"]

    async def test_a_folder_that_is_removed_meanwhile_is_made_again(
        self, store: FolderStore, source: Source, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rename = Path.rename

        def remove_first(path: Path, target: Path) -> Path:
            patched.undo()
            target.parent.rmdir()
            return rename(path, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", remove_first)
            await store.put(KEY, source(b"abc"), 3)
        assert await read(store, KEY, 3) == b"abc"

    async def test_deleting_the_last_file_removes_its_folders(
        self, store: FolderStore, root: Path, source: Source
    ) -> None:
        await store.put(KEY, source(b"abc"), 3)
        await store.put("demo/file/13/other-1", source(b"abc"), 3)
        await store.delete(KEY)
        assert everything(root) == [".uploads", "demo", "demo/file", "demo/file/13", "demo/file/13/other-1"]

    async def test_an_aborted_upload_leaves_nothing(self, store: FolderStore, root: Path) -> None:
        token = await store.begin(KEY, 10)
        await store.abort(KEY, token)
        assert everything(root) == [".uploads"]

    async def test_a_check_leaves_nothing(self, store: FolderStore, root: Path) -> None:
        await store.check()
        assert everything(root) == [".uploads"]

    async def test_a_folder_that_cannot_be_made_fails_its_check(self) -> None:
        with pytest.raises(OSError, match="/dev/null"):
            await FolderStore(Path("/dev/null/files")).check()

    async def test_files_are_for_their_owner_only(
        self, store: FolderStore, root: Path, source: Source
    ) -> None:
        await store.put(KEY, source(b"abc"), 3)
        assert (root / KEY).stat().st_mode & 0o077 == 0

    async def test_a_file_that_was_cut_short_is_not_taken_for_whole(
        self, store: FolderStore, root: Path, source: Source
    ) -> None:
        await store.put(KEY, source(b"abc"), 3)
        with pytest.raises(FileStoreError, match="shorter"):
            await read(store, KEY, 4)


class TestParts:
    async def test_a_complete_upload_takes_no_part(self, store: FolderStore, source: Source) -> None:
        token = await store.begin(KEY, 5)
        await put_part(store, token, 0, source(b"small"), 5)
        await store.complete(KEY, token, 5)
        with pytest.raises(MissingFileError):
            await put_part(store, token, 0, source(b"other"), 5)
        assert await read(store, KEY, 5) == b"small"

    async def test_an_aborted_upload_takes_no_part(self, store: FolderStore, source: Source) -> None:
        token = await store.begin(KEY, 5)
        await store.abort(KEY, token)
        with pytest.raises(MissingFileError):
            await put_part(store, token, 0, source(b"small"), 5)

    async def test_completing_waits_for_parts_that_are_being_written(
        self, store: FolderStore, root: Path, source: Source
    ) -> None:
        token = await store.begin(KEY, 5)
        await put_part(store, token, 0, source(b"small"), 5)
        lock = _lock(root / ".uploads" / token, fcntl.LOCK_SH)
        completing = asyncio.create_task(store.complete(KEY, token, 5))
        # Parts go on meanwhile, one after the other: the upload is not complete before its last writer is.
        await put_part(store, token, 0, source(b"S"), 1)
        assert not (root / KEY).exists()
        os.close(lock)
        await completing
        assert await read(store, KEY, 5) == b"Small"

    async def test_a_part_that_waited_for_the_end_is_refused(
        self, store: FolderStore, root: Path, source: Source
    ) -> None:
        token = await store.begin(KEY, 5)
        path = root / ".uploads" / token
        file = _lock(path, fcntl.LOCK_EX)
        late = asyncio.create_task(put_part(store, token, 0, source(b"late!"), 5))
        await until(_waits_for_lock)
        path.rename(root / "done")
        os.close(file)
        with pytest.raises(MissingFileError):
            await late
        assert (root / "done").read_bytes() == b"\0" * 5


def _lock(path: Path, kind: int) -> int:
    """Return the descriptor of a file that is locked as parts (LOCK_SH) or who completes (LOCK_EX) lock it."""
    file = os.open(path, os.O_RDWR)
    fcntl.flock(file, kind)
    return file


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - of the system, which tells nobody
            await asyncio.sleep(0.01)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _waits_for_lock() -> bool:
    """Tell whether a thread of this process waits for a lock of another opening of a file."""
    return any(
        "->" in line and f" {os.getpid()} " in line for line in Path("/proc/locks").read_text().splitlines()
    )


class TestUnfinished:
    async def test_only_old_ones_are_listed(self, store: FolderStore, source: Source) -> None:
        token = await store.begin(KEY, 5)
        assert await store.unfinished(60) == []
        assert await store.unfinished(-60) == [("", token)]


class TestReading:
    async def test_a_reader_keeps_its_file_when_it_is_deleted(
        self, store: FolderStore, source: Source
    ) -> None:
        data = b"x" * 600_000
        await store.put(KEY, source(data), len(data))
        blocks = store.read(KEY, 0, len(data))
        found = await anext(blocks)
        await store.delete(KEY)
        async for block in blocks:
            found += block
        assert found == data

    async def test_a_reader_that_stops_early_closes_its_file(
        self, store: FolderStore, source: Source
    ) -> None:
        await store.put(KEY, source(b"x" * 600_000), 600_000)
        before = _open_files()
        blocks = store.read(KEY, 0, 600_000)
        await anext(blocks)
        await blocks.aclose()
        assert _open_files() == before
