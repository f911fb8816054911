"""What goes along with files that are deleted: their permissions, their tokens, and in the end their bytes."""

from sqlalchemy import delete, func, select, update

from workers.api.storage.uploads import KIND, upload_id
from workers.models.people import Row
from workers.store.discarded import discard_rows
from workers.store.store import Transaction
from workers.store.tables import buckets, file_permissions, file_tokens, files, uploads


async def delete_file(tx: Transaction, bucket: Row, file: Row) -> None:
    """Delete a file, whose bucket's row is locked."""
    await _delete_between(tx, bucket, file["seq"], file["seq"])


async def delete_files(tx: Transaction, bucket: Row, *, limit: int) -> int:
    """Delete the oldest files of a bucket, whose row is locked: at most ``limit``. Returns how many there were."""
    oldest = (
        select(files.c.seq)
        .where(files.c.project_id == tx.project.id, files.c.bucket_seq == bucket["seq"])
        .order_by(files.c.seq)
        .limit(limit)
        .subquery()
    )
    found = await tx.connection.execute(select(func.count(), func.min(oldest.c.seq), func.max(oldest.c.seq)))
    count, first, last = found.one()
    if count:
        await _delete_between(tx, bucket, first, last)
    return int(count)


async def _delete_between(tx: Transaction, bucket: Row, first: int, last: int) -> None:
    """Delete the files of a bucket whose numbers are between two, both of them included."""
    among = (
        files.c.project_id == tx.project.id,
        files.c.bucket_seq == bucket["seq"],
        files.c.seq.between(first, last),
    )
    size_bytes = select(func.coalesce(func.sum(files.c.size_bytes), 0)).where(*among).scalar_subquery()
    await tx.connection.execute(
        update(buckets)
        .where(buckets.c.seq == bucket["seq"])
        .values(total_bytes=buckets.c.total_bytes - size_bytes)
    )
    # First, as it waits for those who are just giving one of the files other permissions.
    await discard_rows(tx.connection, files, tx.now, *among)
    await tx.connection.execute(
        delete(file_permissions).where(
            file_permissions.c.project_id == tx.project.id,
            file_permissions.c.bucket_seq == bucket["seq"],
            file_permissions.c.file_seq.between(first, last),
        )
    )
    await tx.connection.execute(
        delete(file_tokens).where(
            file_tokens.c.project_id == tx.project.id,
            file_tokens.c.bucket_id == bucket["id"],
            file_tokens.c.file_seq.between(first, last),
        )
    )


async def discard_uploads(tx: Transaction, bucket: Row) -> None:
    """Give up what is being uploaded to a bucket, whose row is locked."""
    await discard_rows(
        tx.connection,
        uploads,
        tx.now,
        uploads.c.project_id == tx.project.id,
        uploads.c.kind == KIND,
        uploads.c.resource_id.startswith(upload_id(bucket["seq"], "")),
    )
