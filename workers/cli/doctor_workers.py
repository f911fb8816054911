"""What ``realtime doctor`` says of those who deliver webhooks and run functions. Imported by it alone."""

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from realtime.bus import connect
from realtime.bus.keys import BUCKETS, WorkKind, work_key
from realtime.bus.work import GROUP, WorkQueue
from realtime.settings import Settings
from realtime.triggers.store import TriggerStore
from workers.cli.context import resolve
from workers.cli.findings import Finding, Level
from workers.store import tables
from workers.store.database import database_url, open_database
from workers.store.trigger_names import find_miscounted

TIMEOUT_S = 5.0
"""How long Redis, the database or a program may take."""

TRIGGERS_TIMEOUT_S = 30.0
"""How long all triggers of all projects may take."""

MAX_NAMED = 5
"""How many projects are named at most."""

ALIVE_S = 20.0
"""Who reads does so again within a few seconds, whether something comes or not; who has not for so long is gone."""

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
    is_read = await _is_read(redis, kind)
    return judge_workers(
        kind,
        waiting=waiting,
        is_read=is_read,
        is_wanted=is_read or waiting > 0 or await _is_wanted(settings, kind),
    )


def judge_workers(kind: WorkKind, *, waiting: int, is_read: bool, is_wanted: bool) -> Finding:
    """Judge one kind of work.

    Args:
        kind: which.
        waiting: how many events no worker is done with.
        is_read: whether a worker reads them.
        is_wanted: whether there is anything to be told of events.
    """
    events = "1 event waits" if waiting == 1 else f"{waiting:,} events wait"
    if is_read:
        return Finding(Level.OK, kind, f"a worker takes what comes; {events}")
    if not is_wanted:
        return Finding(Level.OK, kind, "there are none, and no worker for them")
    return Finding(
        Level.WARN, kind, f"no worker takes what they wait for; {events}", f"start `realtime {kind}`"
    )


async def _is_read(redis: Redis, kind: WorkKind) -> bool:
    """Tell whether somebody has asked for entries lately: each worker reads the streams of all buckets."""
    for number in range(BUCKETS):
        with contextlib.suppress(ResponseError):
            # A stream that is not there yet, or has no group, is read by nobody.
            readers: list[dict[str, Any]] = await redis.xinfo_consumers(work_key(number, kind), GROUP)
            if any(reader["idle"] < ALIVE_S * 1000 for reader in readers):
                return True
    return False


async def _is_wanted(settings: Settings, kind: WorkKind) -> bool:
    """Tell whether the database has a webhook, or a function, that is enabled; not if nobody knows."""
    if not _has_database(settings):
        return False
    table = tables.webhooks if kind == "webhooks" else tables.functions
    database = open_database(settings)
    try:
        async with database.reading() as connection:
            found = await connection.execute(select(table.c.seq).where(table.c.enabled).limit(1))
            return found.first() is not None
    except (SQLAlchemyError, OSError):
        return False
    finally:
        await database.aclose()


def check_triggers(settings: Settings) -> list[Finding]:
    """Judge whether publishing knows what webhooks and functions wait for; nothing if a server is away that knows."""
    if not _has_database(settings):
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


def _has_database(settings: Settings) -> bool:
    """Tell whether there may be a database: a file of SQLite would be made by asking it."""
    try:
        url = database_url(settings)
    except ValueError:
        return False
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


def check_executor(settings: Settings) -> Finding:
    """Judge whether this machine can run the code of deployments, if it is to."""
    if settings.functions_executor == "http":
        return Finding(
            Level.OK,
            "executor",
            "functions that live at a URL; the code of deployments by `realtime dev` only",
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
