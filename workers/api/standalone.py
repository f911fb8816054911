"""The HTTP API as a program of its own: :func:`serve` runs it, :func:`create` makes the application."""

import contextlib
import time
from collections.abc import Callable
from functools import partial
from socket import socket

import uvicorn
import uvloop
from fastapi import FastAPI

from realtime.bus import RedisBus, connect, redis_url
from realtime.hub.server import Server, bind
from realtime.hub.supervisor import supervise
from realtime.identity.jwt import TokenVerifier
from realtime.identity.resolver import Resolver
from realtime.identity.store import IdentityStore
from realtime.logs import configure_logging
from realtime.settings import Settings
from workers.api.app import create_app
from workers.api.services import Services


def serve(settings: Settings, *, ready: Callable[[], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Blocks. It is the main program: it logs as the settings say.

    Args:
        settings: Everything; without ``redis_url``, the embedded server of the data folder is used.
        ready: Called once, when the port is open and the first process is about to accept.

    Raises:
        OSError: The port cannot be bound.
    """
    with contextlib.closing(bind(settings.host, settings.port)) as listening:
        if settings.workers > 1:
            configure_logging(settings)
            supervise(settings.workers, partial(run_worker, settings, listening), ready)
        else:
            run_worker(settings, listening, ready)


def run_worker(settings: Settings, listening: socket, ready: Callable[[], None] | None = None) -> None:
    """Serve on ``listening`` in this process, until SIGTERM or SIGINT. Blocks."""
    configure_logging(settings)
    server = Server(uvicorn_config(settings))
    if ready is not None:
        ready()
    uvloop.run(server.serve(sockets=[listening]))


def uvicorn_config(settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration for serving the API."""
    return uvicorn.Config(
        create(settings),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # Requests that are being answered when it is to stop have the time that a hub's clients have.
        timeout_graceful_shutdown=int(settings.drain_window_s + settings.close_timeout_s) + 1,
    )


def create(settings: Settings) -> FastAPI:
    """Return the API, wired to the Redis of ``settings``, or to the embedded server of the data folder."""
    redis = connect(redis_url(settings))
    identities = IdentityStore(redis)
    services = Services.from_settings(
        settings,
        identities=identities,
        resolver=Resolver(identities, TokenVerifier.from_settings(settings), clock=time.time),
        bus=RedisBus.from_settings(settings, redis),
    )
    return create_app(services=services)
