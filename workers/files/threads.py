"""Blocking file I/O in threads, so that the event loop goes on meanwhile.

The threads do nothing else: those that asyncio has for everything may all be waiting for something slow.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

# One for the process. Disks answer soon, and several reads at once serve most of them best.
_THREADS = ThreadPoolExecutor(16, thread_name_prefix="realtime-files")


async def in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return what ``work`` returns, which runs in a thread.

    A cancelled caller still waits for the end of it, as a thread cannot be stopped: it may be using a file that the
    caller is about to close, and whose descriptor would then be another file's.
    """
    working = _started(functools.partial(work, *args, **kwargs))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await _outcome(working)
        raise


@contextlib.asynccontextmanager
async def opened(opening: Callable[[], _T], closing: Callable[[_T], object]) -> AsyncIterator[_T]:
    """Open something in a thread, and close it when the block ends; also if the caller is cancelled meanwhile."""
    working = _started(opening)
    try:
        file = await asyncio.shield(working)
    except asyncio.CancelledError:
        if await _outcome(working) is None:
            closing(working.result())
        raise
    try:
        yield file
    finally:
        closing(file)


def _started(work: Callable[[], _T]) -> asyncio.Future[_T]:
    return asyncio.get_running_loop().run_in_executor(_THREADS, work)


async def _outcome(working: asyncio.Future[_T]) -> BaseException | None:
    """Wait for the end of a thread, and return its error, which then counts as seen."""
    await asyncio.wait([working])
    return asyncio.CancelledError() if working.cancelled() else working.exception()
