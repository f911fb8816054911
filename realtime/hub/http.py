"""The hub's few pages: health and metrics."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from realtime.hub.protocol import PATH

if TYPE_CHECKING:
    from realtime.hub.hub import Hub

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def routes(hub: "Hub") -> list[BaseRoute]:
    """Return the hub's routes.

    ``GET /v1/health`` answers 200 while the process serves, and says whether Redis is there; if not, clients stay
    connected and wait, so that is no reason to end the process. ``GET /v1/health/pubsub`` answers 200 once a probe has
    travelled through Redis and back on the hub's own connection, else 503. ``GET /metrics`` is for Prometheus.
    Where WebSocket clients connect, all others are told so.
    """

    async def health(_request: Request) -> Response:
        return JSONResponse(
            {"name": "http", "ping": 0, "status": "pass", "redis": _redis(hub.redis_away_since())}
        )

    async def pubsub(_request: Request) -> Response:
        started = time.perf_counter()
        try:
            await hub.listener.probe()
        except (TimeoutError, RedisError):
            return _status("pubsub", time.perf_counter() - started, passed=False)
        return _status("pubsub", time.perf_counter() - started, passed=True)

    async def metrics(_request: Request) -> Response:
        hub.update_metrics()
        return Response(hub.metrics.render(), media_type=CONTENT_TYPE_LATEST)

    async def websocket_only(_request: Request) -> Response:
        headers = {"upgrade": "websocket", "connection": "upgrade"}
        return PlainTextResponse("Connect with a WebSocket client.\n", 426, headers)

    return [
        Route(PATH, websocket_only, methods=_METHODS),
        Route(f"{PATH}/", websocket_only, methods=_METHODS),
        Route("/v1/health", health),
        Route("/v1/health/pubsub", pubsub),
        Route("/metrics", metrics),
    ]


def _redis(away_since: float | None) -> dict[str, str]:
    """Return how Redis is, and since when it has been away if it is (Unix time, in seconds)."""
    if away_since is None:
        return {"status": "pass"}
    since = datetime.fromtimestamp(away_since, UTC).isoformat(timespec="milliseconds")
    return {"status": "fail", "since": since}


def _status(name: str, seconds: float, *, passed: bool) -> Response:
    """Return a health status, in the shape of the seeds' ``healthStatus`` model; ``ping`` is in milliseconds."""
    body = {"name": name, "ping": round(seconds * 1000), "status": "pass" if passed else "fail"}
    return JSONResponse(body, 200 if passed else 503)
