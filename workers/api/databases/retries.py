"""Requests that met another one: a change of the table that they are about, or a lock that waited for theirs."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import Response

from realtime.bus.backoff import backoff_s
from workers.api.access import forget_caller, require_project
from workers.api.direct import DirectRoute
from workers.api.services import services_of
from workers.store.failures import gave_way
from workers.store.row_tables import is_outdated

_RETRIES = 3
"""How often a request is made again. Once is not always enough: whoever it gave way to may be slower to go on than it
is to come back, and then both wait for each other as before."""


class RetriedRoute(DirectRoute):
    """A route whose handler runs again, a few times at most, if it failed for what others did at the same time.

    That is a table that was changed between reading its schema and using it, or a transaction that PostgreSQL ended
    since it and another one waited for each other. What a run did was undone with its transaction, so the next one
    tells what holds now: the row, or that the row, column or table is gone.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        handle = super().get_route_handler()

        async def handle_current(request: Request) -> Response:
            for attempt in range(_RETRIES):
                try:
                    return await handle(request)
                except DBAPIError as error:
                    if is_outdated(error):
                        await _catch_up(request)
                    elif gave_way(error):
                        await asyncio.sleep(backoff_s(attempt, random.random()))  # noqa: S311 - not a secret
                    else:
                        raise
            return await handle(request)

        return handle_current


async def _catch_up(request: Request) -> None:
    """Have the request see the project's tables as they are: once a change is published, everybody knows of it."""
    project = await require_project(request)
    await services_of(request).relay.flush(project.id)
    forget_caller(request)
