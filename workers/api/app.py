"""The ASGI application of the HTTP API: its services, its errors, and the objects that routes share.

Nothing is wired here: whoever serves the application hands in the services, so the API runs alone or on the hub's
port with the hub's own connections.
"""

import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from realtime import __version__
from workers.api import (
    account,
    avatars,
    databases,
    errors,
    events,
    functions,
    health,
    locale,
    messaging,
    openapi,
    presences,
    projects,
    rows,
    storage,
    teams,
    tokens,
    users,
    webhooks,
)
from workers.api.bodies import BodyLimits
from workers.api.cors import Cors
from workers.api.dispatch import RouteIndex, joined
from workers.api.rates import RateHeaders
from workers.api.services import Services
from workers.api.uploads import paths


class Application(FastAPI):
    """FastAPI with our document, and with middleware around everything: errors bear its headers too."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the application that serves requests; called once, at the first of them."""
        settings = self.state.services.settings
        limited = BodyLimits(
            super().build_middleware_stack(),
            max_bytes=settings.api_max_bytes,
            timeout_s=settings.request_timeout_s,
            except_paths=[events.PATH],
            upload_paths=paths.PATHS,
        )
        return Cors(RateHeaders(limited))

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, made at the first call."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.complete(super().openapi())
        return self.openapi_schema


def create_app(
    *,
    services: Services,
    routes: Sequence[BaseRoute] = (),
    beside: Sequence[Callable[[Services], AbstractAsyncContextManager[None]]] = (),
) -> FastAPI:
    """Return the API as an ASGI application.

    Args:
        services: what routes work with; they run while the application is served, and are closed with it.
        routes: further routes to serve on the same port, such as the hub's health; they come first.
        beside: what else is to run while the application is served, with the same services, such as workers.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with services.running(), contextlib.AsyncExitStack() as stack:
            for run in beside:
                await stack.enter_async_context(run(services))
            # What there is by now stays as long as the process, and need not be looked through again and again: three
            # percent of what a request costs (benchmarks/api.py).
            gc.collect()
            gc.freeze()
            yield

    app = Application(
        title="realtime",
        version=__version__,
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        # The page that FastAPI would serve loads its scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=openapi.DOCUMENT_PATH,
        lifespan=lifespan,
    )
    app.state.services = services
    app.router.routes.extend([*routes, *openapi.page_routes(app.title)])
    app.router.routes.extend(
        joined(
            events.router,
            account.router,
            avatars.router,
            functions.router,
            health.router,
            locale.router,
            messaging.router,
            presences.router,
            projects.router,
            # Before those of databases: `/tablesdb/transactions` is no database.
            rows.router,
            storage.router,
            teams.router,
            tokens.router,
            users.router,
            databases.router,
            webhooks.router,
        ).routes
    )
    app.router.routes.insert(0, RouteIndex(app.routes))
    errors.install(app)
    return app
