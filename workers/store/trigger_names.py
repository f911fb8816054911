"""The names that triggers wait for, as Redis counts them: counting them anew, and checking them against SQL.

By these counts publishing tells which events to leave for workers: a trigger whose names are not counted never fires.
Releases before the workers wrote triggers and did not count; a server that starts after one of them counts anew.
"""

import asyncio
from collections import Counter

from sqlalchemy import select, union

from realtime.bus.keys import WORK_KINDS, WorkKind
from realtime.triggers.store import TriggerStore
from workers.store.database import Database
from workers.store.tables import functions, webhooks

_TABLES = {"webhooks": webhooks, "functions": functions}
_AT_ONCE = 16
"""Of how many projects names are counted at a time: each takes a connection."""


async def recount_names(database: Database, triggers: TriggerStore) -> None:
    """Count the names of every project that has triggers anew. Safe while everything runs, and any number of times.

    Those of a project are counted in one step, from its triggers in Redis; a trigger and its names are written in one
    step too. So no lock is needed, and no event comes in between. What a server of an earlier release writes
    afterwards is not counted.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, OSError: the database cannot be read.
        redis.RedisError: Redis failed; what was counted by then stays.
    """
    statement = union(*(select(table.c.project_id) for table in _TABLES.values()))
    async with database.reading() as connection:
        projects = (await connection.execute(statement)).scalars().all()
    for start in range(0, len(projects), _AT_ONCE):
        await asyncio.gather(*map(triggers.recount, projects[start : start + _AT_ONCE]))


async def find_miscounted(database: Database, triggers: TriggerStore) -> list[str]:
    """Return the projects whose enabled triggers, as SQL has them, wait for other names than Redis counts; by ID.

    A project is among them, too, while a change of one of its triggers is on its way to Redis.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, OSError: the database cannot be read.
        redis.RedisError: Redis failed.
    """
    wanted: dict[tuple[str, WorkKind], Counter[str]] = {}
    async with database.reading() as connection:
        for kind in WORK_KINDS:
            table = _TABLES[kind]
            found = await connection.execute(
                select(table.c.project_id, table.c.events).where(table.c.enabled)
            )
            for project_id, events in found:
                wanted.setdefault((project_id, kind), Counter()).update(events)
    return sorted(
        {
            project_id
            for (project_id, kind), names in wanted.items()
            if await triggers.counted_names(project_id, kind) != names
        }
    )
