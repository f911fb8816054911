"""Requests that met a change of the table that they are about."""

from collections.abc import Callable, Coroutine
from typing import Any

from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import forget_caller, require_project
from workers.api.direct import DirectRoute
from workers.api.services import services_of
from workers.store.row_tables import is_outdated


class RetriedRoute(DirectRoute):
    """A route whose handler runs once more if the table was changed between its reading the schema and using it.

    What the first run did was undone with its transaction, so the second one tells what holds now: the row, or that
    the column or table is gone.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        handle = super().get_route_handler()

        async def handle_current(request: Request) -> Response:
            try:
                return await handle(request)
            except DBAPIError as error:
                if not is_outdated(error):
                    raise
            # Once the change is written through, everybody knows that it is to be looked up again.
            project = await require_project(request)
            await services_of(request).relay.flush(project.id)
            forget_caller(request)
            return await handle(request)

        return handle_current
