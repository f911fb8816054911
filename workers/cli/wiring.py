"""The servers that have the API in them, wired together. Imported by the commands that serve: it takes its time."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp

from realtime.hub.http import routes as hub_routes
from realtime.hub.hub import Hub
from realtime.hub.server import serve
from realtime.settings import Settings
from workers.api import standalone
from workers.api.app import create_app
from workers.api.services import Services
from workers.cli.context import migrate_stores, open_updated_stores
from workers.cli.worker_pages import metrics_route
from workers.cli.worker_wiring import run_functions, run_webhooks
from workers.dev.board import seed_board
from workers.dev.demo import seed
from workers.dev.routes import page_routes
from workers.store.metrics import WorkerMetrics


def serve_dev(settings: Settings, ready: Callable[[], None]) -> None:
    """Serve hub, API and pages until SIGTERM or SIGINT, on a database with the demo project in it. Blocks.

    Raises:
        CommandError: the database cannot be used.
    """
    asyncio.run(_seed(settings))
    serve(settings, app=dev_app, ready=ready)


def serve_api(settings: Settings, ready: Callable[[], None]) -> None:
    """Serve the API until SIGTERM or SIGINT, on a database with the newest tables. Blocks.

    Raises:
        CommandError: Redis or the database cannot be used.
    """
    migrate_stores(settings)
    standalone.serve(settings, ready=ready)


def dev_app(hub: Hub) -> ASGIApp:
    """Return everything of a development server that is not a WebSocket: health, API, pages and workers."""
    services = Services.from_settings(
        hub.settings,
        identities=hub.store,
        resolver=hub.resolver,
        bus=hub.bus,
        metrics=WorkerMetrics(hub.metrics.registry),
    )
    return create_app(
        services=services,
        routes=[
            # Before the hub's own.
            metrics_route(hub, services, ("webhooks", "functions")),
            *hub_routes(hub),
            *page_routes(hub.settings),
        ],
        beside=[run_webhooks, run_functions],
    )


async def _seed(settings: Settings) -> None:
    async with open_updated_stores(settings) as (store, identities, _):
        await seed(store, identities, settings.dev_project, settings.dev_key)
        await seed_board(store, settings.dev_project)
