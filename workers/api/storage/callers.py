"""Who may call the routes of files, and how often; API keys as often as they like."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from workers.api.access import Caller, requires
from workers.api.rates import rate_limit
from workers.api.uploads.receiving import announced_range

WRITES_PER_MINUTE = 60

_count_write = rate_limit(limit=WRITES_PER_MINUTE, window_s=60, by=("ip", "user", "url"))

_Scoped = Annotated[Caller, Depends(requires("files.write"))]


async def _limit_writes(request: Request, caller: _Scoped) -> Caller:
    await _count_write(request)
    return caller


async def _limit_uploads(request: Request, caller: _Scoped) -> Caller:
    # A file counts once. Chunks after the first one lead nowhere without it.
    announced = announced_range(request)
    if announced is None or announced.start == 0:
        await _count_write(request)
    return caller


Reader = Annotated[Caller, Depends(requires("files.read"))]
"""Whoever may read files."""

Writer = Annotated[Caller, Depends(_limit_writes)]
"""Whoever may change files, so often a minute on each route."""

Uploader = Annotated[Caller, Depends(_limit_uploads)]
"""Whoever may make files, so many a minute."""
