"""The code of deployments as processes of this machine, in Python and Node.js.

A process serves the calls of one function, one after the other, and waits for a while for the next one. It has limits
of time, memory and output, an environment of its own, and ends with all that it has started; but it runs as this
process's user, on its files and its network. This is no sandbox: it is for code that is trusted as the server is.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import structlog

from realtime.settings import Settings
from workers.files.store import FileStore
from workers.functions.executor import FAILED, Call, Code, Failure, Outcome
from workers.functions.executors.runtime_process import (
    CallHead,
    ResponseTooLargeError,
    RuntimeEndedError,
    RuntimeProcess,
)
from workers.functions.executors.runtimes import NoRuntimeError, Runtimes
from workers.functions.executors.supervised import Supervised
from workers.functions.executors.unpacking import Deployments, PreparationError
from workers.functions.executors.warm import WarmProcesses
from workers.functions.record import tail
from workers.store.sealing import UnsealError

log = structlog.get_logger("realtime.functions")

COMMANDS_TIMEOUT_S = 600.0
"""How long the commands of a deployment may take."""

COMMANDS_LOG = "commands.log"
"""What the commands of a deployment wrote, beside its code."""

_LOGGED_OUTPUT = 2000
"""How many characters of that are logged: the last ones."""


class _Key(NamedTuple):
    """What a process can serve: calls that would start the same one."""

    project_id: str
    code: Code
    variables: tuple[tuple[str, str], ...]


class ProcessExecutor:
    """Runs code as processes. Implements :class:`workers.functions.executor.Executor`.

    How many calls there are at once is up to the caller: there is a process for each.

    Args:
        root: the folder that deployments are unpacked in.
        files: where their archives are; stays the caller's to close.
        runtimes: what they are run by.
        max_output_bytes: how much of what a call logs is kept, and of its errors.
        max_response_bytes: how large the body of a response may be.
        warm: the processes that wait for calls.
    """

    def __init__(
        self,
        root: Path,
        files: FileStore,
        runtimes: Runtimes,
        *,
        max_output_bytes: int,
        max_response_bytes: int,
        warm: WarmProcesses | None = None,
    ) -> None:
        self._deployments = Deployments(root, files)
        self._runtimes = runtimes
        self._max_output_bytes = max_output_bytes
        self._max_response_bytes = max_response_bytes
        self._warm = WarmProcesses() if warm is None else warm

    @classmethod
    def from_settings(cls, settings: Settings, files: FileStore) -> "ProcessExecutor":
        """Return an executor within the limits of the settings."""
        return cls(
            settings.data_dir / "functions",
            files,
            Runtimes.from_settings(settings),
            max_output_bytes=settings.functions_output_max_bytes,
            max_response_bytes=settings.functions_response_max_bytes,
        )

    async def execute(self, call: Call) -> Outcome:
        """Run the code in a process that waits for calls, or in a new one."""
        try:
            variables = call.variables()
            key = _Key(call.project_id, call.code, tuple(sorted(variables.items())))
            process = self._warm.take(key) or await self._start(call, variables)
        except (UnsealError, NoRuntimeError, PreparationError) as error:
            return _failed(str(error))
        outcome: Outcome | None = None
        try:
            outcome = await self._serve(process, call)
        except asyncio.CancelledError:
            call.left.logs, call.left.errors = process.take_output()
            raise
        finally:
            if outcome is not None and outcome.failure is None:
                self._warm.put(key, process)
            else:
                await process.end()
        return outcome

    async def aclose(self) -> None:
        """End the processes that wait for calls, and what is being prepared."""
        await self._deployments.aclose()
        await self._warm.aclose()

    async def _start(self, call: Call, variables: Mapping[str, str]) -> RuntimeProcess:
        code, runtimes = call.code, self._runtimes
        if not code.entrypoint:
            raise NoRuntimeError("The function was not run: it has no entrypoint, the file to run.")
        # Found out before the archive is fetched.
        runtimes.command(code.runtime, code.entrypoint, Path(), 0)
        lease = await self._deployments.lease(
            code, lambda folder: self._run_commands(call, variables, folder)
        )
        os.utime(lease.folder / "ready")
        return await RuntimeProcess.start(
            lambda descriptor: runtimes.command(code.runtime, code.entrypoint, lease.code, descriptor),
            folder=lease.code,
            environment=runtimes.environment(call, variables, lease.folder),
            memory_bytes=runtimes.memory_bytes,
            max_output_bytes=self._max_output_bytes,
            max_response_bytes=self._max_response_bytes,
            on_end=lease.close,
        )

    async def _serve(self, process: RuntimeProcess, call: Call) -> Outcome:
        clock = asyncio.get_running_loop().time
        begun = clock()
        failure = ""
        try:
            answer, body = await process.call(CallHead(call.method, call.path, call.headers), call.body)
        except ResponseTooLargeError:
            failure = f"The function's response is larger than {self._max_response_bytes} bytes."
        except RuntimeEndedError as error:
            failure = str(error)
        except ValueError:
            failure = "The process of the function answered with something that is no response."
        logs, errors = process.take_output()
        duration_s = clock() - begun
        if failure or answer.failed:
            errors = "\n".join(filter(None, (errors.rstrip("\n"), failure)))
            return Outcome(FAILED, logs=logs, errors=errors, duration_s=duration_s, failure=Failure.CRASH)
        return Outcome(answer.status, _headers(answer.headers, body), body, logs, errors, duration_s)

    async def _run_commands(self, call: Call, variables: Mapping[str, str], folder: Path) -> str:
        """Run the commands of a deployment, as its code would be run; return what went wrong, empty for nothing."""
        supervised = await Supervised.start(
            ("/bin/sh", "-c", call.code.commands),
            folder=folder / "code",
            environment=self._runtimes.environment(call, variables, folder),
            memory_bytes=0,
            max_output_bytes=self._max_output_bytes,
        )
        try:
            async with asyncio.timeout(COMMANDS_TIMEOUT_S):
                exit_code = await supervised.wait()
            ended = f"ended with exit code {exit_code}" if exit_code else ""
        except TimeoutError:
            ended = f"were ended after {COMMANDS_TIMEOUT_S:g} seconds"
        finally:
            output = supervised.logs.take() + supervised.errors.take()
            await supervised.end()
        if ended:
            return f"The function was not run: its commands {ended}.\n{tail(output)}"
        (folder / COMMANDS_LOG).write_text(output, encoding="utf-8", errors="backslashreplace")
        log.info(
            "commands of a deployment ended",
            deployment=call.code.deployment_id,
            function=call.code.function_id,
            output=output.strip()[-_LOGGED_OUTPUT:],
        )
        return ""


def _headers(given: Mapping[str, str], body: bytes) -> dict[str, str]:
    """Return the headers of a response as a server of HTTP would send them."""
    headers = {name: value for name, value in given.items() if not name.startswith("x-open-runtimes-")}
    kind = headers.setdefault("content-type", "text/plain")
    if kind.startswith(("text/", "application/json")) and "charset=" not in kind:
        headers["content-type"] = f"{kind}; charset=utf-8"
    return headers | {"content-length": str(len(body))}


def _failed(text: str) -> Outcome:
    return Outcome(FAILED, errors=text, failure=Failure.CRASH)
