"""``realtime work``: the events that wait for webhooks and functions, and those that could not be handled, in Redis."""

import asyncio
import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import orjson
import typer
from redis.asyncio import Redis
from rich.text import Text

from realtime.bus.dead_work import DeadEntry, DeadWork
from realtime.bus.keys import BUCKETS, WORK_KINDS, WorkKind, work_key
from realtime.bus.work import WorkQueue
from realtime.events.work import WorkItem, decode_work
from realtime.settings import Settings
from workers.cli.context import load_settings, open_redis
from workers.cli.output import CommandError, counted, note, one_line, show, show_table
from workers.cli.progress import counting

work = typer.Typer(
    help="Events that wait for webhooks and functions, or were laid aside.", no_args_is_help=True
)

PAGE = 100
"""How many entries one command to Redis is about."""


class Kind(enum.StrEnum):
    """What events wait for."""

    WEBHOOKS = "webhooks"
    FUNCTIONS = "functions"


class Found(NamedTuple):
    """What there is of a kind in a bucket."""

    kind: WorkKind
    bucket: int
    waiting: int
    dead: int


class Place(NamedTuple):
    """A bucket of a kind, and how many entries of it a command is about."""

    kind: WorkKind
    bucket: int
    entries: int


KindOption = Annotated[Kind | None, typer.Option(help="Those that wait, or waited, for these only.")]
BucketOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=BUCKETS - 1,
        help=f"Those in this one of the {BUCKETS} parts that projects are spread over.",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say how many there are.")]


