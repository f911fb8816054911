"""People and backends, each with an unmodified SDK in a Node process of its own (``tests/e2e/sdk/caller.cjs``)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

SDK_FOLDER = Path(__file__).parent / "e2e" / "sdk"
CLIENT, SERVER = "appwrite-27", "node-appwrite"
DEADLINE_S = 20.0


class RefusedError(Exception):
    """The SDK raised an ``AppwriteException``."""

    def __init__(self, call: str, refusal: dict[str, Any]) -> None:
        self.code = refusal["code"]
        self.type = refusal["type"]
        super().__init__(f"{call}: {self.code} {self.type}: {refusal['message']}")


class Caller:
    """One SDK: calls its services, and keeps what its realtime subscription was given."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())
        # Every event that the SDK handed to the callback, in order.
        self.events: list[dict[str, Any]] = []
        self._confirmed: set[str] = set()

    async def call(self, call: str, **arguments: Any) -> Any:
        """Call a method of a service, such as ``account.create``; return what it resolves to.

        Raises:
            RefusedError: the server refused it.
        """
        assert self._process.stdin is not None
        number = len(self._answers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        command = {"number": number, "call": call, "arguments": arguments}
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        async with asyncio.timeout(DEADLINE_S):
            report = await answer
        assert "failed" not in report, f"{call}: {report['failed']}"
        if "refused" in report:
            raise RefusedError(call, report["refused"])
        return report.get("answer")

    async def watch(self, *channels: str) -> None:
        """Subscribe to channels with one subscription, and wait until the server has confirmed it."""
        await self.call("subscribe", channels=channels)
        await self.until(lambda: set(channels) <= self._confirmed, f"a subscription to {channels}")

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition on what was received holds."""
        try:
            async with asyncio.timeout(DEADLINE_S), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            names = "\n".join(event["events"][0] for event in self.events)
            raise AssertionError(f"waited for {what}; received so far:\n{names}") from None

    async def until_event(self, name: str) -> None:
        """Wait for an event whose first name this is."""
        await self.until(lambda: any(event["events"][0] == name for event in self.events), name)

    async def aclose(self) -> None:
        """End the process."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            report = json.loads(line)
            async with self._changed:
                if "event" in report:
                    self.events.append(report["event"])
                elif "confirmed" in report:
                    self._confirmed.update(report["confirmed"])
                else:
                    self._answers[report["number"]].set_result(report)
                self._changed.notify_all()


@contextlib.asynccontextmanager
async def callers(
    endpoint: str, project: str, keys: Sequence[str | None]
) -> AsyncIterator[tuple[Caller, ...]]:
    """Start an SDK for each of ``keys``: that for servers if there is a key, that for clients if it is None."""
    async with contextlib.AsyncExitStack() as stack:
        started = []
        for key in keys:
            process = await asyncio.create_subprocess_exec(
                "node",
                "caller.cjs",
                CLIENT if key is None else SERVER,
                endpoint,
                project,
                *([] if key is None else [key]),
                cwd=SDK_FOLDER,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=2**22,
            )
            started.append(Caller(process))
            stack.push_async_callback(started[-1].aclose)
        yield tuple(started)
