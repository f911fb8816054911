"""Sessions: how a login begins, lasts and ends, wherever it comes from.

A session's secret is only known to whoever logged in; the store and the hubs have its hash. What begins or ends is
written through to the hubs before the event that tells of it. Source: wire specification 9.4 and 10.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request

from realtime.events.event import Event
from realtime.identity.secrets import hash_secret
from workers.api.addresses import address_of
from workers.api.people.agents import agent_of
from workers.api.people.policies import read_policies
from workers.api.services import services_of
from workers.models.people import Row
from workers.models.sessions import session_model
from workers.store.ids import new_id, new_secret
from workers.store.store import Transaction
from workers.store.tables import sessions, users
from workers.store.times import to_text


async def create_session(
    tx: Transaction,
    request: Request,
    user: Row,
    *,
    provider: str,
    factors: Sequence[str],
    lifetime_s: float | None = None,
) -> tuple[RowMapping, str]:
    """Begin a session of ``user``; above the limit for one user, the oldest ones end.

    Args:
        tx: the change.
        request: the login, for its address and user agent.
        user: the row of the user.
        provider: how they logged in: ``email``, ``anonymous``, ``magic-url``, ``token``, ...
        factors: what they proved: ``password``, ``email``, ``phone``, ``totp``, ``token``.
        lifetime_s: how long it lasts, in seconds; None for as long as the project says.

    Returns:
        The row, and the secret, which :func:`realtime.identity.secrets.encode_session` makes a session's value of.
    """
    settings = services_of(request).settings
    policies = await read_policies(tx.connection, tx.project.id, settings)
    if lifetime_s is None:
        lifetime_s = policies.session_lifetime_s
    # This also locks the user: two logins at once must not both find them one below the limit.
    await tx.connection.execute(
        update(users).where(users.c.seq == user["seq"]).values(accessed_at=tx.now_text)
    )
    await _make_room(tx, user["id"], policies.sessions_per_user)
    secret = new_secret()
    made = await tx.connection.execute(
        insert(sessions)
        .values(
            project_id=tx.project.id,
            id=new_id(),
            user_id=user["id"],
            provider=provider,
            provider_uid=user["email"] or "" if provider == "email" else "",
            secret_hash=hash_secret(secret),
            expires_at=expiry(tx, lifetime_s),
            ip=address_of(request),
            agent=agent_of(request),
            factors=list(factors),
            created_at=tx.now_text,
            updated_at=tx.now_text,
        )
        .returning(sessions)
    )
    row = made.mappings().one()
    announce_session(tx, row, "create")
    return row, secret


async def sessions_of(
    connection: AsyncConnection, project_id: str, user_id: str, *, lock: bool = False
) -> Sequence[RowMapping]:
    """Return the sessions of a user that have not expired, oldest first; ``lock`` keeps others from changing them."""
    statement = (
        select(sessions)
        .where(
            sessions.c.project_id == project_id,
            sessions.c.user_id == user_id,
            sessions.c.expires_at > to_text(datetime.now(UTC)),
        )
        .order_by(sessions.c.seq)
    )
    found = await connection.execute(statement.with_for_update() if lock else statement)
    return found.mappings().all()


def expiry(tx: Transaction, lifetime_s: float) -> str:
    """Return when a session ends that lasts ``lifetime_s`` seconds from now."""
    return to_text(tx.now + timedelta(seconds=lifetime_s))


async def delete_session(tx: Transaction, row: Row) -> None:
    """End the session of this row of ``sessions``."""
    await tx.connection.execute(delete(sessions).where(sessions.c.seq == row["seq"]))
    announce_session(tx, row, "delete")


async def delete_sessions(tx: Transaction, user_id: str) -> None:
    """End all sessions of a user. The event that tells of it is the caller's: the two APIs have different ones."""
    await tx.connection.execute(
        delete(sessions).where(sessions.c.project_id == tx.project.id, sessions.c.user_id == user_id)
    )
    tx.change_user(user_id)


def announce_session(tx: Transaction, row: Row, action: str) -> None:
    """Record that a session was made, changed or deleted: its event, and for the hubs its user."""
    tx.change_user(row["user_id"])
    tx.emit(
        Event(
            f"users.[userId].sessions.[sessionId].{action}",
            session_model(row),
            params={"userId": row["user_id"], "sessionId": row["id"]},
            sensitive=("secret",),
        )
    )


async def _make_room(tx: Transaction, user_id: str, limit: int) -> None:
    """End the oldest sessions of a user so that one more is within ``limit``; 0 is none."""
    await tx.connection.execute(
        delete(sessions).where(
            sessions.c.project_id == tx.project.id,
            sessions.c.user_id == user_id,
            sessions.c.expires_at <= tx.now_text,
        )
    )
    if not limit:
        return
    present = await sessions_of(tx.connection, tx.project.id, user_id, lock=True)
    for row in present[: max(len(present) - limit + 1, 0)]:
        await delete_session(tx, row)
