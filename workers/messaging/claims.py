"""Whose turn it is to send a message: rows of ``messages`` that are due, taken by one sender at a time.

Whoever takes a message holds a lease on it, and renews it as letters go out. If they die, it lapses, and somebody else
goes on behind the last target that was noted; what was sent since then is sent again. That is done a few times only:
how often a message was taken is counted, until somebody notes how far it is.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import CompoundSelect, and_, select, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.event import Event
from realtime.identity.model import Project
from workers.models.messaging import message_model
from workers.models.people import Row
from workers.store.store import Transaction
from workers.store.tables import messages, projects, subscribers, targets
from workers.store.times import to_text

LEASE = timedelta(minutes=5)
"""How long a message stays with a sender who says nothing."""

MAX_CLAIMS = 3
"""How often a message is taken without anybody noting how far it is; then it has failed. As executions are."""


class Due(NamedTuple):
    """A message that somebody has to work on."""

    seq: int
    project_id: str
    at: str
    """When, which may be in the future."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A message that was taken to be sent."""

    project: Project
    row: Row
    """Of ``messages``, as it was taken."""
    lease: str


async def next_due(
    connection: AsyncConnection, limit: int, *, without: Collection[str] = ()
) -> Sequence[Due]:
    """Return the messages that are due first, at most ``limit``, but none of the projects in ``without``."""
    found = await connection.execute(
        select(messages.c.seq, messages.c.project_id, messages.c.due_at)
        .where(
            messages.c.due_at.is_not(None),
            messages.c.project_id.not_in(without),
            # A project that is deleted takes its messages along, but for one that is made at the same moment.
            messages.c.project_id.in_(select(projects.c.id)),
        )
        .order_by(messages.c.due_at)
        .limit(limit)
    )
    return [Due(*row) for row in found]


async def claim(tx: Transaction, seq: int, now: datetime) -> Claim | None:
    """Take a message; None when somebody else did, or it is not due any more.

    With the event of an update, if it was scheduled until now.
    """
    found = await tx.connection.execute(
        select(messages)
        .where(messages.c.seq == seq, messages.c.due_at <= to_text(now))
        .with_for_update(skip_locked=True)
    )
    row = found.mappings().one_or_none()
    if row is None:
        return None
    lease = secrets.token_hex(16)
    taken = await _update(
        tx,
        row["seq"],
        {
            "status": "processing",
            "due_at": to_text(now + LEASE),
            "lease": lease,
            "claims": messages.c.claims + 1,
        },
    )
    if row["status"] != taken["status"]:
        _emit(tx, taken)
    return Claim(tx.project, taken, lease)


async def note(tx: Transaction, claimed: Claim, now: datetime, progress: Mapping[str, Any]) -> bool:
    """Note how far a message was sent, and renew the lease.

    Returns:
        False when the lease is lost: somebody else sends it.
    """
    return await _change(tx, claimed, {**progress, "due_at": to_text(now + LEASE), "claims": 0}) is not None


async def give_back(tx: Transaction, claimed: Claim, at: datetime, progress: Mapping[str, Any]) -> None:
    """Leave a message to whoever takes it next, from ``at`` on."""
    await _change(tx, claimed, {**progress, "due_at": to_text(at), "lease": "", "claims": 0})


async def finish(tx: Transaction, claimed: Claim, outcome: Mapping[str, Any]) -> None:
    """Note what became of a message, with the event of an update."""
    row = await _change(tx, claimed, {**outcome, "due_at": None, "lease": "", "updated_at": tx.now_text})
    if row is not None:
        _emit(tx, row)


async def next_targets(connection: AsyncConnection, row: Row, *, after: int, limit: int) -> Sequence[Row]:
    """Return the next targets that get a message, each once, in the order of their numbers.

    Args:
        connection: what to read on.
        row: of ``messages``.
        after: the number of the last target that was seen to.
        limit: how many to return at most.
    """
    found = await connection.execute(
        select(targets)
        .where(
            targets.c.seq.in_(_numbers_of_targets(row)),
            targets.c.provider_type == row["provider_type"],
            targets.c.seq > after,
        )
        .order_by(targets.c.seq)
        .limit(limit)
    )
    return found.mappings().all()


def _numbers_of_targets(row: Row) -> CompoundSelect[Any]:
    """Return the statement that finds who gets a message: each way to be meant is found by an index of its own."""
    in_project = targets.c.project_id == row["project_id"]
    named = [*row["targets"], *row["data"].get("cc", ()), *row["data"].get("bcc", ())]
    return union(
        select(targets.c.seq).where(in_project, targets.c.id.in_(named)),
        select(targets.c.seq).where(in_project, targets.c.user_id.in_(row["users"])),
        select(targets.c.seq)
        .join(
            subscribers,
            and_(subscribers.c.project_id == targets.c.project_id, subscribers.c.target_id == targets.c.id),
        )
        .where(in_project, subscribers.c.topic_id.in_(row["topics"])),
    )


async def _change(tx: Transaction, claimed: Claim, values: Mapping[str, Any]) -> Row | None:
    """Change columns of a message that is still ours; None when it is not."""
    changed = await tx.connection.execute(
        update(messages)
        .where(messages.c.seq == claimed.row["seq"], messages.c.lease == claimed.lease)
        .values(**values)
        .returning(messages)
    )
    row: Row | None = changed.mappings().one_or_none()
    return row


async def _update(tx: Transaction, seq: int, values: Mapping[str, Any]) -> Row:
    changed = await tx.connection.execute(
        update(messages)
        .where(messages.c.seq == seq)
        .values(**values, updated_at=tx.now_text)
        .returning(messages)
    )
    row: Row = changed.mappings().one()
    return row


def _emit(tx: Transaction, row: Row) -> None:
    """Tell of an update by whoever sends it, which goes on with the chain of functions that had it sent."""
    tx.emit(
        Event(
            "messages.[messageId].update",
            message_model(row),
            params={"messageId": row["id"]},
            depth=row["depth"],
        )
    )
