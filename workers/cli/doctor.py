"""``realtime doctor``: is this machine fit to run a hub and the API, and if not, what to do about it."""

import asyncio
import os
import resource
import shlex
import stat
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx
import typer
from redis.exceptions import RedisError
from rich.text import Text
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from realtime.bus import connect
from realtime.hub.server import bind
from realtime.settings import Settings
from workers.cli.context import load_settings, local_endpoint, reason_of, resolve, without_password
from workers.cli.findings import Finding, Level
from workers.cli.output import show
from workers.cli.vars import find_unknown
from workers.dev import kept
from workers.store.database import database_url, open_database

MIN_REDIS = (7, 0)
"""The oldest server with sharded channels; every Valkey has them."""
SKEW_WARN_S, SKEW_FAIL_S = 1.0, 30.0
"""Above the first, timestamps disagree visibly; above the other, sessions end at wrong times."""
OPEN_FILES_FAIL, OPEN_FILES_WARN = 256, 10_000
"""Each connection takes a file descriptor."""
SECRET_MIN_BYTES = 32
"""HS256 wants a key as long as its hash (RFC 7518 section 3.2)."""
HTTP_TIMEOUT_S = 2.0
DATABASE_TIMEOUT_S = 5.0


DEPLOYED = ("secret", "jwks_url", "database_url", "encryption_keys", "files_url", "root_key")
"""Settings that ``realtime dev`` does without: who gives one is about to run a hub and an API."""


def doctor() -> None:
    """Check this machine, and the servers that the settings name; exit code 1 if anything fails."""
    # Here, since every command would wait for it: the clients of those servers take their time.
    from workers.cli.doctor_identities import check_identities  # noqa: PLC0415
    from workers.cli.doctor_services import check_files, check_mail  # noqa: PLC0415
    from workers.cli.doctor_workers import (  # noqa: PLC0415
        check_encryption,
        check_executor,
        check_triggers,
        check_workers,
    )

    settings = load_settings()
    findings = [
        *asyncio.run(check_redis(settings)),
        check_database(settings),
        check_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        check_port(settings),
        check_secret(settings),
        check_encryption(settings),
        check_data_dir(settings.data_dir),
        check_files(settings),
        check_mail(settings),
        *check_identities(settings),
        *check_workers(settings),
        *check_triggers(settings),
        check_executor(settings),
        *check_variables(os.environ),
    ]
    for finding in findings:
        show(
            Text(finding.level.name.lower().ljust(4), finding.level.value),
            f"  {finding.check:<12}{finding.text}",
        )
        if finding.advice:
            show(" " * 18, Text(f"→ {finding.advice}", "dim"))
    if any(finding.level is Level.FAIL for finding in findings):
        raise typer.Exit(1)


async def check_redis(settings: Settings) -> list[Finding]:
    """Return what is to be said of Redis: version, eviction, clock; one finding when it is not there."""
    url = resolve(settings).redis_url
    redis = connect(url)
    try:
        info: Mapping[str, Any] = await redis.info()
        before = time.time()
        seconds, microseconds = await redis.time()
        after = time.time()
    except (RedisError, OSError) as error:
        return [_redis_away(settings, url, error)]
    finally:
        await redis.aclose()
    skew_s = seconds + microseconds / 1e6 - (before + after) / 2
    return [
        check_version(info, without_password(url)),
        check_eviction(str(info.get("maxmemory_policy", "noeviction"))),
        check_clock(skew_s),
    ]


def _redis_away(settings: Settings, url: str, error: Exception) -> Finding:
    if not settings.redis_url:
        return Finding(
            Level.FAIL if any(getattr(settings, name) for name in DEPLOYED) else Level.WARN,
            "redis",
            "REALTIME_REDIS_URL is not set, and no development instance runs on this data folder",
            "`realtime dev` starts a server of its own; `realtime hub` and `realtime api` need REALTIME_REDIS_URL",
        )
    return Finding(
        Level.FAIL,
        "redis",
        f"{without_password(url)}: {error}",
        "start Redis or Valkey there, or mend REALTIME_REDIS_URL",
    )


def check_version(info: Mapping[str, Any], url: str) -> Finding:
    """Judge the server's version, from what its ``INFO`` says."""
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version", "0"))
    text = f"{name} {version} at {url}"
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < MIN_REDIS:
        return Finding(Level.FAIL, "redis", text, "use Redis 7 or newer, or Valkey")
    return Finding(Level.OK, "redis", text)


def check_eviction(policy: str) -> Finding:
    """Judge what Redis does when its memory is full: it must not throw away logs and identities."""
    if policy.startswith("allkeys"):
        return Finding(
            Level.WARN,
            "eviction",
            f"maxmemory-policy {policy}: logs and identities vanish when memory is full",
            "CONFIG SET maxmemory-policy noeviction",
        )
    return Finding(Level.OK, "eviction", f"maxmemory-policy {policy}")


def check_clock(skew_s: float) -> Finding:
    """Judge how far Redis' clock is ahead of ours, in seconds."""
    text = f"Redis' clock differs by {abs(skew_s) * 1000:.0f} ms"
    advice = "synchronise the clocks of both machines (NTP)"
    if abs(skew_s) > SKEW_FAIL_S:
        return Finding(Level.FAIL, "clock", text, advice)
    if abs(skew_s) > SKEW_WARN_S:
        return Finding(Level.WARN, "clock", text, advice)
    return Finding(Level.OK, "clock", text)


