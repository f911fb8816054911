"""Unpacked deployments: shared between processes, whatever becomes of them, and removed in the end."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from workers.files.folder import FolderStore
from workers.files.store import MissingFileError
from workers.functions.executor import Call
from workers.functions.executors.unpacking import Deployments, Lease, PreparationError, remove_unused

Deploy = Callable[..., Awaitable[Call]]


HOLDING = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(60)
"""


async def nothing(_folder: Path) -> str:
    return ""


class Counted:
    """Commands that count how often they ran, and take a while."""

    def __init__(self, error: str = "") -> None:
        self.runs = 0
        self.at_once = 0
        self._running = 0
        self._error = error

    async def __call__(self, folder: Path) -> str:
        self.runs += 1
        self._running += 1
        self.at_once = max(self.at_once, self._running)
        await asyncio.sleep(0.02)
        self._running -= 1
        (folder / "code" / "made").touch()
        return self._error


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "functions"


class TestLease:
    async def test_code_is_there_with_what_the_commands_made(
        self, root: Path, files: FolderStore, deploy: Deploy
    ) -> None:
        code = (await deploy({"a/main.py": "x", "b.txt": "ü"}, entrypoint="a/main.py", commands="x")).code
        lease = await Deployments(root, files).lease(code, Counted())
        assert sorted(path.name for path in lease.code.iterdir()) == ["a", "b.txt", "made"]
        assert (lease.code / "b.txt").read_text() == "ü"
        assert [path.stat().st_mode & 0o077 for path in (root, lease.folder)] == [0, 0]
        lease.close()
        lease.close()

    async def test_many_at_once_prepare_it_once_also_in_several_processes(
        self, root: Path, files: FolderStore, deploy: Deploy
    ) -> None:
        code = (await deploy("x", commands="x")).code
        commands = Counted()
        # Locks belong to what opened them: two of these are to each other as two processes.
        everybody = [Deployments(root, files) for _ in range(3)]
        leases = await asyncio.gather(*(each.lease(code, commands) for each in everybody * 4))
        assert commands.runs == 1
        assert len({lease.folder for lease in leases}) == 1
        for lease in leases:
            lease.close()

    async def test_folder_that_somebody_left_half_done_is_made_anew(
        self, root: Path, files: FolderStore, deploy: Deploy
    ) -> None:
        code = (await deploy("new", commands="x")).code
        lease = await Deployments(root, files).lease(code, nothing)
        (lease.folder / "ready").unlink()
        (lease.code / "left").touch()
        lease.close()
        again = await Deployments(root, files).lease(code, nothing)
        assert [path.name for path in again.code.iterdir()] == ["main.py"]
        again.close()

    async def test_process_that_died_preparing_it_leaves_it_to_others(
        self, root: Path, files: FolderStore, deploy: Deploy
    ) -> None:
        code = (await deploy("x")).code
        first = await Deployments(root, files).lease(code, nothing)
        (first.folder / "ready").unlink()
        first.close()
        command = [sys.executable, "-S", "-c", HOLDING, str(first.folder)]
        holder = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        try:
            assert holder.stdout is not None
            await holder.stdout.readline()
            waiting = asyncio.create_task(Deployments(root, files).lease(code, nothing))
            await asyncio.sleep(0.1)
            assert not waiting.done()
        finally:
            holder.kill()
            await holder.wait()
        lease = await asyncio.wait_for(waiting, 10)
        assert (lease.code / "main.py").exists()
        lease.close()

    async def test_failure_is_told_to_all_and_not_for_ever(
        self, root: Path, files: FolderStore, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code = (await deploy("x", commands="x")).code
        deployments, commands = Deployments(root, files), Counted("It failed.")
        for _ in range(2):
            outcomes = await asyncio.gather(
                *(deployments.lease(code, commands) for _ in range(3)), return_exceptions=True
            )
            assert [str(outcome) for outcome in outcomes] == ["It failed."] * 3
        assert commands.runs == 1
        monkeypatch.setattr("time.monotonic", lambda now=time.monotonic: now() + 11)
        lease = await deployments.lease(code, nothing)
        lease.close()

    async def test_damaged_or_missing_archive_is_an_error(
        self, root: Path, files: FolderStore, deploy: Deploy, tmp_path: Path
    ) -> None:
        code = (await deploy("x")).code
        (tmp_path / "files" / code.storage_key).write_bytes(b"\x1f\x8b" + bytes(code.size_bytes - 2))
        with pytest.raises((PreparationError, OSError)):
            await Deployments(root, files).lease(code, nothing)
        await files.delete(code.storage_key)
        with pytest.raises(MissingFileError):
            await Deployments(root, files).lease(code, nothing)

    async def test_whoever_gives_up_waiting_does_not_end_it(
        self, root: Path, files: FolderStore, deploy: Deploy
    ) -> None:
        code = (await deploy("x", commands="x")).code
        deployments, commands = Deployments(root, files), Counted()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(deployments.lease(code, commands), 0.001)
        lease = await deployments.lease(code, commands)
        assert commands.runs == 1
        lease.close()
        await deployments.aclose()


class TestRemoval:
    async def leases(self, root: Path, files: FolderStore, deploy: Deploy, count: int) -> list[Lease]:
        """Return leases of as many deployments; the first is the oldest."""
        deployments = Deployments(root, files)
        leases = [await deployments.lease((await deploy("x")).code, nothing) for _ in range(count)]
        for age, lease in enumerate(reversed(leases)):
            os.utime(lease.folder / "ready", (time.time() - 100 * age,) * 2)
        return leases

    async def test_oldest_beyond_the_number_and_the_old_ones_go(
        self, root: Path, files: FolderStore, deploy: Deploy
    ) -> None:
        leases = await self.leases(root, files, deploy, 5)
        for lease in leases:
            lease.close()
        remove_unused(root, max_kept=4)
        assert [lease.folder.exists() for lease in leases] == [False, True, True, True, True]
        remove_unused(root, max_age_s=150)
        assert [lease.folder.exists() for lease in leases] == [False, False, False, True, True]

    async def test_what_is_in_use_stays(self, root: Path, files: FolderStore, deploy: Deploy) -> None:
        leases = await self.leases(root, files, deploy, 3)
        leases[1].close()
        remove_unused(root, max_kept=0)
        assert [lease.folder.exists() for lease in leases] == [True, False, True]
        leases[0].close()
        leases[2].close()
        remove_unused(root, max_kept=0)
        assert not any(lease.folder.exists() for lease in leases)

    async def test_what_is_removed_while_somebody_comes_is_made_again(
        self, root: Path, files: FolderStore, deploy: Deploy
    ) -> None:
        code = (await deploy("x")).code
        everybody = [Deployments(root, files) for _ in range(3)]

        async def use(deployments: Deployments) -> None:
            for _ in range(20):
                lease = await deployments.lease(code, nothing)
                assert (lease.code / "main.py").read_text() == "x"
                lease.close()
                await asyncio.to_thread(remove_unused, root, max_kept=0)

        async with asyncio.timeout(30):
            await asyncio.gather(*map(use, everybody))
