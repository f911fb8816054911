"""Maintenance: removes what is over, so that a store that is used for years does not grow for years.

Every API process does so, now and then; only one of them at a moment. What has expired was of no effect before, so no
event tells of it. Each batch is a transaction of its own, which leaves requests room between two of them.
"""

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, and_, delete, false, literal, or_, select, true, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.identity.model import Project
from realtime.settings import Settings
from workers.store import tables
from workers.store.deliveries import Gone, find_gone, remove_deliveries, remove_left
from workers.store.locks import try_lock
from workers.store.store import Store, Transaction
from workers.store.times import to_text

log = structlog.get_logger("realtime.maintenance")

TRANSACTION_KEPT_S = 24 * 3600
"""For how long after its expiry a transaction can still be looked at, in seconds."""

BATCH = 200
"""How many rows are removed in one transaction."""

_LOCK = "maintenance"


@dataclass(frozen=True, slots=True)
class _Expiring:
    """A kind of things that say themselves when they are over."""

    table: Any
    """Has the column ``expires_at``, with an index."""
    kept: timedelta = timedelta()
    """For how long they are kept after that."""


@dataclass(frozen=True, slots=True)
class _Aging:
    """A kind of things that are kept for a while."""

    table: Any
    began: ColumnElement[str]
    """When they came to be; grows with ``seq``."""
    ended: ColumnElement[str]
    """Since when they are as they are."""
    is_done: ColumnElement[bool]
    """Which of them may be removed at all."""
    max_age_s: float
    """0 keeps them for good."""
    remove: Callable[[AsyncConnection, Sequence[int]], Awaitable[None]] | None = None
    """Removes the rows of these numbers, with what belongs to them; None where nothing does."""


_End = Callable[[Transaction, Sequence[int]], Awaitable[None]]
"""Ends the rows of these numbers, all of one project."""

_EXPIRING = (
    _Expiring(tables.tokens),
    _Expiring(tables.challenges),
    _Expiring(tables.transactions, timedelta(seconds=TRANSACTION_KEPT_S)),
)


def _aging(settings: Settings) -> tuple[_Aging, ...]:
    logs, executions, messages = tables.logs, tables.executions, tables.messages
    return (
        _Aging(logs, logs.c.time, logs.c.time, true(), settings.activity_max_age_s),
        _Aging(
            executions,
            executions.c.created_at,
            executions.c.updated_at,
            executions.c.status.in_(("completed", "failed")),
            settings.executions_max_age_s,
        ),
        _Aging(
            messages,
            messages.c.created_at,
            messages.c.updated_at,
            messages.c.status.in_(("sent", "failed")),
            settings.messages_max_age_s,
        ),
        *_aging_deliveries(settings),
    )


