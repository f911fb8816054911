"""Bringing a database to the newest version of its tables."""

import secrets

from sqlalchemy import select

from workers.store.database import Database
from workers.store.tables import metadata, store_info


async def migrate(database: Database) -> None:
    """Make or change the tables as needed; safe to call from several processes at once."""
    async with database.writing() as connection:
        await connection.run_sync(metadata.create_all)
        if (await connection.execute(select(store_info.c.store_id))).first() is None:
            await connection.execute(store_info.insert().values(id=1, store_id=secrets.token_hex(16)))
