"""Serving: the hub and an ASGI application on one port, in one process or in several.

uvicorn serves; it is given the hub's HTTP and WebSocket protocol classes. On SIGTERM or SIGINT the port is closed,
the connections are drained over the window of the settings, and the process ends.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import structlog
import uvicorn
import uvloop
from starlette.applications import Starlette

from realtime.hub.http import routes
from realtime.hub.http_protocol import HttpProtocol
from realtime.hub.hub import Hub
from realtime.hub.protocol import WebSocketProtocol
from realtime.hub.supervisor import supervise
from realtime.logs import configure_logging
from realtime.settings import Settings

log = structlog.get_logger("realtime.hub")

Application = Any
"""An ASGI application."""

AppFactory = Callable[[Hub], Application]
"""Makes the application for everything that is not a WebSocket. With several processes it must be a module's
function, since each process makes its own."""


def hub_app(hub: Hub) -> Application:
    """Return the application of a hub that runs alone: health and metrics."""
    return Starlette(routes=routes(hub))


def serve(
    settings: Settings,
    *,
    app: AppFactory | None = None,
    ready: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. Blocks. It is the main program: it logs as the settings say.

    Args:
        settings: Everything else; ``redis_url`` must be set.
        app: Makes the application for requests that are not WebSockets; health and metrics by default.
        ready: Called once, when the port is open and the first process is about to accept.

    Raises:
        OSError: The port cannot be bound.
        redis.RedisError: Redis cannot be reached at all (with one process; several are started again and again).
    """
    listening = bind(settings.host, settings.port)
    with contextlib.closing(listening):
        if settings.workers > 1:
            configure_logging(settings)
            supervise(settings.workers, partial(run_worker, settings, app or hub_app, listening), ready)
        else:
            run_worker(settings, app or hub_app, listening, ready)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket, which worker processes may share. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=4096)


def run_worker(
    settings: Settings,
    app: AppFactory,
    listening: socket.socket,
    ready: Callable[[], None] | None = None,
) -> None:
    """Serve on ``listening`` in this process, until SIGTERM or SIGINT. Blocks."""
    configure_logging(settings)
    uvloop.run(_serve(settings, app, listening, ready))


async def _serve(
    settings: Settings, app: AppFactory, listening: socket.socket, ready: Callable[[], None] | None
) -> None:
    async with Hub.running(settings) as hub:
        server = Server(uvicorn_config(settings, app(hub), hub))
        if ready is not None:
            ready()
        await server.serve(sockets=[listening])


def uvicorn_config(settings: Settings, app: Application, hub: Hub) -> uvicorn.Config:
    """Return uvicorn's configuration for serving ``app`` and the WebSockets of ``hub`` together."""
    return uvicorn.Config(
        app,
        http=cast("Any", partial(HttpProtocol, settings=settings)),
        ws=cast("Any", partial(WebSocketProtocol, hub=hub)),
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.drain_window_s + settings.close_timeout_s) + 1,
    )


class Server(uvicorn.Server):
    """uvicorn's server, which ends its process by the signal it caught, before anything else could be closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop serving on SIGTERM and SIGINT; a SIGINT after that stops without waiting for clients."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
