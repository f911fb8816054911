"""Whose turn it is to run, of what a process has claimed: limits for all, for each project and for each function."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Hashable
from typing import Generic, TypeVar

from workers.functions.pace import Limits
from workers.functions.shares import Lane

T = TypeVar("T", bound=Hashable)


class NoTurnError(Exception):
    """It was not their turn for too long."""


class Turns:
    """Lets as many run as may, those first that have waited longest. For one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._functions: _Gates[Lane] = _Gates(limits.of_function)
        self._projects: _Gates[str] = _Gates(limits.of_project)
        self._all = asyncio.Semaphore(limits.total)

    @contextlib.asynccontextmanager
    async def wait(self, lane: Lane, *, timeout_s: float) -> AsyncIterator[None]:
        """Enter the block when it is the turn of an execution of ``lane``; it ends with the block.

        Raises:
            NoTurnError: it was not within ``timeout_s`` seconds.
        """
        async with contextlib.AsyncExitStack() as stack:
            # A place of all is taken last, so that none is held by who waits for another.
            try:
                async with asyncio.timeout(timeout_s):
                    await stack.enter_async_context(self._functions.enter(lane))
                    await stack.enter_async_context(self._projects.enter(lane.project_id))
                    await stack.enter_async_context(self._all)
            except TimeoutError:
                raise NoTurnError from None
            yield


class _Gates(Generic[T]):
    """A semaphore for each key, for as long as somebody wants in."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # With how many are in it or wait for it.
        self._gates: dict[T, tuple[asyncio.Semaphore, int]] = {}

    @contextlib.asynccontextmanager
    async def enter(self, key: T) -> AsyncIterator[None]:
        gate, count = self._gates.get(key) or (asyncio.Semaphore(self._limit), 0)
        self._gates[key] = gate, count + 1
        try:
            async with gate:
                yield
        finally:
            count = self._gates[key][1] - 1
            if count:
                self._gates[key] = gate, count
            else:
                del self._gates[key]
