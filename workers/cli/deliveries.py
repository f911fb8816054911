"""``realtime deliveries``: what was, and what is to be, delivered to the webhooks of a project, in its database."""

import asyncio
import enum
import textwrap
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import orjson
import typer
from rich.text import Text
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.settings import Settings
from workers.cli.context import load_settings, open_stores
from workers.cli.keys import ProjectOption
from workers.cli.moments import parse_moment
from workers.cli.output import CommandError, counted, note, one_line, show, show_list, show_table
from workers.cli.progress import counting
from workers.cli.projects import require_project
from workers.models.deliveries import Delivery, DeliveryDetails, delivery_model
from workers.store.tables import deliveries as delivery_table
from workers.webhooks.delivery_log import (
    Batch,
    Selection,
    count_pending,
    count_redeliverable,
    count_selected,
    find_disabled,
    find_states,
    load_details,
    purge,
    redeliver,
)

deliveries = typer.Typer(help="List, replay and purge deliveries to webhooks.", no_args_is_help=True)

MAX_LISTED = 10_000

MAX_ERROR_LENGTH = 60
"""How much of an error is listed."""

HEADING = ("recorded", "id", "status", "attempts", "answer", "next attempt", "webhook", "event", "error")


class DeliveryStatus(enum.StrEnum):
    """What can have become of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


WebhookOption = Annotated[
    list[str] | None, typer.Option(metavar="ID", help="To this webhook; may be repeated.")
]
EventOption = Annotated[str, typer.Option(metavar="ID", help="Of the event with this ID.")]
SinceOption = Annotated[
    str, typer.Option(metavar="TIME", help="Recorded since: 2026-01-31T09:30, or how long ago, such as 2h.")
]
UntilOption = Annotated[str, typer.Option(metavar="TIME", help="Recorded before that.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say how many there are.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="IDs of deliveries.")]


@deliveries.command("list")
def list_(
    project: ProjectOption = None,
    webhook: WebhookOption = None,
    status: Annotated[DeliveryStatus | None, typer.Option(help="What has become of them.")] = None,
    event: EventOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    limit: Annotated[int, typer.Option(min=1, max=MAX_LISTED, help="How many at most.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List deliveries, the newest first, with what came of the last attempt, and when the next one is made."""
    settings = load_settings()
    selection = _selection(settings, project, webhook, status, event, since, until)
    listed, total = asyncio.run(_list(settings, selection, limit))
    show_list(listed, total, _line, heading=HEADING, what="deliveries", as_json=as_json)