@work.command("list")
def list_(
    kind: KindOption = None,
    bucket: BucketOption = None,
    dead: Annotated[
        bool, typer.Option("--dead", help="List each event that was laid aside, and why.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List how many events wait, and how many were laid aside, by kind and bucket, where there are any."""
    settings = load_settings()
    if dead:
        asyncio.run(_list_dead(settings, kind, bucket, as_json=as_json))
        return
    found = asyncio.run(_find(settings, kind, bucket))
    if as_json:
        for each in found:
            show(orjson.dumps(each._asdict()).decode())
    else:
        show_table(
            [
                (each.kind, f"bucket {each.bucket}", f"{each.waiting} waiting", f"{each.dead} laid aside")
                for each in found
            ]
        )
        if not found:
            note("Nothing waits, and nothing was laid aside.")


@work.command()
def replay(kind: KindOption = None, bucket: BucketOption = None, dry_run: DryRunOption = False) -> None:
    """Put the events that were laid aside back to those that wait."""
    settings = load_settings()
    places = _dead_places(asyncio.run(_find(settings, kind, bucket)))
    if not dry_run:
        asyncio.run(_each_dead(settings, places, DeadWork.replay))
    _tell("to be replayed" if dry_run else "replayed", places)


@work.command()
def purge(
    kind: KindOption = None,
    bucket: BucketOption = None,
    waiting: Annotated[
        bool,
        typer.Option("--waiting", help="Instead those that wait: nobody is told of them. With --kind only."),
    ] = False,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove the events that were laid aside, for good."""
    if waiting and kind is None:
        raise CommandError("Say with --kind whether webhooks or functions are not to be told of what waits.")
    settings = load_settings()
    found = asyncio.run(_find(settings, kind, bucket))
    places = _waiting_places(found) if waiting else _dead_places(found)
    if places and not dry_run:
        if not yes:
            what = "that wait" if waiting else "that were laid aside"
            typer.confirm(f"Remove {_events(places)} {what}?", abort=True, err=True)
        asyncio.run(
            _purge_waiting(settings, places) if waiting else _each_dead(settings, places, DeadWork.remove)
        )
    _tell("to be purged" if dry_run else "purged", places)


def _dead_places(found: Sequence[Found]) -> list[Place]:
    return [Place(each.kind, each.bucket, each.dead) for each in found if each.dead]


def _waiting_places(found: Sequence[Found]) -> list[Place]:
    return [Place(each.kind, each.bucket, each.waiting) for each in found if each.waiting]


def _total(places: Sequence[Place]) -> int:
    return sum(place.entries for place in places)


def _events(places: Sequence[Place]) -> str:
    return counted(_total(places), "event")


def _tell(done: str, places: Sequence[Place]) -> None:
    show(Text(f"{done} ", "green"), _events(places))


async def _find(settings: Settings, kind: Kind | None, bucket: int | None) -> list[Found]:
    """Return what there is, where there is anything, by kind and bucket."""
    found: list[Found] = []
    async with open_redis(settings) as redis:
        for each in WORK_KINDS if kind is None else (kind.value,):
            waiting = await WorkQueue(redis, each, "command").lengths()
            dead = await DeadWork(redis, each).lengths()
            found += [
                Found(each, number, waiting[number], dead[number])
                for number in range(BUCKETS)
                if bucket in (None, number) and (waiting[number] or dead[number])
            ]
    return found


async def _list_dead(settings: Settings, kind: Kind | None, bucket: int | None, *, as_json: bool) -> None:
    places = _dead_places(await _find(settings, kind, bucket))
    if not places and not as_json:
        note("Nothing was laid aside.")
    async with open_redis(settings) as redis:
        for place in places:
            async for entries in _pages(DeadWork(redis, place.kind), place):
                for entry in entries:
                    _show_entry(place.kind, entry, as_json=as_json)


def _show_entry(kind: WorkKind, entry: DeadEntry, *, as_json: bool) -> None:
    project, event = _describe(entry)
    facts = {
        "kind": kind,
        "bucket": entry.bucket,
        "project": project,
        "eventId": entry.event_id,
        "event": event,
        "reason": entry.reason,
    }
    if as_json:
        show(orjson.dumps(facts).decode())
    else:
        show("  ".join(one_line(str(fact)) for fact in facts.values() if fact != ""))


def _describe(entry: DeadEntry) -> tuple[str, str]:
    """Return the project and the first name of an event; empty texts if it is none, which may be why it is here."""
    item = WorkItem(
        entry.bucket, entry.entry_id, entry.event_id, entry.envelope, entry.full_payload, times_read=0
    )
    try:
        event = decode_work(item)
    except msgspec.DecodeError:
        return "", ""
    return event.project, event.events[0] if event.events else ""


async def _pages(dead: DeadWork, place: Place) -> AsyncIterator[list[DeadEntry]]:
    """Yield the entries of a bucket, as many as it had when it was looked at."""
    after, left = b"", place.entries
    while left > 0 and (entries := await dead.page(place.bucket, after=after, count=min(PAGE, left))):
        yield entries
        after, left = entries[-1].entry_id, left - len(entries)


async def _each_dead(
    settings: Settings,
    places: Sequence[Place],
    act: Callable[[DeadWork, Sequence[DeadEntry]], Awaitable[None]],
) -> None:
    async with open_redis(settings) as redis:
        with counting("events", _total(places)) as bar:
            for place in places:
                dead = DeadWork(redis, place.kind)
                async for entries in _pages(dead, place):
                    await act(dead, entries)
                    bar.advance(len(entries))


async def _purge_waiting(settings: Settings, places: Sequence[Place]) -> None:
    async with open_redis(settings) as redis:
        with counting("events", _total(places)) as bar:
            for place in places:
                left = place.entries
                while left > 0 and (items := await _oldest(redis, place, min(PAGE, left))):
                    await WorkQueue(redis, place.kind, "command").done(items)
                    left -= len(items)
                    bar.advance(len(items))


async def _oldest(redis: Redis, place: Place, count: int) -> list[WorkItem]:
    """Return the oldest entries that wait, or are being handled."""
    found: Any = await redis.xrange(work_key(place.bucket, place.kind), count=count)
    return [WorkItem(place.bucket, entry_id, "", b"", b"", times_read=0) for entry_id, _ in found]
