"""Bytes in a folder of the local disk: the store that needs nothing else.

A file is written under another name, forced to the disk, and renamed. An upload in parts is one sparse file that each
part is written into at its place, so that nothing is copied when it is complete. Several processes may share the
folder, on file systems with ``flock``.
"""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from workers.files.store import BLOCK_BYTES, FileStoreError, MissingFileError, check_key
from workers.files.threads import in_thread, opened

_UPLOADS = ".uploads"
"""The folder of what is not complete. No key begins with a dot."""


class FolderStore:
    """Keeps bytes below ``root``, which is made when it is first needed. Implements :class:`FileStore`."""

    min_part_bytes = 1

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, key: str, source: BinaryIO, size_bytes: int) -> None:
        """Keep bytes as a new file."""
        await in_thread(self._put, check_key(key), source, size_bytes)

    async def begin(self, key: str, total_bytes: int) -> str:
        """Make the sparse file."""
        check_key(key)
        return await in_thread(self._begin, total_bytes)

    async def put_part(
        self, key: str, token: str, *, number: int, offset: int, source: BinaryIO, size_bytes: int
    ) -> None:
        """Write a part into its place. Two that come at once for the same place may mix."""
        del number
        await in_thread(self._put_part, check_key(key), token, offset, source, size_bytes)

    async def complete(self, key: str, token: str, total_bytes: int) -> None:
        """Give the file its name."""
        await in_thread(self._complete, check_key(key), token, total_bytes)

    async def abort(self, key: str, token: str) -> None:
        """Remove the sparse file."""
        del key
        if token:
            await in_thread(self._upload(token).unlink, missing_ok=True)

    async def unfinished(self, older_than_s: float) -> list[tuple[str, str]]:
        """Look through the folder of uploads."""
        return [("", token) for token in await in_thread(self._unfinished, older_than_s)]

    async def read(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Read block by block, each in a thread."""
        async with opened(partial(self._open, check_key(key)), os.close) as file:
            while start < end:
                block = await in_thread(os.pread, file, min(BLOCK_BYTES, end - start), start)
                if not block:
                    raise FileStoreError(f"{key} is shorter than it should be.")
                yield block
                start += len(block)

    async def copy(self, source: str, key: str) -> None:
        """Give the bytes a second name: they are never changed."""
        await in_thread(self._copy, check_key(source), check_key(key))

    async def delete(self, key: str) -> None:
        """Remove the file, and folders that are empty then."""
        await in_thread(self._delete, check_key(key))

    async def check(self) -> None:
        """Write a file, and remove it."""
        await in_thread(self._check)

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""

    def _upload(self, token: str) -> Path:
        return self._root / _UPLOADS / check_key(token)

    def _new_upload(self) -> tuple[Path, int]:
        path = self._upload(secrets.token_hex(16))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)

    def _put(self, key: str, source: BinaryIO, size_bytes: int) -> None:
        path, file = self._new_upload()
        try:
            try:
                _copy_bytes(source, file, 0, size_bytes)
                os.fsync(file)
            finally:
                os.close(file)
            self._rename(path, key)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _begin(self, total_bytes: int) -> str:
        path, file = self._new_upload()
        try:
            os.ftruncate(file, total_bytes)
            os.fsync(file)
            _sync_folder(path.parent)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)
        return path.name

    def _put_part(self, key: str, token: str, offset: int, source: BinaryIO, size_bytes: int) -> None:
        # Many write at once; who completes waits for them all, and who comes later finds the file renamed.
        with self._locked(key, token, fcntl.LOCK_SH) as file:
            _copy_bytes(source, file, offset, size_bytes)
            os.fdatasync(file)

    def _complete(self, key: str, token: str, total_bytes: int) -> None:
        try:
            with self._locked(key, token, fcntl.LOCK_EX) as file:
                if os.fstat(file).st_size != total_bytes:
                    raise FileStoreError(f"The parts of {key} do not make {total_bytes} bytes.")
                os.fsync(file)
                self._rename(self._upload(token), key)
        except (FileNotFoundError, MissingFileError):
            if not (self._root / key).exists():
                raise MissingFileError(key) from None

    @contextlib.contextmanager
    def _locked(self, key: str, token: str, kind: int) -> Iterator[int]:
        path = self._upload(token)
        try:
            file = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            raise MissingFileError(key) from None
        try:
            fcntl.flock(file, kind)
            if not _is_still(path, file):
                raise MissingFileError(key)
            yield file
        finally:
            os.close(file)

    def _rename(self, path: Path, key: str) -> None:
        target = self._root / key
        while True:
            try:
                changed = _make_folder(target.parent)
                path.rename(target)
            except FileNotFoundError:
                # Somebody deleted the last file of the folder meanwhile, and the folder with it.
                if not path.exists():
                    raise
            else:
                break
        for folder in changed:
            _sync_folder(folder)

    def _open(self, key: str) -> int:
        try:
            return os.open(self._root / key, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            raise MissingFileError(key) from None

    def _copy(self, source: str, key: str) -> None:
        path = self._upload(secrets.token_hex(16))
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.hardlink_to(self._root / source)
        except FileNotFoundError:
            raise MissingFileError(source) from None
        self._rename(path, key)

    def _delete(self, key: str) -> None:
        path = self._root / key
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self._root:
                break
            try:
                folder.rmdir()
            except OSError:
                break

    def _unfinished(self, older_than_s: float) -> list[str]:
        folder = self._root / _UPLOADS
        if not folder.exists():
            return []
        # When it was last changed, or linked: what is copied is as old as its source.
        return [
            path.name
            for path in folder.iterdir()
            if (status := _status(path)) is not None and status.st_ctime < time.time() - older_than_s
        ]

    def _check(self) -> None:
        path, file = self._new_upload()
        try:
            os.write(file, b"\0")
        finally:
            os.close(file)
            path.unlink()


def _is_still(path: Path, file: int) -> bool:
    status = _status(path)
    return status is not None and os.path.samestat(status, os.fstat(file))


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _copy_bytes(source: BinaryIO, file: int, offset: int, size_bytes: int) -> None:
    position = 0
    while position < size_bytes:
        block = os.pread(source.fileno(), min(BLOCK_BYTES, size_bytes - position), position)
        if not block:
            raise FileStoreError("There are fewer bytes to be kept than were announced.")
        written = os.pwrite(file, block, offset + position)
        position += written


def _make_folder(path: Path) -> list[Path]:
    """Make a folder if need be; return it with those that folders were made in."""
    if path.is_dir():
        return [path]
    changed = _make_folder(path.parent)
    path.mkdir(exist_ok=True)
    return [path, *changed]


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
