"""What Alembic runs around its steps: on the connection that it is handed, or else on the database of the settings."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from realtime.settings import Settings
from workers.store.database import open_database
from workers.store.tables import metadata


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # Tables of users' rows are made by the API, as they come.
        include_name=lambda name, kind, _parents: kind != "table" or name in metadata.tables,
        # SQLite cannot alter a column; Alembic then copies the table.
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def _run_on_settings() -> None:
    database = open_database(Settings())
    try:
        async with database.writing() as connection:
            await connection.run_sync(_run)
    finally:
        await database.aclose()


_connection = context.config.attributes.get("connection")
if _connection is None:
    asyncio.run(_run_on_settings())
else:
    _run(_connection)
