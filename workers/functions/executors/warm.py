"""The processes that wait for further calls: how many there are, and for how long."""

import asyncio
from collections.abc import Coroutine, Hashable
from typing import Any

from workers.functions.executors.runtime_process import RuntimeProcess

IDLE_S = 60.0
"""How long a process waits for another call."""

MAX_IDLE = 16
"""How many wait at most; then whichever has waited longest is ended."""

MAX_CALLS = 10_000
"""How many calls a process serves, so that what it leaks is bounded."""


class WarmProcesses:
    """Processes that wait for calls, by what they can serve. For one event loop."""

    def __init__(
        self, *, idle_s: float = IDLE_S, max_idle: int = MAX_IDLE, max_calls: int = MAX_CALLS
    ) -> None:
        self._idle_s = idle_s
        self._max_idle = max_idle
        self._max_calls = max_calls
        # Whichever has waited longest comes first.
        self._idle: dict[RuntimeProcess, tuple[Hashable, asyncio.TimerHandle]] = {}
        self._by_key: dict[Hashable, list[RuntimeProcess]] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def take(self, key: Hashable) -> RuntimeProcess | None:
        """Return a process that serves ``key``, which is the caller's from now on; None if none waits."""
        while processes := self._by_key.get(key):
            # The one that was used last: the others may become old enough to be ended.
            process = processes[-1]
            self._remove(process)
            if process.is_usable:
                return process
            self._end(process)
        return None

    def put(self, key: Hashable, process: RuntimeProcess) -> None:
        """Let a process wait that has served a call well. It is ended if it has served enough."""
        if self._is_closed or process.calls >= self._max_calls or not process.is_usable:
            self._end(process)
            return
        timer = asyncio.get_running_loop().call_later(self._idle_s, self._retire, process)
        self._idle[process] = key, timer
        self._by_key.setdefault(key, []).append(process)
        if len(self._idle) > self._max_idle:
            self._retire(next(iter(self._idle)))

    async def aclose(self) -> None:
        """End all of them, and whatever comes later."""
        self._is_closed = True
        for process in list(self._idle):
            self._retire(process)
        while self._endings:
            await asyncio.gather(*self._endings)

    def _retire(self, process: RuntimeProcess) -> None:
        self._remove(process)
        self._end(process)

    def _remove(self, process: RuntimeProcess) -> None:
        key, timer = self._idle.pop(process)
        timer.cancel()
        self._by_key[key].remove(process)
        if not self._by_key[key]:
            del self._by_key[key]

    def _end(self, process: RuntimeProcess) -> None:
        ending: Coroutine[Any, Any, None] = process.end()
        task = asyncio.create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
