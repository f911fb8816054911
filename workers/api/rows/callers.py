"""Who may call the routes of rows and transactions, and how often; API keys as often as they like."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from workers.api.access import Caller, requires
from workers.api.rates import rate_limit

WRITES_PER_MINUTE = 120
DELETIONS_PER_MINUTE = 60

_count_write = rate_limit(limit=WRITES_PER_MINUTE, window_s=60, by=("ip", "user", "url"))
_count_deletion = rate_limit(limit=DELETIONS_PER_MINUTE, window_s=60, by=("ip", "user", "url"))

_Scoped = Annotated[Caller, Depends(requires("rows.write"))]


async def _limit_writes(request: Request, caller: _Scoped) -> Caller:
    await _count_write(request)
    return caller


async def _limit_deletions(request: Request, caller: _Scoped) -> Caller:
    await _count_deletion(request)
    return caller


Reader = Annotated[Caller, Depends(requires("rows.read"))]
"""Whoever may read rows."""

Writer = Annotated[Caller, Depends(_limit_writes)]
"""Whoever may change rows, so often a minute on each route."""

Deleter = Annotated[Caller, Depends(_limit_deletions)]
"""Whoever may change rows, on the routes that delete."""
