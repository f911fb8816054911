"""What workers are made of, on the services of the process that they run in: their own, or that of `realtime dev`."""

import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable

import structlog
from sqlalchemy import select

from realtime.bus.calls import Calls
from realtime.bus.keys import WorkKind
from realtime.bus.work import WorkQueue
from realtime.settings import Settings
from realtime.triggers.store import TriggerStore
from realtime.triggers.watch import TriggerWatch
from workers.api.services import Services
from workers.cli.context import migrate_stores
from workers.cli.worker_process import serve_worker
from workers.functions.executors.urls import is_url
from workers.functions.schedules import Schedules
from workers.functions.triggering import Triggering
from workers.store import tables
from workers.store.intake import Intake
from workers.webhooks.sending import Sender
from workers.webhooks.worker import WebhookWorker

log = structlog.get_logger("realtime.workers")

MAX_NAMED = 5
"""How many functions are named in a warning."""


def serve_webhooks(settings: Settings, ready: Callable[[], None]) -> None:
    """Deliver events to webhooks until SIGTERM or SIGINT. Blocks.

    Raises:
        CommandError: Redis or the database cannot be used.
    """
    migrate_stores(settings, may_make=False)
    serve_worker(settings, "webhooks", run_webhooks, ready=ready)


def serve_functions(settings: Settings, ready: Callable[[], None]) -> None:
    """Run functions until SIGTERM or SIGINT. Blocks.

    Raises:
        CommandError: Redis or the database cannot be used.
    """
    migrate_stores(settings, may_make=False)
    serve_worker(settings, "functions", run_functions, ready=ready)


@contextlib.asynccontextmanager
async def run_webhooks(services: Services) -> AsyncIterator[None]:
    """Deliver events to webhooks until the block ends."""
    sender = Sender(services.settings, services.guard, services.sealer)
    worker = WebhookWorker(
        services.store,
        sender,
        _queue(services, "webhooks"),
        TriggerWatch(TriggerStore(services.bus.redis)),
        services.settings,
        services.metrics,
    )
    calls = Calls(services.bus.redis, "webhooks", worker.look)
    async with sender.running(), worker.running(), calls.running():
        yield


@contextlib.asynccontextmanager
async def run_functions(services: Services) -> AsyncIterator[None]:
    """Run functions for events, by their schedules, and for those who do not wait, until the block ends."""
    await _warn_of_deployments(services)
    executions, triggers = services.executions, TriggerStore(services.bus.redis)
    triggering = Triggering(
        services.store,
        services.sealer,
        max_depth=services.settings.functions_max_depth,
        wake=executions.wake,
        metrics=services.metrics,
    )
    schedules = Schedules(
        services.store, services.sealer, triggers, wake=executions.wake, metrics=services.metrics
    )
    queue = _queue(services, "functions")
    intake = Intake(queue, TriggerWatch(triggers), triggering.handle, services.metrics)
    calls = Calls(services.bus.redis, "functions", executions.wake)
    # Nothing new comes in while what runs is waited for.
    async with executions.dispatching(), calls.running(), schedules.running(), intake.running():
        yield


async def _warn_of_deployments(services: Services) -> None:
    """Say so if there is code to run and this is not to run it: what waits for that would end as failed, for good."""
    if services.settings.functions_executor != "http":
        return
    wanted = select(tables.functions.c.project_id, tables.functions.c.id, tables.functions.c.entrypoint)
    async with services.store.read() as connection:
        found = await connection.execute(
            wanted.where(tables.functions.c.enabled, tables.functions.c.deployment_id.is_not(None))
        )
        deployed = [f"{project}/{id_}" for project, id_, entrypoint in found if not is_url(entrypoint)]
    if deployed:
        log.warning(
            "this worker does not run the code of deployments: executions of these functions fail, and are not "
            "repeated; set REALTIME_FUNCTIONS_EXECUTOR=process if their authors are trusted",
            functions=deployed[:MAX_NAMED],
            count=len(deployed),
        )


def _queue(services: Services, kind: WorkKind) -> WorkQueue:
    # No two processes read by the same name, also not on machines or in containers that are called the same.
    consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return WorkQueue(services.bus.redis, kind, consumer)
