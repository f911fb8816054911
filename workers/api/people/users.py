"""Users: the rows, with what follows from them — targets, identities and events.

Whoever changes a user says how the user is shown in the event (:data:`Show`): the account service shows an account, the
users service a user (wire specification 9.4).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.event import Event
from workers.api.people import hashes, passwords
from workers.api.people.subscriptions import unsubscribe_user
from workers.api.people.targets import add_own_target, move_own_target, targets_of
from workers.api.people.tokens import MAILED_KINDS, PASSWORD_KINDS, void_tokens
from workers.api.problems import Problem, refuse
from workers.models.people import Row
from workers.store import tables
from workers.store.store import Transaction
from workers.store.tables import users

__all__ = [
    "Show", "create_user", "delete_user", "find_user", "find_user_by_email", "find_user_by_phone", "load_policies",
    "rehash", "require_user", "targets_of", "update_user",
]  # fmt: skip

Show = Callable[[Row, Sequence[Row]], Mapping[str, Any]]
"""Makes the model that an event tells, without secrets, of the row of a user and the rows of their targets."""

_BELONGINGS = (
    tables.sessions, tables.tokens, tables.targets, tables.challenges, tables.logs, tables.transactions,
    tables.executions,
)  # fmt: skip
"""What is deleted with a user, besides memberships."""


async def find_user(
    connection: AsyncConnection, project_id: str, user_id: str, *, lock: bool = False
) -> RowMapping | None:
    """Return the row of a user; None when there is none.

    Args:
        connection: in a transaction; one that writes, for ``lock``.
        project_id: the project.
        user_id: the user.
        lock: whether to have others wait who would lock or change the row, until the transaction ends.
    """
    return await _find(connection, project_id, users.c.id == user_id, lock=lock)


async def find_user_by_email(connection: AsyncConnection, project_id: str, email: str) -> RowMapping | None:
    """Return the row of the user with this e-mail address, in any case; None when there is none."""
    return await _find(connection, project_id, users.c.email == email.lower())


async def find_user_by_phone(connection: AsyncConnection, project_id: str, phone: str) -> RowMapping | None:
    """Return the row of the user with this phone number; None when there is none."""
    return await _find(connection, project_id, users.c.phone == phone)


async def require_user(
    connection: AsyncConnection, project_id: str, user_id: str, *, lock: bool = False
) -> RowMapping:
    """Return the row of a user, as :func:`find_user` does.

    Raises:
        ApiError: 404 ``user_not_found``.
    """
    row = await find_user(connection, project_id, user_id, lock=lock)
    if row is None:
        raise refuse(Problem.USER_NOT_FOUND)
    return row


async def load_policies(connection: AsyncConnection, project_id: str) -> Mapping[str, Any]:
    """Return the policies that a project sets, by their IDs; what it leaves out has its default."""
    found = await connection.execute(
        select(tables.projects.c.policies).where(tables.projects.c.id == project_id)
    )
    return found.scalar_one_or_none() or {}


async def create_user(
    tx: Transaction,
    *,
    user_id: str,
    email: str | None = None,
    phone: str | None = None,
    name: str = "",
    password_hash: str | None = None,
    algorithm: str = hashes.OWN,
    options: Mapping[str, Any] | None = None,
    show: Show,
) -> RowMapping:
    """Insert a user, with targets for the e-mail address and the phone number; event ``users.[userId].create``.

    Args:
        tx: the transaction.
        user_id: the ID that was chosen.
        email: in lower case; None for none.
        phone: E.164; None for none.
        name: may be empty.
        password_hash: in the form that ``algorithm`` and ``options`` name (:mod:`workers.api.people.hashes`);
            None for a user without a password.
        algorithm: of the password.
        options: of the password; None for those of our own hashes.
        show: makes the payload of the event.

    Raises:
        ApiError: 409 ``user_already_exists``, for the ID, the e-mail address or the phone number.
    """
    values = {
        **passwords.stored(password_hash, algorithm, options),
        "password_updated_at": None if password_hash is None else tx.now_text,
        "password_history": [],
        "labels": [],
        "prefs": {},
        "mfa_recovery_codes": [],
        "registered_at": tx.now_text,
        "accessed_at": tx.now_text,
        "created_at": tx.now_text,
        "updated_at": tx.now_text,
    }
    statement = insert(users).values(
        project_id=tx.project.id, id=user_id, email=email, phone=phone, name=name, **values
    )
    try:
        found = await tx.connection.execute(statement.returning(users))
    except IntegrityError as error:
        raise refuse(Problem.USER_EXISTS) from error
    row: RowMapping = found.mappings().one()
    if email is not None:
        await add_own_target(tx, user_id, "email", email)
    if phone is not None:
        await add_own_target(tx, user_id, "sms", phone)
    await _tell(tx, row, "users.[userId].create", show)
    return row


async def update_user(
    tx: Transaction,
    row: Row,
    changes: Mapping[str, Any],
    *,
    attribute: str,
    show: Show,
    payload: Mapping[str, Any] | None = None,
) -> RowMapping:
    """Change columns of a user, and keep the targets in step; event ``users.[userId].update.<attribute>``.

    A new e-mail address or phone number is not verified, unless ``changes`` says that it is. What was mailed to an
    earlier address is void, and so is with a new password what else lets the user in.

    Args:
        tx: the transaction.
        row: the user's, as it is before.
        changes: columns of ``users``.
        attribute: what the event names.
        show: makes the payload of the event.
        payload: what the event tells instead.

    Returns:
        The row as it is now.

    Raises:
        ApiError: 409 ``user_email_already_exists``, ``user_phone_already_exists`` or ``user_target_already_exists``;
            404 ``user_not_found``, when the user was deleted meanwhile.
    """
    columns = dict(changes)
    for address in ("email", "phone"):
        if columns.get(address, row[address]) != row[address]:
            columns.setdefault(f"{address}_verified", False)
    statement = (
        update(users)
        .where(users.c.project_id == tx.project.id, users.c.seq == row["seq"])
        .values(**columns, updated_at=tx.now_text)
    )
    try:
        found = await tx.connection.execute(statement.returning(users))
    except IntegrityError as error:
        taken = Problem.USER_EMAIL_EXISTS if "email" in changes else Problem.USER_PHONE_EXISTS
        raise refuse(taken) from error
    updated: RowMapping | None = found.mappings().one_or_none()
    if updated is None:
        raise refuse(Problem.USER_NOT_FOUND)
    for address, provider_type in (("email", "email"), ("phone", "sms")):
        if updated[address] != row[address]:
            await move_own_target(tx, row["id"], provider_type, row[address], updated[address])
    if updated["email"] != row["email"]:
        # They went to the earlier address, and would prove nothing about the new one.
        await void_tokens(tx, row["id"], MAILED_KINDS)
    if "password_hash" in changes:
        await void_tokens(tx, row["id"], PASSWORD_KINDS)
    await _tell(tx, updated, f"users.[userId].update.{attribute}", show, payload)
    return updated


async def rehash(tx: Transaction, row: Row, password_hash: str) -> None:
    """Store the same password in the form of our own, unless it was changed meanwhile. Nobody is told."""
    await tx.connection.execute(
        update(users)
        .where(
            users.c.project_id == tx.project.id,
            users.c.seq == row["seq"],
            users.c.password_hash == row["password_hash"],
        )
        .values(passwords.stored(password_hash))
    )


async def delete_user(tx: Transaction, row: Row, *, show: Show) -> None:
    """Delete a user with all that belongs to them; event ``users.[userId].delete``.

    Teams lose a member for each confirmed membership.

    Args:
        tx: the transaction.
        row: the user's, which is locked: people are locked before their teams, as where they are taken in.
        show: makes the payload of the event.

    Raises:
        ApiError: 404 ``user_not_found``, when the user was deleted meanwhile.
    """
    payload = show(row, await targets_of(tx.connection, tx.project.id, row["id"]))
    await _lock_teams(tx, row["id"])
    deleted = await tx.connection.execute(
        delete(users).where(users.c.project_id == tx.project.id, users.c.seq == row["seq"])
    )
    if not deleted.rowcount:
        raise refuse(Problem.USER_NOT_FOUND)
    await _leave_teams(tx, row["id"])
    await _forget_operations(tx, row["id"])
    for table in _BELONGINGS:
        await tx.connection.execute(
            delete(table).where(table.c.project_id == tx.project.id, table.c.user_id == row["id"])
        )
    # After the targets, which lock out whoever subscribes one of them.
    await unsubscribe_user(tx, row["id"])
    tx.change_user(row["id"])
    tx.emit(Event("users.[userId].delete", payload, params={"userId": row["id"]}))


async def _find(
    connection: AsyncConnection, project_id: str, condition: ColumnElement[bool], *, lock: bool = False
) -> RowMapping | None:
    statement = select(users).where(users.c.project_id == project_id, condition)
    found = await connection.execute(statement.with_for_update() if lock else statement)
    return found.mappings().one_or_none()


async def _lock_teams(tx: Transaction, user_id: str) -> None:
    """Keep others from changing the teams that the user is in, or is invited to."""
    memberships, teams = tables.memberships, tables.teams
    entered = select(memberships.c.team_id).where(
        memberships.c.project_id == tx.project.id, memberships.c.user_id == user_id
    )
    # In one order, whoever deletes, so that two never wait for each other.
    await tx.connection.execute(
        select(teams.c.seq)
        .where(teams.c.project_id == tx.project.id, teams.c.id.in_(entered))
        .order_by(teams.c.seq)
        .with_for_update()
    )


async def _leave_teams(tx: Transaction, user_id: str) -> None:
    """Delete the user's memberships, and count the members of their teams without them."""
    memberships, teams = tables.memberships, tables.teams
    left = await tx.connection.execute(
        delete(memberships)
        .where(memberships.c.project_id == tx.project.id, memberships.c.user_id == user_id)
        .returning(memberships.c.team_id, memberships.c.confirmed)
    )
    team_ids = [team_id for team_id, is_confirmed in left if is_confirmed]
    await tx.connection.execute(
        update(teams)
        .where(teams.c.project_id == tx.project.id, teams.c.id.in_(team_ids))
        .values(total=teams.c.total - 1)
    )


async def _forget_operations(tx: Transaction, user_id: str) -> None:
    """Delete what the user has staged, in transactions that nobody will commit."""
    operations, transactions = tables.operations, tables.transactions
    opened = select(transactions.c.id).where(
        transactions.c.project_id == tx.project.id, transactions.c.user_id == user_id
    )
    await tx.connection.execute(
        delete(operations).where(
            operations.c.project_id == tx.project.id, operations.c.transaction_id.in_(opened)
        )
    )


async def _tell(
    tx: Transaction, row: Row, pattern: str, show: Show, payload: Mapping[str, Any] | None = None
) -> None:
    if payload is None:
        payload = show(row, await targets_of(tx.connection, tx.project.id, row["id"]))
    tx.change_user(row["id"])
    tx.emit(Event(pattern, payload, params={"userId": row["id"]}))
