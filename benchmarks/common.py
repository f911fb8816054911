"""What the benchmarks share: their options, how they print and keep their tables, and who their users are.

Servers are run by :mod:`benchmarks.servers`, connections are held by :mod:`benchmarks.load`, and what is published is
made by :mod:`benchmarks.payloads`.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from realtime.identity.jwt import mint

PROJECT = "demo"
SECRET = "the secret of the benchmarks is of 32 bytes and more"
TEAM = "readers"
"""The team that all authenticated users are members of."""

RESULTS = Path(__file__).with_name("results")
"""Where the last results are kept, one JSON file for each table; :mod:`benchmarks.picture` draws them."""

# Wide enough for every table, also when the output is a file.
_console = Console(width=130, highlight=False)


class Table(NamedTuple):
    """What a benchmark found out."""

    name: str
    """The name of its file among the results."""
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    """Texts and numbers, as many in each row as there are columns. The first is text."""
    notes: Sequence[str] = ()
    """What a reader has to know to read the numbers rightly."""


def options_of(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser that explains a benchmark by its docstring, with the options that all of them have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-save", action="store_true", help="print only; leave the results as they are")
    return parser


def cores() -> tuple[set[int], set[int]]:
    """Return the core of the server, and those of everything else: the same one if there is only one."""
    count = os.cpu_count() or 1
    return {count - 1}, set(range(count - 1)) or {0}


def machine() -> str:
    """Describe what the numbers are taken on, and how its cores are shared out."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    server, others = cores()
    shares = "one core for all" if server == others else f"1 for the server, {len(others)} for all others"
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{model}; {os.cpu_count()} cores: {shares}; {system}"


def say(text: str) -> None:
    """Say at once what is being done, apart from the results: on standard error."""
    print(f"  {text} ...", file=sys.stderr, flush=True)


def show(table: Table, options: argparse.Namespace) -> None:
    """Print a table, and keep it among the results unless ``options`` say otherwise."""
    printed = RichTable(box=SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(table.columns):
        printed.add_column(column, justify="right" if position else "left")
    for row in table.rows:
        printed.add_row(*map(cell_text, row))
    _console.print(f"\n{table.title}\n{machine()}", markup=False)
    _console.print(printed)
    for note in table.notes:
        _console.print(note, markup=False)
    if not options.no_save:
        _keep(table)


def kept(name: str) -> dict[str, Any] | None:
    """Return a table that was kept: ``title``, ``machine``, ``taken``, ``columns``, ``rows``, ``notes``; or None."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def _keep(table: Table) -> None:
    RESULTS.mkdir(exist_ok=True)
    about = {"title": table.title, "machine": machine(), "taken": datetime.now(UTC).date().isoformat()}
    head = json.dumps(about | {"columns": table.columns, "notes": table.notes}, indent=1, ensure_ascii=False)
    # A line for each row, so that a change of the numbers can be read.
    rows = ",\n".join(f"  {json.dumps([_rounded(cell) for cell in row])}" for row in table.rows)
    text = f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n'
    (RESULTS / f"{table.name}.json").write_text(text)


def _rounded(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def cell_text(value: object) -> str:
    """Return what stands in a cell: numbers with commas, and no more digits than mean something."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def token(user_id: str) -> str:
    """Return a token that carries an identity of its own, good for an hour."""
    claims = {
        "sub": user_id,
        "name": f"User {user_id}",
        "email": f"{user_id}@example.com",
        "verified": True,
        "teams": [TEAM],
        "exp": int(time.time()) + 3600,
    }
    return mint(claims, SECRET)


def query_of(*channels: str) -> str:
    """Return the part of a URL that subscribes to ``channels``."""
    return urlencode([("channels[]", channel) for channel in channels])
