"""Projects with their API keys and platforms in SQL: what the API and the command line both do to them.

Each function that changes something is called within :meth:`workers.store.store.Store.write`, and records the event and
what hubs have to know.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.event import Event
from realtime.identity.model import Platform
from realtime.identity.secrets import hash_secret
from workers.models.projects import key_model, platform_model, project_model
from workers.store import tables
from workers.store.discarded import discard_rows, has_bytes
from workers.store.ids import new_id
from workers.store.row_tables import drop_row_tables
from workers.store.store import Transaction

_KEY_PREFIX = "standard_"


def new_key_secret() -> str:
    """Return the secret of a new API key, 256 random bits."""
    return f"{_KEY_PREFIX}{secrets.token_hex(32)}"


SwitchKind = Literal["protocols", "services"]
"""What of a project can be switched off."""


async def find_project(
    connection: AsyncConnection, project_id: str, *, lock: bool = False
) -> RowMapping | None:
    """Return the row of a project; None when there is none. With ``lock`` nobody else changes it meanwhile."""
    statement = select(tables.projects).where(tables.projects.c.id == project_id)
    found = await connection.execute(statement.with_for_update() if lock else statement)
    return found.mappings().one_or_none()


async def create_project(
    tx: Transaction,
    *,
    name: str,
    team_id: str = "",
    region: str = "",
    platforms: Iterable[Platform] = (),
) -> RowMapping:
    """Create the project of the transaction, and return its row.

    Raises:
        sqlalchemy.exc.IntegrityError: its ID is taken.
    """
    row = await _insert(
        tx,
        tables.projects,
        {
            "id": tx.project.id,
            "name": name,
            "team_id": team_id,
            "region": region,
            "disabled": {},
            "policies": {},
            # A former project of this ID counted too. What is still known of its tables must not pass for what is
            # known of this one's, so each counts from the time it was made at.
            "schema_version": int(tx.now.timestamp() * 1_000_000),
        },
    )
    for platform in platforms:
        await _insert(tx, tables.platforms, _platform_values(tx, new_id(), platform))
    tx.change_project()
    emit_project(tx, "create", row)
    return row


async def update_project(tx: Transaction, changes: Mapping[str, Any]) -> RowMapping | None:
    """Change columns of the project of the transaction, and return its row; None when there is none."""
    changed = await tx.connection.execute(
        update(tables.projects)
        .where(tables.projects.c.id == tx.project.id)
        .values(**changes, updated_at=tx.now_text)
        .returning(*tables.projects.c)
    )
    row = changed.mappings().one_or_none()
    if row is not None:
        tx.change_project()
        emit_project(tx, "update", row)
    return row


async def switch(tx: Transaction, kind: SwitchKind, name: str, *, is_on: bool) -> RowMapping | None:
    """Switch a protocol or service of the transaction's project; return the project's row, None when there is none."""
    row = await find_project(tx.connection, tx.project.id, lock=True)
    if row is None:
        return None
    names = set(row["disabled"].get(kind, ())) - {name}
    if not is_on:
        names.add(name)
    return await update_project(tx, {"disabled": row["disabled"] | {kind: sorted(names)}})


async def delete_project(tx: Transaction) -> bool:
    """Delete the project of the transaction with everything in it; return False when there is none.

    What waits in its outbox is still published.
    """
    row = await find_project(tx.connection, tx.project.id, lock=True)
    if row is None:
        return False
    found = await tx.connection.execute(
        select(tables.tables.c.seq).where(tables.tables.c.project_id == tx.project.id)
    )
    await drop_row_tables(tx.connection, [seq for (seq,) in found.all()])
    for table in tables.metadata.sorted_tables:
        if "project_id" not in table.c or table is tables.outbox:
            continue
        if has_bytes(table):
            await discard_rows(tx.connection, table, tx.now, table.c.project_id == tx.project.id)
        else:
            await tx.connection.execute(delete(table).where(table.c.project_id == tx.project.id))
    await tx.connection.execute(delete(tables.projects).where(tables.projects.c.id == tx.project.id))
    tx.change_project()
    emit_project(tx, "delete", row)
    return True


def emit_project(tx: Transaction, action: str, row: Mapping[Any, Any]) -> None:
    """Record the event ``projects.P.<action>``."""
    tx.emit(Event(f"projects.[projectId].{action}", project_model(row), params={"projectId": row["id"]}))


async def list_platforms(connection: AsyncConnection, project_id: str) -> Sequence[RowMapping]:
    """Return the rows of all platforms of a project, oldest first."""
    found = await connection.execute(
        select(tables.platforms)
        .where(tables.platforms.c.project_id == project_id)
        .order_by(tables.platforms.c.seq)
    )
    return found.mappings().all()


async def create_platform(tx: Transaction, platform_id: str, platform: Platform) -> RowMapping:
    """Let a client application in, and return its row.

    Raises:
        sqlalchemy.exc.IntegrityError: the ID is taken.
    """
    row = await _insert(tx, tables.platforms, _platform_values(tx, platform_id, platform))
    _emit_platform(tx, "create", row)
    return row


async def update_platform(tx: Transaction, platform_id: str, changes: Mapping[str, Any]) -> RowMapping | None:
    """Change columns of a platform, and return its row; None when there is none."""
    row = await _update(tx, tables.platforms, platform_id, changes)
    if row is not None:
        _emit_platform(tx, "update", row)
    return row


async def delete_platform(tx: Transaction, platform_id: str) -> bool:
    """Let a client application in no more; return False when there is none of this ID."""
    row = await _delete(tx, tables.platforms, platform_id)
    if row is not None:
        _emit_platform(tx, "delete", row)
    return row is not None


async def find_key(
    connection: AsyncConnection, project_id: str, key_id: str, *, lock: bool = False
) -> RowMapping | None:
    """Return the row of an API key; None when there is none. With ``lock`` nobody else changes it meanwhile."""
    statement = select(tables.keys).where(tables.keys.c.project_id == project_id, tables.keys.c.id == key_id)
    found = await connection.execute(statement.with_for_update() if lock else statement)
    return found.mappings().one_or_none()


async def create_key(
    tx: Transaction,
    *,
    key_id: str,
    name: str,
    scopes: Sequence[str],
    expires_at: str | None,
    secret: str,
) -> RowMapping:
    """Create an API key, and return its row; of ``secret`` only the hash is kept.

    Raises:
        sqlalchemy.exc.IntegrityError: the ID is taken.
    """
    values = {
        "project_id": tx.project.id,
        "id": key_id,
        "name": name,
        "secret_hash": hash_secret(secret),
        "scopes": list(scopes),
        "expires_at": expires_at,
    }
    row = await _insert(tx, tables.keys, values)
    _emit_key(tx, "create", row)
    return row


async def update_key(tx: Transaction, key_id: str, changes: Mapping[str, Any]) -> RowMapping | None:
    """Change columns of an API key, and return its row; None when there is none."""
    row = await _update(tx, tables.keys, key_id, changes)
    if row is not None:
        _emit_key(tx, "update", row)
    return row


async def delete_key(tx: Transaction, key_id: str) -> bool:
    """Delete an API key; return False when there is none of this ID."""
    row = await _delete(tx, tables.keys, key_id)
    if row is not None:
        _emit_key(tx, "delete", row)
    return row is not None


def _emit_platform(tx: Transaction, action: str, row: RowMapping) -> None:
    tx.change_project()
    tx.emit(Event(f"platforms.[platformId].{action}", platform_model(row), params={"platformId": row["id"]}))


def _emit_key(tx: Transaction, action: str, row: RowMapping) -> None:
    tx.change_key(row["id"])
    tx.emit(Event(f"keys.[keyId].{action}", key_model(row), params={"keyId": row["id"]}))


def _platform_values(tx: Transaction, platform_id: str, platform: Platform) -> dict[str, Any]:
    return {
        "project_id": tx.project.id,
        "id": platform_id,
        "type": platform.type,
        "name": platform.name,
        "key": platform.key,
        "hostname": platform.hostname,
    }


async def _insert(tx: Transaction, table: Any, values: Mapping[str, Any]) -> RowMapping:
    inserted = await tx.connection.execute(
        insert(table).values(**values, created_at=tx.now_text, updated_at=tx.now_text).returning(*table.c)
    )
    return inserted.mappings().one()


async def _update(
    tx: Transaction, table: Any, resource_id: str, changes: Mapping[str, Any]
) -> RowMapping | None:
    changed = await tx.connection.execute(
        update(table)
        .where(table.c.project_id == tx.project.id, table.c.id == resource_id)
        .values(**changes, updated_at=tx.now_text)
        .returning(*table.c)
    )
    return changed.mappings().one_or_none()


async def _delete(tx: Transaction, table: Any, resource_id: str) -> RowMapping | None:
    deleted = await tx.connection.execute(
        delete(table)
        .where(table.c.project_id == tx.project.id, table.c.id == resource_id)
        .returning(*table.c)
    )
    return deleted.mappings().one_or_none()
