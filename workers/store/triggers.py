"""The records of webhooks and functions, as SQL has them now: what workers are told of them.

Workers keep these records in Redis (:mod:`realtime.triggers.store`); here they are read from their owner, the store.
Secrets stay sealed on the way.
"""

from collections.abc import Sequence

from sqlalchemy import RowMapping, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.triggers.model import FunctionTrigger, Webhook
from workers.store import tables
from workers.store.times import to_unix


async def load_webhooks(
    connection: AsyncConnection, project_id: str, webhook_ids: Sequence[str] | None = None
) -> dict[str, Webhook]:
    """Return the records of those of ``webhook_ids`` that exist; of all webhooks of the project for None."""
    return {
        row["id"]: Webhook(
            id=row["id"],
            name=row["name"],
            url=row["url"],
            events=tuple(row["events"]),
            secret=row["secret"],
            enabled=row["enabled"],
            tls=row["tls"],
            auth_username=row["auth_username"],
            auth_password=row["auth_password"],
            former_secret=row["former_secret"],
            former_secret_until=to_unix(row["former_secret_until"]) if row["former_secret_until"] else 0.0,
        )
        for row in await _rows(connection, tables.webhooks, project_id, webhook_ids)
    }


async def load_functions(
    connection: AsyncConnection, project_id: str, function_ids: Sequence[str] | None = None
) -> dict[str, FunctionTrigger]:
    """Return the records of those of ``function_ids`` that exist; of all functions of the project for None."""
    return {
        row["id"]: FunctionTrigger(
            id=row["id"],
            name=row["name"],
            events=tuple(row["events"]),
            schedule=row["schedule"],
            enabled=row["enabled"],
            timeout_s=row["timeout_s"],
            deployment_id=row["deployment_id"] or "",
            scopes=tuple(row["scopes"]),
        )
        for row in await _rows(connection, tables.functions, project_id, function_ids)
    }


async def _rows(
    connection: AsyncConnection, table: Table, project_id: str, ids: Sequence[str] | None
) -> Sequence[RowMapping]:
    statement = select(table).where(table.c.project_id == project_id)
    if ids is not None:
        statement = statement.where(table.c.id.in_(ids))
    return (await connection.execute(statement)).mappings().all()
