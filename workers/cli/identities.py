"""``realtime identities``: what hubs and workers know of projects, keys, people and triggers."""

import asyncio
from collections.abc import Mapping

import typer
from rich.text import Text

from realtime.settings import Settings
from workers.cli.context import load_settings, open_stores
from workers.cli.output import counted, note, show
from workers.cli.progress import counting
from workers.store.rebuild import Rebuild

KINDS = ("project", "key", "webhook", "function", "user")
"""What is written, in the order in which it is told."""

identities = typer.Typer(help="What hubs know of projects, keys and people.", no_args_is_help=True)


@identities.callback()
def group() -> None:
    """Keep `rebuild` a command of its own, though it is the only one."""


@identities.command()
def rebuild() -> None:
    """Write everything that hubs and workers know anew from the database; safe while everything runs."""
    written, refused = asyncio.run(_rebuild(load_settings()))
    for reason in refused:
        note(f"A user was left out: {reason}")
    show(Text("rebuilt ", "green"), ", ".join(counted(written[kind], kind) for kind in KINDS))


async def _rebuild(settings: Settings) -> tuple[Mapping[str, int], list[str]]:
    """Return how much was written by kind, and why some users were refused."""
    async with open_stores(settings) as (store, identities, triggers):
        run = Rebuild(store.database, identities, triggers)
        with counting("users", await run.count()) as bar:
            await run.run(bar.advance)
        return run.written, run.refused
