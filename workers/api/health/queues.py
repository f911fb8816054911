"""``/v1/health/queue``: how much waits to be done, over all projects, for those who watch over the server.

The paths are Appwrite's, which has a queue for each of these. Here most work is done with the change itself, so that
nothing ever waits for it, and the rest waits in the database: that is what is counted.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from sqlalchemy import Select, func, select
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import requires
from workers.api.health.parts import check
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.health import HealthQueue, HealthStatus
from workers.store.tables import discarded_files, executions, messages, outbox
from workers.store.times import to_text

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


def _waiting(name: Name, now: str) -> Select[int] | None:
    """Return what counts the work that waits; None where there is never any."""
    count = select(func.count())
    match name:
        case "webhooks":
            # Events that are recorded and not published yet.
            return count.select_from(outbox).where(outbox.c.kind == "event")
        case "functions":
            return count.select_from(executions).where(executions.c.due_at <= now)
        case "messaging":
            return count.select_from(messages).where(messages.c.due_at <= now)
        case "deletes":
            return count.select_from(discarded_files)
        case _:
            return None


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
    responses=documented(HealthQueue),
    operation_id="healthGetFailedJobs",
)
async def get_failed(name: str, threshold: Threshold = DEFAULT_THRESHOLD) -> Response:
    """Count the jobs that failed and were put aside: none, since work is repeated or ends with a record of its own."""
    del name
    return _answer(0, threshold)


@router.get(
    "/v1/health/queue/{name}",
    response_model=None,
    responses=documented(HealthQueue),
    operation_id="healthGetQueueSize",
)
async def get_size(request: Request, name: Name, threshold: Threshold = DEFAULT_THRESHOLD) -> Response:
    """Count what waits to be done now. Answers 503 from ``threshold`` on."""
    statement = _waiting(name, to_text(datetime.now(UTC)))
    size = 0
    if statement is not None:
        async with services_of(request).store.read() as connection:
            size = await connection.scalar(statement) or 0
    return _answer(size, threshold)


def _answer(size: int, threshold: int) -> Response:
    if size >= threshold:
        raise refuse(Problem.QUEUE_SIZE, size=str(size), threshold=str(threshold))
    return respond({"size": size})
