"""The executions that wait in the store: how they are claimed, ended, and given back.

What is to be run has a time at which it is due. Whoever claims it moves that time on, beyond the end of its run: if
it is still there when that comes, whoever claimed it is dead, and it is due again. Claims are therefore never
released by anybody but their holder, and a run may be repeated, but is never lost. The number of the attempt tells an
old holder from a new one.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.event import Event
from workers.models.functions import execution_model
from workers.models.people import Row
from workers.store.store import Transaction
from workers.store.tables import executions, functions
from workers.store.times import to_text

LEASE_MARGIN_S = 30
"""How long after its timeout a run may still be about to record its end."""

_BATCH = 1_000
"""How many executions are looked at, or deleted, at a time."""


async def find_due(
    connection: AsyncConnection, now: datetime, limit: int, *, except_projects: Collection[str] = ()
) -> list[Row]:
    """Return executions that are due, those first that have waited longest.

    Each has the columns ``seq``, ``project_id``, ``due_at``, and ``timeout_s`` of its function.
    """
    found = await connection.execute(
        select(
            executions.c.seq,
            executions.c.project_id,
            executions.c.due_at,
            func.coalesce(functions.c.timeout_s, 0).label("timeout_s"),
        )
        .outerjoin(
            functions,
            (functions.c.project_id == executions.c.project_id)
            & (functions.c.id == executions.c.function_id),
        )
        .where(executions.c.due_at <= to_text(now), executions.c.project_id.not_in(sorted(except_projects)))
        .order_by(executions.c.due_at, executions.c.seq)
        .limit(limit)
    )
    return list(found.mappings())


async def claim(connection: AsyncConnection, due: Row, now: datetime) -> Row | None:
    """Claim one of :func:`find_due` for a run that begins now, and return its row; None if others were faster."""
    lease = timedelta(seconds=due["timeout_s"] + LEASE_MARGIN_S)
    claimed = await connection.execute(
        update(executions)
        .where(executions.c.seq == due["seq"], executions.c.due_at == due["due_at"])
        .values(
            status="processing",
            due_at=to_text(now + lease),
            attempts=executions.c.attempts + 1,
            updated_at=to_text(now),
        )
        .returning(*executions.c)
    )
    return claimed.mappings().one_or_none()


async def give_back(connection: AsyncConnection, claimed: Row, now: datetime) -> None:
    """Have an execution run again at once, by whoever is there: its run was ended, and it is no fault of it."""
    await connection.execute(
        update(executions)
        .where(*_is_held(claimed))
        .values(status="waiting", due_at=to_text(now), attempts=claimed["attempts"] - 1)
    )


async def end(tx: Transaction, claimed: Row, columns: Mapping[str, Any]) -> bool:
    """Record how an execution ended; return False if it is not the claimer's any more, or is gone."""
    ended = await tx.connection.execute(
        update(executions)
        .where(*_is_held(claimed))
        .values(**columns, updated_at=tx.now_text)
        .returning(*executions.c)
    )
    row = ended.mappings().one_or_none()
    if row is not None:
        emit_execution(tx, "update", row)
    return row is not None


async def count_waiting(connection: AsyncConnection, project_id: str, limit: int) -> int:
    """Return how many executions of a project have not ended, but no more than ``limit``."""
    # Comparing leaves out those that have ended; unlike with `IS NOT NULL`, the index serves it everywhere.
    waiting = (
        select(executions.c.seq)
        .where(executions.c.project_id == project_id, executions.c.due_at > "")
        .limit(limit)
        .subquery()
    )
    return int((await connection.execute(select(func.count()).select_from(waiting))).scalar_one())


async def delete_old(connection: AsyncConnection, before: datetime) -> int:
    """Delete executions that ended before a time, of any project, and return how many: at most one batch.

    Nobody is told of it.
    """
    # The first ones only, so that what is looked at is bounded: they are the oldest.
    oldest = select(executions.c.seq).order_by(executions.c.seq).limit(_BATCH).subquery()
    deleted: Any = await connection.execute(
        delete(executions).where(
            executions.c.seq.in_(select(oldest.c.seq)),
            executions.c.due_at.is_(None),
            executions.c.updated_at < to_text(before),
        )
    )
    return int(deleted.rowcount)


def _is_held(claimed: Row) -> list[Any]:
    return [
        executions.c.seq == claimed["seq"],
        executions.c.attempts == claimed["attempts"],
        executions.c.status == "processing",
    ]


def emit_execution(tx: Transaction, action: str, row: Row) -> None:
    """Record the event ``functions.F.executions.E.<action>``, which whoever had it executed may read.

    Of logs and errors nothing is in it: they are for servers only.
    """
    tx.emit(
        Event(
            f"functions.[functionId].executions.[executionId].{action}",
            execution_model(row),
            params={"functionId": row["function_id"], "executionId": row["id"]},
        )
    )
