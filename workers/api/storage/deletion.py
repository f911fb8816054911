"""What goes along with files that are deleted: their permissions, their tokens, and in the end their bytes."""

from sqlalchemy import delete, func, insert, literal, select, update

from workers.models.people import Row
from workers.store.store import Transaction
from workers.store.tables import buckets, discarded_files, file_permissions, file_tokens, files, uploads

UPLOAD_KIND = "file"
"""What ``uploads`` calls those of files."""


def upload_id(bucket_seq: int, file_id: str) -> str:
    """Return what ``uploads`` calls a file: by the number of its bucket, as the ID may be given again."""
    return f"{bucket_seq}/{file_id}"


async def delete_file(tx: Transaction, bucket: Row, file: Row) -> None:
    """Delete a file, whose row and whose bucket's row are locked."""
    await _delete_up_to(tx, bucket, first=file["seq"], last=file["seq"])


async def delete_files(tx: Transaction, bucket: Row, *, limit: int) -> int:
    """Delete the oldest files of a bucket, whose row is locked: at most ``limit``. Returns how many there were."""
    oldest = (
        select(files.c.seq)
        .where(files.c.project_id == tx.project.id, files.c.bucket_seq == bucket["seq"])
        .order_by(files.c.seq)
        .limit(limit)
        .subquery()
    )
    found = await tx.connection.execute(
        select(func.count(), func.min(oldest.c.seq), func.max(oldest.c.seq)).select_from(oldest)
    )
    count, first, last = found.one()
    if count:
        await _delete_up_to(tx, bucket, first=first, last=last)
    return int(count)


async def _delete_up_to(tx: Transaction, bucket: Row, *, first: int, last: int) -> None:
    """Delete the files of a bucket whose numbers are between two, both of them included."""
    among = (
        files.c.project_id == tx.project.id,
        files.c.bucket_seq == bucket["seq"],
        files.c.seq.between(first, last),
    )
    counted = select(func.coalesce(func.sum(files.c.size_bytes), 0)).where(*among).scalar_subquery()
    await tx.connection.execute(
        update(buckets)
        .where(buckets.c.seq == bucket["seq"])
        .values(total_bytes=buckets.c.total_bytes - counted)
    )
    await tx.connection.execute(
        insert(discarded_files).from_select(
            ["storage_key", "token", "created_at"],
            select(files.c.storage_key, literal(""), literal(tx.now_text)).where(*among),
        )
    )
    seqs = select(files.c.seq).where(*among)
    for table in (file_permissions, file_tokens):
        await tx.connection.execute(
            delete(table).where(table.c.project_id == tx.project.id, table.c.file_seq.in_(seqs))
        )
    await tx.connection.execute(delete(files).where(*among))


async def discard_uploads(tx: Transaction, bucket: Row) -> None:
    """Give up what is being uploaded to a bucket, whose row is locked."""
    pending = (
        uploads.c.project_id == tx.project.id,
        uploads.c.kind == UPLOAD_KIND,
        uploads.c.resource_id.startswith(upload_id(bucket["seq"], "")),
    )
    await tx.connection.execute(
        insert(discarded_files).from_select(
            ["storage_key", "token", "created_at"],
            select(uploads.c.storage_key, uploads.c.token, literal(tx.now_text)).where(*pending),
        )
    )
    await tx.connection.execute(delete(uploads).where(*pending))
