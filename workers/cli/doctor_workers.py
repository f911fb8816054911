"""What ``realtime doctor`` says of those who deliver webhooks and run functions. Imported by it alone."""

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from realtime.bus import connect
from realtime.bus.keys import BUCKETS, WorkKind, work_key
from realtime.bus.work import GROUP, WorkQueue
from realtime.settings import Settings
from realtime.triggers.store import TriggerStore
from workers.cli.context import has_database, resolve
from workers.cli.findings import Finding, Level
from workers.cli.output import counted
from workers.store import tables
from workers.store.database import open_database
from workers.store.times import to_text
from workers.store.trigger_names import find_miscounted

TIMEOUT_S = 5.0
"""How long Redis, the database or a program may take."""

TRIGGERS_TIMEOUT_S = 30.0
"""How long all triggers of all projects may take."""

MAX_NAMED = 5
"""How many projects are named at most."""

ALIVE_S = 20.0
"""Who reads does so again within a few seconds, whether something comes or not; who has not for so long is gone."""

MAX_COUNTED = 10_000
"""Up to how many deliveries or executions are counted, which takes its time."""

KINDS: tuple[WorkKind, ...] = ("webhooks", "functions")


def check_workers(settings: Settings) -> list[Finding]:
    """Judge whether somebody takes the events that webhooks, and functions, wait for; nothing if Redis is away."""
    try:
        return asyncio.run(_check_workers(settings))
    except (RedisError, OSError):
        # That is told by the check of Redis.
        return []


async def _check_workers(settings: Settings) -> list[Finding]:
    redis = connect(resolve(settings).redis_url)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return [await _check_kind(settings, redis, kind) for kind in KINDS]
    finally:
        await redis.aclose()


async def _check_kind(settings: Settings, redis: Redis, kind: WorkKind) -> Finding:
    waiting = sum(await WorkQueue(redis, kind, "doctor").lengths())
    seen_s = await _last_seen_s(redis, kind)
    is_wanted, due = await _ask_database(settings, kind)
    is_wanted = is_wanted or seen_s is not None or waiting > 0
    return judge_workers(kind, Waiting(events=waiting, due=due), seen_s=seen_s, is_wanted=is_wanted)


class Waiting(NamedTuple):
    """What waits to be done of one kind of work."""

    events: int
    """How many events no worker is done with."""
    due: int
    """How many deliveries, or executions, are to be begun now; counted up to :data:`MAX_COUNTED`."""


def judge_workers(kind: WorkKind, waiting: Waiting, *, seen_s: float | None, is_wanted: bool) -> Finding:
    """Judge one kind of work.

    Args:
        kind: which.
        waiting: what waits to be done.
        seen_s: how long ago a worker asked for events; None if none did lately.
        is_wanted: whether there is anything to be told of events.
    """
    one, many = ("delivery", "deliveries") if kind == "webhooks" else ("execution", "executions")
    more = " or more" if waiting.due == MAX_COUNTED else ""
    what = (
        f"{counted(waiting.events, 'event')} and {counted(waiting.due, one, many)}{more} wait in Redis "
        "and the database"
    )
    if seen_s is not None:
        return Finding(Level.OK, kind, f"a worker takes what comes, last seen {seen_s:.0f} s ago; {what}")
    if not is_wanted and not waiting.due:
        return Finding(Level.OK, kind, "there are none, and no worker for them")
    return Finding(Level.WARN, kind, f"no worker takes what comes; {what}", f"start `realtime {kind}`")


async def _last_seen_s(redis: Redis, kind: WorkKind) -> float | None:
    """Return how long ago somebody asked for entries; None if nobody did lately."""
    for number in range(BUCKETS):
        with contextlib.suppress(ResponseError):
            # A stream that is not there yet, or has no group, is read by nobody. Each worker reads all of them.
            readers: list[dict[str, Any]] = await redis.xinfo_consumers(work_key(number, kind), GROUP)
            idle_s = min((reader["idle"] / 1000 for reader in readers), default=ALIVE_S)
            if idle_s < ALIVE_S:
                return float(idle_s)
    return None


