"""``realtime webhooks`` and ``functions``: the commands that work on what events are wanted for."""

from functools import partial
from typing import Annotated

import typer
from rich.text import Text

from realtime.settings import Settings
from workers.cli.context import load_settings, resolve
from workers.cli.doctor import port_problem
from workers.cli.output import CommandError, show

PortOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Where to serve health and metrics; REALTIME_WORKER_PORT when left out, 0 for nowhere.",
    ),
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="How many processes to run; REALTIME_WORKERS when left out.")
]


def webhooks(port: PortOption = None, workers: WorkersOption = None) -> None:
    """Deliver events to webhooks. Any number of these may run."""
    from workers.cli.worker_wiring import serve_webhooks  # noqa: PLC0415 - every command would wait for it

    settings = worker_settings(port, workers)
    serve_webhooks(settings, partial(_show_ready, "webhooks", settings))


def functions(port: PortOption = None, workers: WorkersOption = None) -> None:
    """Run functions for events, by their schedules, and whenever nobody waits for the answer. Any number may run."""
    from workers.cli.worker_wiring import serve_functions  # noqa: PLC0415 - as above

    settings = worker_settings(port, workers)
    serve_functions(settings, partial(_show_ready, "functions", settings))


def worker_settings(port: int | None, workers: int | None) -> Settings:
    """Return the settings for a worker whose pages are on ``port``.

    Raises:
        CommandError: somebody else has the port, or this user may not have it.
    """
    settings = resolve(load_settings(worker_port=port, workers=workers))
    problem = port_problem(settings.host, settings.worker_port) if settings.worker_port else None
    if problem is not None:
        raise CommandError(
            f"Cannot listen on {settings.host}:{settings.worker_port}: {problem}. "
            "Stop the program that has it, or choose another port: --port, or REALTIME_WORKER_PORT."
        )
    return settings


def _show_ready(name: str, settings: Settings) -> None:
    pages = f", with its pages on {settings.host}:{settings.worker_port}" if settings.worker_port else ""
    show(Text(f"realtime {name}", "bold"), f" works{pages}. Ctrl+C ends it.")
