"""Blocking file I/O in threads, so that the event loop goes on meanwhile."""

import asyncio
from collections.abc import Callable
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
        await asyncio.wait([working])
        if not working.cancelled():
            # Retrieved, so that it is not reported as one that nobody saw.
            working.exception()
        raise
