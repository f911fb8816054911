"""``realtime dev``, ``hub`` and ``api``: the commands that serve."""

import asyncio
import os
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.text import Text

from realtime.hub.server import bind, serve
from realtime.logs import configure_logging
from realtime.settings import Settings
from workers.cli.context import load_settings, local_endpoint, open_store, resolve
from workers.cli.doctor import port_problem
from workers.cli.output import CommandError, show
from workers.dev import kept
from workers.embedded import EmbeddedValkey

HostOption = Annotated[
    str | None, typer.Option(help="The address to listen on; REALTIME_HOST when left out.")
]
PortOption = Annotated[
    int | None, typer.Option(min=0, max=65535, help="The port to listen on; REALTIME_PORT when left out.")
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="How many processes share the port; REALTIME_WORKERS when left out.")
]

_LOG = structlog.get_logger("realtime.mail")

DEV_DEFAULTS = {"functions_executor": "process", "webhooks_allow_private": True}
"""Settings whose default is another one where a developer tries things out: code that is their own, endpoints that
are on this machine."""

EXAMPLE_EVENT = "databases.main.tables.posts.rows.1.create"
EXAMPLE_PAYLOAD = '{"title": "Hello"}'


def dev(host: HostOption = None, port: PortOption = None, workers: WorkersOption = None) -> None:
    """Run everything on this machine: Redis, hub, API and a page to see it work, with a project and a key."""
    # Here, since every command would wait for it: the API is half of all there is to import.
    from workers.cli.wiring import serve_dev  # noqa: PLC0415

    settings = with_free_port(load_settings(host=host, port=port, workers=workers))
    settings = settings.model_copy(
        update={
            "dev_key": settings.dev_key or kept.read_or_create(settings.data_dir / kept.KEY_FILE),
            "secret": settings.secret or kept.read_or_create(settings.data_dir / kept.SECRET_FILE),
            **{name: value for name, value in DEV_DEFAULTS.items() if name not in settings.model_fields_set},
        }
    )
    if settings.redis_url:
        serve_dev(settings, partial(show_welcome, settings))
        return
    with EmbeddedValkey(settings.data_dir) as valkey:
        settings = settings.model_copy(update={"redis_url": valkey.url})
        serve_dev(settings, partial(show_welcome, settings))


def hub(host: HostOption = None, port: PortOption = None, workers: WorkersOption = None) -> None:
    """Run the WebSocket hub alone, with its health and metrics."""
    settings = resolve(with_free_port(load_settings(host=host, port=port, workers=workers)))
    asyncio.run(_require_redis(settings))
    serve(settings, ready=partial(_show_ready, "hub", settings))


def api(host: HostOption = None, port: PortOption = None, workers: WorkersOption = None) -> None:
    """Run the HTTP API alone."""
    from workers.cli.wiring import serve_api  # noqa: PLC0415 - as above

    settings = resolve(with_free_port(load_settings(host=host, port=port, workers=workers)))
    if not settings.smtp_url:
        configure_logging(settings)
        _LOG.warning("mail is not sent, but written to this log: REALTIME_SMTP_URL is not set")
    serve_api(settings, partial(_show_ready, "api", settings))


def with_free_port(settings: Settings) -> Settings:
    """Return ``settings`` with a port that can be listened on now; port 0 is replaced by a free one.

    Raises:
        CommandError: somebody else has the port, or this user may not have it.
    """
    if settings.port == 0:
        with bind(settings.host, 0) as probe:
            return settings.model_copy(update={"port": probe.getsockname()[1]})
    problem = port_problem(settings.host, settings.port)
    if problem is not None:
        raise CommandError(
            f"Cannot listen on {settings.host}:{settings.port}: {problem}. "
            "Stop the program that has it, or choose another port: --port, or REALTIME_PORT."
        )
    return settings


async def _require_redis(settings: Settings) -> None:
    async with open_store(settings):
        pass


def _show_ready(name: str, settings: Settings) -> None:
    show(Text(f"realtime {name}", "bold"), f" at {local_endpoint(settings)}. Ctrl+C ends it.")


def show_welcome(settings: Settings) -> None:
    """Print where everything is, and what to try next."""
    endpoint = local_endpoint(settings)
    command, options = command_name(), options_elsewhere(settings)
    show(Text("realtime dev", "bold green"), " is ready. Ctrl+C ends it.")
    show()
    for name, value in (
        ("Page", endpoint.removesuffix("/v1") + "/"),
        ("Endpoint", endpoint),
        ("Project", settings.dev_project),
        ("API key", settings.dev_key),
    ):
        show("  ", Text(name.ljust(10), "dim"), value)
    show()
    show("Try it in this folder, in a second and a third terminal:")
    show()
    show(f"  {command} tail rows{options}")
    show(f"  {command} publish {EXAMPLE_EVENT} '{EXAMPLE_PAYLOAD}' --role any{options}")
    show()
    sys.stdout.flush()


def options_elsewhere(settings: Settings) -> str:
    """Return the options with which a command finds this server from a terminal without its environment."""
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    options = ""
    if (settings.host, settings.port) != (defaults["host"], defaults["port"]):
        options += f" --endpoint {local_endpoint(settings)}"
    if settings.dev_project != defaults["dev_project"]:
        options += f" --project {shlex.quote(settings.dev_project)}"
    if kept.read(defaults["data_dir"] / kept.KEY_FILE) != settings.dev_key:
        options += f" --key {shlex.quote(settings.dev_key)}"
    return options


def command_name() -> str:
    """Return how this command is called from the folder it was called in: by its name if that is enough."""
    called = shutil.which(sys.argv[0]) or sys.argv[0]
    found = shutil.which("realtime")
    if found is not None and Path(found).samefile(called):
        return "realtime"
    relative = os.path.relpath(called)
    return shlex.quote(called if relative.startswith("..") else relative)
