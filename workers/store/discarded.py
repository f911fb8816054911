"""Stored bytes that nobody needs any more, recorded in the transaction that deletes what they belonged to.

They are removed after it is committed (:mod:`workers.files.discards`), so that a transaction that fails loses nothing,
and a crash in between leaves nothing behind.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Table, delete, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.store import tables
from workers.store.times import to_text

_KEY = "storage_key"
"""The column of every table whose rows have bytes. They are discarded with their project."""

_BATCH = 1_000


async def discard_file(connection: AsyncConnection, key: str, now: datetime, *, token: str = "") -> None:
    """Have the bytes of ``key`` removed when the transaction is committed, and the parts of the upload ``token``."""
    await connection.execute(
        insert(tables.discarded_files), {"storage_key": key, "token": token, "created_at": to_text(now)}
    )


async def discard_rows(
    connection: AsyncConnection, table: Table, now: datetime, *where: ColumnElement[bool]
) -> int:
    """Delete rows of ``table``, which has a column ``storage_key``, and have their bytes removed; return how many."""
    token = table.c.token if "token" in table.c else literal("")
    batch = select(table.c.seq).where(*where).limit(_BATCH)
    discarded = 0
    # Only what was deleted here: a row that another transaction deletes meanwhile is that one's to decide about.
    while rows := (
        await connection.execute(
            delete(table).where(table.c.seq.in_(batch), *where).returning(table.c[_KEY], token)
        )
    ).all():
        records = [
            {"storage_key": key, "token": upload, "created_at": to_text(now)} for key, upload in rows if key
        ]
        if records:
            await connection.execute(insert(tables.discarded_files), records)
        discarded += len(rows)
    return discarded


def has_bytes(table: Table) -> bool:
    """Tell whether rows of ``table`` have bytes."""
    return _KEY in table.c and table is not tables.discarded_files
