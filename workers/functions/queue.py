"""The executions that wait in the store: how they are claimed, ended, and given back.

What is to be run has a time at which it is due. Whoever claims it moves that time on, beyond the end of its run: if
it is still there when that comes, whoever claimed it is dead, and it is due again. Claims are therefore never
released by anybody but their holder, and a run may be repeated, but is never lost. The number of the attempt tells an
old holder from a new one.

What is run while somebody waits for the answer is in the store as claimed from its beginning. If its process dies, it
is due as the others are, but it has no request that could be repeated: whoever claims it then records that it failed.

The executions of each function are a lane of their own in the index. What is due is looked for by going from lane to
lane, and a lane costs the same whether one or 100,000 wait in it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, func, literal, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.event import Event
from workers.functions.shares import Lane
from workers.models.functions import execution_model
from workers.models.people import Row
from workers.store.store import Transaction
from workers.store.tables import executions, functions
from workers.store.times import to_text

LEASE_MARGIN_S = 30
"""How long after its timeout a run may still be about to record its end."""

BEGINNING = Lane("", "")
"""Before every lane."""


class Due(NamedTuple):
    """A lane in which something is due."""

    lane: Lane
    timeout_s: int
    """Of its function; 0 if that is gone."""


async def find_due(
    connection: AsyncConnection, now: datetime, *, after: Lane, limit: int
) -> tuple[list[Due], Lane | None]:
    """Look for lanes in which something is due.

    Args:
        connection: to read with.
        now: the time.
        after: where to begin.
        limit: how many lanes to look at.

    Returns:
        Those that are due, in the order of what has waited longest, and where to go on; None behind the last lane.
    """
    rows = (
        await connection.execute(
            _walk(limit), {"project": after.project_id, "function": after.function_id, "now": to_text(now)}
        )
    ).all()
    found = [
        Due(Lane(row.project_id, row.function_id), row.timeout_s)
        for row in rows
        if row.due_at <= to_text(now)
    ]
    last = next((Lane(row.project_id, row.function_id) for row in rows if row.number == limit), None)
    return found, last


@lru_cache
def _walk(limit: int) -> Select[Any]:
    """Return the query for the first execution of each lane, if it is due, and for that of lane ``limit`` in any case.

    It steps through the index, from the first of one lane to the first of the next: both databases have recursive
    queries, and neither has such a scan of its own.
    """
    begin = tuple_(bindparam("project"), bindparam("function"))
    lanes = select(_first_after(begin).label("seq"), literal(1).label("number")).cte("lanes", recursive=True)
    here, first = executions.alias("here"), executions.alias("first")
    lanes = lanes.union_all(
        select(_first_after(tuple_(here.c.project_id, here.c.function_id)), lanes.c.number + 1)
        .join(here, here.c.seq == lanes.c.seq)
        .where(lanes.c.number < limit)
    )
    function = (functions.c.project_id == first.c.project_id) & (functions.c.id == first.c.function_id)
    return (
        select(
            first.c.project_id,
            first.c.function_id,
            first.c.due_at,
            lanes.c.number,
            func.coalesce(functions.c.timeout_s, 0).label("timeout_s"),
        )
        .select_from(lanes)
        .join(first, first.c.seq == lanes.c.seq)
        .outerjoin(functions, function)
        .where(or_(first.c.due_at <= bindparam("now"), lanes.c.number == limit))
        .order_by(first.c.due_at, first.c.seq)
    )


def _first_after(lane: Any) -> Any:
    """Return the subquery for the number of what is due first in the lane that follows ``lane``."""
    there = executions.alias("there")
    return (
        select(there.c.seq)
        # Comparing leaves out those that have ended; unlike with `IS NOT NULL`, the index serves it everywhere.
        .where(there.c.due_at > "", tuple_(there.c.project_id, there.c.function_id) > lane)
        .order_by(there.c.project_id, there.c.function_id, there.c.due_at)
        .limit(1)
        .scalar_subquery()
    )


async def claim(connection: AsyncConnection, due: Due, count: int, now: datetime) -> list[Row]:
    """Claim up to ``count`` executions of a lane for runs that begin now, those first that have waited longest.

    What others are claiming at this moment is left to them.

    Returns:
        Their rows, with ``limit_s``: for how long each may run, whatever the function's timeout has become since.
    """
    chosen = (
        select(executions.c.seq)
        .where(
            executions.c.project_id == due.lane.project_id,
            executions.c.function_id == due.lane.function_id,
            executions.c.due_at <= to_text(now),
        )
        .order_by(executions.c.due_at, executions.c.seq)
        .limit(count)
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    claimed = await connection.execute(
        update(executions)
        .where(executions.c.seq.in_(select(chosen.c.seq)))
        .values(
            status="processing",
            due_at=claimed_until(now, due.timeout_s),
            attempts=executions.c.attempts + 1,
            updated_at=to_text(now),
        )
        .returning(*executions.c)
    )
    # The database returns them in no order, and when they were due is overwritten.
    rows = sorted(claimed.mappings(), key=lambda row: (row["scheduled_at"] or row["created_at"], row["seq"]))
    return [{**row, "limit_s": due.timeout_s} for row in rows]


def claimed_until(now: datetime, limit_s: float) -> str:
    """Return until when a run is claimed that begins now and may take ``limit_s`` seconds, as the store keeps it."""
    return to_text(now + timedelta(seconds=limit_s + LEASE_MARGIN_S))


async def give_back(connection: AsyncConnection, claimed: Row, now: datetime) -> None:
    """Have an execution run again at once, by whoever is there: its run was ended, and it is no fault of it."""
    await connection.execute(
        update(executions)
        .where(
            executions.c.seq == claimed["seq"],
            executions.c.attempts == claimed["attempts"],
            executions.c.status == "processing",
        )
        .values(status="waiting", due_at=to_text(now), attempts=claimed["attempts"] - 1)
    )


async def end(tx: Transaction, ends: Sequence[tuple[Row, Mapping[str, Any]]]) -> list[Row]:
    """Record how executions ended.

    Args:
        tx: a transaction of their project.
        ends: the claimed rows, each with what its columns become; all of them have the same columns.

    Returns:
        The rows as they are now, without those that are not the claimer's any more, or are gone.
    """
    numbers = [claimed["seq"] for claimed, _ in ends]
    locked = await tx.connection.execute(
        select(executions.c.seq, executions.c.attempts)
        .where(executions.c.seq.in_(numbers), executions.c.status == "processing")
        .order_by(executions.c.seq)
        .with_for_update()
    )
    attempts = {row.seq: row.attempts for row in locked}
    held = [
        (claimed, {**columns, "updated_at": tx.now_text})
        for claimed, columns in ends
        if attempts.get(claimed["seq"]) == claimed["attempts"]
    ]
    if held:
        await tx.connection.execute(
            update(executions).where(executions.c.seq == bindparam("number")),
            [{"number": claimed["seq"], **columns} for claimed, columns in held],
        )
    return [{**claimed, **columns} for claimed, columns in held]


def emit_execution(tx: Transaction, action: str, row: Row) -> None:
    """Record the event ``functions.F.executions.E.<action>``, which whoever had it executed may read.

    Of logs and errors nothing is in it: they are for servers only. Whoever had it executed acts, by as many functions
    as led to it.
    """
    tx.emit(
        Event(
            f"functions.[functionId].executions.[executionId].{action}",
            execution_model(row),
            params={"functionId": row["function_id"], "executionId": row["id"]},
            actor_id=row["user_id"] or "",
            depth=row["depth"],
        )
    )
