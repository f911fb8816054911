"""``/v1/health``: whether the API and what it stands on work.

The first one is for load balancers, and public; those that say something of the machinery need the scope
``health.read``. A part that does not answer in time is told with 503 and ``"status": "fail"``.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from fastapi import APIRouter, Depends
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from realtime import __version__
from workers.api.access import requires
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.files.folder import FolderStore
from workers.models.health import (
    HealthAntivirus,
    HealthCertificate,
    HealthStatus,
    HealthTime,
    HealthVersion,
    status_model,
)

router = APIRouter(tags=["health"])

log = structlog.get_logger("realtime.api")

TIMEOUT_S = 5.0
"""How long a part may take to answer."""

_READ = [Depends(requires("health.read"))]


@router.get("/v1/health", response_model=None, responses=documented(HealthStatus), operation_id="healthGet")
async def get_health(request: Request) -> Response:
    """Tell whether the API answers, and reaches Redis and the database."""

    async def ask_both() -> None:
        await asyncio.gather(services_of(request).bus.ping(), _select(request))

    return await check("api", ask_both)


@router.get(
    "/v1/health/db",
    response_model=None,
    responses=documented(HealthStatus),
    dependencies=_READ,
    operation_id="healthGetDB",
)
async def get_database(request: Request) -> Response:
    """Tell whether the database answers."""
    return await check("db", lambda: _select(request))


@router.get(
    "/v1/health/cache",
    response_model=None,
    responses=documented(HealthStatus),
    dependencies=_READ,
    operation_id="healthGetCache",
)
async def get_cache(request: Request) -> Response:
    """Tell whether Redis answers, which holds the read model and the rates."""
    return await check("cache", services_of(request).bus.ping)


@router.get(
    "/v1/health/pubsub",
    response_model=None,
    responses=documented(HealthStatus),
    dependencies=_READ,
    operation_id="healthGetPubSub",
)
async def get_pubsub(request: Request) -> Response:
    """Tell whether events can be published. A hub tells on the same path whether they also arrive."""
    return await check("pubsub", services_of(request).bus.ping)


@router.get(
    "/v1/health/storage",
    response_model=None,
    responses=documented(HealthStatus),
    dependencies=_READ,
    operation_id="healthGetStorage",
)
async def get_storage(request: Request) -> Response:
    """Tell whether files can be kept where the settings say."""
    return await check("storage", services_of(request).files.check)


@router.get(
    "/v1/health/storage/local",
    response_model=None,
    responses=documented(HealthStatus),
    dependencies=_READ,
    operation_id="healthGetStorageLocal",
)
async def get_local_storage(request: Request) -> Response:
    """Tell whether files can be kept in the data folder, where everything is that is not kept elsewhere."""
    folder = FolderStore(services_of(request).settings.data_dir / "files")
    return await check("local", folder.check)


@router.get(
    "/v1/health/anti-virus",
    response_model=None,
    responses=documented(HealthAntivirus),
    dependencies=_READ,
    operation_id="healthGetAntivirus",
)
async def get_antivirus() -> Response:
    """Tell that files are not searched for viruses."""
    return respond({"version": "", "status": "disabled"})


@router.get(
    "/v1/health/certificate",
    response_model=None,
    responses=documented(HealthCertificate),
    dependencies=_READ,
    operation_id="healthGetCertificate",
)
async def get_certificate() -> Response:
    """Refuse: certificates are those of the proxy in front of the server, which does not know them."""
    raise refuse(Problem.CERTIFICATES)


@router.get(
    "/v1/health/time",
    response_model=None,
    responses=documented(HealthTime),
    dependencies=_READ,
    operation_id="healthGetTime",
)
async def get_time(request: Request) -> Response:
    """Compare the clocks of Redis and of this server."""
    async with asyncio.timeout(TIMEOUT_S):
        seconds, _ = await services_of(request).bus.redis.time()
    local = int(time.time())
    return respond({"remoteTime": int(seconds), "localTime": local, "diff": int(seconds) - local})


@router.get(
    "/v1/health/version",
    response_model=None,
    responses=documented(HealthVersion),
    operation_id="healthGetVersion",
)
async def get_version() -> Response:
    """Tell the server's version."""
    return respond({"version": __version__})


async def _select(request: Request) -> None:
    async with services_of(request).store.read() as connection:
        await connection.execute(text("SELECT 1"))


async def check(name: str, ask: Callable[[], Awaitable[Any]]) -> Response:
    """Answer whether the part called ``name`` answers what it is asked, and how long that took."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await ask()
    except (RedisError, SQLAlchemyError, OSError) as error:
        log.warning("a part does not answer", part=name, error=type(error).__name__)
        return respond(status_model(name, time.perf_counter() - started, passed=False), 503)
    return respond(status_model(name, time.perf_counter() - started, passed=True))
