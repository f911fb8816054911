"""The ASGI application of the HTTP API: its services, its errors, and the objects that routes share.

Nothing is wired here: whoever serves the application hands in the store, the resolver and the bus, so the API
runs alone or on the hub's port with the hub's own connections.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from starlette.routing import BaseRoute

from realtime import __version__
from realtime.bus import RedisBus
from realtime.identity.resolver import Resolver
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from workers.api import errors, events
from workers.api.access import Services


def create_app(
    *,
    settings: Settings,
    store: IdentityStore,
    resolver: Resolver,
    bus: RedisBus,
    routes: Sequence[BaseRoute] = (),
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
) -> FastAPI:
    """Return the API as an ASGI application.

    Args:
        settings: the limits on batches and bodies.
        store: where projects are looked up.
        resolver: what checks API keys.
        bus: what events are published on. It stays the caller's to close.
        routes: further routes to serve on the same port, such as the hub's health; they come first.
        lifespan: what to open and close around serving.
    """
    # No schema pages: they load scripts from elsewhere, and bodies are parsed without pydantic models.
    app = FastAPI(
        title="realtime",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )
    app.state.services = Services(settings=settings, store=store, resolver=resolver, bus=bus)
    app.router.routes.extend(routes)
    app.include_router(events.router)
    errors.install(app)
    return app