async def _ask_database(settings: Settings, kind: WorkKind) -> tuple[bool, int]:
    """Return whether a webhook, or a function, is enabled, and how many deliveries, or executions, are due.

    No and none if nobody knows.
    """
    if not has_database(settings):
        return False, 0
    table, work = (
        (tables.webhooks, tables.deliveries) if kind == "webhooks" else (tables.functions, tables.executions)
    )
    due = select(work.c.seq).where(work.c.due_at <= to_text(datetime.now(UTC))).limit(MAX_COUNTED)
    database = open_database(settings)
    try:
        async with database.reading() as connection:
            enabled = await connection.execute(select(table.c.seq).where(table.c.enabled).limit(1))
            count = await connection.scalar(select(func.count()).select_from(due.subquery()))
            return enabled.first() is not None, count or 0
    except (SQLAlchemyError, OSError):
        return False, 0
    finally:
        await database.aclose()


def check_triggers(settings: Settings) -> list[Finding]:
    """Judge whether publishing knows what webhooks and functions wait for; nothing if a server is away that knows."""
    if not has_database(settings):
        return []
    try:
        missed = asyncio.run(_find_miscounted(settings))
    except (RedisError, SQLAlchemyError, OSError):
        # That is told by the checks of Redis and of the database.
        return []
    return [judge_triggers(missed)]


async def _find_miscounted(settings: Settings) -> list[str]:
    redis, database = connect(resolve(settings).redis_url), open_database(settings)
    try:
        async with asyncio.timeout(TRIGGERS_TIMEOUT_S):
            return await find_miscounted(database, TriggerStore(redis))
    finally:
        await database.aclose()
        await redis.aclose()


def judge_triggers(missed: Sequence[str]) -> Finding:
    """Judge what Redis knows, given the IDs of projects whose triggers wait for other events than it knows of."""
    if not missed:
        return Finding(Level.OK, "triggers", "Redis knows which events they wait for")
    more = f" and {len(missed) - MAX_NAMED:,} more" if len(missed) > MAX_NAMED else ""
    return Finding(
        Level.FAIL,
        "triggers",
        f"Redis does not know which events triggers wait for in: {', '.join(missed[:MAX_NAMED])}{more}",
        "`realtime identities rebuild`, when no server of an earlier release runs any more",
    )


def check_executor(settings: Settings) -> Finding:
    """Judge whether this machine can run the code of deployments, if it is to."""
    if settings.functions_executor == "http":
        return Finding(
            Level.OK,
            "executor",
            "functions that live at a URL; REALTIME_FUNCTIONS_EXECUTOR=process runs the code of deployments",
        )
    python, node = _version(settings.functions_python or sys.executable), _version(settings.functions_node)
    if python is None:
        return Finding(
            Level.FAIL,
            "executor",
            f"{settings.functions_python or sys.executable} does not run",
            "mend REALTIME_FUNCTIONS_PYTHON: the Python that runs functions",
        )
    if node is None:
        return Finding(
            Level.WARN,
            "executor",
            f"{python}; {settings.functions_node} does not run, so functions in JavaScript fail",
            "install Node.js 18 or newer, or set REALTIME_FUNCTIONS_NODE to where it is",
        )
    return Finding(Level.OK, "executor", f"{python}, Node.js {node}")


def _version(program: str) -> str | None:
    """Return what a program says of its version; None if there is no such program."""
    path = shutil.which(program)
    if path is None:
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run(  # noqa: S603 - what the operator has named
            [path, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
        return asked.stdout.strip()
    return None


def check_encryption(settings: Settings) -> Finding:
    """Judge the key that stored secrets are encrypted with: all processes need the same."""
    if settings.encryption_keys:
        return Finding(Level.OK, "encryption", "REALTIME_ENCRYPTION_KEYS is set")
    path = settings.data_dir.resolve() / "encryption.key"
    if settings.database_url and not settings.database_url.startswith("sqlite"):
        return Finding(
            Level.WARN,
            "encryption",
            f"REALTIME_ENCRYPTION_KEYS is not set: secrets are encrypted with a key in {path}",
            "set REALTIME_ENCRYPTION_KEYS for all that do not share that folder: `openssl rand -base64 32`",
        )
    return Finding(Level.OK, "encryption", f"{'a key' if path.exists() else 'a key to be made'} in {path}")