def _aging_deliveries(settings: Settings) -> tuple[_Aging, ...]:
    deliveries, events = tables.deliveries, tables.webhook_events
    ages_s = {"delivered": settings.webhooks_delivered_max_age_s, "dead": settings.webhooks_dead_max_age_s}
    # An event goes when its last delivery has. It is recorded with the first, so that nobody can be between the two.
    is_told_of = select(literal(1)).where(
        deliveries.c.project_id == events.c.project_id, deliveries.c.event_id == events.c.event_id
    )
    return (
        *(
            _Aging(
                deliveries,
                deliveries.c.created_at,
                deliveries.c.updated_at,
                deliveries.c.status == status,
                max_age_s,
                remove_deliveries,
            )
            for status, max_age_s in ages_s.items()
        ),
        _Aging(
            events,
            events.c.created_at,
            events.c.created_at,
            ~is_told_of.exists(),
            # Before that, only those of deliveries that somebody purged have none.
            min(filter(None, ages_s.values()), default=0.0),
        ),
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Maintenance:
    """Removes what is over. For one event loop.

    Args:
        store: where it is.
        settings: how long things are kept, and how often to look.
        clock: the time, aware.
    """

    def __init__(self, store: Store, settings: Settings, *, clock: Callable[[], datetime] = _utc_now) -> None:
        self._store = store
        self._interval_s = settings.maintenance_interval_s
        self._aging = _aging(settings)
        self._clock = clock

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Remove what is over from time to time, until the block ends."""
        task = asyncio.create_task(self._again_and_again(), name="realtime-maintenance")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def run(self) -> Mapping[str, int]:
        """Remove all that is over, and return how many rows that were, by the name of their table.

        Former secrets of webhooks, which are parts of rows, are counted as ``former_secrets``.

        Where another process is at it, it is left to that one.

        Raises:
            sqlalchemy.exc.SQLAlchemyError, OSError: the database cannot be reached.
        """
        removed: Counter[str] = Counter()
        now = self._clock()
        sessions, webhooks = tables.sessions, tables.webhooks
        has_expired = sessions.c.expires_at <= to_text(now)
        removed["sessions"] = await self._end_by_project(sessions, has_expired, _remove_sessions)
        signs_no_more = webhooks.c.former_secret_until <= to_text(now)
        removed["former_secrets"] = await self._end_by_project(webhooks, signs_no_more, _forget_secrets)
        for expiring in _EXPIRING:
            removed[expiring.table.name] = await self._remove_expired(expiring, now)
        removed["deliveries"] = await self._remove_all_left()
        for aging in self._aging:
            if aging.max_age_s:
                removed[aging.table.name] += await self._remove_aged(aging, now)
        return +removed

    async def _again_and_again(self) -> None:
        while True:
            # By chance, so that processes that were started together do not come at the same moment.
            await asyncio.sleep(self._interval_s * (0.5 + random.random()))  # noqa: S311 - not a secret
            try:
                removed = await self.run()
            except (OSError, SQLAlchemyError) as error:
                log.warning("what is over waits to be removed", error=type(error).__name__)
            except Exception:
                log.exception("what is over waits to be removed")
            else:
                if removed:
                    log.info("removed what was over", **removed)

    async def _end_by_project(self, table: Any, is_over: ColumnElement[bool], end: _End) -> int:
        """End what read models are told of, such as sessions; project by project, since these are told by project."""
        ended = 0
        while True:
            async with self._store.read() as connection:
                found = await connection.execute(
                    select(table.c.project_id, table.c.seq).where(is_over).limit(BATCH)
                )
                by_project: defaultdict[str, list[int]] = defaultdict(list)
                for project_id, seq in found:
                    by_project[project_id].append(seq)
            count = 0
            for project_id, numbers in by_project.items():
                async with self._store.write(Project(id=project_id)) as tx:
                    if await try_lock(tx.connection, _LOCK):
                        # Looked at anew: one may have been extended since.
                        seqs = await _lock_rows(tx.connection, table, table.c.seq.in_(numbers) & is_over)
                        await end(tx, seqs)
                        count += len(seqs)
            ended += count
            # If nothing is left, or somebody else is at it.
            if not count:
                return ended

    async def _remove_expired(self, kind: _Expiring, now: datetime) -> int:
        is_over = kind.table.c.expires_at <= to_text(now - kind.kept)
        removed = 0
        while True:
            async with self._store.database.writing() as connection:
                if not await try_lock(connection, _LOCK):
                    return removed
                seqs = await _lock_rows(connection, kind.table, is_over)
                if kind.table is tables.transactions:
                    await _remove_operations(connection, seqs)
                await connection.execute(delete(kind.table).where(kind.table.c.seq.in_(seqs)))
            removed += len(seqs)
            if len(seqs) < BATCH:
                return removed

    async def _remove_all_left(self) -> int:
        """Remove the deliveries that webhooks have left which were deleted."""
        removed = 0
        while True:
            async with self._store.read() as connection:
                gone = await find_gone(connection)
            count = sum([await self._remove_left(each) for each in gone])
            removed += count
            if not count:
                return removed

    async def _remove_left(self, gone: Gone) -> int:
        removed = after_seq = 0
        while True:
            async with self._store.database.writing() as connection:
                if not await try_lock(connection, _LOCK):
                    return removed
                seqs = await remove_left(connection, gone, after_seq=after_seq, limit=BATCH)
            removed += len(seqs)
            if len(seqs) < BATCH:
                return removed
            after_seq = seqs[-1]

    async def _remove_aged(self, kind: _Aging, now: datetime) -> int:
        """Remove what is too old, from the oldest on; what is younger is not even looked at."""
        oldest = to_text(now - timedelta(seconds=kind.max_age_s))
        is_over = and_(kind.is_done, kind.ended < oldest)
        removed = after = 0
        while True:
            async with self._store.database.writing() as connection:
                if not await try_lock(connection, _LOCK):
                    return removed
                found = await connection.execute(
                    select(kind.table.c.seq, kind.began, is_over)
                    .where(kind.table.c.seq > after)
                    .order_by(kind.table.c.seq)
                    .limit(BATCH)
                )
                rows = found.all()
                over = [seq for seq, _, was_over in rows if was_over]
                # Looked at anew: one may be about to begin again, such as a delivery that somebody asks for.
                seqs = await _lock_rows(connection, kind.table, kind.table.c.seq.in_(over) & is_over)
                if kind.remove is not None:
                    await kind.remove(connection, seqs)
                else:
                    await connection.execute(delete(kind.table).where(kind.table.c.seq.in_(seqs)))
            removed += len(seqs)
            if len(rows) < BATCH or rows[-1][1] >= oldest:
                return removed
            after = rows[-1][0]


async def _remove_sessions(tx: Transaction, seqs: Sequence[int]) -> None:
    """Remove sessions, also from what hubs know of their users."""
    sessions = tables.sessions
    deleted = await tx.connection.execute(
        delete(sessions).where(sessions.c.seq.in_(seqs)).returning(sessions.c.user_id)
    )
    for user_id in sorted(set(deleted.scalars())):
        tx.change_user(user_id)


async def _forget_secrets(tx: Transaction, seqs: Sequence[int]) -> None:
    """Remove secrets that webhooks were signed with before the present ones, also from what workers know of them."""
    webhooks = tables.webhooks
    changed = await tx.connection.execute(
        update(webhooks)
        .where(webhooks.c.seq.in_(seqs))
        .values(former_secret="", former_secret_until=None)
        .returning(webhooks.c.id)
    )
    for webhook_id in sorted(changed.scalars()):
        tx.change_webhook(webhook_id)


async def _lock_rows(connection: AsyncConnection, table: Any, condition: ColumnElement[bool]) -> list[int]:
    """Return the numbers of some rows, which nobody else changes meanwhile; not of those that somebody does now."""
    found = await connection.execute(
        select(table.c.seq).where(condition).limit(BATCH).with_for_update(skip_locked=True)
    )
    return list(found.scalars())


async def _remove_operations(connection: AsyncConnection, transaction_seqs: Sequence[int]) -> None:
    """Remove what was staged in transactions."""
    transactions, operations = tables.transactions, tables.operations
    found = await connection.execute(
        select(transactions.c.project_id, transactions.c.id).where(transactions.c.seq.in_(transaction_seqs))
    )
    staged = [
        and_(operations.c.project_id == project_id, operations.c.transaction_id == transaction_id)
        for project_id, transaction_id in found
    ]
    await connection.execute(delete(operations).where(or_(false(), *staged)))
