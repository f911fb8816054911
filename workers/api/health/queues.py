"""``/v1/health/queue``: how much waits to be done, over all projects, for those who watch over the server.

The paths are Appwrite's, which has a queue for each of these. Here most work is done with the change itself, so that
nothing ever waits for it. The rest waits in the database and, before it gets there, in the work streams.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Depends, Query
from sqlalchemy import ColumnElement, FromClause, func, literal_column, null, select, true
from starlette.requests import Request
from starlette.responses import Response

from realtime.bus.dead_work import DeadWork
from realtime.bus.keys import WORK_KINDS
from realtime.bus.work import WorkQueue
from workers.api.access import requires
from workers.api.health.parts import check
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.health import HealthFailed, HealthQueue, HealthStatus
from workers.store.tables import deliveries, discarded_files, executions, messages, outbox
from workers.store.times import to_text, to_unix

router = APIRouter(tags=["health"], dependencies=[Depends(requires("health.read"))])

DEFAULT_THRESHOLD = 5_000

Name = Literal[
    "webhooks", "functions", "messaging", "deletes", "builds", "certificates", "databases", "logs", "mails",
    "migrations", "usage", "usage-dump",
]  # fmt: skip
"""The queues that can be asked for."""

Threshold = Annotated[
    int, Query(ge=1, le=2**63 - 1, description="From how many on the answer is an error (503).")
]


class _Waiting(NamedTuple):
    """A part of what waits in a queue."""

    table: FromClause
    where: ColumnElement[bool]
    since: ColumnElement[Any] = null()
    """When each of it came to wait; null if that is not known."""


def _waiting(name: Name, now: str) -> list[_Waiting]:
    """Return what of a queue is in the database; nothing where there is never any."""
    match name:
        case "webhooks":
            due = deliveries.c.due_at
            return [
                # Events that are recorded and not published yet.
                _Waiting(outbox, outbox.c.kind == "event"),
                _Waiting(deliveries, due <= now, due),
            ]
        case "functions":
            return [_Waiting(executions, executions.c.due_at <= now, executions.c.due_at)]
        case "messaging":
            return [_Waiting(messages, messages.c.due_at <= now, messages.c.due_at)]
        case "deletes":
            return [_Waiting(discarded_files, true(), discarded_files.c.created_at)]
        case _:
            return []


@router.get(
    "/v1/health/queue",
    response_model=None,
    responses=documented(HealthStatus),
    operation_id="healthGetQueue",
)
async def get_queue(request: Request) -> Response:
    """Tell whether the log of events answers, which those who deliver and run read from."""
    return await check("queue", services_of(request).bus.ping)


@router.get(
    "/v1/health/queue/failed/{name}",
    response_model=None,
    responses=documented(HealthFailed),
    operation_id="healthGetFailedJobs",
)
async def get_failed(request: Request, name: str, threshold: Threshold = DEFAULT_THRESHOLD) -> Response:
    """Count what was given up: dead letters and events that could not be handled. Answers 503 from ``threshold`` on.

    Appwrite's names of its queues are known too, such as ``v1-webhooks``. Whatever is not ``webhooks`` or ``functions``
    has none: such work is repeated, or ends with a record of its own.
    """
    services = services_of(request)
    size = 0
    kind = name.removeprefix("v1-")
    if kind in WORK_KINDS:
        size = sum(await DeadWork(services.bus.redis, kind).lengths())
    if kind == "webhooks":
        # Spelt out: a plan that is to serve any parameters could not use the index of dead letters alone.
        dead = select(func.count()).where(deliveries.c.status == literal_column("'dead'"))
        async with services.store.read() as connection:
            size += await connection.scalar(dead) or 0
    _check(size, threshold)
    return respond({"size": size})


@router.get(
    "/v1/health/queue/{name}",
    response_model=None,
    responses=documented(HealthQueue),
    operation_id="healthGetQueueSize",
)
async def get_size(request: Request, name: Name, threshold: Threshold = DEFAULT_THRESHOLD) -> Response:
    """Count what waits to be done now, and tell for how long. Answers 503 from ``threshold`` on."""
    services, now = services_of(request), datetime.now(UTC)
    size, lag_s = 0, 0.0
    async with services.store.read() as connection:
        for part in _waiting(name, to_text(now)):
            asked = select(func.count(), func.min(part.since)).select_from(part.table).where(part.where)
            count, oldest = (await connection.execute(asked)).one()
            size += count
            if oldest is not None:
                lag_s = max(lag_s, now.timestamp() - to_unix(oldest))
    if name in WORK_KINDS:
        work = WorkQueue(services.bus.redis, name, "health")
        size += sum(await work.lengths())
        lag_s = max(lag_s, await work.oldest_s())
    _check(size, threshold)
    return respond({"size": size, "lag": round(lag_s, 3)})


def _check(size: int, threshold: int) -> None:
    if size >= threshold:
        raise refuse(Problem.QUEUE_SIZE, size=str(size), threshold=str(threshold))
