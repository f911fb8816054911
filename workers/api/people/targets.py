"""Targets, the ways to reach a person: the rows, and their events.

Those of kind ``email`` and ``sms`` that say what the user says follow the user's e-mail address and phone number
(:mod:`workers.api.people.users`); all others are as they were made.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.event import Event
from workers.api.people.subscriptions import unsubscribe_target
from workers.api.problems import Problem, refuse
from workers.models.people import Row, target_model
from workers.store.ids import new_id
from workers.store.store import Transaction
from workers.store.tables import targets


async def targets_of(connection: AsyncConnection, project_id: str, user_id: str) -> Sequence[RowMapping]:
    """Return the rows of a user's targets, oldest first."""
    found = await connection.execute(
        select(targets)
        .where(targets.c.project_id == project_id, targets.c.user_id == user_id)
        .order_by(targets.c.seq)
    )
    return found.mappings().all()


async def require_target(
    connection: AsyncConnection, project_id: str, user_id: str, target_id: str
) -> RowMapping:
    """Return the row of a target of a user.

    Raises:
        ApiError: 404 ``user_target_not_found``.
    """
    found = await connection.execute(
        select(targets).where(
            targets.c.project_id == project_id, targets.c.user_id == user_id, targets.c.id == target_id
        )
    )
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.USER_TARGET_NOT_FOUND)
    return row


async def create_target(
    tx: Transaction,
    *,
    target_id: str,
    user_id: str,
    provider_type: str,
    identifier: str,
    provider_id: str = "",
    name: str = "",
) -> RowMapping:
    """Insert a target; with the event ``users.[userId].targets.[targetId].create``.

    Raises:
        ApiError: 409 ``user_target_already_exists``, for the ID, or the identifier among targets of the same kind.
    """
    values = {
        "id": target_id,
        "user_id": user_id,
        "provider_type": provider_type,
        "identifier": identifier,
        "provider_id": provider_id,
        "name": name,
    }
    row = await _insert(tx, values)
    tx.change_user(user_id)
    _emit(tx, row, "create")
    return row


async def update_target(tx: Transaction, row: Row, changes: Mapping[str, Any]) -> RowMapping:
    """Change columns of a target; with the event ``.update``.

    Raises:
        ApiError: 409 ``user_target_already_exists``, for the identifier.
    """
    updated = await _update(tx, row, changes)
    tx.change_user(updated["user_id"])
    _emit(tx, updated, "update")
    return updated


async def delete_target(tx: Transaction, row: Row) -> None:
    """Delete a target; with the event ``.delete``."""
    await _delete(tx, row)
    tx.change_user(row["user_id"])
    _emit(tx, row, "delete")


async def add_own_target(tx: Transaction, user_id: str, provider_type: str, identifier: str) -> None:
    """Have a new user reached by their address, without an event, since theirs tells of it.

    Somebody else may have it as a target already; then this user goes without.
    """
    taken = await tx.connection.execute(
        select(targets.c.seq).where(
            targets.c.project_id == tx.project.id,
            targets.c.provider_type == provider_type,
            targets.c.identifier == identifier,
        )
    )
    if taken.first() is None:
        await _insert(tx, _own(user_id, provider_type, identifier))


async def move_own_target(
    tx: Transaction, user_id: str, provider_type: str, before: str | None, after: str | None
) -> None:
    """Let the target that a user has by their address follow its change, without an event of its own.

    Args:
        tx: the transaction.
        user_id: whose target.
        provider_type: ``email`` or ``sms``.
        before: the address that the user had; None for none.
        after: the address that the user has; None for none.

    Raises:
        ApiError: 409 ``user_target_already_exists``, when ``after`` is a target already.
    """
    found = await tx.connection.execute(
        select(targets).where(
            targets.c.project_id == tx.project.id,
            targets.c.user_id == user_id,
            targets.c.provider_type == provider_type,
            targets.c.identifier.in_([before, after]),
        )
    )
    rows = {row["identifier"]: row for row in found.mappings()}
    row = rows.get(before)
    if after in rows:
        # It was made by hand, for this user; one is enough.
        if row is not None:
            await _delete(tx, row)
    elif row is None:
        if after is not None:
            await _insert(tx, _own(user_id, provider_type, after))
    elif after is None:
        await _delete(tx, row)
    else:
        await _update(tx, row, {"identifier": after})


def _own(user_id: str, provider_type: str, identifier: str) -> dict[str, Any]:
    return {"id": new_id(), "user_id": user_id, "provider_type": provider_type, "identifier": identifier}


async def _insert(tx: Transaction, values: Mapping[str, Any]) -> RowMapping:
    statement = insert(targets).values(
        **values, project_id=tx.project.id, created_at=tx.now_text, updated_at=tx.now_text
    )
    try:
        inserted = await tx.connection.execute(statement.returning(targets))
    except IntegrityError as error:
        raise refuse(Problem.USER_TARGET_EXISTS) from error
    found: RowMapping = inserted.mappings().one()
    return found


async def _update(tx: Transaction, row: Row, changes: Mapping[str, Any]) -> RowMapping:
    statement = (
        update(targets)
        .where(targets.c.project_id == tx.project.id, targets.c.seq == row["seq"])
        .values(**changes, updated_at=tx.now_text)
    )
    try:
        updated = await tx.connection.execute(statement.returning(targets))
    except IntegrityError as error:
        raise refuse(Problem.USER_TARGET_EXISTS) from error
    found: RowMapping | None = updated.mappings().one_or_none()
    if found is None:
        raise refuse(Problem.USER_TARGET_NOT_FOUND)
    return found


async def _delete(tx: Transaction, row: Row) -> None:
    await tx.connection.execute(
        delete(targets).where(targets.c.project_id == tx.project.id, targets.c.seq == row["seq"])
    )
    await unsubscribe_target(tx, row["id"])


def _emit(tx: Transaction, row: Row, action: str) -> None:
    tx.emit(
        Event(
            f"users.[userId].targets.[targetId].{action}",
            target_model(row),
            params={"userId": row["user_id"], "targetId": row["id"]},
        )
    )
