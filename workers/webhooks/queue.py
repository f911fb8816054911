"""The deliveries that wait in the store: which endpoints have some that are due, how they are claimed and given back.

What is to be attempted has a time at which it is due. Whoever claims it moves that time on, beyond the end of the
attempt: if it is still there when that comes, whoever claimed it is dead, and it is due again. So an attempt may be
repeated, and is never lost. A claim counts the attempt, and its number tells an old holder from a new one.

Nothing here goes through all that is due: an endpoint costs the same whether one or 100,000 deliveries wait for it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.triggers.model import Webhook
from workers.models.people import Row
from workers.store.deliveries import remove_deliveries_and_events
from workers.store.dialects import matching
from workers.store.tables import deliveries, webhook_events, webhooks
from workers.store.times import to_text, to_unix

BATCH = 1_000
"""How many deliveries are taken off the queue at once when their webhook is disabled or gone."""

_ENDPOINTS = text("""
    WITH RECURSIVE endpoint(seq) AS (
        SELECT min(webhook_seq) FROM deliveries WHERE due_at IS NOT NULL
        UNION ALL
        SELECT (SELECT min(webhook_seq) FROM deliveries WHERE due_at IS NOT NULL AND webhook_seq > endpoint.seq)
        FROM endpoint WHERE endpoint.seq IS NOT NULL
    )
    SELECT seq, (
        SELECT project_id FROM deliveries WHERE due_at IS NOT NULL AND webhook_seq = endpoint.seq
        ORDER BY due_at LIMIT 1
    ) FROM endpoint
    WHERE (SELECT min(due_at) FROM deliveries WHERE due_at IS NOT NULL AND webhook_seq = endpoint.seq) <= :now
""")
"""A skip scan: from one endpoint to the next in the index, and to what is due first of each."""

_CLAIM = """
    UPDATE deliveries SET attempts = attempts + 1, held = true, due_at = :until, updated_at = :now
    WHERE seq IN ({due})
    RETURNING seq, project_id, id, webhook_id, webhook_seq, event_id, attempts, round
"""

_CLAIM_SQLITE = text(
    _CLAIM.format(
        due="""
        SELECT each.seq FROM json_each(:endpoints) AS endpoint JOIN deliveries AS each ON each.seq IN (
            SELECT seq FROM deliveries WHERE webhook_seq = endpoint.value AND due_at <= :now
            ORDER BY due_at, seq LIMIT :count
        )"""
    )
)

_CLAIM_POSTGRESQL = text(
    _CLAIM.format(
        due="""
        SELECT each.seq FROM unnest(CAST(:endpoints AS bigint[])) AS endpoint CROSS JOIN LATERAL (
            SELECT seq FROM deliveries WHERE webhook_seq = endpoint AND due_at <= :now
            ORDER BY due_at, seq LIMIT :count FOR UPDATE SKIP LOCKED
        ) AS each"""
    )
)


class Claimed(NamedTuple):
    """A delivery that is this process's to attempt."""

    seq: int
    project_id: str
    id: str
    webhook_id: str
    webhook_seq: int
    event_id: str
    attempts: int
    """The number of the attempt, from 1 on: of all claims of this delivery only this one has it."""
    round: int
    """How many attempts failed since somebody last asked for the delivery."""


async def find_endpoints(connection: AsyncConnection, now: datetime) -> dict[int, str]:
    """Return the webhooks that something is due for, also those that are disabled or gone: ``seq`` and project."""
    found = await connection.execute(_ENDPOINTS, {"now": to_text(now)})
    return {row[0]: row[1] for row in found}


async def load_urls(connection: AsyncConnection, numbers: Sequence[int]) -> dict[int, str]:
    """Return where webhooks are sent to, by their ``seq``; of those that are gone there is none."""
    urls: dict[int, str] = {}
    for start in range(0, len(numbers), BATCH):
        found = await connection.execute(
            select(webhooks.c.seq, webhooks.c.url).where(webhooks.c.seq.in_(numbers[start : start + BATCH]))
        )
        urls |= {row[0]: row[1] for row in found}
    return urls


async def claim(
    connection: AsyncConnection, rooms: Mapping[int, int], now: datetime, lease_s: float
) -> list[Claimed]:
    """Claim what is due, about in the order in which it became due.

    Args:
        connection: a transaction that writes.
        rooms: how many deliveries at most, by the ``seq`` of their webhook.
        now: the time, aware.
        lease_s: for how long nobody else claims them.
    """
    by_room: defaultdict[int, list[int]] = defaultdict(list)
    for number, room in rooms.items():
        by_room[room].append(number)
    is_sqlite = connection.dialect.name == "sqlite"
    claimed: list[Claimed] = []
    for room, numbers in by_room.items():
        found = await connection.execute(
            _CLAIM_SQLITE if is_sqlite else _CLAIM_POSTGRESQL,
            {
                "endpoints": str(numbers) if is_sqlite else numbers,
                "count": room,
                "now": to_text(now),
                "until": to_text(now + timedelta(seconds=lease_s)),
            },
        )
        claimed += (Claimed(*row) for row in found)
    # In the order of the events, as far as they were recorded in it.
    return sorted(claimed)


