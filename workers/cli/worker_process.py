"""A worker as a process, or several: what it stands on, its pages, and how it ends."""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial

import structlog
import uvicorn
import uvloop
from redis.asyncio import Redis
from starlette.applications import Starlette

from realtime.bus import RedisBus, connect, redis_url
from realtime.bus.keys import WorkKind
from realtime.hub.server import bind
from realtime.hub.supervisor import supervise
from realtime.identity.jwt import TokenVerifier
from realtime.identity.resolver import Resolver
from realtime.identity.store import IdentityStore
from realtime.logs import configure_logging
from realtime.settings import Settings
from workers.api.services import Services
from workers.cli.worker_pages import worker_routes

log = structlog.get_logger("realtime.workers")

Work = Callable[[Services], AbstractAsyncContextManager[None]]
"""Works until its block ends. With several processes it must be a module's function."""


def serve_worker(settings: Settings, kind: WorkKind, work: Work, *, ready: Callable[[], None]) -> None:
    """Do ``work`` until SIGTERM or SIGINT, in as many processes as the settings say. Blocks.

    Args:
        settings: Everything; pages are served only if ``worker_port`` is set.
        kind: What the events are wanted for that it takes.
        work: What to do.
        ready: Called once, when the first process is about to work.

    Raises:
        OSError: the port of the pages cannot be bound.
    """
    with _listening(settings) as listening:
        if settings.workers > 1:
            configure_logging(settings)
            supervise(settings.workers, partial(run_worker, settings, kind, work, listening), ready)
        else:
            run_worker(settings, kind, work, listening, ready)


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket | None]:
    if not settings.worker_port:
        yield None
        return
    with contextlib.closing(bind(settings.host, settings.worker_port)) as listening:
        yield listening


def run_worker(
    settings: Settings,
    kind: WorkKind,
    work: Work,
    listening: socket.socket | None,
    ready: Callable[[], None] | None = None,
) -> None:
    """Do ``work`` in this process until SIGTERM or SIGINT, with pages on ``listening``. Blocks."""
    configure_logging(settings)
    uvloop.run(_serve(settings, kind, work, listening, ready))


async def _serve(
    settings: Settings,
    kind: WorkKind,
    work: Work,
    listening: socket.socket | None,
    ready: Callable[[], None] | None,
) -> None:
    async with _opened(settings) as services, services.relay.running(), work(services):
        app = Starlette(routes=worker_routes(services, [kind]))
        # Before anybody can see that this works, and stop it.
        with _signals() as signalled:
            async with _pages(listening, app):
                log.info("worker works", kind=kind)
                if ready is not None:
                    ready()
                await signalled.wait()
                log.info("worker stops", kind=kind)


@contextlib.asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Services]:
    redis: Redis = connect(redis_url(settings))
    identities = IdentityStore(redis)
    services = Services.from_settings(
        settings,
        identities=identities,
        resolver=Resolver(identities, TokenVerifier.from_settings(settings), clock=time.time),
        bus=RedisBus.from_settings(settings, redis),
    )
    try:
        yield services
    finally:
        await services.aclose()
        await redis.aclose()


@contextlib.contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """Set an event at the first SIGTERM or SIGINT. Those that come later end the process at once."""
    loop, signalled = asyncio.get_running_loop(), asyncio.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)
        signalled.set()

    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield signalled
    finally:
        stop()


class _Server(uvicorn.Server):
    """A server in a process that looks after signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


@contextlib.asynccontextmanager
async def _pages(listening: socket.socket | None, app: Starlette) -> AsyncIterator[None]:
    if listening is None:
        yield
        return
    config = uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="realtime-worker-pages")
    try:
        yield
    finally:
        server.should_exit = True
        await serving
