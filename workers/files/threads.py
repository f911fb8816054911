"""Blocking file I/O in threads, so that the event loop goes on meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return what ``work`` returns, which runs in a thread.

    A cancelled caller still waits for the end of it, as a thread cannot be stopped: it may be using a file that the
    caller is about to close, and whose descriptor would then be another file's.
    """
    working = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await _outcome(working)
        raise


@contextlib.asynccontextmanager
async def opened(opening: Callable[[], _T], closing: Callable[[_T], object]) -> AsyncIterator[_T]:
    """Open something in a thread, and close it when the block ends; also if the caller is cancelled meanwhile."""
    working = asyncio.ensure_future(asyncio.to_thread(opening))
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


async def _outcome(working: asyncio.Future[_T]) -> BaseException | None:
    """Wait for the end of a thread, and return its error, which then counts as seen."""
    await asyncio.wait([working])
    return asyncio.CancelledError() if working.cancelled() else working.exception()
