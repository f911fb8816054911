"""Copies of stored bytes, recorded as uploads until a resource is made of them: a crash in between leaves nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import insert

from workers.api.problems import Problem, refuse
from workers.api.services import Services
from workers.api.uploads.pending import Slot, Stored, drop_upload, find_upload
from workers.files.store import new_key
from workers.store.discarded import discard_file
from workers.store.tables import uploads


async def store_copy(
    services: Services, slot: Slot, source: str, size_bytes: int, *, details: Mapping[str, Any]
) -> Stored:
    """Store the bytes of the key ``source`` once more, and return them as an upload that is complete.

    Whoever fails before :func:`~workers.api.uploads.pending.finish_upload` drops the upload.

    Args:
        services: what keeps the bytes, and what is known of them.
        slot: what the copy is for. Nothing was uploaded for it.
        source: where the bytes are.
        size_bytes: how many there are.
        details: what the resource will be made of.

    Raises:
        ApiError: 400, it was given up meanwhile, as an upload that nobody goes on with.
        MissingFileError: there is nothing of the key ``source``. Nothing is left of the copy then.
        OSError: the file store fails. Likewise.
    """
    key = new_key(slot.project.id, slot.kind, *slot.resource_id.split("/"))
    async with services.store.write(slot.project) as tx:
        await tx.connection.execute(
            insert(uploads).values(
                project_id=slot.project.id,
                kind=slot.kind,
                resource_id=slot.resource_id,
                owner_id=slot.owner_id,
                storage_key=key,
                total_bytes=size_bytes,
                chunk_bytes=size_bytes,
                details=dict(details),
                created_at=tx.now_text,
                updated_at=tx.now_text,
            )
        )
    try:
        await services.files.copy(source, key)
    except BaseException:
        async with services.store.write(slot.project) as tx:
            await drop_upload(tx, slot)
        raise
    async with services.store.read() as connection:
        stored = await find_upload(connection, slot)
    if stored is None:
        # Perhaps it was removed before it was there.
        async with services.store.write(slot.project) as tx:
            await discard_file(tx.connection, key, tx.now)
        raise refuse(Problem.UPLOAD_NOT_FOUND)
    return replace(stored, chunks_uploaded=1)
