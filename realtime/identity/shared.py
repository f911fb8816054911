"""Reads that many ask for at the same time, made once for all of them.

A server that is busy looks the same records up for each of its requests: the project, the API key. Most of what such a
read costs is the client library and the round trip (``benchmarks/api.py``).
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SharedReads(Generic[Key, Value]):
    """Reads of things by their keys; of each thing, one at a time.

    Who asks while a read of the same thing is under way waits for the next one, together with all others who do. So
    everybody gets what was true after they asked, as by a read of their own, and nothing is kept. For one event loop.

    Args:
        read: looks a thing up; what it raises is raised for everybody who waits for it.
    """

    def __init__(self, read: Callable[[Key], Awaitable[Value]]) -> None:
        self._read = read
        # What those wait for who asked since the read under way began.
        self._next: dict[Key, asyncio.Future[Value]] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    async def get(self, key: Key) -> Value:
        """Look ``key`` up. Cancelling it does not keep others from their answer."""
        answer = self._next.get(key)
        if answer is None:
            answer = self._next[key] = asyncio.get_running_loop().create_future()
            if key not in self._tasks:
                self._tasks[key] = asyncio.create_task(self._serve(key), name="realtime-shared-read")
        return await asyncio.shield(answer)

    async def _serve(self, key: Key) -> None:
        """Read as long as somebody waits."""
        try:
            while (answer := self._next.pop(key, None)) is not None:
                try:
                    answer.set_result(await self._read(key))
                except Exception as error:  # noqa: BLE001 - it is theirs who wait
                    answer.set_exception(error)
                except asyncio.CancelledError:
                    answer.cancel()
                    raise
        finally:
            # Nothing was awaited since the last look at who waits, so whoever asks from here on starts a new task.
            del self._tasks[key]
            if (left := self._next.pop(key, None)) is not None:
                left.cancel()
