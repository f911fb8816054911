"""What the benchmarks share: how they name the machine and print their tables, and what they send.

Servers are run by :mod:`benchmarks.servers`, connections are held by :mod:`benchmarks.load`.
"""

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from realtime.events.event import Event, prepare
from realtime.identity.jwt import mint

PROJECT = "demo"
SECRET = "the secret of the benchmarks is of 32 bytes and more"

# Wide enough for every table, also when the output is a file.
_console = Console(width=120, highlight=False)


def machine() -> str:
    """Describe what the numbers were taken on, and how busy it was before."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def say(text: str) -> None:
    """Say at once what is being done, apart from the results: on standard error."""
    print(f"  {text} ...", file=sys.stderr, flush=True)


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *notes: str) -> None:
    """Print one table: a title, the machine, ``rows`` under ``columns``, and notes below.

    The first column is text; the others are numbers, aligned to the right.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if position else "left")
    for row in rows:
        table.add_row(*map(_cell, row))
    _console.print(f"\n{title}\n{machine()}", markup=False)
    _console.print(table)
    for note in notes:
        _console.print(note, markup=False)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def token(user_id: str, *teams: str) -> str:
    """Return a token that carries an identity of its own, good for an hour."""
    claims = {
        "sub": user_id,
        "name": f"User {user_id}",
        "email": f"{user_id}@example.com",
        "verified": True,
        "teams": list(teams),
        "exp": int(time.time()) + 3600,
    }
    return mint(claims, SECRET)


def query_of(*channels: str) -> str:
    """Return the part of a URL that subscribes to ``channels``."""
    return urlencode([("channels[]", channel) for channel in channels])


def envelope(name: str, payload: Mapping[str, Any], *roles: str) -> bytes:
    """Return the envelope of an event that ``roles`` may read, ready for the bus."""
    (prepared,) = prepare(Event(name, payload, roles=roles), PROJECT, now=datetime.now(UTC))
    return prepared.envelope
