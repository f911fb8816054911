"""What ``realtime doctor`` says of what hubs know of projects. Imported by it alone."""

import asyncio
from collections.abc import Sequence

from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from realtime.bus import connect
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from workers.cli.context import has_database, resolve
from workers.cli.findings import Finding, Level
from workers.cli.output import counted
from workers.store import tables
from workers.store.database import open_database

TIMEOUT_S = 30.0
"""How long reading all projects may take, from both."""

MAX_NAMED = 5
"""How many projects are named at most."""


def check_identities(settings: Settings) -> list[Finding]:
    """Judge whether Redis knows the projects of the database; nothing if one of the two is away, or holds none yet."""
    if not has_database(settings):
        return []
    try:
        return [judge_identities(asyncio.run(_find_unknown(settings)))]
    except (RedisError, SQLAlchemyError, OSError):
        # That is told by the checks of Redis and of the database.
        return []


async def _find_unknown(settings: Settings) -> list[str]:
    """Return the IDs of projects that the database has and Redis does not, in the order of their making."""
    redis, database = connect(resolve(settings).redis_url), open_database(settings)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            async with database.reading() as connection:
                found = await connection.execute(select(tables.projects.c.id).order_by(tables.projects.c.seq))
                kept = [project_id for (project_id,) in found]
            known = {project.id for project in await IdentityStore(redis).list_projects()}
    finally:
        await database.aclose()
        await redis.aclose()
    return [project_id for project_id in kept if project_id not in known]


def judge_identities(unknown: Sequence[str]) -> Finding:
    """Judge what Redis knows, given the IDs of the database's projects that it does not know."""
    if not unknown:
        return Finding(Level.OK, "identities", "Redis knows every project of the database")
    more = f" and {len(unknown) - MAX_NAMED:,} more" if len(unknown) > MAX_NAMED else ""
    return Finding(
        Level.FAIL,
        "identities",
        f"Redis does not know {counted(len(unknown), 'project')} of the database: "
        f"{', '.join(unknown[:MAX_NAMED])}{more}; nobody can use what it does not know",
        "`realtime identities rebuild`",
    )
