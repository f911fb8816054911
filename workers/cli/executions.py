"""``realtime executions``: the runs of a project's functions, and those that wait to be run, in its database."""

import asyncio
import enum
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer
from rich.text import Text
from sqlalchemy import ColumnElement, RowMapping, func, select

from realtime.settings import Settings
from workers.cli.context import load_settings, open_stores
from workers.cli.keys import ProjectOption
from workers.cli.moments import parse_moment
from workers.cli.output import CommandError, one_line, show, show_list, show_table
from workers.cli.projects import require_project
from workers.models.functions import Execution, execution_model
from workers.store.tables import executions as execution_table

executions = typer.Typer(help="List and show executions of functions.", no_args_is_help=True)

MAX_LISTED = 10_000

MAX_ERROR_LENGTH = 60
"""How much of an error is listed."""

HEADING = ("created", "id", "status", "trigger", "answer", "seconds", "function", "error")


class ExecutionStatus(enum.StrEnum):
    """What can have become of an execution."""

    SCHEDULED = "scheduled"
    WAITING = "waiting"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class _Selection:
    """Which executions of a project: those that meet all that is said. What is empty says nothing."""

    project_id: str
    function_ids: tuple[str, ...]
    status: ExecutionStatus | None
    since: str

    def conditions(self) -> list[ColumnElement[bool]]:
        columns = execution_table.c
        where = [columns.project_id == self.project_id]
        if self.function_ids:
            where.append(columns.function_id.in_(self.function_ids))
        if self.status:
            where.append(columns.status == self.status.value)
        if self.since:
            where.append(columns.created_at >= self.since)
        return where


@executions.command("list")
def list_(
    project: ProjectOption = None,
    function: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Of this function; may be repeated.")
    ] = None,
    status: Annotated[ExecutionStatus | None, typer.Option(help="What has become of them.")] = None,
    since: Annotated[
        str,
        typer.Option(metavar="TIME", help="Created since: 2026-01-31T09:30, or how long ago, such as 2h."),
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=MAX_LISTED, help="How many at most.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List executions, the newest first, with what came of them."""
    settings = load_settings()
    selection = _Selection(
        project or settings.dev_project, tuple(function or ()), status, parse_moment(since, datetime.now(UTC))
    )
    listed, total = asyncio.run(_list(settings, selection, limit))
    show_list(listed, total, _line, heading=HEADING, what="executions", as_json=as_json)


@executions.command("show")
def show_(
    execution_id: Annotated[str, typer.Argument(metavar="ID")],
    project: ProjectOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show an execution with its request, its answer, and what the code has written."""
    settings = load_settings()
    execution = asyncio.run(_find(settings, project or settings.dev_project, execution_id))
    if as_json:
        show(orjson.dumps(execution).decode())
    else:
        _show_execution(execution)


def _line(execution: Execution) -> tuple[str, ...]:
    errors = one_line(execution["errors"])
    return (
        execution["$createdAt"],
        execution["$id"],
        execution["status"],
        execution["trigger"],
        str(execution["responseStatusCode"] or "-"),
        f"{execution['duration']:.3f}",
        execution["functionId"],
        textwrap.shorten(errors, MAX_ERROR_LENGTH, placeholder="…"),
    )


def _show_execution(execution: Execution) -> None:
    facts = {
        "function": execution["functionId"],
        "deployment": execution["deploymentId"],
        "trigger": execution["trigger"],
        "status": execution["status"],
        "created": execution["$createdAt"],
        "scheduled": execution["scheduledAt"],
        "request": one_line(f"{execution['requestMethod']} {execution['requestPath']}"),
        "answer": str(execution["responseStatusCode"] or ""),
        "duration": f"{execution['duration']:.3f} s",
    }
    show_table([(name, value) for name, value in facts.items() if value])
    for name, written in (("logs", execution["logs"]), ("errors", execution["errors"])):
        if written:
            show(Text(name, "bold"))
            for line in written.splitlines():
                show("  ", "".join(char if char.isprintable() else "\ufffd" for char in line.expandtabs()))


def _model(row: RowMapping) -> Execution:
    return execution_model(row, shows_output=True)


async def _list(settings: Settings, selection: _Selection, limit: int) -> tuple[list[Execution], int]:
    """Return the newest executions of a selection, and how many there are in all."""
    where = selection.conditions()
    newest = select(execution_table).where(*where).order_by(execution_table.c.seq.desc()).limit(limit)
    async with open_stores(settings) as (store, identities, _):
        await require_project(identities, selection.project_id)
        async with store.read() as connection:
            rows = (await connection.execute(newest)).mappings().all()
            total = len(rows)
            if total == limit:
                counted = select(func.count()).select_from(execution_table).where(*where)
                total = await connection.scalar(counted) or 0
    return [_model(row) for row in rows], total


async def _find(settings: Settings, project_id: str, execution_id: str) -> Execution:
    wanted = select(execution_table).where(
        execution_table.c.project_id == project_id, execution_table.c.id == execution_id
    )
    async with open_stores(settings) as (store, identities, _):
        await require_project(identities, project_id)
        async with store.read() as connection:
            row = (await connection.execute(wanted)).mappings().one_or_none()
    if row is None:
        raise CommandError(
            f"Project {project_id} has no execution {execution_id}; "
            "`realtime executions list` shows those that there are."
        )
    return _model(row)