async def give_back(connection: AsyncConnection, claims: Iterable[Claimed], now: datetime) -> None:
    """Have deliveries attempted at once by whoever is there: nothing was sent, or nobody waited for the answer."""
    if parameters := [{"seq_": each.seq, "attempts_": each.attempts} for each in sorted(claims)]:
        await connection.execute(_GIVE_BACK, [each | {"now_": to_text(now)} for each in parameters])


async def load_webhooks(connection: AsyncConnection, numbers: Collection[int]) -> dict[int, Webhook]:
    """Return webhooks by their ``seq``, without the events they wait for; of those that are gone there is none."""
    found = await connection.execute(select(*_NEEDED).where(webhooks.c.seq.in_(sorted(numbers))))
    return {row["seq"]: _webhook(row) for row in found.mappings()}


async def load_events(connection: AsyncConnection, claims: Iterable[Claimed]) -> dict[tuple[str, str], Row]:
    """Return the rows of the events of deliveries, each once, by project and event."""
    keys = {(each.project_id, each.event_id) for each in claims}
    if not keys:
        return {}
    events = webhook_events.c
    listed, matches = matching(events.project_id, events.event_id, sorted(keys))
    found = await connection.execute(
        select(events.project_id, events.event_id, events.names, events.actor_id, events.payload)
        .select_from(listed)
        .join(webhook_events, matches)
    )
    return {(row["project_id"], row["event_id"]): row for row in found.mappings()}


async def bury(connection: AsyncConnection, claims: Sequence[Claimed], error: str, now: datetime) -> None:
    """Make dead letters of deliveries that were claimed in this transaction, without an attempt."""
    if claims:
        await connection.execute(
            update(deliveries)
            .where(deliveries.c.seq.in_([each.seq for each in claims]))
            .values(_dead(error, now) | {"attempts": deliveries.c.attempts - 1})
        )


async def bury_due(connection: AsyncConnection, webhook_seq: int, error: str, now: datetime) -> int:
    """Make dead letters of what is due for a webhook, :data:`BATCH` of them at most; return of how many these were."""
    seqs = await _some(
        connection, deliveries.c.webhook_seq == webhook_seq, deliveries.c.due_at <= to_text(now)
    )
    await connection.execute(update(deliveries).where(deliveries.c.seq.in_(seqs)).values(_dead(error, now)))
    return len(seqs)


async def remove_open(connection: AsyncConnection, webhook_seq: int) -> int:
    """Remove what waits for a webhook that is gone, :data:`BATCH` deliveries at most; return how many.

    What does not wait is removed by maintenance.
    """
    seqs = await _some(connection, deliveries.c.webhook_seq == webhook_seq, deliveries.c.due_at.is_not(None))
    await remove_deliveries_and_events(connection, seqs)
    return len(seqs)


async def _some(connection: AsyncConnection, *where: Any) -> Sequence[int]:
    found = await connection.execute(
        select(deliveries.c.seq)
        .where(*where)
        .order_by(deliveries.c.due_at, deliveries.c.seq)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    return found.scalars().all()


def _webhook(row: Row) -> Webhook:
    return Webhook(
        id=row["id"],
        name=row["name"],
        url=row["url"],
        events=(),
        secret=row["secret"],
        enabled=row["enabled"],
        tls=row["tls"],
        auth_username=row["auth_username"],
        auth_password=row["auth_password"],
        former_secret=row["former_secret"],
        former_secret_until=to_unix(row["former_secret_until"]) if row["former_secret_until"] else 0.0,
    )


def _dead(error: str, now: datetime) -> dict[str, Any]:
    return {
        "status": "dead",
        "error": error,
        "response_status": 0,
        "due_at": None,
        "held": False,
        "updated_at": to_text(now),
    }


_NEEDED = [
    webhooks.c[name]
    for name in (
        "seq", "id", "name", "url", "tls", "auth_username", "auth_password", "secret", "former_secret",
        "former_secret_until", "enabled",
    )
]  # fmt: skip
"""What of a webhook an attempt needs."""

_GIVE_BACK = (
    update(deliveries)
    .where(
        deliveries.c.seq == bindparam("seq_"),
        deliveries.c.attempts == bindparam("attempts_"),
        deliveries.c.held,
    )
    .values(attempts=deliveries.c.attempts - 1, held=False, due_at=bindparam("now_"))
)
