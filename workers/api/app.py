"""The ASGI application of the HTTP API: its services, its errors, and the objects that routes share.

Nothing is wired here: whoever serves the application hands in the services, so the API runs alone or on the hub's
port with the hub's own connections.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence

from fastapi import FastAPI
from starlette.routing import BaseRoute

from realtime import __version__
from workers.api import errors, events
from workers.api.services import Services


def create_app(
    *,
    services: Services,
    routes: Sequence[BaseRoute] = (),
) -> FastAPI:
    """Return the API as an ASGI application.

    Args:
        services: what routes work with; they run while the application is served, and are closed with it.
        routes: further routes to serve on the same port, such as the hub's health; they come first.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with services.running():
            yield

    # No schema pages: they load scripts from elsewhere, and bodies are parsed without pydantic models.
    app = FastAPI(
        title="realtime",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )
    app.state.services = services
    app.router.routes.extend(routes)
    app.include_router(events.router)
    errors.install(app)
    return app