@deliveries.command("show")
def show_(
    delivery_id: Annotated[str, typer.Argument(metavar="ID")],
    project: ProjectOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a delivery with its event, what is sent, and every attempt."""
    settings = load_settings()
    details = asyncio.run(_details(settings, Selection(project or settings.dev_project, ids=(delivery_id,))))
    written = orjson.dumps(details)
    if as_json:
        show(written.decode())
    else:
        _show_details(orjson.loads(written))


@deliveries.command()
def replay(
    ids: Ids = None,
    project: ProjectOption = None,
    webhook: WebhookOption = None,
    status: Annotated[
        DeliveryStatus | None,
        typer.Option(help="What has become of them: dead when left out; any with IDs or --event."),
    ] = None,
    event: EventOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    dry_run: DryRunOption = False,
) -> None:
    """Have deliveries made anew, with the same IDs; give IDs, --event, --since or --webhook."""
    if not (ids or event or since or webhook):
        raise CommandError("Say which: give IDs of deliveries, --event, --since or --webhook.")
    settings = load_settings()
    is_dead_meant = status is None and not (ids or event)
    if is_dead_meant:
        status = DeliveryStatus.DEAD
    selection = _selection(settings, project, webhook, status, event, since, until, ids)
    left = asyncio.run(_find_left(settings, selection))
    count = asyncio.run(_replay(settings, selection, dry_run=dry_run))
    _tell("to be replayed" if dry_run else "replayed", count)
    for webhook_id in left.disabled:
        note(f"Left out: webhook {webhook_id} is disabled; enable it first.")
    if is_dead_meant and left.pending:
        note(
            f"{left.pending:,} pending, to be tried again by themselves; --status pending replays them at once."
        )
    if left.disabled and not count:
        raise typer.Exit(1)


@deliveries.command("purge")
def purge_(
    ids: Ids = None,
    project: ProjectOption = None,
    webhook: WebhookOption = None,
    status: Annotated[DeliveryStatus, typer.Option(help="What has become of them.")] = DeliveryStatus.DEAD,
    event: EventOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove deliveries of one status, dead letters unless --status says otherwise, for good."""
    settings = load_settings()
    selection = _selection(settings, project, webhook, status, event, since, until, ids)
    count = asyncio.run(_purge(settings, selection, dry_run=dry_run, yes=yes))
    _tell("to be purged" if dry_run else "purged", count)


def _selection(
    settings: Settings,
    project: str | None,
    webhook: list[str] | None,
    status: DeliveryStatus | None,
    event: str,
    since: str,
    until: str,
    ids: list[str] | None = None,
) -> Selection:
    now = datetime.now(UTC)
    return Selection(
        project or settings.dev_project,
        webhook_ids=tuple(webhook or ()),
        status=None if status is None else status.value,
        event_id=event,
        since=parse_moment(since, now),
        until=parse_moment(until, now),
        ids=tuple(ids or ()),
    )


def _line(delivery: Delivery) -> tuple[str, ...]:
    return (
        delivery["$createdAt"],
        delivery["$id"],
        delivery["status"],
        str(delivery["attempts"]),
        str(delivery["responseStatusCode"] or "-"),
        delivery["nextAttemptAt"] or "-",
        delivery["webhookId"],
        delivery["event"],
        textwrap.shorten(one_line(delivery["error"]), MAX_ERROR_LENGTH, placeholder="…"),
    )


def _show_details(details: DeliveryDetails) -> None:
    facts = {
        "webhook": details["webhookId"],
        "event": f"{details['eventId']} {details['event']}",
        "user": details["userId"],
        "status": details["status"],
        "recorded": details["$createdAt"],
        "next attempt": details["nextAttemptAt"],
        "payload": one_line(orjson.dumps(details["payload"]).decode()),
    }
    show_table([(name, value) for name, value in facts.items() if value])
    for attempt in details["history"]:
        outcome = str(attempt["responseStatusCode"] or "no response")
        show(
            Text(f"attempt {attempt['number']}", "bold"),
            f"  {attempt['startedAt']}  {attempt['duration']:.3f} s  {outcome}  {one_line(attempt['error'])}".rstrip(),
        )
        if attempt["response"]:
            show("  ", one_line(attempt["response"]))


def _tell(done: str, count: int) -> None:
    show(Text(f"{done} ", "green"), counted(count, "delivery", "deliveries"))


async def _list(settings: Settings, selection: Selection, limit: int) -> tuple[list[Delivery], int]:
    """Return the newest deliveries of a selection, and how many there are in all."""
    statement = (
        select(delivery_table)
        .where(*selection.conditions())
        .order_by(delivery_table.c.seq.desc())
        .limit(limit)
    )
    async with open_stores(settings) as (store, identities, _):
        await require_project(identities, selection.project_id)
        async with store.read() as connection:
            rows = (await connection.execute(statement)).mappings().all()
            total = await count_selected(connection, selection) if len(rows) == limit else len(rows)
    return [delivery_model(row) for row in rows], total


async def _details(settings: Settings, selection: Selection) -> DeliveryDetails:
    async with open_stores(settings) as (store, identities, _):
        await require_project(identities, selection.project_id)
        async with store.read() as connection:
            found = await connection.execute(select(delivery_table).where(*selection.conditions()))
            row = found.mappings().one_or_none()
            if row is None:
                raise CommandError(
                    f"Project {selection.project_id} has no delivery {selection.ids[0]}; "
                    "`realtime deliveries list` shows those that there are."
                )
            return await load_details(connection, row)


class Left(NamedTuple):
    """What a replay leaves as it is."""

    disabled: list[str]
    """Webhooks that would be sent something if they were not disabled, by their IDs."""
    pending: int
    """How many of the same deliveries are no dead letters, and wait for their next attempt."""


async def _find_left(settings: Settings, selection: Selection) -> Left:
    """Return what a replay leaves as it is.

    Raises:
        CommandError: one of the webhooks that are named is not there, or disabled.
    """
    async with open_stores(settings) as (store, identities, _):
        await require_project(identities, selection.project_id)
        async with store.read() as connection:
            states = await find_states(connection, selection.project_id) if selection.webhook_ids else {}
            for webhook_id in selection.webhook_ids:
                if webhook_id not in states:
                    raise CommandError(f"Project {selection.project_id} has no webhook {webhook_id}.")
                if not states[webhook_id]:
                    raise CommandError(f"Webhook {webhook_id} is disabled: enable it first.")
            return Left(
                await find_disabled(connection, selection), await count_pending(connection, selection)
            )


async def _replay(settings: Settings, selection: Selection, *, dry_run: bool) -> int:
    now = datetime.now(UTC)
    return await _in_steps(
        settings,
        selection,
        count_redeliverable,
        lambda connection, after_seq: redeliver(connection, selection, now, after_seq=after_seq),
        may_go_on=lambda _: not dry_run,
    )


async def _purge(settings: Settings, selection: Selection, *, dry_run: bool, yes: bool) -> int:
    # What is recorded from now on was not asked about.
    bounded = replace(selection, until=selection.until or parse_moment("0s", datetime.now(UTC)))

    def may_go_on(count: int) -> bool:
        if dry_run or not count:
            return False
        if not yes:
            what = counted(count, f"{selection.status} delivery", f"{selection.status} deliveries")
            typer.confirm(f"Remove {what} of project {selection.project_id}?", abort=True, err=True)
        return True

    return await _in_steps(
        settings,
        bounded,
        count_selected,
        lambda connection, after_seq: purge(connection, bounded, after_seq=after_seq),
        may_go_on=may_go_on,
    )


async def _in_steps(
    settings: Settings,
    selection: Selection,
    count_all: Callable[[AsyncConnection, Selection], Awaitable[int]],
    take_step: Callable[[AsyncConnection, int], Awaitable[Batch]],
    *,
    may_go_on: Callable[[int], bool],
) -> int:
    """Walk through a selection, each step a transaction of its own; return how many were, or would be, changed."""
    async with open_stores(settings) as (store, identities, _):
        project = await require_project(identities, selection.project_id)
        async with store.read() as connection:
            total = await count_all(connection, selection)
        if not may_go_on(total):
            return total
        after_seq: int | None = 0
        with counting("deliveries", total) as bar:
            while after_seq is not None:
                async with store.write(project) as tx:
                    changed, after_seq = await take_step(tx.connection, after_seq)
                bar.advance(changed)
        return bar.done
