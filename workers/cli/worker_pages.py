"""The few pages of a worker: health and metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from realtime.bus.keys import WorkKind
from realtime.bus.work import WorkQueue
from realtime.hub.hub import Hub
from workers.api.services import Services

TIMEOUT_S = 1.0
"""How long Redis and the database may take to answer: less than whoever asks for these pages waits."""

_AWAY = (RedisError, SQLAlchemyError, OSError, TimeoutError)
"""What it looks like when one of them does not."""


def worker_routes(services: Services, kinds: Collection[WorkKind]) -> list[BaseRoute]:
    """Return the pages of a worker that has a port.

    ``GET /v1/health`` answers 200 while the process works, and says whether Redis and the database are there; if not,
    the worker waits for them, so that is no reason to end it. ``GET /metrics`` is for Prometheus.
    """

    async def health(_request: Request) -> Response:
        redis, database = await asyncio.gather(_check(services.bus.ping), _check(lambda: _select(services)))
        answer = {"name": "worker", "ping": 0, "status": "pass", "redis": redis, "database": database}
        return JSONResponse(answer)

    async def show_metrics(_request: Request) -> Response:
        await sample(services, kinds)
        return Response(services.metrics.render(kinds), media_type=CONTENT_TYPE_LATEST)

    return [Route("/v1/health", health), Route("/metrics", show_metrics)]


def metrics_route(hub: Hub, services: Services, kinds: Collection[WorkKind]) -> BaseRoute:
    """Return one page for the metrics of a hub and of the workers beside it, which count in the hub's registry."""

    async def show_metrics(_request: Request) -> Response:
        await sample(services, kinds)
        hub.update_metrics()
        return Response(hub.metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return Route("/metrics", show_metrics)


async def sample(services: Services, kinds: Collection[WorkKind]) -> None:
    """Set the metrics of how much waits, as Redis says now; or that nobody knows."""
    await asyncio.gather(*(_sample(services, kind) for kind in kinds))


async def _sample(services: Services, kind: WorkKind) -> None:
    queue = WorkQueue(services.bus.redis, kind, "metrics")
    try:
        async with asyncio.timeout(TIMEOUT_S):
            services.metrics.set_waiting(kind, sum(await queue.lengths()), await queue.oldest_s())
    except _AWAY:
        services.metrics.set_waiting(kind)


async def _check(ask: Callable[[], Awaitable[Any]]) -> dict[str, str]:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await ask()
    except _AWAY:
        return {"status": "fail"}
    return {"status": "pass"}


async def _select(services: Services) -> None:
    async with services.store.read() as connection:
        await connection.execute(text("SELECT 1"))
