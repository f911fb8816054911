"""The code of deployments on this machine: unpacked once, prepared by its commands, and removed when nobody uses it.

Each deployment has a folder below one root, that the processes of this machine share: ``code``, what was in the
archive; ``packages`` and ``home``, what its commands leave besides; ``ready``, a file that is there when all that is.
Whoever prepares a folder has it locked for itself, whoever runs code from it together with others (``flock``): a lock
ends with its process, so that nothing is left locked, and half a folder is found out by the missing file.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import IO

import structlog

from workers.files.store import FileStore
from workers.functions.executor import Code

log = structlog.get_logger("realtime.functions")

MAX_KEPT = 64
"""How many deployments stay unpacked, besides those that are in use."""

MAX_AGE_S = 604_800.0
"""How long one stays that no process was started from."""

_POLL_S = 0.05
"""How often to look whether somebody else is done with a folder."""

_FAILURE_S = 10.0
"""How long a failure counts for further calls, so that they don't all try the same again."""

RunCommands = Callable[[Path], Awaitable[str]]
"""Runs the commands of a deployment in this folder of it; returns what went wrong, empty for nothing."""


class PreparationError(Exception):
    """The code of a deployment cannot be run; the text says why, for whoever deployed it."""


class Lease:
    """A folder that stays as long as this is not closed."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor = descriptor

    @property
    def code(self) -> Path:
        """Where the code is."""
        return self.folder / "code"

    def close(self) -> None:
        """Need the folder no more. Can be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Deployments:
    """The unpacked deployments. For one event loop; any number of processes may share the folder.

    Args:
        root: the folder, which is made when it is first needed.
        files: where the archives are.
    """

    def __init__(self, root: Path, files: FileStore) -> None:
        self._root = root.absolute()
        self._files = files
        self._preparing: dict[str, asyncio.Task[None]] = {}
        # Why a preparation failed, and until when that counts.
        self._failed: dict[str, tuple[str, float]] = {}

    async def lease(self, code: Code, run_commands: RunCommands) -> Lease:
        """Return the folder of a deployment, prepared; whoever gets it closes the lease.

        Cancelling this does not end the preparation, which other calls want too.

        Raises:
            PreparationError: it cannot be had.
            OSError: the archive or the disk fails.
        """
        name = _name_of(code)
        folder = self._root / name
        while True:
            descriptor = _lock(folder, fcntl.LOCK_SH)
            if descriptor is not None:
                if _is_ready(folder):
                    return Lease(folder, descriptor)
                os.close(descriptor)
            task = self._preparing.get(name)
            if task is None:
                task = self._preparing[name] = asyncio.create_task(self._prepare(code, folder, run_commands))
                task.add_done_callback(partial(self._prepared, name))
            await asyncio.shield(task)

    async def aclose(self) -> None:
        """Give up what is being prepared."""
        tasks = list(self._preparing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _prepared(self, name: str, task: asyncio.Task[None]) -> None:
        del self._preparing[name]
        # Nobody may be left who waits for it.
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a deployment cannot be run", folder=name, error=type(error).__name__)

    async def _prepare(self, code: Code, folder: Path, run_commands: RunCommands) -> None:
        """Have the folder ready when this returns, whoever did it."""
        text, until = self._failed.get(folder.name, ("", 0.0))
        if time.monotonic() < until:
            raise PreparationError(text)
        while not _is_ready(folder):
            await asyncio.to_thread(_make, folder)
            descriptor = _lock(folder, fcntl.LOCK_EX)
            if descriptor is None:
                await asyncio.sleep(_POLL_S)
                continue
            try:
                if not _is_ready(folder):
                    await self._fill(code, folder, run_commands)
            finally:
                os.close(descriptor)
        await asyncio.to_thread(remove_unused, self._root)

    async def _fill(self, code: Code, folder: Path, run_commands: RunCommands) -> None:
        """Unpack the archive into a folder that is locked, and run the commands."""
        await asyncio.to_thread(_begin, folder)
        with tempfile.TemporaryFile(dir=folder) as archive:
            async with contextlib.aclosing(self._files.read(code.storage_key, 0, code.size_bytes)) as blocks:
                async for block in blocks:
                    await asyncio.to_thread(archive.write, block)
            archive.seek(0)
            await asyncio.to_thread(_unpack, archive, folder / "code")
        if code.commands:
            log.info("commands of a deployment", deployment=code.deployment_id, function=code.function_id)
            if text := await run_commands(folder):
                self._forget_failures()
                self._failed[folder.name] = text, time.monotonic() + _FAILURE_S
                raise PreparationError(text)
        (folder / "ready").touch()

    def _forget_failures(self) -> None:
        now = time.monotonic()
        self._failed = {name: failed for name, failed in self._failed.items() if failed[1] > now}


def _name_of(code: Code) -> str:
    """Return the name of a deployment's folder; keys of archives are never used twice."""
    parts = (code.deployment_id, code.storage_key, code.runtime.partition("-")[0], code.commands)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _lock(folder: Path, kind: int) -> int | None:
    """Return a descriptor that has the folder locked; None if it is not there, or somebody else has it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        # Removed, or made anew, between the two.
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _is_ready(folder: Path) -> bool:
    return (folder / "ready").exists()


def _make(folder: Path) -> None:
    """Make a folder and the root that it is in, for nobody else to read."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def _begin(folder: Path) -> None:
    """Remove what somebody has left there who did not come to the end, and make the folders in it."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for name in ("code", "packages", "home"):
        (folder / name).mkdir()


def _unpack(archive: IO[bytes], folder: Path) -> None:
    """Unpack an archive that :func:`workers.functions.archives.check_archive` has accepted."""
    try:
        with tarfile.open(fileobj=archive, mode="r:gz") as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise PreparationError(f"The deployment cannot be unpacked: {type(error).__name__}.") from error


def remove_unused(root: Path, *, max_kept: int = MAX_KEPT, max_age_s: float = MAX_AGE_S) -> None:
    """Remove folders that nobody uses: the old ones, and of the others those beyond ``max_kept``, oldest first."""
    known = []
    for folder in root.iterdir():
        with contextlib.suppress(OSError):
            ready = folder / "ready"
            known.append(((ready if ready.exists() else folder).stat().st_mtime, folder))
    known.sort(reverse=True)
    oldest = time.time() - max_age_s
    for index, (used_at, folder) in enumerate(known):
        if index >= max_kept or used_at < oldest:
            _remove(folder)


def _remove(folder: Path) -> None:
    descriptor = _lock(folder, fcntl.LOCK_EX)
    if descriptor is None:
        return
    try:
        shutil.rmtree(folder)
    except OSError as error:
        log.warning("a deployment cannot be removed", folder=str(folder), error=type(error).__name__)
    finally:
        os.close(descriptor)