def check_database(settings: Settings) -> Finding:
    """Judge whether the database answers; one that does not exist yet is made by whoever needs it first."""
    try:
        url = database_url(settings)
    except ValueError as error:
        return Finding(Level.FAIL, "database", str(error), "mend REALTIME_DATABASE_URL")
    where = url.render_as_string(hide_password=True)
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and not Path(url.database or "").exists():
        return Finding(Level.OK, "database", f"SQLite, to be made at {url.database}")
    try:
        version = asyncio.run(_ask_version(settings))
    except (SQLAlchemyError, OSError) as error:
        return Finding(
            Level.FAIL,
            "database",
            f"{where}: {reason_of(error)}",
            "start the database there, or mend REALTIME_DATABASE_URL",
        )
    return Finding(Level.OK, "database", f"{'SQLite' if is_sqlite else 'PostgreSQL'} {version} at {where}")


async def _ask_version(settings: Settings) -> str:
    database = open_database(settings)
    question = "SELECT sqlite_version()" if database.is_sqlite else "SHOW server_version"
    try:
        async with asyncio.timeout(DATABASE_TIMEOUT_S), database.reading() as connection:
            return str(await connection.scalar(text(question)))
    finally:
        await database.aclose()


def check_open_files(limit: int) -> Finding:
    """Judge the limit on open files of this process."""
    text = "no limit" if limit == resource.RLIM_INFINITY else f"{limit} (ulimit -n)"
    advice = "raise it: `ulimit -n 65536`, or LimitNOFILE= in the service's unit"
    if limit != resource.RLIM_INFINITY and limit < OPEN_FILES_FAIL:
        return Finding(Level.FAIL, "open files", text, advice)
    if limit != resource.RLIM_INFINITY and limit < OPEN_FILES_WARN:
        return Finding(Level.WARN, "open files", f"{text}: room for fewer connections than that", advice)
    return Finding(Level.OK, "open files", text)


def check_port(settings: Settings) -> Finding:
    """Judge whether the port is free, or a hub has it already."""
    where = f"{settings.host}:{settings.port}"
    problem = port_problem(settings.host, settings.port)
    if problem is None:
        return Finding(Level.OK, "port", f"{where} is free")
    if _is_hub(local_endpoint(settings)):
        return Finding(Level.OK, "port", f"{where}: a hub answers there")
    return Finding(
        Level.FAIL, "port", f"{where}: {problem}", "stop what has it, or set REALTIME_PORT or REALTIME_HOST"
    )


def port_problem(host: str, port: int) -> str | None:
    """Return why no server can listen on ``port`` of ``host``; None when one can."""
    try:
        bind(host, port).close()
    except OSError as error:
        # Its own text may go on about the attempt.
        return os.strerror(error.errno) if error.errno else str(error)
    return None


def _is_hub(endpoint: str) -> bool:
    try:
        return httpx.get(f"{endpoint}/health", timeout=HTTP_TIMEOUT_S, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def check_secret(settings: Settings) -> Finding:
    """Judge the secret that signs tokens."""
    path = settings.data_dir / kept.SECRET_FILE
    if settings.secret:
        shortest = min((len(secret.encode()) for secret in settings.secrets), default=0)
        if shortest < SECRET_MIN_BYTES:
            return Finding(
                Level.WARN,
                "secret",
                f"REALTIME_SECRET has a secret of {shortest} bytes",
                f"use {SECRET_MIN_BYTES} random bytes or more: `openssl rand -base64 32`",
            )
        return Finding(Level.OK, "secret", "REALTIME_SECRET is set")
    if kept.read(path):
        return Finding(Level.OK, "secret", f"kept in {path} (development)")
    if settings.jwks_url:
        return Finding(Level.OK, "secret", "none; tokens are checked with REALTIME_JWKS_URL")
    return Finding(
        Level.WARN,
        "secret",
        "REALTIME_SECRET is not set: tokens cannot be checked",
        "`realtime dev` makes one; otherwise set REALTIME_SECRET or REALTIME_JWKS_URL",
    )


def check_data_dir(path: Path) -> Finding:
    """Judge whether the data folder, or the one it would be made in, can be written."""
    folder = path.resolve()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    where = str(path.resolve())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        problem = "cannot be written" if folder == path.resolve() else "does not exist, and cannot be made"
        return Finding(
            Level.FAIL, "data folder", f"{where} {problem}", "mend its owner, or set REALTIME_DATA_DIR"
        )
    if folder != path.resolve():
        return Finding(Level.OK, "data folder", f"{where} does not exist yet, and can be made")
    if folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding(
            Level.WARN,
            "data folder",
            f"{where} is writable, and open to other users of this machine",
            f"chmod -R go= {shlex.quote(where)}",
        )
    return Finding(Level.OK, "data folder", f"{where} is writable")


def check_variables(environment: Iterable[str]) -> list[Finding]:
    """Return a warning for each of the names that are set in vain; none when all is well."""
    return [
        Finding(Level.WARN, "variable", f"{unknown.name} is no setting, and is ignored", unknown.advice)
        for unknown in find_unknown(environment)
    ]
