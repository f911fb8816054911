"""Files in SQL: inserted, with their permissions as rows of their own, and told in events."""

from typing import Any

from sqlalchemy import delete, insert, update

from realtime.events.event import Event
from workers.api.permissions import pairs
from workers.api.storage.opened import OpenBucket
from workers.models.people import Row
from workers.models.storage import File, file_model
from workers.store.store import Transaction
from workers.store.tables import buckets, file_permissions, files


async def insert_file(tx: Transaction, bucket: OpenBucket, row: dict[str, Any]) -> None:
    """Insert a file into a bucket, whose row is locked: its columns but those that say where it is.

    Raises:
        sqlalchemy.exc.IntegrityError: there is one of its ID.
    """
    inserted = await tx.connection.execute(
        insert(files).values(project_id=tx.project.id, bucket_seq=bucket.seq, **row).returning(files.c.seq)
    )
    await _insert_permissions(tx, bucket, inserted.scalar_one(), row["permissions"])
    await tx.connection.execute(
        update(buckets)
        .where(buckets.c.seq == bucket.seq)
        .values(total_bytes=buckets.c.total_bytes + row["size_bytes"])
    )


async def _insert_permissions(
    tx: Transaction, bucket: OpenBucket, file_seq: int, permissions: list[str]
) -> None:
    """Insert the permissions of a file, which has none there yet."""
    records = [
        {
            "project_id": tx.project.id,
            "bucket_seq": bucket.seq,
            "file_seq": file_seq,
            "action": action,
            "role": role,
        }
        for action, role in pairs(permissions)
    ]
    if records:
        await tx.connection.execute(insert(file_permissions), records)


async def replace_permissions(
    tx: Transaction, bucket: OpenBucket, file_seq: int, permissions: list[str]
) -> None:
    """Give a file, whose row is locked, other permissions: in the table that lists are filtered by."""
    await tx.connection.execute(
        delete(file_permissions).where(
            file_permissions.c.project_id == tx.project.id, file_permissions.c.file_seq == file_seq
        )
    )
    await _insert_permissions(tx, bucket, file_seq, permissions)


def emit_file(tx: Transaction, bucket: OpenBucket, action: str, row: Row) -> File:
    """Record the event that ``action`` happened to a file, and return its model."""
    model = file_model(row, bucket.id)
    tx.emit(
        Event(
            f"buckets.[bucketId].files.[fileId].{action}",
            model,
            params={"bucketId": bucket.id, "fileId": row["id"]},
            permissions=bucket.event_permissions(row),
        )
    )
    return model
