"""The records of the read model, as SQL has them now: what hubs are told of projects, keys and people.

Hubs keep these records in Redis (:mod:`realtime.identity.store`); here they are read from their owner, the store.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.identity.model import ApiKey, Membership, Platform, Project, Session, User
from workers.models.mfa import lacks_factor
from workers.models.people import account_model
from workers.store import tables
from workers.store.times import to_unix


async def load_project(connection: AsyncConnection, project_id: str) -> Project | None:
    """Return the record of a project with its platforms; None when there is none."""
    found = await connection.execute(select(tables.projects).where(tables.projects.c.id == project_id))
    row = found.mappings().one_or_none()
    if row is None:
        return None
    platforms = await connection.execute(
        select(tables.platforms)
        .where(tables.platforms.c.project_id == project_id)
        .order_by(tables.platforms.c.seq)
    )
    disabled = row["disabled"].get("protocols", [])
    return Project(
        id=row["id"],
        name=row["name"],
        team_id=row["team_id"],
        region=row["region"],
        websocket_enabled="websocket" not in disabled,
        managed=True,
        disabled_services=tuple(row["disabled"].get("services", ())),
        schema_version=row["schema_version"],
        platforms=tuple(
            Platform(type=each["type"], hostname=each["hostname"], key=each["key"], name=each["name"])
            for each in platforms.mappings()
        ),
    )


async def load_key(connection: AsyncConnection, project_id: str, key_id: str) -> tuple[ApiKey, str] | None:
    """Return the record of an API key, and the hash of its secret; None when there is none."""
    found = await connection.execute(
        select(tables.keys).where(tables.keys.c.project_id == project_id, tables.keys.c.id == key_id)
    )
    row = found.mappings().one_or_none()
    return None if row is None else key_record(row)


def key_record(row: Mapping[Any, Any]) -> tuple[ApiKey, str]:
    """Return the record of an API key from its row in SQL, and the hash of its secret."""
    record = ApiKey(
        id=row["id"],
        name=row["name"],
        scopes=tuple(row["scopes"]),
        expires_at=to_unix(row["expires_at"]) if row["expires_at"] else None,
    )
    return record, row["secret_hash"]


async def load_users(
    connection: AsyncConnection, project_id: str, user_ids: Sequence[str]
) -> dict[str, User]:
    """Return the records of those of ``user_ids`` that exist, with their sessions and memberships."""
    found = await connection.execute(
        select(tables.users).where(tables.users.c.project_id == project_id, tables.users.c.id.in_(user_ids))
    )
    users = found.mappings().all()
    sessions = await _of_users(connection, tables.sessions, project_id, user_ids)
    memberships = await _of_users(connection, tables.memberships, project_id, user_ids)
    targets = await _of_users(connection, tables.targets, project_id, user_ids)
    return {
        row["id"]: _user(row, sessions[row["id"]], memberships[row["id"]], targets[row["id"]])
        for row in users
    }


async def _of_users(
    connection: AsyncConnection, table: Any, project_id: str, user_ids: Sequence[str]
) -> defaultdict[str, list[RowMapping]]:
    found = await connection.execute(
        select(table)
        .where(table.c.project_id == project_id, table.c.user_id.in_(user_ids))
        .order_by(table.c.seq)
    )
    by_user: defaultdict[str, list[RowMapping]] = defaultdict(list)
    for row in found.mappings():
        by_user[row["user_id"]].append(row)
    return by_user


def _user(
    row: Mapping[Any, Any],
    sessions: Iterable[Mapping[Any, Any]],
    memberships: Iterable[Mapping[Any, Any]],
    targets: Sequence[Mapping[Any, Any]],
) -> User:
    return User(
        id=row["id"],
        name=row["name"],
        email=row["email"] or "",
        phone=row["phone"] or "",
        email_verified=row["email_verified"],
        phone_verified=row["phone_verified"],
        active=row["status"],
        labels=tuple(row["labels"]),
        memberships=tuple(
            Membership(
                id=each["id"],
                team_id=each["team_id"],
                roles=tuple(each["roles"]),
                confirmed=each["confirmed"],
            )
            for each in memberships
        ),
        sessions=tuple(
            Session(
                id=each["id"],
                secret_hash=each["secret_hash"],
                provider=each["provider"],
                expires_at=to_unix(each["expires_at"]),
                mfa_pending=lacks_factor(row, each["factors"]),
            )
            for each in sessions
        ),
        impersonator=row["impersonator"],
        tokens_from=to_unix(max(row["registered_at"], row["password_updated_at"] or "")),
        account=dict(account_model(row, targets)),
    )
