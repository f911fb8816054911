"""Workers as processes of their own, of which one after the other is killed, and another one started at once."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from realtime.settings import Settings

_PROGRAM = """
import os
import signal
import sys
import time

import workers.cli.wiring
from workers.cli import main

sys.argv = ["realtime", sys.argv[1]]
# Nobody waits for those that are killed.
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(2, 1)
        while True:
            # It gives up if Redis is away as it starts; then it is started again, as by whatever runs services.
            try:
                main()
            except SystemExit:
                time.sleep(0.2)
    print(pid, flush=True)
"""
"""Starts a worker for each line that it reads.

They are forked from a process that has imported everything, and done nothing yet: to start one takes no time.
"""


class Workers:
    """Processes of one command of ``realtime``, all of them alike. Make it by :meth:`start`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._alive: list[int] = []
        # How many were killed.
        self.kills = 0

    @classmethod
    async def start(cls, command: str, log: Path, settings: Settings) -> Self:
        """Be ready to start workers that log to a file; settings that were set reach them by the environment."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")}
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _PROGRAM, command),
                env=others | _variables(settings),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,
            )
        workers = cls(process, log)
        assert await workers._line() == b"ready\n", workers.log()
        return workers

    async def start_one(self) -> None:
        """Start another process."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._alive.append(int(await self._line()))

    async def kill_one(self) -> None:
        """Kill the process that has run for longest, as a crash does, and start another one in its place."""
        self.assert_alive()
        os.kill(self._alive.pop(0), signal.SIGKILL)
        self.kills += 1
        await self.start_one()

    async def kill_every(self, pause_s: float) -> None:
        """Kill one after each pause, until cancelled."""
        while True:
            await asyncio.sleep(pause_s)
            await self.kill_one()

    def assert_alive(self) -> None:
        """Fail if a process has ended by itself."""
        for pid in self._alive:
            assert Path(f"/proc/{pid}").exists(), f"a worker has ended by itself:\n{self.log()}"

    async def aclose(self) -> None:
        """Kill all of them."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    def log(self) -> str:
        """Return the end of what they have logged."""
        return self._log.read_text(errors="replace")[-10_000:]

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.readline()


def _variables(settings: Settings) -> dict[str, str]:
    chosen = {name: getattr(settings, name) for name in settings.model_fields_set}
    return {
        f"REALTIME_{name.upper()}": ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        for name, value in chosen.items()
    }


@contextlib.asynccontextmanager
async def running(command: str, count: int, folder: Path, settings: Settings) -> AsyncIterator[Workers]:
    """Run ``count`` processes of a command until the block ends."""
    workers = await Workers.start(command, folder / f"{command}.log", settings)
    try:
        for _ in range(count):
            await workers.start_one()
        yield workers
    finally:
        await workers.aclose()
