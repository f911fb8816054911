"""The HTTP API as a process of its own: each worker process of ``realtime api`` calls :func:`create`."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from realtime.bus import RedisBus, connect, redis_url
from realtime.identity.resolver import Resolver
from realtime.identity.store import IdentityStore
from realtime.logs import configure_logging
from realtime.settings import Settings
from workers.api.access import services_of
from workers.api.app import create_app


def create() -> FastAPI:
    """Return the API, wired to the Redis of the settings, or to the embedded server of the data folder."""
    settings = Settings()
    redis = connect(redis_url(settings))
    store = IdentityStore(redis)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        configure_logging(settings)
        try:
            yield
        finally:
            await redis.aclose()

    return create_app(
        settings=settings,
        store=store,
        resolver=Resolver(store, None, clock=time.time),
        bus=RedisBus(
            redis,
            log_max_events=settings.log_max_events,
            log_max_age_s=settings.log_max_age_s,
            idempotency_ttl_s=settings.idempotency_ttl_s,
        ),
        routes=[Route("/v1/health", health)],
        lifespan=lifespan,
    )


async def health(request: Request) -> Response:
    """Answer whether Redis can be reached, as the ``healthStatus`` model; ``ping`` is in milliseconds."""
    ping_s = await services_of(request).bus.ping()
    return JSONResponse({"name": "api", "ping": round(ping_s * 1000), "status": "pass"})
