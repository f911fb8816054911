"""Processes under the supervisor: started with limits, and ended with everything that they have started.

The supervisor (:mod:`workers.functions.shims.supervisor`) ends all of it when its standard input ends, which happens at
the latest when this process does, however that ends.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from workers.functions.executors.runtimes import SUPERVISOR
from workers.functions.shims.supervisor import descendants

_READ_BYTES = 65_536
_READS = 64
"""How often in a row an output is read, so that one that never ends leaves time for everything else."""

END_TIMEOUT_S = 5.0
"""How long the supervisor may take to end everything, before it is killed itself."""

_CUT = "\n[WARNING] What came after this was too long to be kept.\n"


class Output:
    """What a process writes to one of its outputs, read as it comes, and kept up to a limit."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept = bytearray()
        self._is_cut = False
        self._readable, self.writable = os.pipe()
        os.set_blocking(self._readable, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._readable, self._read)

    def close_writable(self) -> None:
        """Leave the other end to the process that has got it."""
        if self.writable >= 0:
            os.close(self.writable)
            self.writable = -1

    def take(self) -> str:
        """Return what was written until now and not taken yet."""
        self._read()
        text = self._kept.decode("utf-8", "replace") + (_CUT if self._is_cut else "")
        self._kept.clear()
        self._is_cut = False
        return text

    def close(self) -> None:
        """Read no more."""
        self.close_writable()
        if self._readable >= 0:
            self._loop.remove_reader(self._readable)
            os.close(self._readable)
            self._readable = -1

    def _read(self) -> None:
        if self._readable < 0:
            return
        for _ in range(_READS):
            try:
                data = os.read(self._readable, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._loop.remove_reader(self._readable)
                return
            room = self._max_bytes - len(self._kept)
            self._kept += data[:room]
            self._is_cut = self._is_cut or len(data) > room


class Supervised:
    """A process and all that it starts. Made by :meth:`start`, and to be ended by :meth:`end`."""

    def __init__(self, process: asyncio.subprocess.Process, logs: Output, errors: Output) -> None:
        self.logs = logs
        self.errors = errors
        self._process = process
        self._ending: asyncio.Task[int] | None = None

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        memory_bytes: int,
        max_output_bytes: int,
        descriptor: int = -1,
    ) -> "Supervised":
        """Start a process. When this is cancelled, there is none.

        Args:
            command: what to run.
            folder: where.
            environment: all of it.
            memory_bytes: how much memory each process may have; 0 for no limit.
            max_output_bytes: how much is kept of either output.
            descriptor: one that the process gets under the same number, besides its output; -1 for none.

        Raises:
            OSError: it cannot be started.
        """
        logs, errors = Output(max_output_bytes), Output(max_output_bytes)
        try:
            process = await asyncio.create_subprocess_exec(
                *SUPERVISOR,
                str(memory_bytes),
                str(descriptor),
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=logs.writable,
                stderr=errors.writable,
                pass_fds=(descriptor,) if descriptor >= 0 else (),
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
            )
        except BaseException:
            logs.close()
            errors.close()
            raise
        logs.close_writable()
        errors.close_writable()
        return cls(process, logs, errors)

    @property
    def has_ended(self) -> bool:
        """Whether it is over with it."""
        return self._process.returncode is not None

    async def wait(self) -> int:
        """Wait until all of it has ended; return what the process exited with, 128 and more for a signal."""
        code = await self._process.wait()
        if code < 0:
            # The supervisor itself was killed: by the code, or for want of memory. What it had started is in its group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return code

    async def end(self) -> int:
        """Kill all of it, unless it has ended, and wait until it has; return what :meth:`wait` returns.

        Cancelling this does not cut it short: it has ended when it raises. Can be called any number of times.
        """
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        return await finished(self._ending)

    async def _end(self) -> int:
        if self._process.stdin is not None:
            self._process.stdin.close()
        # The code may have stopped the supervisor.
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                code = await self.wait()
        except TimeoutError:
            # The code keeps it stopped. As long as it lives, all that it should have ended can be found below it.
            await asyncio.to_thread(_kill_descendants, self._process.pid)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            code = await self.wait()
        self.logs.close()
        self.errors.close()
        return code


def _kill_descendants(pid: int) -> None:
    """Kill what is below a process, until there is nothing new: what was killed can start nothing more."""
    killed: set[int] = set()
    deadline = time.monotonic() + END_TIMEOUT_S
    while (alive := set(descendants(pid)) - killed) and time.monotonic() < deadline:
        for each in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        killed |= alive


async def finished(task: asyncio.Task[int]) -> int:
    """Wait for ``task`` to end, also if this is cancelled meanwhile; the cancellation is raised then."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()
