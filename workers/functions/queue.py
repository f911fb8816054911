"""The executions that wait in the store: how they are claimed, ended, and given back.

What is to be run has a time at which it is due. Whoever claims it moves that time on, beyond the end of its run: if
it is still there when that comes, whoever claimed it is dead, and it is due again. Claims are therefore never
released by anybody but their holder, and a run may be repeated, but is never lost. The number of the attempt tells an
old holder from a new one.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.event import Event
from workers.models.functions import execution_model
from workers.models.people import Row
from workers.store.store import Transaction
from workers.store.tables import executions, functions
from workers.store.times import to_text

LEASE_MARGIN_S = 30
"""How long after its timeout a run may still be about to record its end."""


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
    """Claim one of :func:`find_due` for a run that begins now; return None if others were faster.

    Returns:
        Its row, with ``limit_s``: for how long it may run, whatever the function's timeout has become since.
    """
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
    row = claimed.mappings().one_or_none()
    return None if row is None else {**row, "limit_s": due["timeout_s"]}


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
